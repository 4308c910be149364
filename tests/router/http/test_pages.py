"""The page's files: for browsers only, from memory, with headers that let them load nothing from elsewhere."""

import re
from pathlib import Path

import pytest

import ringkv.router
from ringkv.router.http.pages import KINDS
from tests.support.router import Serve

FOLDER = Path(ringkv.router.__file__).parent / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())
HTML = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"


@pytest.mark.parametrize("accept", ["", "Accept: */*\r\n", "Accept: text/plain\r\n", "Accept: application/json\r\n"])
async def test_a_plain_client_gets_one_line(serve: Serve, accept: str) -> None:
    answer = await (await serve())("/", headers=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert answer.body.startswith(b"ringkv: GET /<UUID v4>")
    assert answer.body.count(b"\n") == 1


@pytest.mark.parametrize("accept", [HTML, "Accept: TEXT/HTML\r\n", "Accept: image/png , text/html;q=0.5\r\n"])
async def test_a_browser_gets_the_page(serve: Serve, accept: str) -> None:
    answer = await (await serve())("/", headers=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.body == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_sent_with_its_headers_and_once(serve: Serve, name: str) -> None:
    router_ = await serve()
    answer = await router_(f"/page/{name}")
    assert answer.body == (FOLDER / name).read_bytes()
    assert answer.headers["Content-Type"] == f"{KINDS[Path(name).suffix]}; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    tag = answer.headers["ETag"]
    for known in (tag, f'"other", W/{tag}'):
        again = await router_(f"/page/{name}", headers=f"If-None-Match: {known}\r\n")
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Content-Security-Policy"] == answer.headers["Content-Security-Policy"]
    assert (await router_(f"/page/{name}", headers='If-None-Match: "other"\r\n')).status == 200
    assert (await router_(f"/page/{name}", "HEAD")).headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize(
    "target", ["/page/none.js", "/page/", "/page/..%2Fapp.py", "/page/%2Fetc%2Fpasswd", "/page/a/b"]
)
async def test_what_is_no_file_of_the_page_is_404_in_one_line(serve: Serve, target: str) -> None:
    answer = await (await serve())(target)
    assert answer.status == 404
    assert answer.body.startswith(b"Not Found: GET /page/")
    assert answer.body.count(b"\n") == 1


async def test_the_page_cannot_be_written_to(serve: Serve) -> None:
    answer = await (await serve())("/page/page.js", "POST")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_host_or_writes_markup(name: str) -> None:
    text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"//[\w-]+\.\w|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=|javascript:", text)
