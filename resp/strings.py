"""Redis's commands about one key whose reply follows from its value alone: the same on a shard and on a router.

Each key holds a string, never changes, and never expires.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from ringkv.resp import codec
from ringkv.resp.codec import parse_integer
from ringkv.resp.command import Args, Command, shown, wrong_number
from ringkv.resp.connection import Connection
from ringkv.resp.pending import Pending

EMBEDDED: Final = 44
"""Bytes up to which Redis keeps a string in one piece with its header, and calls its encoding `embstr`."""

KEY_COST: Final = 20
"""What a dataset has for a key beside its value: a key of 16 bytes and an offset of 4."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A value of more bytes than a number has, as it is known before it is read."""

    size: int

    def __len__(self) -> int:
        return self.size


Value = bytes | Unread

Span = Callable[[int], tuple[int, int]]
"""From the bytes that a value has to where the part of it begins and ends that is wanted."""


@dataclass(frozen=True, slots=True)
class OneKey:
    """A command that has its key at `args[key]`.

    `reply` makes the reply from the arguments, the value (None where there is no such key), and the dialect's null.
    `check` comes first: where it returns a reply, no value is looked up.
    """

    reply: Callable[[Args, Value | None, bytes], bytes]
    arity: int
    key: int = 1
    check: Callable[[Args], bytes | None] | None = None


def _strlen(_args: Args, value: Value | None, _null: bytes) -> bytes:
    return codec.integer(len(value or b""))


def _type(_args: Args, value: Value | None, _null: bytes) -> bytes:
    return codec.simple("none" if value is None else "string")


def _never(_args: Args, value: Value | None, _null: bytes) -> bytes:
    """When the key expires: Redis's numbers for "never" and "no such key"."""
    return codec.integer(-2 if value is None else -1)


def _integers(args: Args) -> bytes | None:
    try:
        for arg in args:
            parse_integer(arg)
    except ValueError as error:
        return codec.error("ERR", str(error))
    return None


def _part(args: Args, size: int) -> tuple[int, int]:
    """The part from one place to another, both included; negative places count from the end."""
    start, end = int(args[2]), int(args[3])
    if start < 0 and end < start:
        return 0, 0
    start, end = (place if place >= 0 else max(0, place + size) for place in (start, end))
    start, stop, _ = slice(start, end + 1).indices(size)
    return start, max(start, stop)


def _encoding(_args: Args, value: Value | None, null: bytes) -> bytes:
    """How Redis would hold the value."""
    if value is None:
        return null
    if isinstance(value, Unread) or len(value) > EMBEDDED:
        return codec.bulk("raw")
    try:
        parse_integer(value)
    except ValueError:
        return codec.bulk("embstr")
    return codec.bulk("int")


def _refcount(_args: Args, value: Value | None, null: bytes) -> bytes:
    return null if value is None else codec.integer(1)


def _freq(_args: Args, value: Value | None, null: bytes) -> bytes:
    """Redis's own words: `redis-cli --hotkeys` shows them and ends."""
    refusal = codec.error("ERR", "An LFU maxmemory policy is not selected, access frequency not tracked.")
    return null if value is None else refusal


def _idletime(_args: Args, value: Value | None, null: bytes) -> bytes:
    return null if value is None else codec.error("ERR", "when a key was last read is not recorded here")


def _samples(args: Args) -> bytes | None:
    """`MEMORY USAGE key [SAMPLES count]`: a string has nothing of which samples could be taken."""
    if len(args) == 3:
        return None
    if len(args) != 5 or args[3].upper() != b"SAMPLES":
        return codec.error("ERR", "syntax error")
    return _integers(args[4:])


def _usage(_args: Args, value: Value | None, null: bytes) -> bytes:
    """The bytes that the key and its value take in the dataset."""
    return null if value is None else codec.integer(KEY_COST + len(value))


_COMMANDS: Final[Mapping[bytes, OneKey]] = {
    b"STRLEN": OneKey(_strlen, 2),
    b"TYPE": OneKey(_type, 2),
    b"TTL": OneKey(_never, 2),
    b"PTTL": OneKey(_never, 2),
    b"EXPIRETIME": OneKey(_never, 2),
    b"PEXPIRETIME": OneKey(_never, 2),
}

_OBJECT: Final[Mapping[bytes, OneKey]] = {
    b"ENCODING": OneKey(_encoding, 3, 2),
    b"FREQ": OneKey(_freq, 3, 2),
    b"IDLETIME": OneKey(_idletime, 3, 2),
    b"REFCOUNT": OneKey(_refcount, 3, 2),
}

_MEMORY: Final[Mapping[bytes, OneKey]] = {b"USAGE": OneKey(_usage, -3, 2, check=_samples)}

ClientT = TypeVar("ClientT", bound=Connection)

Read = Callable[[ClientT, bytes, Callable[[Value | None], bytes]], bytes | Pending]
"""From a key, and from what makes the reply of its value, to that reply. What is large need not be read."""

ReadPart = Callable[[ClientT, bytes, Span], bytes | Pending]
"""From a key to the reply that is a part of its value, which is empty where there is no such key."""


def commands(read: Read[ClientT], read_part: ReadPart[ClientT]) -> dict[bytes, Command[ClientT]]:
    """The commands about one key, for a server that finds values with `read`, and parts of them with `read_part`."""

    def getrange(client: ClientT, args: Args) -> bytes | Pending:
        return _integers(args[2:]) or read_part(client, args[1], partial(_part, args))

    part = Command(getrange, 4, 1, 1)
    return {
        **{name: _command(one, read) for name, one in _COMMANDS.items()},
        b"GETRANGE": part,
        b"SUBSTR": part,
        b"OBJECT": _group("object", _OBJECT, read),
        b"MEMORY": _group("memory", _MEMORY, read),
    }


def _command(one: OneKey, read: Read[ClientT]) -> Command[ClientT]:
    def handler(client: ClientT, args: Args) -> bytes | Pending:
        refusal = one.check(args) if one.check else None
        if refusal is not None:
            return refusal
        null = client.null
        return read(client, args[one.key], lambda value: one.reply(args, value, null))

    return Command(handler, one.arity, one.key, one.key)


def _group(name: str, ones: Mapping[bytes, OneKey], read: Read[ClientT]) -> Command[ClientT]:
    """A command whose first argument says what is to be done."""
    subcommands = {what: _command(one, read) for what, one in ones.items()}
    known = [f"{name.upper()} {what.decode()} <key>" for what in ones]

    def handler(client: ClientT, args: Args) -> bytes | Pending | None:
        what = args[1].upper()
        if what == b"HELP":
            return codec.array([codec.simple(line) for line in known])
        if what not in subcommands:
            return codec.error("ERR", f"unknown subcommand '{shown(args[1])}'. Try {name.upper()} HELP.")
        if not subcommands[what].accepts(len(args)):
            return wrong_number(f"{name}|{shown(args[1])}")
        return subcommands[what].handler(client, args)

    return Command(handler, -2, 2, 2)
