"""What takes milliseconds to make is made once in a turn of the event loop, however many ask for it."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ringkv.process.turns import Turns
from ringkv.router.http.endpoint import READ, Endpoint
from tests.support.http import fetch
from tests.support.router import Serve

FIGURES = ["/ring", "/ring/layout", "/versions", "/stats", "/history", "/events", "/hot", "/metrics"]


async def test_one_is_made_in_a_turn() -> None:
    made = 0

    async def handler(_request: web.Request) -> web.StreamResponse:
        nonlocal made
        made += 1
        return web.Response()

    endpoint = Endpoint("/stats", READ, handler, turns=Turns())
    asking = [asyncio.create_task(endpoint.answer(make_mocked_request("GET", "/stats"))) for _ in range(50)]
    before = most = 0
    while not all(each.done() for each in asking):
        await asyncio.sleep(0)
        most, before = max(most, made - before), made
    assert (made, most) == (50, 1)


async def test_all_figures_take_turns(serve: Serve) -> None:
    router = await serve()
    app = router.runner.app
    assert app is not None
    endpoints = [getattr(route.handler, "__self__", None) for route in app.router.routes()]
    turned = {each.path for each in endpoints if isinstance(each, Endpoint) and each.turns is not None}
    assert turned == {*FIGURES, "/explain/{key}"}
    for path in FIGURES:
        assert (await fetch("127.0.0.1", router.port, path)).status == 200
