"""The slots of many keys at once against the function that everybody else calls, one key at a time."""

from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.position import slot
from ringkv.dataset.format import KEY
from ringkv.dataset.slots import slots


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_all_slots_at_once_are_those_of_each_key(keys: list[bytes]) -> None:
    found = slots(np.frombuffer(b"".join(keys), KEY))
    assert found.tolist() == [slot(str(UUID(bytes=key)).encode()) for key in keys]
