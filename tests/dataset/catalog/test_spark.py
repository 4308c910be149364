"""Spark makes of texts and DataFrames the dataset that packing here makes, and refuses what it refuses."""

import gzip
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from pyspark.sql import DataFrame, SparkSession

from ringkv.cluster.errors import DatasetError, PublishRefused, SourceError, StoreError
from ringkv.cluster.limits import MAX_VALUE
from ringkv.dataset.catalog import Catalog
from ringkv.dataset.content import opened_in
from ringkv.dataset.generate import lines
from ringkv.dataset.packing import spark as on_spark
from ringkv.dataset.packing.local import pack
from ringkv.dataset.packing.memory import Budget
from ringkv.dataset.packing.merge import DuplicatePolicy
from ringkv.dataset.packing.spark import publish as publish_frame
from ringkv.dataset.packing.spark import publish_texts
from ringkv.dataset.packing.spark_tasks import JAVA
from ringkv.dataset.packing.splits import find_texts
from ringkv.dataset.prune import prune
from ringkv.dataset.publish import Order, Published
from ringkv.dataset.source.find import find
from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, one_line, wait_for
from tests.support.store import StoreServer

Data = Callable[..., Path]
Key = Callable[[int], bytes]

LONG = 240.0
"""Seconds. On a busy machine Java takes most of a minute to start."""

SMALL = Budget(1, 20_000)
"""So that a chunk is a small part of a small text."""


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """One session for all tests: a Java process takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        builder = builder.config("spark.driver.defaultJavaOptions", JAVA)
        session = builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture
def on_texts(
    spark: SparkSession, catalog: Catalog, store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Published]:
    """Publishes texts to the catalog; what is told about the steps is added to `told`."""
    monkeypatch.setattr(on_spark, "LEAST_SPLIT", 1)
    for name, value in store.env.items():
        monkeypatch.setitem(spark.sparkContext.environment, name, value)  # Java has the environment of before

    def run(
        *texts: str | Path, on_duplicate: DuplicatePolicy = "error", told: list[str] | None = None, chunk: int = 20_000
    ) -> Published:
        order = Order("a test", on_duplicate, Budget(1, chunk))
        steps = told if told is not None else []
        found = find_texts([str(text) for text in texts])
        return publish_texts(spark.sparkContext, found, catalog, order, steps.append)

    return run


def here(tmp_path: Path, *data: Path, on_duplicate: DuplicatePolicy = "error") -> str:
    """The id of the dataset that packing on this machine makes."""
    return pack(find(data), tmp_path / "here", on_duplicate=on_duplicate, budget=SMALL).dataset_id


def refused_here(tmp_path: Path, *data: Path) -> str:
    with pytest.raises(DatasetError) as refused:
        here(tmp_path, *data)
    return str(refused.value)


def stored(catalog: Catalog) -> set[str]:
    """All objects of the catalog, also hidden ones, by their folders."""
    if catalog.objects.path:
        return {path.name for path in catalog.objects.path.iterdir()} - {".current.json.lock"}
    return {found.name.partition("/")[0] for found in catalog.objects.list()}


def test_texts_of_all_kinds_are_the_dataset_that_is_made_here(
    on_texts: Callable[..., Published], catalog: Catalog, tmp_path: Path, key: Key
) -> None:
    (tmp_path / "many").write_bytes(b"".join(lines(2000, 3)))
    odd = {1: b"", 2: b"ends with\r", 3: b"\xff\xfe no \x80 UTF-8 \x00", 4: b" two  spaces ", 5: "ü€😀".encode()}
    (tmp_path / "odd").write_bytes(b"\n".join(b"%b %b" % (key(number).upper(), odd[number]) for number in odd))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"".join(b"%b gzip\n" % key(n) for n in range(10, 500))))
    (tmp_path / "empty").touch()
    data = [tmp_path / name for name in ("odd", "many", "empty", "packed.gz")]
    told: list[str] = []
    done = on_texts(*data, told=told)
    assert done.version.dataset == here(tmp_path, *data)
    assert (done.keys, done.changed, done.uploaded, done.gone) == (2000 + 5 + 490, True, True, None)
    assert [line.partition(":")[0] for line in told] == ["packed", "verified"]
    assert stored(catalog) == {"current.json", done.version.folder}
    with opened_in(catalog.objects, done.version.folder) as content:
        assert sum(block.row.keys for block in content.blocks(range(content.manifest.blocks))) == done.keys
        sources = content.manifest.sources
    assert [(source.name, source.size) for source in sources] == [(str(path), path.stat().st_size) for path in data]
    again = on_texts(*reversed(data))
    assert (again.version, again.changed, again.uploaded) == (done.version, False, False)
    assert stored(catalog) == {"current.json", done.version.folder}


@pytest.mark.parametrize("location", ["bucket"], indirect=True)
def test_objects_of_a_store_are_read_where_they_are(
    on_texts: Callable[..., Published], catalog: Catalog, tmp_path: Path
) -> None:
    written = list(lines(300, 5))
    for number in range(3):
        catalog.objects.create(f"text/{number}", b"".join(written[number::3]))
    (tmp_path / "data").write_bytes(b"".join(written))
    assert on_texts(f"{catalog.location}/text").version.dataset == here(tmp_path, tmp_path / "data")


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_what_is_refused_here_is_refused_alike(
    on_texts: Callable[..., Published], catalog: Catalog, tmp_path: Path, key: Key
) -> None:
    good = [b"%b %d\n" % (key(number), number) for number in range(2000)]
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"".join(good))
    for data in (
        [*good[:1500], b"no key\n", *good[1600:1700], b"nor this\n"],
        [good[7]],
        [key(5000) + b" new\n", key(5000) + b" twice\n"],
    ):
        second.write_bytes(b"".join(data))
        sources = [second] if len(data) > 100 else [first, second]
        with pytest.raises(DatasetError) as refused:
            on_texts(*sources)
        assert str(refused.value) == refused_here(tmp_path, *sources)
        assert stored(catalog) == set()
    second.write_bytes(good[7].replace(b" 7", b" another") * 300)
    for policy in ("first", "last"):
        dataset = here(tmp_path, first, second, on_duplicate=policy)
        assert on_texts(first, second, on_duplicate=policy).version.dataset == dataset


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_the_largest_values_are_packed(on_texts: Callable[..., Published], tmp_path: Path, key: Key) -> None:
    values = [b"small", b"\x00" * MAX_VALUE, b"x", b"\r" * (MAX_VALUE - 1), b"last"]
    data = tmp_path / "data"
    data.write_bytes(b"\n".join(b"%b %b" % (key(number), value) for number, value in enumerate(values)))
    assert on_texts(data, chunk=16 << 20).version.dataset == here(tmp_path, data)


@pytest.fixture
def frame(spark: SparkSession, key: Key) -> DataFrame:
    pairs = [(key(number).decode(), bytearray(b"value %d\n" % number), number) for number in range(400)]
    return spark.createDataFrame(pairs, "name string, content binary, other int")


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_a_data_frame_is_the_dataset_of_its_rows(
    spark: SparkSession, frame: DataFrame, catalog: Catalog, tmp_path: Path, key: Key
) -> None:
    frame.withColumnsRenamed({"name": "key", "content": "value"}).coalesce(1).write.parquet(str(tmp_path / "table"))
    expected = here(tmp_path, tmp_path / "table")
    told: list[str] = []
    done = publish_frame(frame.repartition(3), catalog.location, "name", "content", tell=told.append)
    assert done.version.dataset == expected
    assert told[0] == f"packed: 400 keys, dataset {expected}"
    assert done.version.by
    assert publish_frame(spark.read.parquet(str(tmp_path / "table")), Path(catalog.location)).changed is False
    raw = spark.createDataFrame([(UUID(key(1).decode()).bytes, "text")], "key binary, value string")
    with pytest.raises(PublishRefused, match=r"of 400 keys of version 1 99\.8% are gone"):
        publish_frame(raw, catalog.location)
    assert stored(catalog) == {"current.json", done.version.folder}
    forced = publish_frame(raw.union(raw), catalog.location, order=Order("a test", "last", force=True))
    assert (forced.keys, forced.version.serial) == (1, 2)


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_a_data_frame_that_has_no_pairs_is_refused(spark: SparkSession, frame: DataFrame, catalog: Catalog) -> None:
    with pytest.raises(SourceError, match="the DataFrame: has no column `key`; it has name, content, other"):
        publish_frame(frame, catalog.location)
    with pytest.raises(SourceError, match="the DataFrame: column `other` is int; it must be binary or string"):
        publish_frame(frame, catalog.location, "name", "other")
    rows = spark.createDataFrame([("oops", "a"), (None, "b")], "key string, value string").coalesce(1)
    with pytest.raises(DatasetError, match="the DataFrame: row 1: not a UUID version 4: 'oops'"):
        publish_frame(rows.where("key is not null"), catalog.location)
    with pytest.raises(DatasetError, match="the DataFrame: row 1: the key is null"):
        publish_frame(rows.where("key is null"), catalog.location)
    assert stored(catalog) == set()


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_what_an_executor_cannot_read_is_told_in_one_line(
    spark: SparkSession, catalog: Catalog, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLE, tmp_path / "data")
    texts = find_texts([str(tmp_path / "data")])
    os.truncate(tmp_path / "data", 100)
    with pytest.raises(StoreError, match=f"^{tmp_path}/data: has [0-9,]+ bytes, not [0-9,]+;[^\n]+$"):
        publish_texts(spark.sparkContext, texts, catalog, Order("a test"), print)
    assert stored(catalog) == set()


def test_a_job_that_is_killed_leaves_no_version(spawn: Spawner, tmp_path: Path) -> None:
    catalog = Catalog.at(tmp_path / "catalog")
    command = ("publish", "--spark", "local[1]", EXAMPLE, catalog.location)
    killed = spawn(*command)
    wait_for(lambda: Path(catalog.location).is_dir() and stored(catalog), patience=LONG)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert catalog.current() is None
    # Java ends when it notices, and its workers after that.
    wait_for(lambda: not killed.living(), patience=LONG)
    assert [pruned.whole for pruned in prune(catalog, 2, 0.0, dry_run=False)] == [False]
    assert stored(catalog) == set()
    again = spawn(*command)
    assert again.wait(LONG) == 0, again.err
    dataset = "5a382ebf2779e923783494de081b6768"
    packed, verified, published = again.out.splitlines()
    assert packed == f"packed: 10,000 keys, dataset {dataset}"
    assert verified.startswith(f"verified: each byte in {catalog.location}/{dataset}.")
    assert published.startswith(f"published: {catalog.location} serves version 1, by ")


def test_without_spark_it_says_what_to_install(spawn: Spawner, tmp_path: Path) -> None:
    (tmp_path / "pyspark.py").write_text("raise ModuleNotFoundError('No module named pyspark')")
    spawned = spawn("publish", "--spark", "local", EXAMPLE, tmp_path / "c", env={"PYTHONPATH": str(tmp_path)})
    assert one_line(spawned) == ("Error: --spark needs Apache Spark; install it with `pip install 'ringkv[spark]'`")
