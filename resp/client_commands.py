"""CLIENT: who is connected, under which name, and which replies it wants to hear."""

from collections.abc import Callable
from typing import Final

from ringkv.resp import codec
from ringkv.resp.command import Args, Command, shown, wrong_number
from ringkv.resp.connection import Connection
from ringkv.resp.pending import Awaited, Pending
from ringkv.resp.server import Client
from ringkv.resp.session import Silence
from ringkv.resp.tracking import caching, getredir, tracking, trackinginfo

_REPLY: Final = {b"ON": Silence.NONE, b"OFF": Silence.ALL, b"SKIP": Silence.NEXT}

TOGETHER: Final = 64
"""Clients that are described in one turn of the event loop: it takes half a millisecond, and there may be 10,000."""

_WRONG_NAME: Final = codec.error("ERR", "Client names cannot contain spaces, newlines or special characters.")


def rename(client: Connection, name: bytes) -> bytes:
    """Give the connection a name, or none where `name` is empty; returns the reply."""
    if not all(ord(" ") < byte < 127 for byte in name):
        return _WRONG_NAME
    client.name = name.decode()
    return codec.simple("OK")


def _id(client: Connection, _args: Args) -> bytes:
    return codec.integer(client.id)


def _list(client: Connection, args: Args) -> bytes | Pending:
    """`LIST [TYPE normal] [ID id …]`"""
    clients = client.server.clients
    kind = args[0].upper() if args else b""
    if kind == b"ID" and len(args) > 1:
        try:
            chosen = [clients[number] for number in map(codec.parse_integer, args[1:]) if number in clients]
        except ValueError:
            return codec.error("ERR", "Invalid client ID")
    elif kind == b"TYPE" and len(args) == 2:
        # Nobody is anything else here: no replica, no subscriber.
        chosen = list(clients.values()) if args[1].lower() == b"normal" else []
    elif not args:
        chosen = list(clients.values())
    else:
        return codec.error("ERR", "syntax error: CLIENT LIST [TYPE normal | ID <id> …]")
    return Awaited(client.notify, _described(client, chosen))


async def _described(client: Connection, chosen: list[Client]) -> bytes:
    lines: list[str] = []
    for at in range(0, len(chosen), TOGETHER):
        await client.server.turns.turn()
        lines += [f"{each.description()}\n" for each in chosen[at : at + TOGETHER] if not each.closed.done()]
    return codec.bulk("".join(lines))


def _info(client: Connection, _args: Args) -> bytes:
    return codec.bulk(f"{client.description()}\n")


def _getname(client: Connection, _args: Args) -> bytes:
    return codec.bulk(client.name) if client.name else client.null


def _setname(client: Connection, args: Args) -> bytes:
    return rename(client, args[0])


def _setinfo(client: Connection, args: Args) -> bytes:
    """`SETINFO LIB-NAME name`, or LIB-VER: shown by LIST and INFO."""
    if args[0].upper() not in {b"LIB-NAME", b"LIB-VER"}:
        return codec.error("ERR", f"Unrecognized option '{shown(args[0])}'")
    if not all(ord(" ") < byte < 127 for byte in args[1]):
        return codec.error("ERR", "lib-name and lib-ver cannot contain spaces, newlines or special characters.")
    client.library[args[0].lower().decode()] = args[1].decode()
    return codec.simple("OK")


def _on_or_off(_client: Connection, args: Args) -> bytes:
    """NO-EVICT and NO-TOUCH: nothing is evicted here, and no key's use is counted."""
    return codec.simple("OK") if args[0].upper() in {b"ON", b"OFF"} else codec.error("ERR", "syntax error")


def _reply(client: Connection, args: Args) -> bytes:
    silence = _REPLY.get(args[0].upper())
    if silence is None:
        return codec.error("ERR", "syntax error: CLIENT REPLY ON | OFF | SKIP")
    if client.executing:
        return codec.error("ERR", "CLIENT REPLY inside MULTI is not allowed: every reply has its place there")
    if silence is not Silence.NEXT or client.silence is not Silence.ALL:
        client.hush(silence)
    return codec.simple("OK") if silence is Silence.NONE else b""


def _kill(_client: Connection, _args: Args) -> bytes:
    return codec.error("ERR", "no client is closed by another one here; a connection ends with QUIT or by its client")


SUBCOMMANDS: dict[bytes, tuple[Callable[[Connection, Args], bytes | Pending], int]] = {
    b"ID": (_id, 0),
    b"LIST": (_list, -1),
    b"INFO": (_info, 0),
    b"GETNAME": (_getname, 0),
    b"SETNAME": (_setname, 1),
    b"SETINFO": (_setinfo, 2),
    b"NO-EVICT": (_on_or_off, 1),
    b"NO-TOUCH": (_on_or_off, 1),
    b"REPLY": (_reply, 1),
    b"KILL": (_kill, -1),
    b"TRACKING": (tracking, -1),
    b"TRACKINGINFO": (trackinginfo, 0),
    b"CACHING": (caching, 1),
    b"GETREDIR": (getredir, 0),
}
"""Subcommand → what answers it, given the arguments behind its name, and how many of these it takes; -1: any number."""


def client_(client: Connection, args: Args) -> bytes | Pending:
    what, rest = args[1].upper(), args[2:]
    handler, count = SUBCOMMANDS.get(what, (None, 0))
    if handler is None:
        return codec.error("ERR", f"unknown subcommand '{shown(args[1])}' of CLIENT")
    if count not in {-1, len(rest)}:
        return wrong_number(f"client|{shown(args[1])}")
    return handler(client, rest)


CLIENT: dict[bytes, Command[Connection]] = {b"CLIENT": Command(client_, -2)}
