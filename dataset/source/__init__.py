"""Where pairs come from: text files, compressed ones, streams, Parquet and Arrow tables, each a `Source`.

A new kind of source is a module here and a line in `find`; packing and the cache know the protocol alone.
"""
