"""How many requests of a router ended in which way, and what had to be done for them."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What has happened since the start.

    Values found are derived: timed answers less `missing` less `unavailable` (router/figures/own.py).
    """

    requests: int = 0
    batched: int = 0
    missing: int = 0
    unavailable: int = 0
    refused: int = 0
    abandoned: int = 0
    hedged: int = 0
    retried: int = 0
    waited: int = 0
