"""The commands that are about the connection and the server, and not about data: the same for every RESP server."""

from ringkv.resp import codec
from ringkv.resp.claiming import ClaimingConnection
from ringkv.resp.client_commands import CLIENT, rename
from ringkv.resp.cluster import CLUSTER
from ringkv.resp.command import Args, Command, wrong_number
from ringkv.resp.connection import Connection
from ringkv.resp.information import INFORMATION
from ringkv.resp.server import REDIS_VERSION
from ringkv.resp.transaction import TRANSACTION

NEEDLESS_AUTH = (
    "AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
"""Redis's own words: clients recognise them, and some go on without the password."""


def ping(_client: Connection, args: Args) -> bytes:
    return codec.bulk(args[1]) if len(args) > 1 else codec.simple("PONG")


def echo(_client: Connection, args: Args) -> bytes:
    return codec.bulk(args[1])


def auth(client: Connection, args: Args) -> bytes:
    """`AUTH secret`, or a token; or with a user name before it. A server without either answers as Redis would."""
    if len(args) > 3:
        return wrong_number("auth")
    server = client.server
    if server.secret is None and server.tokens is None:
        if args[1:-1] == [b"default"]:
            return codec.simple("OK")
        if len(args) == 3:
            return codec.error("WRONGPASS", "there is only the user default here, and no secret")
        return codec.error("ERR", NEEDLESS_AUTH)
    if client.prove(args[-1]):
        return codec.simple("OK")
    wrong = (
        "the secret does not match this server's $RINGKV_SECRET" if server.tokens is None else "no token of this server"
    )
    return codec.error("WRONGPASS", wrong)


def hello(client: Connection, args: Args) -> bytes:
    """`HELLO [2|3 [AUTH user secret] [SETNAME name]]`: RESP3 differs here in its null and its maps."""
    version = args[1] if len(args) > 1 else b"3" if client.resp3 else b"2"
    if version not in {b"2", b"3"}:
        return codec.error("NOPROTO", "unsupported protocol version: this server speaks 2 and 3")
    refusal = _agree(client, args[2:])
    if refusal is not None:
        return refusal
    if not client.may_read:
        client.refused()
        return codec.error("NOAUTH", "HELLO needs AUTH first: HELLO <version> AUTH default <token or secret>")
    client.null = codec.NULL if version == b"2" else codec.NULL3
    fields = [
        (codec.bulk("server"), codec.bulk("redis")),
        (codec.bulk("version"), codec.bulk(REDIS_VERSION)),
        (codec.bulk("proto"), codec.integer(int(version))),
        (codec.bulk("id"), codec.integer(client.id)),
        (codec.bulk("mode"), codec.bulk(client.server.mode)),
        (codec.bulk("role"), codec.bulk("master")),
        (codec.bulk("modules"), codec.array([])),
    ]
    return codec.map_(fields, resp3=client.resp3)


def _agree(client: Connection, options: Args) -> bytes | None:
    """Do what HELLO's options say; an error reply where that is not possible."""
    while options:
        name = options[0].upper()
        if name == b"AUTH" and len(options) >= 3:
            reply = auth(client, options[:3])
            if reply.startswith(b"-"):
                return reply
            options = options[3:]
        elif name == b"SETNAME" and len(options) >= 2:
            reply = rename(client, options[1])
            if reply.startswith(b"-"):
                return reply
            options = options[2:]
        else:
            return codec.error("ERR", "of HELLO's options only AUTH <user> <secret> and SETNAME <name> are known here")
    return None


def select(_client: Connection, args: Args) -> bytes:
    return codec.simple("OK") if args[1] == b"0" else codec.error("ERR", "DB index is out of range: there is only 0")


def quit_(client: Connection, _args: Args) -> bytes:
    client.leave()
    return codec.simple("OK")


def reset(client: Connection, _args: Args) -> bytes:
    client.reset()
    return codec.simple("RESET")


PROTOCOL: dict[bytes, Command[ClaimingConnection]] = {
    **CLIENT,
    **CLUSTER,
    **INFORMATION,
    **TRANSACTION,
    b"PING": Command(ping, -1, most=2),
    b"ECHO": Command(echo, 2),
    b"RESET": Command(reset, 1),
    b"AUTH": Command(auth, -2),
    b"HELLO": Command(hello, -1),
    b"SELECT": Command(select, 2),
    b"QUIT": Command(quit_, -1),
}
