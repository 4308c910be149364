"""Packing on Apache Spark: from DataFrames, or from texts that its executors read, to the version that is served.

    texts ─────► sort_split ─┐             ┌─ tallies ─► driver: how many blocks
                             ├─► shuffle ──┤
    DataFrame ─► sort_frame ─┘             └─ runs ────► merge_arc ─► parts ─► driver: the dataset ─► current.json

Two jobs share one shuffle: the first sorts everything and returns the tallies, the second merges. Sorted runs of many
rows are shuffled, so that Spark moves bytes and looks at none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pyspark import RDD, SparkContext
from pyspark.sql import Column, DataFrame
from pyspark.sql.types import BinaryType, StringType

from ringkv.cluster.errors import MalformedLine, PackingFailed, RingkvError, SourceError
from ringkv.cluster.position import block_count
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.manifest import SourceEntry
from ringkv.dataset.packing.arcs import CHUNK, SPLIT_BITS, Merge, Part, Tally, arc_count
from ringkv.dataset.packing.cuts import ROW, segment_size
from ringkv.dataset.packing.merge import Duplicate
from ringkv.dataset.packing.parts import Parts, parts_folder
from ringkv.dataset.packing.places import Places
from ringkv.dataset.packing.spark_tasks import (
    Record,
    attempts_of,
    merge_task,
    session,
    sort_frame_task,
    sort_text_task,
    telling,
    unpickled,
)
from ringkv.dataset.packing.splits import Split, Text, check_unchanged, find_texts, splits
from ringkv.dataset.publish import Order, Published, publish_parts
from ringkv.dataset.publisher import user
from ringkv.dataset.source.file import digest_of
from ringkv.dataset.source.protocol import Named
from ringkv.dataset.upload import Tell

SPLITS_PER_CORE: Final = 4
"""Splits of a small text: so many that no core waits long for the last one."""

LEAST_SPLIT: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A DataFrame as messages name it."""

    name: str = "the DataFrame"
    unit: Literal["row"] = "row"


FRAME: Final = Frame()


@dataclass(frozen=True, slots=True)
class Job:
    """What is packed: the splits of texts, or without any a DataFrame, whose own partitions take their place."""

    context: SparkContext
    records: "RDD[Record]"
    arcs: int
    chunk: int
    texts: Sequence[Text] = ()
    splits: Sequence[Split] = ()

    @property
    def files(self) -> list[Path]:
        """The sources that are files of this machine."""
        return [text.path for text in self.texts if text.path]

    def named(self, split: int) -> Named:
        return self.splits[split].text if self.splits else FRAME


def publish(  # noqa: PLR0913 - four say what, two how
    df: DataFrame,
    catalog: str | Path,
    key: str = "key",
    value: str = "value",
    *,
    order: Order | None = None,
    tell: Tell = lambda _line: None,
) -> Published:
    """Let the pairs of a DataFrame be served by all that follow `catalog`, a path or the address of a store.

    Column `key` is text, a UUID version 4, or its 16 bytes; `value` is bytes or text. `order` says who publishes, what
    becomes of keys that stand in several rows, and how many keys may be gone; by default duplicates are an error.
    "first" and "last" go by the order of rows in the DataFrame, which has to give the same rows if it is computed
    again. As many tasks merge as `spark.sql.shuffle.partitions` says, up to 256. `tell` is called with a line about
    each step. Raises as `ringkv.dataset.publish.publish` does.
    """
    spark = df.sparkSession
    arcs = arc_count(int(spark.conf.get("spark.sql.shuffle.partitions") or 1))
    chunk = _chunk(order)
    pairs = df.select(_bytes(df, key).alias("key"), _bytes(df, value).alias("value"))
    sort = partial(sort_frame_task, attempts_of(spark.sparkContext), arcs, chunk)
    records: RDD[Record] = pairs.mapInArrow(sort, "record binary").rdd.map(unpickled)
    return _publish(Job(spark.sparkContext, records, arcs, chunk), Catalog.at(catalog), order or Order(user()), tell)


def publish_at(master: str, locations: Sequence[str], catalog: Catalog, order: Order, tell: Tell) -> Published:
    """Let the pairs of these texts, files and objects, be served, packed by a Spark session of its own at this master.

    Raises as `publish_texts`, and PackingFailed.
    """
    texts = find_texts(locations)
    with session(master) as context:
        return publish_texts(context, texts, catalog, order, tell)


def publish_texts(
    context: SparkContext, texts: Sequence[Text], catalog: Catalog, order: Order, tell: Tell
) -> Published:
    """Let the pairs of these texts be served; all executors have to find them at the same paths and addresses.

    Raises as `ringkv.dataset.publish.publish` does.
    """
    chunk = _chunk(order)
    total = sum(text.size for text in texts)
    size = max(LEAST_SPLIT, total // (SPLITS_PER_CORE * context.defaultParallelism))
    ranges = splits(texts, min(size, chunk))
    arcs = arc_count(max(len(ranges), context.defaultParallelism))
    tasks = context.parallelize(list(enumerate(ranges)), max(1, len(ranges)))
    records = tasks.flatMap(partial(sort_text_task, attempts_of(context), arcs, chunk))
    return _publish(Job(context, records, arcs, chunk, texts, ranges), catalog, order, tell)


def _publish(job: Job, catalog: Catalog, order: Order, tell: Tell) -> Published:
    before = catalog.current()
    with parts_folder(catalog.objects, job.files) as folder:
        shuffled = job.records.partitionBy(job.arcs + 1, int)
        tallies = _tallies(job, shuffled)
        parts = _merged(job, shuffled, tallies, catalog, folder, order)
        made = Parts(parts, _entries(job, tallies), job.files)
        return publish_parts(made, catalog, before, order, tell, lambda _done, _all: None)


def _tallies(job: Job, shuffled: "RDD[Record]") -> list[Tally]:
    """Sort all splits; their tallies, in order. Raises MalformedLine, SourceError, StoreError."""
    found = _run(job, shuffled.values(), [job.arcs])
    tallies = sorted(tally for tally in found if isinstance(tally, Tally))
    for tally in tallies:
        if tally.malformed:
            places = _places(job, tallies[: tallies.index(tally)])
            line, reason = tally.malformed
            places.add(job.named(tally.split), line + 1)
            raise MalformedLine(f"{places.of(places.rows - 1)}: {reason}")
    check_unchanged(job.texts)
    return tallies


def _merged(  # noqa: PLR0913, PLR0917 - all that the whole of it is made of
    job: Job, shuffled: "RDD[Record]", tallies: Sequence[Tally], catalog: Catalog, folder: str, order: Order
) -> list[Part]:
    """The parts of all arcs, in order. Raises DuplicateKey, PackingFailed, StoreError."""
    objects = catalog.objects
    location = str(objects.path.resolve()) if objects.path else objects.location
    rows, values = sum(tally.rows for tally in tallies), sum(tally.values for tally in tallies)
    keys, size = rows, values
    while True:
        blocks = block_count(keys, size)
        wanted = segment_size(rows * ROW + values)
        task = Merge(location, folder, job.arcs, blocks, order.on_duplicate, job.chunk, wanted)
        merge = partial(merge_task, task, attempts_of(job.context))
        found = _run(job, shuffled.mapPartitionsWithIndex(merge), range(job.arcs))
        for result in found:
            if isinstance(result, Duplicate):
                raise _places(job, tallies).twice(_counted(result, tallies))
        if sum(merged.rows for merged in found) != rows:
            raise PackingFailed(
                "the data had other rows when a part of them was read again; publish files that stay as they are"
            )
        parts = [part for merged in found for part in merged.parts]
        # Without the dropped duplicates fewer blocks may be right, as in packing on one machine.
        keys = sum(int(part.blocks["keys"].sum(dtype=np.int64)) for part in parts)
        size = sum(part.values for part in parts)
        if block_count(keys, size) == blocks:
            return parts
        objects.delete(part.name for part in parts)


def _places(job: Job, tallies: Sequence[Tally]) -> Places:
    places = Places()
    for tally in tallies:
        places.add(job.named(tally.split), tally.rows)
    return places


def _counted(found: Duplicate, tallies: Sequence[Tally]) -> Duplicate:
    """The same with rows counted through all splits."""

    def count(row: int) -> int:
        split, within = row >> SPLIT_BITS, row & ((1 << SPLIT_BITS) - 1)
        return within + sum(tally.rows for tally in tallies if tally.split < split)

    return Duplicate(found.key, count(found.first), count(found.second))


def _entries(job: Job, tallies: Sequence[Tally]) -> list[SourceEntry]:
    """What the manifest says of the texts; of a DataFrame nobody knows where it is from."""
    of_text: dict[str, list[Tally]] = {text.name: [] for text in job.texts}
    for tally, split in zip(tallies, job.splits, strict=bool(job.splits)):
        of_text[split.text.name].append(tally)
    return [
        SourceEntry(name, sum(tally.consumed for tally in found), digest_of([tally.digest for tally in found]))
        for name, found in of_text.items()
    ]


def _run(job: Job, records: "RDD[Any]", partitions: Sequence[int]) -> list[Any]:
    """Run a job over these partitions; its results. Raises the first result that is an error, or PackingFailed."""
    with telling(job.context.master or ""):
        found = job.context.runJob(records, list, partitions)
    for result in found:
        if isinstance(result, RingkvError):
            raise result
    return found


def _bytes(df: DataFrame, name: str) -> Column:
    """The column as bytes. Raises SourceError if it has none."""
    kinds = {field.name: field.dataType for field in df.schema}
    if name not in kinds:
        raise SourceError(f"{FRAME.name}: has no column `{name}`; it has {', '.join(kinds) or 'none'}")
    if not isinstance(kinds[name], (BinaryType, StringType)):
        raise SourceError(f"{FRAME.name}: column `{name}` is {kinds[name].simpleString()}; it must be binary or string")
    return df[name].cast(BinaryType())


def _chunk(order: Order | None) -> int:
    """How many bytes a task takes on at once: it has for itself what workers of one machine share."""
    return min(CHUNK, order.budget.workers * order.budget.chunk) if order and order.budget else CHUNK
