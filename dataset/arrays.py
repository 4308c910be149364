"""Arrow arrays made from their buffers, and NumPy's views of Arrow arrays, without a copy.

Arrow's own ways, `pa.array` and `to_numpy`, first load pandas, where that is installed: half a second of every process.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_arrow(array: NDArray[Any]) -> pa.Array:
    """An Arrow array without nulls of the array's numbers."""
    kind = pa.from_numpy_dtype(array.dtype)
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(np.ascontiguousarray(array))])


def bytes_to_arrow(items: Sequence[bytes], size: int) -> pa.Array:
    """An Arrow array without nulls of items of `size` bytes each."""
    return pa.Array.from_buffers(pa.binary(size), len(items), [None, pa.py_buffer(b"".join(items))])


def to_bytes(array: pa.Array) -> list[bytes]:
    """The items of an Arrow array of byte strings of one size, without nulls. Raises ValueError if bytes are missing.

    Arrow's own `to_pylist` takes a hundred times as long, in which no other thread of the process runs.
    """
    size = array.type.byte_width
    _, items = array.buffers()
    start, end = array.offset * size, (array.offset + len(array)) * size
    data = items.to_pybytes()[start:end] if items else b""
    if len(data) != end - start:
        raise ValueError("a column has fewer bytes than it says")
    return [data[at : at + size] for at in range(0, len(data), size)]


def to_numpy(array: pa.Array) -> NDArray[Any]:
    """A view of an Arrow array of numbers without nulls. Raises ValueError if it has fewer bytes than it says."""
    _, numbers = array.buffers()
    dtype = np.dtype(array.type.to_pandas_dtype())
    return np.frombuffer(numbers or b"", dtype, len(array), array.offset * dtype.itemsize)
