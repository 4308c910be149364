"""An immutable key-value file, served from a sharded cluster. Its parts stand at the top of the repository."""

__version__ = "0.2.0"
