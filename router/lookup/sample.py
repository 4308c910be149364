"""Some of the keys that were asked for lately: what another version of the data is tried with before it is served.

Taking them costs requests next to nothing: of single lookups one is taken at each tick, of keys that are asked for
together one of many.
"""

from collections.abc import Sequence

from ringkv.router.policy import SAMPLE_EVERY, SAMPLE_KEYS


class Sample:
    """Up to SAMPLE_KEYS different keys; a new one replaces the one that was not taken for the longest time."""

    def __init__(self) -> None:
        self._keys: dict[bytes, None] = {}
        self._skip = 0  # how many keys that come together to skip until the next one is taken

    def keys(self) -> list[bytes]:
        return list(self._keys)

    def take(self, key: bytes) -> None:
        keys = self._keys
        keys.pop(key, None)
        keys[key] = None
        if len(keys) > SAMPLE_KEYS:
            del keys[next(iter(keys))]

    def take_some(self, keys: Sequence[bytes]) -> None:
        """Take one of every SAMPLE_EVERY keys, which may come in groups of any size."""
        for key in keys[self._skip :: SAMPLE_EVERY]:
            self.take(key)
        self._skip = (self._skip - len(keys)) % SAMPLE_EVERY
