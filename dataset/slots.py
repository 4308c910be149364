"""The slots of many keys at once, from their 16 bytes: what `ringkv.cluster.position.slot` says of each key's text.

A CRC is affine over GF(2): what one byte of the key changes in that of the text does not depend on the others. So a
table for each of the 16 bytes is enough, and they are made of the very function that everybody else calls.
"""

from binascii import crc_hqx
from functools import cache
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.position import SLOTS


def slots(keys: NDArray[np.void]) -> NDArray[np.uint16]:
    """The slots of keys, which are items of 16 bytes."""
    found = np.full(len(keys), _crc(bytes(16)), np.uint16)
    columns = keys.view(np.uint8).reshape(-1, 16).T
    for table, column in zip(_tables(), columns, strict=True):
        found ^= table[column]
    return found & np.uint16(SLOTS - 1)


@cache
def _tables() -> NDArray[np.uint16]:
    """Row i tells by which bits of the CRC the text of a key differs whose byte i is not 0, but so much."""
    zero = _crc(bytes(16))
    rows = [[_crc(bytes([*bytes(at), byte, *bytes(15 - at)])) ^ zero for byte in range(256)] for at in range(16)]
    return np.array(rows, np.uint16)


def _crc(key: bytes) -> int:
    return crc_hqx(str(UUID(bytes=key)).encode(), 0)
