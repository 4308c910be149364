"""POST /mget on real processes: every value byte for byte, whatever happens to the shards and however clients read."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.data import random_keys, read_pairs
from tests.support.http import fetch, read_chunks, request_bytes
from tests.support.processes import PATIENCE, Spawned, Spawner, eventually

MIB = 1 << 20
KEYS_A_REQUEST = 1000

Generated = Callable[..., tuple[Path, Path]]
Pairs = list[tuple[bytes, bytes]]


class Cluster:
    """Three shards and a router."""

    def __init__(self, spawn: Spawner, data: Path, replicas: int = 1) -> None:
        self.shards = [spawn.shard(data, "--leased", "--name", name) for name in "abc"]
        listed = ",".join(str(shard.address) for shard in self.shards)
        self.router = spawn("router", "--shards", listed, "--listen", "127.0.0.1:0", "--replicas", str(replicas))
        self.port = int(self.router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1])
        self.router.wait_for_line("topology 1 in ")

    async def wrong(self, pairs: Pairs, query: str = "") -> str:
        """Ask for all pairs' keys; what is wrong with the answer, or nothing."""
        body = b"".join(key + b"\n" for key, _ in pairs)
        answer = await fetch("127.0.0.1", self.port, f"/mget{query}", "POST", "", body)
        expected = b"".join(b"%b %b\n" % pair for pair in pairs)
        if answer.status == 200 and answer.body == expected and answer.trailers == {"Ringkv-Missing": "0"}:
            return ""
        return f"{answer.status} {answer.trailers} {answer.body[:200]!r}"


def some_at_a_time(pairs: Pairs) -> list[Pairs]:
    return [pairs[at : at + KEYS_A_REQUEST] for at in range(0, len(pairs), KEYS_A_REQUEST)]


async def test_a_hundred_thousand_keys_have_their_values_byte_for_byte(spawn: Spawner, generated: Generated) -> None:
    data, _ = generated(100_000)
    cluster, pairs = Cluster(spawn, data), list(read_pairs(data))
    for some in some_at_a_time(pairs):
        assert await cluster.wrong(some) == ""
    assert await cluster.wrong(pairs) == ""


def test_the_answer_is_a_data_file(
    spawn: Spawner, generated: Generated, tool: Callable[..., str], tmp_path: Path
) -> None:
    data, _ = generated(10_000)
    cluster = Cluster(spawn, data)
    absent = random_keys(5, seed=51)
    keys, out = tmp_path / "keys", tmp_path / "out.data"
    keys.write_bytes(b"\n".join([*absent, *(key for key, _ in read_pairs(data))]))
    url = f"http://127.0.0.1:{cluster.port}/mget"
    heads = tool("curl", "-s", "--dump-header", "-", "--output", str(out), "--data-binary", f"@{keys}", url)
    assert heads.startswith("HTTP/1.1 200 OK")
    assert heads.endswith("Ringkv-Missing: 5\r\n")
    assert out.read_bytes() == data.read_bytes()
    packing = spawn("pack", out, tmp_path / "out.packed")
    assert packing.wait() == 0, packing.err


def kill(shard: Spawned) -> None:
    shard.process.kill()


def stop(shard: Spawned) -> None:
    shard.process.terminate()


def hang(shard: Spawned) -> None:
    shard.process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("harm", [kill, stop, hang])
async def test_losing_a_shard_fails_no_request(
    spawn: Spawner, generated: Generated, harm: Callable[[Spawned], None], replicas: int
) -> None:
    data, _ = generated(10_000)
    cluster, pairs = Cluster(spawn, data, replicas), list(read_pairs(data))
    wrong: list[str] = []
    answered = 0
    ended = False

    async def ask(turn: int) -> None:
        nonlocal answered
        while not ended:
            for some in some_at_a_time(pairs[turn:]):
                wrong.append(await cluster.wrong(some))
                answered += 1

    asking = [asyncio.create_task(ask(turn)) for turn in range(4)]
    async with asyncio.timeout(2 * PATIENCE):
        await eventually(lambda: answered > 20)
        harm(cluster.shards[1].spawned)
        await eventually(lambda: "topology 2 in " in cluster.router.err)
        after = answered + 40
        await eventually(lambda: answered > after)
        ended = True
        await asyncio.gather(*asking)
    assert set(wrong) == {""}
    assert "Traceback" not in cluster.router.err


async def test_the_routers_memory_stays_flat_while_clients_read_slowly(spawn: Spawner, generated: Generated) -> None:
    """Each of 4 clients asks for 200 MiB: what the router holds is a few values for each."""
    data, _ = generated(200, value_size=MIB)
    cluster, pairs = Cluster(spawn, data), list(read_pairs(data))
    body = b"".join(key + b"\n" for key, _ in pairs)
    before = memory(cluster.router.pid, "VmRSS")

    async def read_slowly() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port)
        writer.write(request_bytes("/mget", "POST", f"Content-Length: {len(body)}\r\n") + body)
        await reader.readuntil(b"\r\n\r\n")
        answer = b""
        whole = iter(pairs)
        async for chunk in read_chunks(reader):
            answer += chunk
            while len(answer) > MIB + 37 and chunk:
                key, value = next(whole)
                assert answer.startswith(b"%b %b\n" % (key, value))
                answer = answer[len(key) + len(value) + 2 :]
            await asyncio.sleep(0.005)
        assert next(whole, None) is None
        assert answer == b"Ringkv-Missing: 0\r\n"
        writer.close()
        await writer.wait_closed()

    async with asyncio.timeout(2 * PATIENCE):
        await asyncio.gather(*(read_slowly() for _ in range(4)))
    assert memory(cluster.router.pid, "VmHWM") - before < 50 * MIB


def memory(pid: int, field: str) -> int:
    """Bytes: VmRSS of now, VmHWM of the peak."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0]) * 1024
