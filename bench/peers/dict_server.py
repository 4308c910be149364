"""An aiohttp server with the file in a dict; with --shards it keeps just the keys that hash to its own port."""

import asyncio
from pathlib import Path

import click
import uvloop
from aiohttp import web
from uhashring import HashRing


def read(path: Path, port: int, shards: list[str]) -> dict[str, bytes]:
    ring = HashRing(nodes=shards)
    pairs = {}
    with path.open("rb") as file:
        for line in file:
            key = line[:36].decode()
            if not shards or ring.get_node(key) == str(port):
                pairs[key] = line[37:].removesuffix(b"\n")
    return pairs


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("port", type=int)
@click.option("--shards", default="", help="The ports of all shards, with commas.")
@click.option("--uvloop", "fast", is_flag=True)
def main(path: Path, port: int, shards: str, *, fast: bool) -> None:
    pairs = read(path, port, shards.split(",") if shards else [])

    async def get(request: web.Request) -> web.Response:
        value = pairs.get(request.match_info["key"])
        if value is None:
            raise web.HTTPNotFound
        return web.Response(body=value, content_type="text/plain")

    app = web.Application()
    app.router.add_get("/{key}", get)
    loop = uvloop.new_event_loop() if fast else asyncio.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, loop=loop, print=None)


main()
