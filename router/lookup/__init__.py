"""From a key, or many, to what the shards that own it say: routes, links, retries, hedges, deadlines."""
