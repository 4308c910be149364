"""A shard that answers at two addresses is one shard, and is told of once."""

import json
import urllib.request
from pathlib import Path

from tests.support.data import EXAMPLE
from tests.support.processes import Spawner, wait_for


def test_one_shard_at_two_addresses_stands_once_in_the_ring(spawn: Spawner) -> None:
    shard = spawn.shard(EXAMPLE, "--name", "ada")
    other = Path(f"{shard.socket}-too")
    other.symlink_to(shard.socket)
    addresses = f"unix:{shard.socket},unix:{other}"
    router = spawn("router", "--shards", addresses, "--listen", "127.0.0.1:0")
    port = router.wait_for_line(r"router listens on 127\.0\.0\.1:(\d+)")[1]
    router.wait_for_line("topology 1 in .* 1 shard, 10,000 keys")

    def told() -> list[tuple[str, str, str]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ring", timeout=20) as response:
            return [(shard["name"], shard["state"], shard["address"]) for shard in json.load(response)["shards"]]

    wait_for(lambda: told() == [("ada", "serving", f"unix:{shard.socket}")], "not once")
