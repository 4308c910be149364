"""Numbers as messages say them."""


def counted(number: int, noun: str) -> str:
    """`1 shard`, `3 shards`, `10,000 keys`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
