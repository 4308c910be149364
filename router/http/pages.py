"""The page at `/` and its files: read once at the start, sent with headers that let it load nothing from elsewhere."""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import Final

from aiohttp import hdrs, web
from xxhash import xxh3_64_hexdigest

from ringkv.router.http.answers import bare, etag, plain
from ringkv.router.http.conditional import holds
from ringkv.router.http.endpoint import nowhere

ABOUT: Final = (
    "ringkv: GET /<UUID v4>, POST /mget, GET /ring, /ring/layout, /versions, /explain/<UUID v4>, /stats, /history,"
    " /events, /hot, /metrics, /healthz, /readyz, /openapi.json"
)
"""The front page for clients that do not ask for HTML."""

KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""The media types of the files."""

POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "img")),
        *(f"{what} 'none'" for what in ("base-uri", "form-action", "frame-ancestors")),
    ]
)
"""Without it a value that was shown wrongly could run as a script. Source: Content Security Policy Level 3, W3C."""


@dataclass(frozen=True, slots=True)
class PageFile:
    body: bytes
    kind: str
    tag: str

    def answer(self, request: web.Request) -> web.Response:
        """The file, or 304 where the client has it already."""
        # A new version of ringkv has another page at the same path: browsers always ask, and mostly get 304.
        headers = {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
            "Vary": "Accept",
        }
        headers |= etag(self.tag)
        if holds(request, self.tag):
            return bare(304, headers)
        return web.Response(body=self.body, content_type=self.kind, charset="utf-8", headers=headers)


class Pages:
    """All files of the page, in memory."""

    def __init__(self) -> None:
        folder = files("ringkv.router") / "page"
        self._files = {file.name: _read(file) for file in folder.iterdir() if _suffix(file) in KINDS}

    async def file(self, request: web.Request) -> web.StreamResponse:
        """`GET /page/<name>`."""
        found = self._files.get(request.match_info["name"])
        return await nowhere(request) if found is None else found.answer(request)

    async def front(self, request: web.Request) -> web.Response:
        """`GET /`: the page for a browser, one line for anybody else."""
        if wants_page(request):
            return self._files["index.html"].answer(request)
        return plain(ABOUT, {hdrs.VARY: hdrs.ACCEPT})


def _read(file: Traversable) -> PageFile:
    body = file.read_bytes()
    return PageFile(body, KINDS[_suffix(file)], xxh3_64_hexdigest(body))


def _suffix(file: Traversable) -> str:
    return PurePath(file.name).suffix


def wants_page(request: web.Request) -> bool:
    """Whether the client takes HTML by name, as browsers do and curl does not."""
    accepted = request.headers.get(hdrs.ACCEPT, "").lower().split(",")
    return any(kind.partition(";")[0].strip() == "text/html" for kind in accepted)
