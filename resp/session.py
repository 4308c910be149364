"""What a client has agreed on with its server, from the dialect of the protocol to which replies it wants to hear."""

import enum
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ringkv.resp import codec
from ringkv.resp.command import Args, Command, execute
from ringkv.resp.pending import Pending, Unheard
from ringkv.resp.queue import Queue
from ringkv.resp.requests import Requests
from ringkv.resp.server import Server

ATTEMPTS: Final = 3
"""How often values that have to be of one dataset are read, if that is replaced meanwhile, as it is once in hours."""

REPLACED: Final = codec.error("TRYAGAIN", "the dataset was replaced again and again while it was read")

Unchanged = Callable[[], bool]
"""Tells whether all that was read since it was made is of one dataset."""

BEFORE_AUTH: Final = frozenset({b"AUTH", b"HELLO", b"QUIT", b"RESET"})
"""The commands, as in Redis, of a client that has to authenticate and has not done so yet."""

NOAUTH: Final = codec.error("NOAUTH", "Authentication required.")
"""Redis's own words, which clients recognise."""


class Silence(enum.Enum):
    """Which replies are left out: what CLIENT REPLY sets. THIS is NEXT while that request is executed."""

    NONE = enum.auto()
    NEXT = enum.auto()
    THIS = enum.auto()
    ALL = enum.auto()


@dataclass(frozen=True, slots=True)
class Tracking:
    """What CLIENT TRACKING sets: `redirect` is the id of the connection that is to be told, 0 for its own."""

    options: frozenset[bytes]
    redirect: int


class Session:
    """`null`, `authenticated`, `name`, `library`, `silence` and `tracking` are what client and server have agreed on.

    A client of a Redis Cluster is `direct`.

    A client is `authenticated` once it has sent the secret, or where there is none; `may_read` says if it may read.
    Of a transaction: `queue` is there between MULTI and EXEC, `executing` is true while EXEC begins what was queued,
    `watched` is there after WATCH. `listens` says that push messages for other connections are sent here.
    `id` and `addresses`, the client's and the server's, are those of the connection.
    """

    direct = False

    def __init__(self, server: Server, commands: Mapping[bytes, Command[Any]]) -> None:
        self.server = server
        self.commands = commands
        self.id = 0
        self.addresses: tuple[object, object] = None, None
        self.executing = False
        self.listens = False
        self.silence = Silence.NONE
        self._since = time.monotonic()
        self._requests = Requests()
        self.reset()

    def reset(self) -> None:
        """Forget what was agreed on, so that the session is as that of a new connection."""
        self.null = codec.NULL
        self.authenticated = self.server.secret is None
        self._token: bytes | None = None  # the digest of the one that the client has said
        self.name = ""
        self.library: dict[str, str] = {}
        if self.silence is not Silence.THIS:  # as in Redis, a reply that is to be skipped is, also that to RESET
            self.silence = Silence.NONE
        self.tracking: Tracking | None = None
        self.queue: Queue | None = None
        self.watched: Unchanged | None = None
        self._choose()

    def prove(self, said: bytes) -> bool:
        """Whether this is the server's secret or one of its tokens; then the client may do more from now on."""
        secret, tokens = self.server.secret, self.server.tokens
        if secret is not None and hmac.compare_digest(said, secret):
            self.authenticated = True
        elif tokens is not None and (token := tokens.find(said)) is not None:
            self._token = token
        else:
            self.refused()
            return False
        self._choose()
        return True

    def refused(self) -> None:
        """Count a request that was refused for lack of a valid token."""
        if self.server.tokens is not None:
            self.server.tokens.refused += 1

    @property
    def token_counts(self) -> bool:
        """Whether the client's token is still valid; True also if it has sent none."""
        tokens = self.server.tokens
        return self._token is None or tokens is None or self._token in tokens.digests

    @property
    def resp3(self) -> bool:
        return self.null is codec.NULL3

    def reading(self) -> Unchanged:
        """Begin to read several values. What it returns tells whether all that was read since is of one dataset."""
        return lambda: True

    def begin_queue(self) -> None:
        """Queue what comes until `end_queue`."""
        self.queue = Queue(self.server.immutable, one_slot=self.direct)
        self._choose()

    def end_queue(self) -> Queue | None:
        queue, self.queue = self.queue, None
        self._choose()
        return queue

    def hush(self, silence: Silence) -> None:
        """Leave these replies out from now on."""
        self.silence = silence
        self._choose()

    def description(self) -> str:
        """As one line of CLIENT LIST."""
        client, server = self.addresses
        fields = {
            "id": self.id,
            "addr": _shown(client),
            "laddr": _shown(server),
            "name": self.name,
            "age": int(time.monotonic() - self._since),
            "flags": "N" if self.queue is None else "x",
            "db": 0,
            "multi": -1 if self.queue is None else len(self.queue.requests),
            "watch": int(self.watched is not None),
            "qbuf": self._requests.held,
            "user": "default",
            "resp": 3 if self.resp3 else 2,
            "lib-name": self.library.get("lib-name", ""),
            "lib-ver": self.library.get("lib-ver", ""),
        }
        return " ".join(f"{name}={value}" for name, value in fields.items())

    def _choose(self) -> None:
        """Choose whether requests are looked up at once, as usual, or by `_look_twice`: so usual ones pay nothing."""
        server = self.server
        proved = self._token is not None or (server.secret is not None and self.authenticated)
        self.may_read = proved or not server.guards_reads
        self._requests.authenticated = proved or (server.tokens is None and self.authenticated)
        self._usual = self.commands if self.may_read and self.queue is None and self.silence is Silence.NONE else {}

    def _look_twice(self, args: Args) -> bytes | Pending | None:
        """The reply to a request that is not in `_usual`: its name is in lower case or unknown, or that is empty."""
        immutable = self.server.immutable
        if self._usual:
            return execute(self.commands, self, args, immutable)
        if not self.may_read and args[0].upper() not in BEFORE_AUTH:
            self.refused()
            return NOAUTH
        silence = self.silence
        if silence is Silence.NEXT:
            self.hush(Silence.THIS)
        reply: bytes | Pending | None = None if self.queue is None else self.queue.add(self.commands, args)
        if reply is None:
            reply = execute(self.commands, self, args, immutable)
        heard = Silence.NONE in {silence, self.silence}  # CLIENT REPLY ON is answered, whatever was to be left out
        if self.silence is Silence.THIS:
            self.hush(Silence.NONE)
        if heard:
            return reply
        return Unheard(reply) if isinstance(reply, Pending) else b""


def _shown(address: object) -> str:
    """A socket's address in one word."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(address or "")
