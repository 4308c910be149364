"""A shard goes on with the dataset that it has opened, and says so when its path comes to name another dataset."""

import shutil
from pathlib import Path

from ringkv.dataset.dataset import Dataset
from ringkv.dataset.packing.local import pack
from tests.support.inline import Inline
from tests.support.processes import SpawnedShard, Spawner, wait_for


def packed(folder: Path, name: str, value: str) -> Path:
    source, target = folder / f"{name}.data", folder / f"{name}.packed"
    source.write_text(f"f8a24bb8-eff8-41dc-929b-10b4c3e49e05 {value}\n")
    pack(source, target, executor=Inline())
    return target


def point(link: Path, target: Path) -> None:
    """Let the link name the target, as of one moment."""
    new = link.with_suffix(".next")
    new.symlink_to(target)
    new.replace(link)


def dataset(path: Path) -> str:
    with Dataset.open(path) as opened:
        return opened.manifest.dataset_id


def wait_for_warnings(shard: SpawnedShard, count: int) -> list[str]:
    def warnings() -> list[str]:
        return [line.split("ringkv.shard: ")[1] for line in shard.spawned.err.splitlines() if " WARNING " in line]

    wait_for(lambda: len(warnings()) >= count, f"not {count} warnings: {shard.spawned.err}")
    return warnings()


def test_another_dataset_under_the_same_name_is_told_once(spawn: Spawner, tmp_path: Path) -> None:
    old, new, bad = packed(tmp_path, "old", "1"), packed(tmp_path, "new", "2"), tmp_path / "bad"
    bad.write_text("no dataset")
    link = tmp_path / "served"
    point(link, old)
    shard = spawn.shard(link, "--name", "one")
    served = f"shard one serves dataset {dataset(old)}, but {link} is now "
    point(link, new)
    assert wait_for_warnings(shard, 1) == [f"{served}dataset {dataset(new)}: restart the shard to serve that"]
    # The same content again is nothing to tell, wherever it stands.
    shutil.copytree(old, old.with_suffix(".copy"))
    point(link, old.with_suffix(".copy"))
    point(link, bad)
    second = wait_for_warnings(shard, 2)[1]
    assert second.startswith(f"{served}something else, which cannot be served: {link}: is not a packed dataset")
    link.unlink()
    new.replace(link)
    assert wait_for_warnings(shard, 3)[2] == f"{served}dataset {dataset(link)}: restart the shard to serve that"
