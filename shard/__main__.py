"""`python -m shard`."""

from shard.cli import shard

shard(prog_name="python -m shard")
