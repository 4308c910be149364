"""CONFIG: the settings of Redis that mean something here, and those that a server lets clients change."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from ringkv.resp import codec
from ringkv.resp.command import Args, Command, wrong_number
from ringkv.resp.connection import Connection, in_turn
from ringkv.resp.glob import check_length, matcher
from ringkv.resp.pending import Pending

SETTINGS: Final[Mapping[bytes, bytes]] = {
    b"appendonly": b"no",
    b"databases": b"1",
    b"maxmemory": b"0",
    b"maxmemory-policy": b"noeviction",
    b"notify-keyspace-events": b"",
    b"replica-read-only": b"yes",
    b"save": b"",
    b"timeout": b"0",
}
"""What clients ask at their start: nothing is ever written, evicted, expired or announced; there is one database."""


def config(client: Connection, args: Args) -> bytes | Pending:
    """`CONFIG GET pattern …` and `CONFIG SET name value …`."""
    what = args[1].upper()
    if what == b"GET":
        return in_turn(client, partial(_get, client, args[2:]))
    known = "GET and SET are" if client.server.settings() else "GET is"
    if what == b"SET" and client.server.settings():
        return _set(client, args[2:])
    return codec.error("ERR", f"of CONFIG only {known} known here: settings are options of the command `ringkv`")


def _get(client: Connection, patterns: Args) -> bytes:
    if not patterns:
        return wrong_number("config|get")
    try:
        check_length(patterns)
        matchers = [matcher(pattern) for pattern in patterns]
    except ValueError as error:
        return codec.error("ERR", str(error))
    own = {name: setting.value().encode() for name, setting in client.server.settings().items()}
    own[b"cluster-enabled"] = b"no" if client.server.node is None else b"yes"
    found = [
        (codec.bulk(name), codec.bulk(value))
        for name, value in sorted({**SETTINGS, **own}.items())
        if any(matches(name) for matches in matchers)
    ]
    return codec.map_(found, resp3=client.resp3)


def _set(client: Connection, args: Args) -> bytes:
    """Change the settings in order. At the first that cannot be changed it ends with an error; those before it stay."""
    if not client.authenticated:
        return codec.error("NOAUTH", "CONFIG SET needs AUTH first: this server has a secret ($RINGKV_SECRET)")
    if not args or len(args) % 2:
        return wrong_number("config|set")
    settings = client.server.settings()
    for name, value in zip(args[::2], args[1::2], strict=True):
        setting = settings.get(name.lower())
        shown = name[:40].decode("utf-8", "replace")
        if setting is None:
            return codec.error("ERR", f"Unknown option or number of arguments for CONFIG SET - '{shown}'")
        try:
            setting.change(value.decode("utf-8", "replace"))
        except ValueError as error:
            return codec.error("ERR", f"CONFIG SET failed (possibly related to argument '{shown}') - {error}")
    return codec.simple("OK")


COMMANDS: Final[Mapping[bytes, Command[Connection]]] = {b"CONFIG": Command(config, -2)}
