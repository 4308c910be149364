"""What is served may come from anywhere: pipes, descriptors, standard input, compressed files, many files, tables."""

import gzip
import os
import shutil
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ringkv.dataset.generate import lines
from tests.support.data import EXAMPLE, read_pairs
from tests.support.http import ask_for_all, fetch
from tests.support.processes import Spawned, Spawner, one_line, wait_for

RINGKV = f"{sys.executable} -m ringkv"
KEY, VALUE = "f8a24bb8-eff8-41dc-929b-10b4c3e49e05", b"1234"
DATASET = "5a382ebf2779e923783494de081b6768"
PACKED = f"10,000 keys in 256 partitions of 1 block, dataset {DATASET}"


def shell(spawn: Spawner, script: str, *args: str | Path, env: dict[str, str] | None = None) -> Spawned:
    """Run a script of bash, in which $1 is the first argument."""
    return spawn.run("bash", "-c", script, "bash", *args, env=env)


def printed(spawned: Spawned) -> str:
    """What it has written, if all was well."""
    assert spawned.wait() == 0, spawned.err
    assert spawned.err == ""
    return spawned.out


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    (tmp_path / "example.gz").write_bytes(gzip.compress(EXAMPLE.read_bytes(), 1))
    return tmp_path / "example.gz"


@pytest.mark.parametrize(
    "script",
    [
        f"zcat $1 | exec {RINGKV} up - --port 0",
        f"exec {RINGKV} up <(zcat $1) --port 0",
        f"exec 3< <(zcat $1); exec {RINGKV} up /proc/self/fd/3 --port 0",
        f"exec {RINGKV} up - --port 0 < $1",
        f"exec {RINGKV} up $1 --port 0",
    ],
    ids=["stdin", "substitution", "descriptor", "redirection", "file"],
)
async def test_a_cluster_serves_what_a_stream_brings(spawn: Spawner, compressed: Path, script: str) -> None:
    cache = spawn.directory()
    cluster = spawn.cluster(shell(spawn, script, compressed, env={"RINGKV_CACHE": str(cache)}))
    response = await fetch(cluster.host, cluster.port, f"/{KEY}")
    assert (response.status, response.body) == (200, VALUE)
    asked, wrong = await ask_for_all(cluster.host, cluster.port, list(read_pairs(EXAMPLE))[:500])
    assert (asked, wrong) == (500, [])


def test_what_was_packed_of_a_stream_goes_with_its_process(spawn: Spawner) -> None:
    cache = spawn.directory()
    script = f"exec {RINGKV} up <(cat $1) --port 0"
    cluster = spawn.cluster(shell(spawn, script, EXAMPLE, env={"RINGKV_CACHE": str(cache)}))
    assert list(cache.glob(".stream.*/dataset/manifest.json"))
    cluster.spawned.process.send_signal(signal.SIGTERM)
    assert cluster.spawned.wait() == 0
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "script",
    [
        f"{RINGKV} pack - $2 < $1",
        f"cat $1 | {RINGKV} pack - $2",
        f"gzip -1 < $1 | {RINGKV} pack - $2",
        f"{RINGKV} pack <(head -n 5000 $1) <(tail -n 5000 $1) $2",
        f"exec 3< $1; {RINGKV} pack /proc/self/fd/3 $2",
        f"exec 3< $1; {RINGKV} pack /dev/fd/3 $2",
        f"mkfifo $2.pipe; cat $1 > $2.pipe & {RINGKV} pack $2.pipe $2",
        f"cp $1 $2.gone; exec 3< $2.gone; rm $2.gone; {RINGKV} pack /proc/self/fd/3 $2",
    ],
)
def test_a_stream_is_packed(spawn: Spawner, script: str) -> None:
    out = spawn.directory() / "out"
    assert printed(shell(spawn, script, EXAMPLE, out)) == f"{out}: {PACKED}\n"


def test_what_was_read_of_standard_input_already_is_not_packed(spawn: Spawner) -> None:
    out = spawn.directory() / "out"
    script = f"(read -r line; {RINGKV} pack - $2) < $1"
    assert printed(shell(spawn, script, EXAMPLE, out)).startswith(f"{out}: 9,999 keys")


def test_standard_input_that_is_a_file_is_found_in_the_cache(spawn: Spawner) -> None:
    cache = {"RINGKV_CACHE": str(spawn.directory())}
    first = printed(shell(spawn, f"{RINGKV} pack - < $1", EXAMPLE, env=cache))
    assert printed(shell(spawn, f"{RINGKV} pack $1", EXAMPLE, env=cache)) == first
    assert printed(shell(spawn, f"exec 3< $1; {RINGKV} pack /proc/self/fd/3", EXAMPLE, env=cache)) == first


def test_many_files_and_tables_are_packed_in_one(spawn: Spawner) -> None:
    folder = spawn.directory()
    pairs = list(read_pairs(EXAMPLE))
    (folder / "parts").mkdir()
    (folder / "parts" / "1.gz").write_bytes(gzip.compress(b"".join(b"%b %b\n" % pair for pair in pairs[:4000])))
    rows = pa.table({"key": [key.decode() for key, _ in pairs[4000:]], "value": [value for _, value in pairs[4000:]]})
    pq.write_table(rows, folder / "parts" / "2.parquet")
    for data in (["parts"], ["parts/*"], ["parts/1.gz", "parts/2.parquet"]):
        spawned = spawn("pack", *(folder / name for name in data), folder / "out")
        assert printed(spawned) == f"{folder}/out: {PACKED}\n"


@pytest.mark.parametrize("command", ["up", "shard"])
def test_a_duplicate_can_be_chosen_by_the_command_that_names_the_choice(spawn: Spawner, command: str) -> None:
    folder = spawn.directory()
    (folder / "data").write_bytes(f"{KEY} first\n{KEY} last\n".encode())
    listen = {"up": ["--port", "0"], "shard": ["--listen", f"unix:{folder}/socket"]}[command]
    refused = one_line(spawn(command, folder / "data", "--cache", folder, *listen))
    assert refused == (
        f"Error: {folder}/data:2: key {KEY} stands on line 1 too; remove one, or choose with --on-duplicate=first|last"
    )
    spawned = spawn(command, folder / "data", "--cache", folder, "--on-duplicate=last", *listen)
    spawned.wait_for_line("ready on", "out" if command == "up" else "err")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            f"head -c 93 $1 | {RINGKV} pack - $2",
            "stdin:2: the stream ends within this line; if it is whole, end it with a newline",
        ),
        (
            f"head -c 5000 $3 | {RINGKV} pack - $2",
            "stdin: its gzip data are damaged or cut off: Truncated compressed stream",
        ),
        (f"cat $1 | {RINGKV} pack -", "stdin: the cache cannot find a stream again; name a file to pack it into"),
        (f"{RINGKV} pack - $2 <&-", "stdin: cannot be read: Bad file descriptor"),
        (
            f"{RINGKV} pack $1 /dev/null",
            "/dev/null: is no folder, and stays as it is; name a folder to be made, or a dataset to be replaced",
        ),
        (
            f"cp $1 $2; {RINGKV} pack $1 $2",
            "{out}: is no folder, and stays as it is; name a folder to be made, or a dataset to be replaced",
        ),
    ],
    ids=["cut text", "cut gzip", "cache", "closed", "device", "slip"],
)
def test_what_cannot_be_packed_is_refused_in_one_line(
    spawn: Spawner, compressed: Path, script: str, reason: str
) -> None:
    out = spawn.directory() / "out"
    spawned = shell(spawn, script, EXAMPLE, out, compressed)
    assert one_line(spawned) == f"Error: {reason.format(out=out)}"
    assert not out.exists() or out.read_bytes() == EXAMPLE.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_that_is_full_while_a_stream_is_spooled(spawn: Spawner, tmp_path: Path) -> None:
    disk = spawn.directory()
    with (tmp_path / "large").open("wb") as file:
        file.writelines(lines(100_000, 1))
    script = f"mount -t tmpfs -o size=1m tmpfs $1 && cat $2 | {RINGKV} pack - $1/out; code=$?; ls -A $1 >&2; exit $code"
    spawned = spawn.run("unshare", "--mount", "bash", "-c", script, "bash", disk, tmp_path / "large")
    assert one_line(spawned) == f"Error: {disk}/out: cannot be written: No space left on device"


@pytest.mark.parametrize("command", ["up", "pack", "shard"])
def test_a_user_without_a_home_is_told_to_choose_a_folder(spawn: Spawner, command: str) -> None:
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        # A user that nobody has heard of, who may read the interpreter wherever root has put it.
        prefix = ("setpriv", "--reuid=54321", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        assert shutil.which("setpriv"), "setpriv (util-linux) is needed to run this test as root"
    listen = {"up": ["--port", "0"], "shard": ["--listen", "127.0.0.1:0"], "pack": []}[command]
    bare = ("env", "-u", "HOME", "-u", "RINGKV_CACHE", "-u", "XDG_CACHE_HOME")
    folder = spawn.directory()
    folder.chmod(0o777)
    spawned = spawn.run(
        *prefix, *bare, f"TMPDIR={folder}", sys.executable, "-m", "ringkv", command, "README.md", *listen
    )
    assert one_line(spawned) == (
        "Error: no folder to keep datasets in: this user has no home folder; set $HOME, or choose one with --cache"
    )


def test_sigterm_while_packing_leaves_nothing(spawn: Spawner) -> None:
    folder = spawn.directory()
    os.mkfifo(folder / "pipe")
    spawned = spawn("pack", folder / "pipe", folder / "out")
    with (folder / "pipe").open("wb") as writer:
        writer.write(f"{KEY} value\n".encode())
        writer.flush()
        wait_for(lambda: list(folder.glob(".out.*/*")), "no workspace was made")
        spawned.process.send_signal(signal.SIGTERM)
        assert spawned.wait() == 128 + signal.SIGTERM
    assert [path.name for path in folder.iterdir()] == ["pipe"]
    assert spawned.err == ""


def test_who_waits_for_another_packing_says_so(spawn: Spawner) -> None:
    cache = spawn.directory()
    pipe = spawn.directory() / "pipe"
    os.mkfifo(pipe)
    first = printed(spawn("pack", EXAMPLE, "--cache", cache))
    (name,) = cache.glob("*.lock")
    for manifest in cache.glob("*/manifest.json"):
        shutil.rmtree(manifest.parent)
    holding = spawn.run("flock", str(name), "cat", str(pipe))
    wait_for(lambda: len(holding.living()) > 1, "the lock is not held")
    waiting = spawn("pack", EXAMPLE, "--cache", cache)
    waiting.wait_for_line(".")
    assert waiting.err == f"{EXAMPLE} is being packed by another process; waiting for that\n"
    pipe.write_bytes(b"")
    assert waiting.wait() == 0
    assert waiting.out == first
