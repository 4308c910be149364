"""The commands of a shard: from the arguments of one request to the bytes of its reply.

Nothing here waits: LEASE, which does, and QUIT belong to the connection.
"""

import hmac
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cluster import resp
from cluster.errors import CorruptPartition, InvalidKey, PartitionNotLoaded
from cluster.lease import CORRUPT, DRAINING, NOT_LOADED, PONG
from cluster.position import canonical, is_canonical
from shard.state import VERSION, ShardState

Args = list[bytes]

WRITES = frozenset(
    b"APPEND BITFIELD BITOP COPY DECR DECRBY DEL EXPIRE EXPIREAT FLUSHALL FLUSHDB GETDEL GETEX GETSET HDEL HINCRBY "
    b"HMSET HSET HSETNX INCR INCRBY INCRBYFLOAT LINSERT LPOP LPUSH LPUSHX LREM LSET LTRIM MOVE MSET MSETNX PERSIST "
    b"PEXPIRE PEXPIREAT PSETEX RENAME RENAMENX RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SET SETBIT SETEX SETNX "
    b"SETRANGE SPOP SREM SWAPDB UNLINK XADD ZADD ZINCRBY ZREM".split()
)
"""Redis's commands that change something; the dataset never changes."""


@dataclass(slots=True)
class Session:
    """What the commands of one connection have agreed on: the protocol's null, and that the secret was proved."""

    state: ShardState
    authenticated: bool
    null: bytes = resp.NULL


Handler = Callable[[Session, Args], bytes]


@dataclass(frozen=True, slots=True)
class Command:
    """As Redis's COMMAND describes it: the arity counts the name; negative means "at least"."""

    handler: Handler
    arity: int
    first_key: int = 0
    last_key: int = 0

    def accepts(self, count: int) -> bool:
        return count == self.arity if self.arity >= 0 else count >= -self.arity


def execute(session: Session, args: Args) -> bytes:
    """The reply to one request, `args[0]` being the command's name in any case."""
    name = args[0].upper()
    command = COMMANDS.get(name)
    shown = name[:40].decode("ascii", "backslashreplace")
    if command is None:
        if name in WRITES:
            return resp.error("READONLY", "the dataset is immutable: a new version of the data is a new file")
        return resp.error("ERR", f"unknown command '{shown}'")
    if not command.accepts(len(args)):
        return resp.error("ERR", f"wrong number of arguments for '{shown.lower()}' command")
    return command.handler(session, args)


def value_of(state: ShardState, key: bytes) -> bytes | None:
    """The value of a key in any case; None for one that is in no dataset. Raises as Store.get."""
    if not is_canonical(key):
        try:
            key = canonical(key)
        except InvalidKey:
            return None
    return state.store.get(key)


def get(session: Session, args: Args) -> bytes:
    try:
        value = value_of(session.state, args[1])
    except PartitionNotLoaded as error:
        return resp.error(NOT_LOADED, str(error))
    except CorruptPartition as error:
        return resp.error(CORRUPT, str(error))
    return session.null if value is None else resp.bulk(value)


def _values(state: ShardState, keys: Iterable[bytes], reply: Callable[[list[bytes | None]], bytes]) -> bytes:
    """The reply made of the values of all keys, or the error of the first one that cannot be told."""
    try:
        return reply([value_of(state, key) for key in keys])
    except PartitionNotLoaded as error:
        return resp.error(NOT_LOADED, str(error))
    except CorruptPartition as error:
        return resp.error(CORRUPT, str(error))


def mget(session: Session, args: Args) -> bytes:
    return _values(
        session.state,
        args[1:],
        lambda values: resp.array([session.null if value is None else resp.bulk(value) for value in values]),
    )


def exists(session: Session, args: Args) -> bytes:
    return _values(session.state, args[1:], lambda values: resp.integer(sum(value is not None for value in values)))


def strlen(session: Session, args: Args) -> bytes:
    return _values(session.state, args[1:], lambda values: resp.integer(len(values[0] or b"")))


def explain(session: Session, args: Args) -> bytes:
    """How the lookup of a key goes here, as JSON; the position is a string, since JSON's numbers end at 2^53."""
    try:
        key = canonical(args[1])
    except InvalidKey as error:
        return resp.error("ERR", str(error))
    state = session.state
    packed = state.store.packed
    explanation = state.store.explain(key)
    about = {"name": state.name, "dataset": packed.header.dataset_id, "file": str(packed.path)}
    return resp.bulk(json.dumps(about | explanation._asdict() | {"position": str(explanation.position)}))


def dbsize(session: Session, _args: Args) -> bytes:
    return resp.integer(session.state.store.keys)


def ping(session: Session, args: Args) -> bytes:
    if len(args) > 1:
        return resp.bulk(args[1])
    return resp.simple(DRAINING if session.state.draining else PONG)


def info(session: Session, args: Args) -> bytes:
    wanted = {arg.decode("ascii", "replace").lower() for arg in args[1:]} - {"all", "default", "everything"}
    lines: list[str] = []
    for section, fields in session.state.info().items():
        if not wanted or section in wanted:
            lines += [f"# {section.capitalize()}", *(f"{name}:{value}" for name, value in fields.items()), ""]
    return resp.bulk("\r\n".join(lines))


def time_(_session: Session, _args: Args) -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return resp.array([resp.bulk(str(seconds)), resp.bulk(str(nanoseconds // 1000))])


def command(_session: Session, args: Args) -> bytes:
    what = args[1].upper() if len(args) > 1 else b""
    if what == b"COUNT":
        return resp.integer(len(COMMANDS))
    if what == b"DOCS":
        return resp.array([])
    return resp.array(
        [
            resp.array(
                [
                    resp.bulk(name.lower()),
                    resp.integer(entry.arity),
                    resp.array([resp.simple("readonly"), resp.simple("fast")]),
                    resp.integer(entry.first_key),
                    resp.integer(entry.last_key),
                    resp.integer(1 if entry.first_key else 0),
                    *[resp.array([])] * 4,  # ACL categories, tips, key specifications, subcommands
                ]
            )
            for name, entry in COMMANDS.items()
        ]
    )


def client(_session: Session, args: Args) -> bytes:
    what = args[1].upper()
    if what in {b"SETNAME", b"SETINFO", b"NO-EVICT", b"NO-TOUCH"}:
        return resp.simple("OK")
    return resp.error("ERR", "of CLIENT only SETNAME and SETINFO are known here")


def auth(session: Session, args: Args) -> bytes:
    """`AUTH secret`, or with any user name before it."""
    secret = session.state.secret
    if secret is None:
        return resp.error("ERR", "AUTH was called, but this shard has no secret ($RINGKV_SECRET)")
    if len(args) > 3:
        return resp.error("ERR", "wrong number of arguments for 'auth' command")
    if not hmac.compare_digest(args[-1], secret):
        return resp.error("WRONGPASS", "the secret does not match this shard's $RINGKV_SECRET")
    session.authenticated = True
    return resp.simple("OK")


def hello(session: Session, args: Args) -> bytes:
    """`HELLO [2|3 [AUTH user secret]]`: RESP3, which redis-py asks for, differs here in its null and its maps."""
    version = args[1] if len(args) > 1 else b"2" if session.null is resp.NULL else b"3"
    if version not in {b"2", b"3"}:
        return resp.error("NOPROTO", "unsupported protocol version: this server speaks 2 and 3")
    options = args[2:]
    if options and not (len(options) == 3 and options[0].upper() == b"AUTH"):
        return resp.error("ERR", "of HELLO's options only AUTH <user> <secret> is known here")
    if options and (refusal := auth(session, options)).startswith(b"-"):
        return refusal
    session.null = resp.NULL if version == b"2" else resp.NULL3
    fields = [
        (resp.bulk("server"), resp.bulk("ringkv")),
        (resp.bulk("version"), resp.bulk(VERSION)),
        (resp.bulk("proto"), resp.integer(int(version))),
        (resp.bulk("mode"), resp.bulk("standalone")),
        (resp.bulk("role"), resp.bulk("replica")),
        (resp.bulk("modules"), resp.array([])),
    ]
    if version == b"3":
        return resp.map_(fields)
    return resp.array([part for field in fields for part in field])


def select(_session: Session, args: Args) -> bytes:
    return resp.simple("OK") if args[1] == b"0" else resp.error("ERR", "DB index is out of range: there is only 0")


COMMANDS: dict[bytes, Command] = {
    b"GET": Command(get, 2, 1, 1),
    b"MGET": Command(mget, -2, 1, -1),
    b"EXISTS": Command(exists, -2, 1, -1),
    b"STRLEN": Command(strlen, 2, 1, 1),
    b"EXPLAIN": Command(explain, 2, 1, 1),
    b"DBSIZE": Command(dbsize, 1),
    b"PING": Command(ping, -1),
    b"INFO": Command(info, -1),
    b"TIME": Command(time_, 1),
    b"COMMAND": Command(command, -1),
    b"CLIENT": Command(client, -2),
    b"AUTH": Command(auth, -2),
    b"HELLO": Command(hello, -1),
    b"SELECT": Command(select, 2),
}
