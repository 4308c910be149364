"""How processes log: one line an event, on stderr, as text or as JSON."""

import logging
import sys
from typing import Final, NamedTuple

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class LogStyle(NamedTuple):
    """What `--log-level` and `--log-format` say."""

    level: str = "info"
    form: str = "text"


def start_logging(style: LogStyle) -> None:
    """Write what is logged to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_lines() if style.form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(handlers=[handler], level=style.level.upper())


def _json_lines() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - not needed by a process that logs text

    return JsonFormatter(
        ["levelname", "name", "message"],
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
    )
