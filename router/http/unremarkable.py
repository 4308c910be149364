"""Which requests may take the express lane: whole heads in which nothing stands that would change the answer."""

import re
from typing import Final

from ringkv.router.http.host import HOST

_UNREMARKABLE: Final = re.compile(
    rb" HTTP/1\.1\r\n"
    rb"(?:(?i:Host): ?%b\r\n"
    rb"|(?i:User-Agent|Accept|Accept-Encoding|Accept-Language|Referer|Origin|Authorization):"
    rb" ?[\x21-\x7e][\x20-\x7e]{0,2000}\r\n"
    rb"|(?i:Connection): ?(?i:keep-alive)\r\n)*\r\n" % HOST.encode()
)
_NAMES: Final = re.compile(rb"\r\n([A-Za-z-]+):")
_AUTHORIZATION: Final = re.compile(rb"\r\n(?i:Authorization): ?([^\r]+)\r\n")
_ONE_PLAIN_HEAD: Final = re.compile(rb"[A-Z]+ [^\r\n]+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n")
_MAY_GO_ON: Final = re.compile(
    rb"\r\n(?:content-length|transfer-encoding|upgrade|connection|expect)[ \t]*:", re.IGNORECASE
)


def unremarkable(tail: bytes) -> bool:
    """Whether what follows the path of a GET request is a whole head that changes nothing about the answer."""
    if len(tail) > 4096 or not _UNREMARKABLE.fullmatch(tail):
        return False
    names = [name.lower() for name in _NAMES.findall(tail)]
    return b"host" in names and len(names) == len(set(names))


def leaves_nothing_behind(data: bytes) -> bool:
    """Whether `data` is exactly one whole request, so that the parser is between two requests after it."""
    return _ONE_PLAIN_HEAD.fullmatch(data) is not None and _MAY_GO_ON.search(data) is None


def authorization(tail: bytes) -> str:
    """The value of this header in an unremarkable tail, or "" where there is none."""
    found = _AUTHORIZATION.search(tail)
    return found[1].strip().decode("ascii") if found else ""
