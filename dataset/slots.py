"""The slots of many keys at once, from their 16 bytes: what `ringkv.cluster.position.slot` says of each key's text.

A CRC is affine over GF(2): what one digit of the key changes in the CRC does not depend on the other digits. So a table
for each two of the 16 bytes is enough, a megabyte in all. They are made with the very function that all others call.
"""

from binascii import crc_hqx
from functools import cache
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.position import SLOTS


def slots(keys: NDArray[np.void]) -> NDArray[np.uint16]:
    """The slots of keys, which are items of 16 bytes."""
    columns = zip(_tables(), keys.view("<u2").reshape(-1, 8).T, strict=True)
    table, column = next(columns)
    found: NDArray[np.uint16] = table.take(column)
    for table, column in columns:
        found ^= table.take(column)
    found &= np.uint16(SLOTS - 1)
    return found


@cache
def _tables() -> NDArray[np.uint16]:
    """Row i, column n: the bits of the CRC that change where bytes 2i and 2i + 1 of a key are n instead of 0.

    The first of the two bytes is the lower byte of n. Row 0 has the CRC of the key 0 in all of its columns too.
    """
    zero = _crc(0)
    digits = np.array([[_crc(digit << at) ^ zero for digit in range(16)] for at in range(124, -4, -4)], np.uint16)
    one = (digits[::2, :, np.newaxis] ^ digits[1::2, np.newaxis, :]).reshape(16, 256)
    two = (one[::2, np.newaxis, :] ^ one[1::2, :, np.newaxis]).reshape(8, 65536)
    two[0] ^= np.uint16(zero)
    return two


def _crc(key: int) -> int:
    return crc_hqx(str(UUID(int=key)).encode(), 0)
