"""A command of a RESP server: what handles it, with how many arguments, and the reply to an unknown one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ringkv.resp import codec
from ringkv.resp.pending import Pending

Args = list[bytes]

FEW: Final = 128
"""Arguments of a command that names no keys, at most: each may cost microseconds, of which 100,000 are a second."""

ClientT_contra = TypeVar("ClientT_contra", contravariant=True)
"""The kind of connection that the command is for."""

WRITES = frozenset(
    b"APPEND BITFIELD BITOP COPY DECR DECRBY DEL EXPIRE EXPIREAT FLUSHALL FLUSHDB GETDEL GETEX GETSET HDEL HINCRBY "
    b"HMSET HSET HSETNX INCR INCRBY INCRBYFLOAT LINSERT LPOP LPUSH LPUSHX LREM LSET LTRIM MOVE MSET MSETNX PERSIST "
    b"PEXPIRE PEXPIREAT PSETEX RENAME RENAMENX RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SET SETBIT SETEX SETNX "
    b"SETRANGE SPOP SREM SWAPDB UNLINK XADD ZADD ZINCRBY ZREM".split()
)
"""Redis's commands that change something; the dataset never changes."""


@dataclass(frozen=True, slots=True)
class Command(Generic[ClientT_contra]):
    """As Redis's COMMAND describes it: the arity counts the name; negative means "at least", and then at most `most`.

    A handler returns the reply, or None where that is part of the latest pending one. Without `queues` a command is
    refused between MULTI and EXEC, unless it is one of those that are executed at once there (`resp.queue`).
    """

    handler: Callable[[ClientT_contra, Args], bytes | Pending | None]
    arity: int
    first_key: int = 0
    last_key: int = 0
    queues: bool = True
    most: int = FEW

    def accepts(self, count: int) -> bool:
        return count == self.arity if self.arity >= 0 else -self.arity <= count <= self.most

    def keys(self, args: Args) -> Args:
        """Those of the arguments that are keys."""
        if not self.first_key:
            return []
        return args[self.first_key : self.last_key + 1 if self.last_key >= 0 else len(args) + self.last_key + 1]


def shown(word: bytes) -> str:
    """A word of a request as an error reply shows it: in ASCII, and no more than its beginning."""
    return word[:40].decode("ascii", "backslashreplace")


def wrong_number(name: str) -> bytes:
    """The error reply to too few or too many arguments of a command, as `get` or `client|id`: Redis's own words."""
    return codec.error("ERR", f"wrong number of arguments for '{name.lower()}' command")


def find(
    commands: Mapping[bytes, Command[ClientT_contra]], args: Args, immutable: str
) -> Command[ClientT_contra] | bytes:
    """The command of a request, or the error reply to an unknown one and to a wrong number of arguments.

    A request that would write gets an error that begins with the word `immutable`.
    """
    name = args[0].upper()
    command = commands.get(name)
    if command is None:
        if name in WRITES:
            return codec.error(immutable, "the dataset is immutable: a new version of the data is a new file")
        return codec.error("ERR", f"unknown command '{shown(name)}'")
    if not command.accepts(len(args)):
        return wrong_number(shown(name))
    return command


def execute(
    commands: Mapping[bytes, Command[ClientT_contra]], client: ClientT_contra, args: Args, immutable: str
) -> bytes | Pending | None:
    """The reply to one request."""
    command = find(commands, args, immutable)
    return command if isinstance(command, bytes) else command.handler(client, args)
