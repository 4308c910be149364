"""The router: HTTP in, RESP to the shard that owns the key."""
