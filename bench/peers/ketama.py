"""The ring of nginx's `hash … consistent`, so that each key is put into the one memcached where nginx will look.

Source: nginx, src/http/modules/ngx_http_upstream_hash_module.c, which follows Cache::Memcached::Fast.
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

POINTS = 160


class Ketama:
    """`sockets` are the paths of the Unix sockets of servers of equal weight."""

    def __init__(self, sockets: Sequence[Path]) -> None:
        points: dict[int, int] = {}
        for server, path in enumerate(sockets):
            # Host, NUL, port: a Unix socket has no port.
            base = crc32(f"{path}\0".encode())
            point = 0
            for _ in range(POINTS):
                point = crc32(point.to_bytes(4, "little"), base)
                points.setdefault(point, server)
        self._points = sorted(points)
        self._servers = [points[point] for point in self._points]

    def server(self, key: bytes) -> int:
        """The index of the server that holds the key."""
        return self._servers[bisect_left(self._points, crc32(key)) % len(self._points)]
