"""How much of a connection may be under way, or held for it, at once."""

from typing import Final

FLUSH_BYTES: Final = 1 << 18
LEAST_BYTES: Final = 512
"""Bytes of replies that are collected before they are written although more requests wait; each reply counts as
LEAST_BYTES at least. Then the client waits for its next turn."""

FIRST_WINDOW: Final = 32
MAX_WINDOW: Final = 256
"""Requests that may wait for their replies at once: FIRST_WINDOW until the replies show how large the values are, then
up to MAX_WINDOW. With more, a pipeline is no faster, and 64 such clients would fill a router."""

MAX_UNSENT: Final = 4 << 20
"""Bytes that the replies to a window of requests should have together: larger replies make the window smaller."""
