"""The shapes of the answers in JSON, by name: derived where a dataclass makes the answer, else written out."""

from typing import Any, Final

from ringkv.router.figures.hottest import HotKey, Hottest
from ringkv.router.figures.values import Figures, ShardFigures
from ringkv.router.figures.versions import (
    ComingVersion,
    KeptVersion,
    OfferedVersion,
    ServedVersion,
    VersionsSeen,
    WaitingFor,
)
from ringkv.router.http.openapi.derived import Schema, derived, record, reference
from ringkv.router.lookup.counters import Counters
from ringkv.router.lookup.durations import BOUNDS, Durations
from ringkv.router.members.events import Event
from ringkv.router.policy import HISTORY_INTERVAL

UUID: Final = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-4[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}"

VERSIONS: Final = (ComingVersion, KeptVersion, OfferedVersion, ServedVersion, VersionsSeen, WaitingFor)

_INTEGER: Final[Schema] = {"type": "integer"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[Schema] = {"type": "number"}
_STRING: Final[Schema] = {"type": "string"}
_MICROSECONDS: Final[Schema] = {"type": "number", "minimum": 0}
_FRACTION: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1, "description": "Of the ring, to 6 digits."}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _list(items: Schema, description: str) -> Schema:
    return {"type": "array", "items": items, "description": description}


def _named(values: Schema, description: str) -> Schema:
    """An object whose names are data."""
    return {"type": "object", "additionalProperties": values, "description": description}


def _or_null(kind: str, description: str) -> Schema:
    return {"type": [kind, "null"], "description": description}


def _pair(items: Schema, description: str) -> Schema:
    """Two of a kind. `prefixItems` would say more, and is not understood by much of what reads such documents."""
    return {**_list(items, description), "minItems": 2, "maxItems": 2}


def _picked(schema: Schema, *names: str) -> Schema:
    """These properties of a schema alone."""
    return {name: schema["properties"][name] for name in names}


_SHARD: Final = derived(ShardFigures)
_COUNTERS: Final = derived(Counters, found={"type": "integer"}, unauthorized={"type": "integer"})
_DURATIONS: Final = derived(
    Durations, counts={"type": "array", "items": _COUNT, "minItems": len(BOUNDS) + 1, "maxItems": len(BOUNDS) + 1}
)
_FIGURES: Final = derived(
    Figures,
    bounds=_list(_NUMBER, "BOUNDS: the upper bounds of the durations' counts, in seconds."),
    counters=reference("Counters"),
)
_RATES: Final = {
    "requests": _said(_NUMBER, "Keys asked for a second."),
    "p50": _or_null("number", "Seconds within which half of them were answered."),
    "p99": _or_null("number", "Seconds within which 99 % of them were answered."),
}

_RING: Final = record(
    "Who owns how much.",
    {
        **_picked(_FIGURES, "epoch", "serial", "dataset", "ring", "replicas", "partitions"),
        "shards": _list(
            record(
                "One shard.",
                _picked(
                    _SHARD,
                    *("name", "address", "announced", "zone", "weight"),
                    *("state", "serial", "partitions", "keys", "direct"),
                ),
            ),
            "By name.",
        ),
        **_picked(_FIGURES, "extra_owners"),
        "kept_out": _named(_STRING, "Addresses whose shards take no part, each with the reason."),
    },
)
_LAYOUT: Final = record(
    "The ring for a picture of it. Shards are given by their index in `shards`.",
    {
        "epoch": _said(_COUNT, "Grows with each topology."),
        "dataset": _said(_STRING, "The dataset's id."),
        "ring": _said(_STRING, "The ring's id."),
        "partitions": _COUNT,
        "shards": _list(_STRING, "The names."),
        "bands": _list(
            _list(_pair(_COUNT, "First partition, shard."), "Runs of one owner, in order."),
            "One a replica, that of the preferred owners first.",
        ),
        "extra": _list(_pair(_COUNT, "Partition, shard."), "Owners of hot partitions beside their replicas."),
        "virtual_nodes": _said(_COUNT, "How many there are; `points` may have fewer."),
        "points": _list(
            _pair({"type": "number", "minimum": 0}, "Fraction of the ring, shard."), "Virtual nodes, in order."
        ),
        "moved": _list(
            _list(_pair(_COUNT, "First partition, how many."), "Runs that are new to their owner."),
            "One a replica; none before the first change.",
        ),
    },
)
_EXPLANATION: Final = record(
    "The way of one key.",
    {
        "key": _said(_STRING, "In lower case."),
        "position": _said(
            {"type": "string", "pattern": "^[0-9]{1,20}$"}, "On the ring, 0 to 2^64 - 1, as decimal text."
        ),
        "fraction": _FRACTION,
        "partition": _COUNT,
        "partitions": _COUNT,
        "slot": _said(_COUNT, "That of Redis Cluster."),
        "owners": _list(
            record(
                "One owner of the key.",
                {
                    "name": _STRING,
                    "address": _or_null("string", "null where the router has just lost it."),
                    "zone": _said(_STRING, "Empty where the shard says none."),
                    "open": _said({"type": "boolean"}, "Whether the router is connected to it."),
                    "in_flight": _COUNT,
                },
            ),
            "The preferred one first.",
        ),
        "dataset": _said(_STRING, "The dataset's id."),
        "epoch": _COUNT,
        "shard": _said(_STRING, "The owner that has answered."),
        "block": _said(_COUNT, "The block of the dataset that holds the key, if there is one that does."),
        "checked": _said({"type": "boolean"}, "Whether the shard had read and checked that block before."),
        "found": _said({"type": "boolean"}, "Whether the dataset holds the key."),
        "rank": _or_null("integer", "Among the keys of the block; null where the key was not found, as those below."),
        "offset": _or_null("integer", "Of the value's first byte in that file."),
        "size": _or_null("integer", "Of the value, in bytes."),
        "file": _said(_STRING, "The dataset's segment of this block, on the shard's machine."),
        "microseconds": record(
            "How long each step took.",
            {
                **dict.fromkeys(("parse", "position", "route", "round_trip"), _MICROSECONDS),
                "shard": _named(_MICROSECONDS, "The steps inside the shard, a part of `round_trip`."),
            },
        ),
    },
)
_HISTORY: Final = record(
    "The last hour in samples.",
    {
        "interval": _said({"const": HISTORY_INTERVAL}, "Seconds between two samples."),
        "samples": _list(
            record(
                "What was done since the sample before.",
                {
                    "at": _said(_INTEGER, "Unix seconds."),
                    **_RATES,
                    "errors": _said(_NUMBER, "Requests refused or not answered a second."),
                    "shards": _named(record("What one shard did.", _RATES), "By name, those that could be asked."),
                },
            ),
            "The oldest first.",
        ),
    },
)
_VALUES: Final = record(
    "The values of many keys.",
    {
        "dataset": _said(_STRING, "The id of the dataset that all of them are from."),
        "values": _named(
            {
                "anyOf": [
                    _said(_STRING, "The value, where it is UTF-8."),
                    record("Any other value.", {"base64": {"type": "string", "contentEncoding": "base64"}}),
                ]
            },
            "By key, in lower case.",
        ),
        "missing": _list(_STRING, "Keys that the dataset does not hold."),
    },
)

SCHEMAS: Final[dict[str, Any]] = {
    "Counters": _COUNTERS,
    "Durations": _DURATIONS,
    "Event": _said(
        derived(Event, at={"type": "string", "format": "date-time", "description": "RFC 3339, UTC."}),
        'What has happened, `text`, to which shard, or "", as the router process `worker` saw it.',
    ),
    "Events": record("What happened to the cluster.", {"events": _list(reference("Event"), "The oldest first.")}),
    "Explanation": _EXPLANATION,
    "Figures": _FIGURES,
    "History": _HISTORY,
    "Layout": _LAYOUT,
    **{kind.__name__: derived(kind) for kind in (*VERSIONS, HotKey, Hottest)},
    "Ring": _RING,
    "ShardFigures": _SHARD,
    "Values": _VALUES,
    "Line": {"type": "string", "pattern": "^[^\\r\\n]+\\n$", "description": "One line of text, for people."},
}
