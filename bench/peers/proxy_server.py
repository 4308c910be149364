"""The obvious proxy: hash the key with uhashring, ask that server through aiohttp's client, pass the answer on."""

from collections.abc import AsyncIterator

import click
from aiohttp import ClientSession, web
from uhashring import HashRing


@click.command()
@click.argument("port", type=int)
@click.argument("shards", nargs=-1)
def main(port: int, shards: tuple[str, ...]) -> None:
    ring = HashRing(nodes=list(shards))
    session = web.AppKey("session", ClientSession)

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession() as app[session]:
            yield

    async def get(request: web.Request) -> web.Response:
        key = request.match_info["key"]
        async with request.app[session].get(f"http://127.0.0.1:{ring.get_node(key)}/{key}") as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="text/plain")

    app = web.Application()
    app.cleanup_ctx.append(client)
    app.router.add_get("/{key}", get)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


main()
