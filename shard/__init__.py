"""The shard process: the partitions that routers lease from it, served over RESP."""
