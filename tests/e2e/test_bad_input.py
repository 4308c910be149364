"""What cannot be served is refused in one clear line, and nothing half-written stays behind."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pytest

from ringkv.cluster.errors import MalformedLine
from ringkv.cluster.position import position, shift_to
from ringkv.dataset.format import BLOCKS, MANIFEST, PARTITIONS, segment_name
from ringkv.dataset.packing.local import pack
from tests.support.damage import flip_value_byte
from tests.support.data import EXAMPLE, read_pairs
from tests.support.http import ask_for_all, fetch
from tests.support.processes import Spawner, one_line

GOOD = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05 1234\n"
UPPER = b"F8A24BB8-EFF8-41DC-929B-10B4C3E49E05 again\n"
COMMANDS = ["up", "pack", "shard"]
OPTIONS = {"up": ["--port", "0"], "pack": [], "shard": ["--listen", "127.0.0.1:0"]}


@pytest.fixture
def refusal(spawn: Spawner) -> Callable[..., str]:
    """The one line with which a command refuses a file, and nothing else happens."""

    def refused(command: str, path: Path, *, prefix: tuple[str, ...] = ()) -> str:
        cache = spawn.directory()
        around = sorted(path.parent.iterdir()) if path.parent.exists() else []
        ringkv = (*prefix, sys.executable, "-m", "ringkv", command)
        spawned = spawn.run(*ringkv, path, "--cache", cache, *OPTIONS[command])
        line = one_line(spawned)
        assert line.startswith("Error: ")
        assert [left.name for left in cache.iterdir() if left.suffix != ".lock"] == []
        assert (sorted(path.parent.iterdir()) if path.parent.exists() else []) == around
        assert not list(spawned.runtime.glob("ringkv-*"))
        return line

    return refused


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_file(refusal: Callable[..., str], tmp_path: Path, command: str) -> None:
    path = tmp_path / "no such file"
    assert refusal(command, path) == f"Error: {path}: cannot be read: No such file or directory"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory(refusal: Callable[..., str], tmp_path: Path, command: str) -> None:
    (tmp_path / "folder").mkdir()
    line = refusal(command, tmp_path / "folder")
    assert line == f"Error: {tmp_path}/folder: is a folder without data files"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_too_long(refusal: Callable[..., str], tmp_path: Path, command: str) -> None:
    path = tmp_path / ("long" * 100)
    assert refusal(command, path) == f"Error: {path}: cannot be read: File name too long"


@pytest.mark.parametrize("closed", ["file", "folder"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unreadable_file(refusal: Callable[..., str], tmp_path: Path, command: str, closed: str) -> None:
    path = tmp_path / "folder" / "secret"
    path.parent.mkdir()
    path.write_bytes(GOOD)
    (path if closed == "file" else path.parent).chmod(0)
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        # Root reads everything, by a capability that can be given up.
        prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        assert shutil.which("setpriv"), "setpriv (util-linux) is needed to run this test as root"
    assert refusal(command, path, prefix=prefix) == f"Error: {path}: cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("content", "number", "reason"),
    [
        (GOOD + b"\n" + GOOD, 2, "the line is empty"),
        (GOOD + b"not-a-uuid value\n", 2, "not a UUID version 4: 'not-a-uuid'"),
        (GOOD + b"f8a24bb8-eff8-11dc-929b-10b4c3e49e05 version 1\n", 2, "not a UUID version 4"),
        (GOOD + b"f8a24bb8-eff8-41dc-129b-10b4c3e49e05 variant 1\n", 2, "not a UUID version 4"),
        (b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05\n", 1, "no space after the key"),
        (b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05", 1, "no space after the key"),
        (b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05\tvalue\n", 1, "no space after the key"),
        (b" " + GOOD, 1, "not a UUID version 4"),
        (b"\xef\xbb\xbf" + GOOD, 1, "the line is UTF-8 with a byte order mark; save it as UTF-8 without a"),
        (GOOD.decode().encode("utf-16-le"), 1, "the line is UTF-16; save it as UTF-8 without a byte order mark"),
        (GOOD.decode().encode("utf-16-be"), 1, "the line is UTF-16; save it as UTF-8 without a byte order mark"),
        (GOOD.decode().encode("utf-16"), 1, "the line is UTF-16; save it as UTF-8 without a byte order mark"),
        (GOOD.decode().encode("utf-32"), 1, "the line is UTF-32; save it as UTF-8 without a byte order mark"),
        ("Schlüssel Wert\n".encode(), 1, r"not a UUID version 4: 'Schl\xc3\xbcssel' (want"),
        (b"\x00" * 4096, 1, "not a UUID version 4"),
        (b"\xff\xfe\r\n", 1, "the line is UTF-16"),
        (b"{f8a24bb8-eff8-41dc-929b-10b4c3e49e05} braces\n", 1, "not a UUID version 4"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, content: bytes, number: int, reason: str) -> None:
    path = tmp_path / "bad.data"
    path.write_bytes(content)
    with pytest.raises(MalformedLine) as refused:
        pack(path, tmp_path / "packed")
    line = str(refused.value)
    assert line.startswith(str(path))
    assert f"line {number}" in line.replace(f"{path}:{number}", f"line {number}")
    assert reason in line
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_malformed_line_stops_every_command(refusal: Callable[..., str], tmp_path: Path, command: str) -> None:
    path = tmp_path / "bad.data"
    path.write_bytes(EXAMPLE.read_bytes() + b"oops\n")
    assert "10001" in refusal(command, path).replace(",", "")


def test_a_duplicate_names_both_lines(refusal: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "twice.data"
    path.write_bytes(EXAMPLE.read_bytes() + UPPER)
    line = refusal("up", path)
    assert f"{path}:10001: key f8a24bb8-eff8-41dc-929b-10b4c3e49e05 stands on line 2 too" in line


@pytest.mark.parametrize(
    ("command", "name", "size"),
    [
        # Both open a dataset in the same way: so each is told of each file, and one of them of each size.
        (command, name, size)
        for name in (MANIFEST, PARTITIONS, BLOCKS, segment_name(0))
        for command, size in zip(cycle(("shard", "up")), (0, 7, 300, -300, -2), strict=False)
    ],
)
def test_a_truncated_dataset(refusal: Callable[..., str], tmp_path: Path, command: str, name: str, size: int) -> None:
    pack(EXAMPLE, tmp_path / "cut")
    path = tmp_path / "cut" / name
    path.write_bytes(path.read_bytes()[:size])
    line = refusal(command, tmp_path / "cut")
    assert line.startswith(f"Error: {tmp_path}/cut")
    assert name in line
    assert re.search("is damaged|is truncated|is not what was packed|has .* bytes", line), line
    assert "again" in line


@pytest.mark.parametrize("command", ["up", "shard"])
def test_a_part_of_a_dataset(refusal: Callable[..., str], tmp_path: Path, command: str) -> None:
    pack(EXAMPLE, tmp_path / "whole")
    path = tmp_path / "whole" / segment_name(0)
    assert refusal(command, path) == f"Error: {path}: is a part of a packed dataset; name the folder that it is in"


@pytest.mark.parametrize("command", ["up", "shard"])
def test_an_arrow_file_of_somebody_else(refusal: Callable[..., str], tmp_path: Path, command: str) -> None:
    table = pa.table({"position": [1, 2]})
    with pa.ipc.new_file(str(tmp_path / "foreign.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert refusal(command, tmp_path / "foreign.arrow") == (
        f"Error: {tmp_path}/foreign.arrow: has no columns `key`; a table must have one `key` and one `value`"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(spawn: Spawner, command: str) -> None:
    """Writing beyond a limit fails as on a disk without space, only with another number of the error."""
    cache = spawn.directory()
    limited = "trap '' XFSZ; ulimit -f 200; exec \"$@\""
    ringkv = (sys.executable, "-m", "ringkv", command, EXAMPLE, "--cache", cache)
    spawned = spawn.run("bash", "-c", limited, "bash", *ringkv, *OPTIONS[command])
    line = one_line(spawned)
    assert line.startswith(f"Error: {cache}/")
    assert "File too large" in line
    assert [left.name for left in cache.iterdir() if left.suffix != ".lock"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_without_space(spawn: Spawner) -> None:
    """In a mount namespace of its own, so that nothing has to be unmounted."""
    cache = spawn.directory()
    mounted = f'mount -t tmpfs -o size=300k tmpfs {cache} && "$@"; code=$?; ls -A {cache} | grep -v lock; exit $code'
    ringkv = (sys.executable, "-m", "ringkv", "pack", EXAMPLE, "--cache", cache)
    namespace = ("unshare", "--mount", "bash", "-c", mounted, "bash")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    spawned = spawn.run(*namespace, *ringkv)
    if spawned.wait() == 32 and "mount" in spawned.err:
        pytest.skip("mounting is not allowed here")
    line = one_line(spawned)
    assert "No space left on device" in line


@pytest.mark.parametrize("inodes", [3, 4, 5])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_for_temporary_files_that_has_room_for_few(spawn: Spawner, inodes: int) -> None:
    """A cluster makes its files there one after the other, and may fail at each."""
    folder, ringkv = spawn.directory(), (sys.executable, "-m", "ringkv", "up", EXAMPLE, "--port", "0")
    script = f'mount -t tmpfs -o nr_inodes={inodes} tmpfs {folder} && TMPDIR={folder} "$@"'
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    spawned = spawn.run("unshare", "--mount", "bash", "-c", script, "bash", *ringkv)
    if spawned.wait() == 32 and "mount" in spawned.err:
        pytest.skip("mounting is not allowed here")
    line = one_line(spawned)
    assert "No space left on device" in line


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["router", "--shards", "nonsense"], "not an address: 'nonsense' (want host:port, [ipv6]:port or unix:/path)"),
        (["router", "--shards", ","], "no shards: want host:port,… or dns://host:port"),
        (["router", "--shards", "a:1,b:99999"], "not an address: 'b:99999'"),
        (["router", "--shards", "a:1", "--listen", "nowhere"], "not an address: 'nowhere'"),
        (["router", "--shards", "a:1", "--listen", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
        (["shard", EXAMPLE, "--listen", "nowhere"], "not an address: 'nowhere'"),
        (["router", "--shards", "a:1,b..c:2"], "not an address: 'b..c:2' (no host can have this name)"),
        (["router", "--shards", "dns://b..c:2"], "not an address: 'b..c:2' (no host can have this name)"),
        (["up", EXAMPLE, "--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8000"),
        (["up", EXAMPLE, "--host", ""], "not a host: '' (want its name or address, or 0.0.0.0 for all)"),
        (["up", EXAMPLE, "--host", "\udcff"], "not a host: '\\udcff'"),
    ],
)
def test_a_bad_address(spawn: Spawner, args: list[str | Path], reason: str) -> None:
    spawned = spawn(*args)
    assert spawned.wait() != 0
    assert reason in spawned.err
    assert "Traceback" not in spawned.err
    if "not an address: 'nowhere'" not in reason:
        assert len(spawned.err.splitlines()) == 1


@pytest.mark.parametrize(
    "args",
    [
        ["up", EXAMPLE, "--port", "0", "--idle-timeout", "nan"],
        ["router", "--shards", "a:1", "--listen", "127.0.0.1:0", "--header-timeout", "NaN"],
        ["stats", "--interval", "nan"],
        ["publish", EXAMPLE, "catalog", "--wait-seconds", "-nan"],
    ],
    ids=lambda args: args[0],
)
def test_seconds_that_are_no_number(spawn: Spawner, args: list[str | Path]) -> None:
    assert one_line(spawn(*args), 2).endswith(f"'{args[-1]}' is not a number of seconds.")


async def test_one_flipped_byte_costs_one_block_and_says_which(spawn: Spawner, tmp_path: Path) -> None:
    shift = shift_to(pack(EXAMPLE, tmp_path / "flipped").blocks)
    flip_value_byte(tmp_path / "flipped", 100)
    cluster = spawn.up(tmp_path / "flipped")
    pairs = dict(read_pairs(EXAMPLE))
    damaged = [key for key in pairs if position(key) >> shift == 100]
    assert len(damaged) > 10
    asked, wrong = await ask_for_all(cluster.host, cluster.port, pairs.items())
    assert asked == 10_000
    assert sorted(key for key, _ in wrong) == sorted(damaged)
    assert {answer[:4] for _, answer in wrong} == {b"503 "}
    response = await fetch(cluster.host, cluster.port, f"/{damaged[0].decode()}")
    assert response.status == 503
    assert b"block 100" in response.body
    assert response.body.count(b"\n") == 1
    assert "block 100" in cluster.spawned.err


@pytest.mark.parametrize(
    "command", [("shard", EXAMPLE), ("router", "--shards", "127.0.0.1:1")], ids=lambda args: args[0]
)
def test_a_secret_that_is_no_text_is_one_line_without_it(spawn: Spawner, command: tuple[str | Path, ...]) -> None:
    spawned = spawn(*command, "--listen", "127.0.0.1:0", env={"RINGKV_SECRET": "hush\udcff"})
    line = one_line(spawned, 2)
    assert "--secret" in line
    assert line.endswith("is not UTF-8")
    assert "hush" not in line
