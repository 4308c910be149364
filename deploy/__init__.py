"""How a cluster is run."""
