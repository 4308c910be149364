"""Everything that ringkv raises on purpose.

A message is one line that says what was wrong, where, and what to do; the command line prints it as it is.

RingkvError
├── InvalidKey              not the text of a UUID version 4
├── InvalidAddress          not host:port, unix:/path or dns://host:port
├── DatasetError
│   ├── SourceError         the data file cannot be read, or changed while it was read
│   │   ├── MalformedLine   a line that is not `<UUID v4> <value>`
│   │   └── DuplicateKey    a key that stands on two lines
│   ├── PackingFailed       the dataset could not be written (disk full, no permission)
│   ├── InvalidDataset      not a packed dataset, truncated, or of another version
│   │   └── DatasetOverwritten   it was one, and was overwritten while it was served
│   ├── StoreError          a folder or bucket of datasets cannot be reached, or refuses what was asked
│   │   ├── NoSuchObject    it has no object of this name
│   │   └── Conflict        the object to be replaced is another one by now, or is there already
│   ├── CacheError          the folder for what is fetched cannot be used, or another process has it
│   ├── CatalogError        not a catalog, or nothing was published to it yet
│   │   └── VersionConflict somebody else has published meanwhile
│   ├── PublishRefused      the gate: too many of the keys that are served are gone in the new dataset
│   ├── LargeValue          the value is too large to be handed out whole: its size is told instead
│   ├── CorruptBlock        one block's bytes do not match its checksum, or cannot be read; the others can be served
│   └── PartitionNotLeased  the key's partition is not leased here: whether the key exists is for an owner to say
│       └── BlockNotFetched it is leased, but the key's block is in a store that cannot be reached now
├── ClusterError
│   ├── PeerError           an address answers, but not as a shard should, or it refuses what was asked
│   ├── NotServed           a router does not serve what was published, and says why
│   ├── LeaseRefused        a shard will not serve the ring that a router asks for
│   │   └── NotOffered      it does not offer the dataset any more, or not yet
│   ├── SwapRefused         a router's gate keeps a version out: too many of the keys asked for lately are not in it
│   └── ShardUnavailable    no owner of a key could be reached before the deadline
│       └── TooManyRequests the router has no room for another request
└── StartupError            a process cannot start: port in use, missing permission, bad setting
"""


class RingkvError(Exception):
    """The root of the tree above; `str()` is the one line for people."""


class InvalidKey(RingkvError):
    pass


class InvalidAddress(RingkvError):
    pass


class DatasetError(RingkvError):
    pass


class SourceError(DatasetError):
    pass


class MalformedLine(SourceError):
    pass


class DuplicateKey(SourceError):
    pass


class PackingFailed(DatasetError):
    pass


class InvalidDataset(DatasetError):
    pass


class DatasetOverwritten(InvalidDataset):
    pass


class StoreError(DatasetError):
    pass


class NoSuchObject(StoreError):
    pass


class Conflict(StoreError):
    pass


class CacheError(DatasetError):
    pass


class CatalogError(DatasetError):
    pass


class VersionConflict(CatalogError):
    pass


class PublishRefused(DatasetError):
    pass


class LargeValue(DatasetError):
    """`size` is how many bytes the value has."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the value has {size} bytes: ask for pieces of it")
        self.size = size


class CorruptBlock(DatasetError):
    pass


class PartitionNotLeased(DatasetError):
    pass


class BlockNotFetched(PartitionNotLeased):
    pass


class ClusterError(RingkvError):
    pass


class PeerError(ClusterError):
    pass


class NotServed(ClusterError):
    pass


class LeaseRefused(ClusterError):
    pass


class NotOffered(LeaseRefused):
    pass


class SwapRefused(ClusterError):
    pass


class ShardUnavailable(ClusterError):
    pass


class TooManyRequests(ShardUnavailable):
    pass


class StartupError(RingkvError):
    pass
