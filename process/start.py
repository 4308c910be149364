"""What a command that serves does first: log, take its name in `ps`, outlive its terminal, raise its limits."""

import signal

from setproctitle import setproctitle

from ringkv.process.files import raise_limit
from ringkv.process.logs import LogStyle, start_logging


def start(name: str, log_style: LogStyle) -> None:
    """Begin a process that serves; its children inherit all but the name. Raises StartupError."""
    start_logging(log_style)
    name_process(name)
    # The end of a terminal or of an SSH session is no reason to stop: SIGTERM and Ctrl-C are.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_limit()


def name_process(name: str) -> None:
    """Let `ps` and `top` say which of several Python processes this is."""
    setproctitle(f"ringkv: {name}")
