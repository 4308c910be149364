"""What a server tells of itself and of its commands: INFO, COMMAND, TIME."""

import time
from functools import partial

from ringkv.resp import codec
from ringkv.resp.command import Args, Command
from ringkv.resp.connection import Connection, in_turn
from ringkv.resp.glob import matcher
from ringkv.resp.pending import Pending

_ALL = frozenset({"all", "default", "everything"})


def info(client: Connection, args: Args) -> Pending:
    """`INFO [section …]`"""
    return in_turn(client, partial(_info, client, args))


def _info(client: Connection, args: Args) -> bytes:
    wanted = {arg.decode("ascii", "replace").lower() for arg in args[1:]}
    lines: list[str] = []
    for section, fields in client.server.info().items():
        if not wanted or section in wanted or wanted & _ALL:
            lines += [f"# {section.capitalize()}", *(f"{name}:{value}" for name, value in fields.items()), ""]
    return codec.bulk("\r\n".join(lines))


def time_(_client: Connection, _args: Args) -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return codec.array([codec.bulk(str(seconds)), codec.bulk(str(nanoseconds // 1000))])


def command(client: Connection, args: Args) -> Pending:
    """`COMMAND [COUNT | LIST | DOCS | INFO [name …] | GETKEYS name …]`; there are no documents."""
    return in_turn(client, partial(_command, client, args))


def _command(client: Connection, args: Args) -> bytes:
    what = args[1].upper() if len(args) > 1 else b"INFO"
    if what == b"COUNT":
        return codec.integer(len(client.commands))
    if what == b"LIST":
        return _listed(client, args[2:])
    if what == b"DOCS":
        return codec.map_([], resp3=client.resp3)
    if what == b"GETKEYS" and len(args) > 2:
        return _keys(client, args[2:])
    if what == b"INFO":
        return codec.array([_described(client, name.upper()) for name in args[2:] or client.commands])
    return codec.error("ERR", "of COMMAND only COUNT, DOCS, GETKEYS, INFO and LIST are known here")


def _listed(client: Connection, options: Args) -> bytes:
    """The names of all commands, or of those that the filter leaves: there are no modules and no ACL here."""
    names = [name.lower() for name in client.commands]
    if options:
        if len(options) != 3 or options[0].upper() != b"FILTERBY":
            return codec.error("ERR", "syntax error: COMMAND LIST [FILTERBY PATTERN <pattern>]")
        try:
            names = list(filter(matcher(options[2]), names)) if options[1].upper() == b"PATTERN" else []
        except ValueError as error:
            return codec.error("ERR", str(error))
    return codec.array([codec.bulk(name) for name in names])


def _keys(client: Connection, args: Args) -> bytes:
    entry = client.commands.get(args[0].upper())
    if entry is None:
        return codec.error("ERR", "Invalid command specified")
    if not entry.first_key:
        return codec.error("ERR", "The command has no key arguments")
    if not entry.accepts(len(args)):
        return codec.error("ERR", "Invalid number of arguments specified for command")
    return codec.array([codec.bulk(key) for key in entry.keys(args)])


def _described(client: Connection, name: bytes) -> bytes:
    entry = client.commands.get(name)
    if entry is None:
        return client.null
    return codec.array(
        [
            codec.bulk(name.lower()),
            codec.integer(entry.arity),
            codec.array([codec.simple("readonly"), codec.simple("fast")]),
            codec.integer(entry.first_key),
            codec.integer(entry.last_key),
            codec.integer(1 if entry.first_key else 0),
            *[codec.array([])] * 4,  # ACL categories, tips, key specifications, subcommands
        ]
    )


INFORMATION: dict[bytes, Command[Connection]] = {
    b"INFO": Command(info, -1),
    b"TIME": Command(time_, 1),
    b"COMMAND": Command(command, -1),
}
