"""Get values from a ringkv router: a script, and the Python client. This file needs only Python 3.11: copy it anywhere.

python client/get.py f8a24bb8-eff8-41dc-929b-10b4c3e49e05
"""

import contextlib
import os
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection, IncompleteRead
from typing import BinaryIO, Final, NamedTuple, NoReturn, TextIO
from urllib.parse import quote, urlsplit

DEFAULT_URL: Final = "http://localhost:8000"
URL_VARIABLE: Final = "RINGKV_URL"
TOKEN_VARIABLE: Final = "RINGKV_TOKEN"  # noqa: S105 - its name, which is no secret

TIMEOUT: Final = 10.0
"""Seconds without a byte from the router. It answers within 5, if only with 503."""

RETRIES: Final = 2
"""How often a request is sent again after a 503, which comes after up to 5 s: a shard starts in less than 15 s."""

RETRY_AFTER_MAX: Final = 10
"""Seconds of `Retry-After`, at most. A router that asks for more will not recover soon: better to say so at once."""

FOUND, MISSING, FAILED = 0, 1, 2
INTERRUPTED, OUTPUT_CLOSED = 130, 141
"""128 + SIGINT and 128 + SIGPIPE, as a shell reports them for `cat`: neither may look like a missing key."""

SUMMARY: Final = f"""\
Print the value of each KEY: its bytes, unchanged, and a newline.

A value cannot contain a newline, so each line is one value. A KEY of "-" reads
keys from standard input, one a line, and prints each value as soon as it comes.
The router is --url, else ${URL_VARIABLE}, else {DEFAULT_URL}; ${TOKEN_VARIABLE}
is the token that it may want, $SSL_CERT_FILE has the roots of its certificate.

Exit code 0: all keys were found. 1: a key is not in the dataset; it is named on
stderr, the others are printed. 2: anything else; one line on stderr says what."""

EXAMPLES: Final = """\
Examples:
  %(prog)s f8a24bb8-eff8-41dc-929b-10b4c3e49e05
  cut -d' ' -f1 example.data | %(prog)s -"""


class ClientError(Exception):
    """The root of all that this client raises on purpose; `str()` is one line for people."""


class InvalidKey(ClientError):
    """Not the text of a UUID version 4."""


class InvalidURL(ClientError):
    """Not http(s)://host[:port][/prefix]."""


class InvalidToken(ClientError):
    """Not a token: it has other characters than a token may have."""


class Unreachable(ClientError):
    """No answer: refused, cut off, timed out, an untrusted certificate."""


class Unavailable(ClientError):
    """The router said 503, and still did after the retries."""


class Unauthorized(ClientError):
    """The router wants a token, or another one."""


class UnexpectedAnswer(ClientError):
    """What answered is not a ringkv router, or one that is broken."""


class Client(contextlib.AbstractContextManager["Client"]):
    """One keep-alive connection to a router, opened when it is needed; not to be shared by threads.

        with Client("http://localhost:8000") as client:
            value = client.get("f8a24bb8-eff8-41dc-929b-10b4c3e49e05")

    `url` may be https and may have a path prefix; `timeout` is in seconds without a byte. `token` is sent with each
    request, `tls` is the context for https. Raises InvalidURL, InvalidToken; the methods raise Unreachable,
    Unavailable, Unauthorized, UnexpectedAnswer.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, timeout: float = TIMEOUT, token: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._connection, self._prefix = _open(url, timeout, tls)
        if token and not _is_token(token := token.strip()):
            raise InvalidToken("not a token (want letters, digits and -._~+/)")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, key: str) -> bytes | None:
        """The value of `key`, or None when the dataset has no such key. Raises also InvalidKey."""
        answer = self._answer(canonical(key))
        # Any web server answers 404 to a wrong path; only ringkv can say that a key is absent.
        absent = answer.status == 404 and "Ringkv-Missing" in answer.headers
        return None if absent else answer.content(self._url)

    def page(self, path: str) -> bytes:
        """The body of another page, such as `stats`."""
        return self._answer(path).content(self._url)

    def close(self) -> None:
        self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, path: str) -> "_Answer":
        """The answer to `path`; after a 503 that says when to come back it is asked for again."""
        for _ in range(RETRIES):
            answer = self._ask(path)
            if (pause := answer.pause()) is None:
                return answer
            time.sleep(pause)
        return self._ask(path)

    def _ask(self, path: str) -> "_Answer":
        # A server may close an idle connection at any time: only a failure on a new one proves that none is there.
        reused = self._connection.sock is not None
        try:
            try:
                return self._exchange(path)
            except (OSError, HTTPException) as error:
                if not reused or isinstance(error, TimeoutError):
                    raise
            return self._exchange(path)
        except (OSError, IncompleteRead) as error:
            reason = getattr(error, "strerror", None) or error
            raise Unreachable(f"no answer from {self._url}: {one_line(str(reason))}; is a router there?") from error
        except (HTTPException, ValueError, OverflowError, MemoryError) as error:  # a length that is none
            raise UnexpectedAnswer(f"{self._url} does not speak HTTP: {one_line(repr(error))}") from error

    def _exchange(self, path: str) -> "_Answer":
        try:
            self._connection.request("GET", f"{self._prefix}/{path}", headers=self._headers)
            response = self._connection.getresponse()
            return _Answer(response.status, response.reason, response.headers, response.read())
        except BaseException:  # the rest of this answer must not be taken for the next one
            self._connection.close()
            raise


class _Answer(NamedTuple):
    status: int
    reason: str
    headers: HTTPMessage
    body: bytes

    def pause(self) -> int | None:
        """Seconds to wait before asking again; None if the answer is final, as also with a date in `Retry-After`."""
        seconds = self.headers.get("Retry-After", "").strip()
        told = self.status == 503 and re.fullmatch("[0-9]{1,9}", seconds)
        return int(seconds) if told and int(seconds) <= RETRY_AFTER_MAX else None

    def content(self, url: str) -> bytes:
        """The body, if there is one. Raises Unavailable, Unauthorized, UnexpectedAnswer."""
        if self.status == 200:
            return self.body
        said = f"{self.status} {self.reason}"
        if self.headers.get_content_type() == "text/plain":
            said = f"{said}: {self.body[:200].decode(errors='replace')}"
        if self.status == 503:
            raise Unavailable(f"{url} is unavailable: {one_line(said)}")
        if self.status == 401:
            raise Unauthorized(f"{url} wants a token, or another one (${TOKEN_VARIABLE}): {one_line(said)}")
        raise UnexpectedAnswer(f"{url} does not answer as a ringkv router: {one_line(said)}")


_is_token = re.compile(r"[A-Za-z0-9._~+/-]+=*").fullmatch
_is_uuid4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


def canonical(key: str) -> str:
    """`key` in lower case. Raises InvalidKey, also for text that the router would take for another path."""
    if not _is_uuid4(lowered := key.lower()):
        raise InvalidKey(f"not a UUID version 4: {key[:60]!r} (want xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx)")
    return lowered


def _open(url: str, timeout: float, tls: ssl.SSLContext | None) -> tuple[HTTPConnection, str]:
    """A connection that is not yet made, and the prefix of all paths. Raises InvalidURL."""
    invalid = InvalidURL(f"not the URL of a router: {url!r} (want http://host:port or https://host/prefix)")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # The codec that resolving will use: it refuses empty and overlong labels, and not with an OSError.
        host.encode("idna")
        default = {"http": 80, "https": 443}[parts.scheme]
        kind = HTTPConnection if default == 80 else partial(HTTPSConnection, context=tls)
        # The port must be given: http.client would look for it in the last group of an IPv6 address.
        connection = kind(host, parts.port or default, timeout=timeout)
        prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=")
    except (KeyError, ValueError, HTTPException) as error:
        raise invalid from error
    if not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise invalid
    return connection, prefix


def print_values(arguments: Iterable[str], connect: Callable[[], Client]) -> int:
    """Print the value of each key; "-" stands for the keys on standard input. Returns the exit code."""
    code = FOUND
    try:
        with connect() as client:
            output = _binary(sys.stdout, "output")
            for key in _keys(arguments):
                value = client.get(key)
                if value is None:
                    code = MISSING
                    _say(f"no such key: {key}")
                else:
                    output.writelines((value, b"\n"))
                    output.flush()
    except ClientError as error:
        return _fail(str(error))
    except OSError as error:
        forget_output()
        closed = isinstance(error, BrokenPipeError)
        return OUTPUT_CLOSED if closed else _fail(f"standard input or output: {error.strerror or error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _keys(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        yield from _lines(_binary(sys.stdin, "input")) if argument == "-" else [argument]


def _lines(keys: Iterable[bytes]) -> Iterator[str]:
    """The canonical keys; blank lines are passed over. Raises InvalidKey, with the number of the line."""
    for number, line in enumerate(keys, start=1):
        if key := line.decode(errors="backslashreplace").strip():
            try:
                yield canonical(key)
            except InvalidKey as error:
                raise InvalidKey(f"standard input, line {number}: {error}") from error


def _binary(stream: TextIO | None, name: str) -> BinaryIO:
    if stream is None:  # as after `<&-` or `>&-` in a shell
        raise OSError(0, f"standard {name} is closed")
    return stream.buffer


def forget_output() -> None:
    """Drop what is left for stdout: at its exit the interpreter would report the same error a second time."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    _say(f"Error: {message}")
    return FAILED


def _say(line: str) -> None:
    with contextlib.suppress(OSError, AttributeError):  # stderr is closed; the exit code still tells
        sys.stderr.write(f"{line}\n")


def one_line(text: str) -> str:
    """`text` as one line without control characters, as it may come from anywhere and be shown by a terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def wrong_usage(message: str) -> NoReturn:
    """End with one line, without the usage: as every other error."""
    sys.exit(_fail(f"{one_line(message)} (--help tells more)"))


def main() -> int:
    import argparse  # noqa: PLC0415 - the installed command has a parser of its own

    class Parser(argparse.ArgumentParser):
        error = staticmethod(wrong_usage)

    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(f"python {sys.argv[0]}", description=SUMMARY, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("keys", nargs="+", metavar="KEY", help='a UUID version 4, or "-"')
    parser.add_argument("--url", default=os.environ.get(URL_VARIABLE) or DEFAULT_URL, help="the router")
    arguments = parser.parse_intermixed_args()
    return print_values(arguments.keys, lambda: Client(arguments.url, token=os.environ.get(TOKEN_VARIABLE, "")))


if __name__ == "__main__":
    sys.exit(main())
