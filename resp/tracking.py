"""CLIENT TRACKING: a client keeps values, and is told when they may be old.

No value ever changes, so there is nothing to remember of what a client has read. Only when another dataset is served
are all values old at once: then each client that asked for it is sent FLUSH, as Redis does after a FLUSHALL.

Source: https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from typing import Final

from ringkv.resp import codec
from ringkv.resp.command import Args
from ringkv.resp.connection import Connection
from ringkv.resp.server import Server
from ringkv.resp.session import Tracking

FLUSH: Final = b">2\r\n$10\r\ninvalidate\r\n_\r\n"

BROKEN: Final = b">2\r\n$21\r\ntracking-redir-broken\r\n"
"""What comes before the id of a connection that was to be told, and has gone: to the client that wanted it told."""

_OPTIONS: Final = {b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"}
"""They say of which writes a client wants to be told. There are none, so they are accepted and change nothing."""

_SYNTAX: Final = codec.error("ERR", "syntax error")


def tracking(client: Connection, args: Args) -> bytes:
    """`TRACKING ON|OFF [REDIRECT id] [BCAST] [PREFIX prefix …] [OPTIN] [OPTOUT] [NOLOOP]`"""
    wanted = args[0].upper() if args else b""
    try:
        options, redirect = _wanted(args[1:])
    except ValueError:
        return _SYNTAX
    if wanted == b"OFF":
        client.tracking = None
    elif wanted != b"ON":
        return _SYNTAX
    elif redirect and redirect not in client.server.clients:
        return codec.error("ERR", "The client ID you want redirect to does not exist")
    elif not redirect and not client.resp3:
        return codec.error("ERR", "CLIENT TRACKING needs HELLO 3: RESP2 has nothing to push an invalidation with")
    else:
        client.tracking = Tracking(frozenset(options), redirect)
        if redirect and isinstance(told := client.server.clients[redirect], Connection):
            told.listens = True
    return codec.simple("OK")


def _wanted(args: Args) -> tuple[set[bytes], int]:
    """The options, and the id of the connection that is to be told, 0 for the client's own. Raises ValueError."""
    options, redirect = set[bytes](), 0
    rest = iter(args)
    for arg in rest:
        option = arg.upper()
        if option in {b"PREFIX", b"REDIRECT"}:
            value = next(rest, b"")
            if not value:
                raise ValueError
            redirect = codec.parse_integer(value) if option == b"REDIRECT" else redirect
        elif option in _OPTIONS:
            options.add(option)
        else:
            raise ValueError
    return options, redirect


def trackinginfo(client: Connection, args: Args) -> bytes:
    wanted = client.tracking
    flags = [b"off"] if wanted is None else [b"on", *sorted(option.lower() for option in wanted.options)]
    if wanted is not None and wanted.redirect and wanted.redirect not in client.server.clients:
        flags.append(b"broken_redirect")
    fields = [
        (codec.bulk("flags"), codec.array([codec.bulk(flag) for flag in flags])),
        (codec.bulk("redirect"), getredir(client, args)),
        (codec.bulk("prefixes"), codec.array([])),
    ]
    return codec.map_(fields, resp3=client.resp3)


def caching(client: Connection, args: Args) -> bytes:
    """`CACHING YES|NO`, about the next command, after OPTIN or OPTOUT: accepted, since a flush is sent in any case."""
    if args[0].upper() not in {b"YES", b"NO"}:
        return _SYNTAX
    if client.tracking is None or not client.tracking.options & {b"OPTIN", b"OPTOUT"}:
        return codec.error("ERR", "CLIENT CACHING needs CLIENT TRACKING with OPTIN or OPTOUT")
    return codec.simple("OK")


def getredir(client: Connection, _args: Args) -> bytes:
    """-1 without tracking, 0 for the connection itself, else the id of the one that is told."""
    return codec.integer(-1 if client.tracking is None else client.tracking.redirect)


def tell(server: Server) -> None:
    """Say that all values are old, to the clients that want to hear it."""
    for client in server.clients.values():
        if isinstance(client, Connection) and client.tracking is not None:
            told = server.clients.get(client.tracking.redirect or client.id)
            if told is None and client.resp3:
                # Else it would go on with values that are old, for as long as it runs.
                client.push(BROKEN + codec.integer(client.tracking.redirect))
            elif isinstance(told, Connection) and told.resp3:
                told.push(FLUSH)
