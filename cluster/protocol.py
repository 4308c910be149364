"""The commands that are about the connection and the server, and not about data: the same for every RESP server."""

import hmac
import time

from cluster import resp
from cluster.command import Args, Command
from cluster.connection import Connection
from cluster.lease import PONG
from cluster.server import VERSION

NEEDLESS_AUTH = (
    "AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
"""Redis's own words: by them clients know that they were given a needless password, and some go on."""


def ping(_client: Connection, args: Args) -> bytes:
    return resp.bulk(args[1]) if len(args) > 1 else resp.simple(PONG)


def echo(_client: Connection, args: Args) -> bytes:
    return resp.bulk(args[1])


def info(client: Connection, args: Args) -> bytes:
    wanted = {arg.decode("ascii", "replace").lower() for arg in args[1:]} - {"all", "default", "everything"}
    lines: list[str] = []
    for section, fields in client.server.info().items():
        if not wanted or section in wanted:
            lines += [f"# {section.capitalize()}", *(f"{name}:{value}" for name, value in fields.items()), ""]
    return resp.bulk("\r\n".join(lines))


def time_(_client: Connection, _args: Args) -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return resp.array([resp.bulk(str(seconds)), resp.bulk(str(nanoseconds // 1000))])


def command(client: Connection, args: Args) -> bytes:
    """`COMMAND [COUNT | DOCS [name …] | INFO [name …]]`; there are no documents."""
    what = args[1].upper() if len(args) > 1 else b"INFO"
    if what == b"COUNT":
        return resp.integer(len(client.commands))
    if what == b"DOCS":
        return resp.array([])
    if what != b"INFO":
        return resp.error("ERR", "of COMMAND only COUNT, DOCS and INFO are known here")
    return resp.array([_described(client, name.upper()) for name in args[2:] or client.commands])


def _described(client: Connection, name: bytes) -> bytes:
    entry = client.commands.get(name)
    if entry is None:
        return client.null
    return resp.array(
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


def client(_client: Connection, args: Args) -> bytes:
    what = args[1].upper()
    if what in {b"SETNAME", b"SETINFO", b"NO-EVICT", b"NO-TOUCH"}:
        return resp.simple("OK")
    return resp.error("ERR", "of CLIENT only SETNAME and SETINFO are known here")


def auth(client: Connection, args: Args) -> bytes:
    """`AUTH secret`, or with a user name before it. Without a secret, as Redis without a password."""
    if len(args) > 3:
        return resp.error("ERR", "wrong number of arguments for 'auth' command")
    secret = client.server.secret
    if secret is None:
        if args[1:-1] == [b"default"]:
            return resp.simple("OK")
        if len(args) == 3:
            return resp.error("WRONGPASS", "there is only the user default here, and no secret")
        return resp.error("ERR", NEEDLESS_AUTH)
    if not hmac.compare_digest(args[-1], secret):
        return resp.error("WRONGPASS", "the secret does not match this server's $RINGKV_SECRET")
    client.authenticated = True
    return resp.simple("OK")


def hello(client: Connection, args: Args) -> bytes:
    """`HELLO [2|3 [AUTH user secret] [SETNAME name]]`: RESP3 differs here in its null and its maps."""
    version = args[1] if len(args) > 1 else b"2" if client.null is resp.NULL else b"3"
    if version not in {b"2", b"3"}:
        return resp.error("NOPROTO", "unsupported protocol version: this server speaks 2 and 3")
    refusal = _agree(client, args[2:])
    if refusal is not None:
        return refusal
    client.null = resp.NULL if version == b"2" else resp.NULL3
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


def _agree(client: Connection, options: Args) -> bytes | None:
    """Take HELLO's options; the error where that is not possible."""
    while options:
        name = options[0].upper()
        if name == b"AUTH" and len(options) >= 3:
            reply = auth(client, options[:3])
            if reply.startswith(b"-"):
                return reply
            options = options[3:]
        elif name == b"SETNAME" and len(options) >= 2:
            options = options[2:]
        else:
            return resp.error("ERR", "of HELLO's options only AUTH <user> <secret> and SETNAME <name> are known here")
    return None


def select(_client: Connection, args: Args) -> bytes:
    return resp.simple("OK") if args[1] == b"0" else resp.error("ERR", "DB index is out of range: there is only 0")


def no_cluster(_client: Connection, _args: Args) -> bytes:
    """Redis's words: by them a client of Redis Cluster knows that it talks to a server of the ordinary kind."""
    return resp.error("ERR", "This instance has cluster support disabled")


def quit_(client: Connection, _args: Args) -> bytes:
    client.leave()
    return resp.simple("OK")


PROTOCOL: dict[bytes, Command[Connection]] = {
    b"PING": Command(ping, -1),
    b"ECHO": Command(echo, 2),
    b"INFO": Command(info, -1),
    b"TIME": Command(time_, 1),
    b"COMMAND": Command(command, -1),
    b"CLIENT": Command(client, -2),
    b"AUTH": Command(auth, -2),
    b"HELLO": Command(hello, -1),
    b"SELECT": Command(select, 2),
    b"QUIT": Command(quit_, -1),
    b"CLUSTER": Command(no_cluster, -2),
    b"READONLY": Command(no_cluster, 1),
    b"READWRITE": Command(no_cluster, 1),
}
