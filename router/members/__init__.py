"""Which shards there are, which of them make up the cluster, and one topology after the other."""
