"""Numbers of bytes as people write them."""

import re


def parse_size(text: str) -> int:
    """1048576, 1024K, 1M, 1MiB; K, M, G and T are powers of 1,024. Raises ValueError with the reason."""
    found = re.fullmatch(r"(\d{1,18})\s?(?:([kmgt])i?)?b?", text.strip().lower(), re.ASCII)
    if not found:
        raise ValueError(f"not a size: {text[:40]!r} (want bytes, or a number with K, M, G or T)")
    number, unit = found.groups()
    return int(number) << (10 * " kmgt".index(unit) if unit else 0)
