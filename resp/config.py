"""CONFIG GET: what Redis's settings are called here, as far as they mean something. Nothing can be set this way."""

from collections.abc import Mapping
from typing import Final

from ringkv.resp import codec
from ringkv.resp.command import Args, Command
from ringkv.resp.connection import Connection
from ringkv.resp.glob import matcher

SETTINGS: Final[Mapping[bytes, bytes]] = {
    b"appendonly": b"no",
    b"cluster-enabled": b"no",
    b"databases": b"1",
    b"maxmemory": b"0",
    b"maxmemory-policy": b"noeviction",
    b"notify-keyspace-events": b"",
    b"replica-read-only": b"yes",
    b"save": b"",
    b"timeout": b"0",
}
"""Nothing is ever written, evicted, expired or announced, there is one database, and no client is too idle."""


def config(client: Connection, args: Args) -> bytes:
    """`CONFIG GET pattern …`."""
    what = args[1].upper()
    if what != b"GET":
        return codec.error("ERR", "of CONFIG only GET is known here: settings are options of the command `ringkv`")
    if len(args) < 3:
        return codec.error("ERR", "wrong number of arguments for 'config|get' command")
    patterns = [matcher(arg) for arg in args[2:]]
    found = [
        (codec.bulk(name), codec.bulk(value))
        for name, value in SETTINGS.items()
        if any(matches(name) for matches in patterns)
    ]
    if client.null is codec.NULL3:
        return codec.map_(found)
    return codec.array([part for pair in found for part in pair])


COMMANDS: Final[Mapping[bytes, Command[Connection]]] = {b"CONFIG": Command(config, -2)}
