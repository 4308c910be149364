"""What the answer to many keys looks like: lines as in the data file, or JSON; made piece by piece."""

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Final, Protocol, cast

from ringkv.router.http.answers import CONTENT_TYPE
from ringkv.router.lookup.batch import Values

_JSON: Final = json.JSONEncoder(ensure_ascii=False)


class Format(Protocol):
    """`begin`, a `piece` for each window, and `end` make one body; `missing` is how many keys were absent so far."""

    content_type: str

    @property
    def missing(self) -> int: ...

    def begin(self, dataset_id: str) -> bytes: ...

    def piece(self, keys: Sequence[bytes], values: Values) -> bytes:
        """The next keys, each with its value or None."""

    def end(self) -> bytes: ...


class Lines:
    """`key value` a line, for the keys that are there: a data file."""

    content_type = CONTENT_TYPE

    def __init__(self) -> None:
        self.missing = 0

    def begin(self, _dataset_id: str) -> bytes:
        return b""

    def piece(self, keys: Sequence[bytes], values: Values) -> bytes:
        missing = values.count(None)
        self.missing += missing
        if missing:
            keys = [key for key, value in zip(keys, values, strict=True) if value is not None]
            values = [value for value in values if value is not None]
        # One join of all parts: a line that is put together by itself is copied once more.
        parts = [b"", b" ", b"", b"\n"] * len(values)
        parts[::4] = keys
        parts[2::4] = cast("list[bytes]", values)
        return b"".join(parts)

    def end(self) -> bytes:
        return b""


class Json:
    """`{"dataset": …, "values": {key: value, …}, "missing": [key, …]}`; a value that is no UTF-8 is {"base64": …}.

    A key that was asked for twice must be given once: an object's names are unique.
    """

    content_type = "application/json"

    def __init__(self) -> None:
        self._missing: list[str] = []
        self._comma = ""

    @property
    def missing(self) -> int:
        return len(self._missing)

    def begin(self, dataset_id: str) -> bytes:
        return f'{{"dataset": {_JSON.encode(dataset_id)}, "values": {{'.encode()

    def piece(self, keys: Sequence[bytes], values: Values) -> bytes:
        found: dict[str, str | dict[str, str]] = {}
        for key, value in zip(keys, values, strict=True):
            if value is None:
                self._missing.append(key.decode())
            else:
                found[key.decode()] = _json_value(value)
        if not found:
            return b""
        piece, self._comma = self._comma + _JSON.encode(found)[1:-1], ", "
        return piece.encode()

    def end(self) -> bytes:
        return f'}}, "missing": {_JSON.encode(self._missing)}}}\n'.encode()


def _json_value(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
