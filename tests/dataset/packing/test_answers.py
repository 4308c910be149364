"""What a worker answers is told as the name of a file, which a pipe takes whole or not at all."""

import pickle
import select
from pathlib import Path

from ringkv.dataset.packing.answers import pick_up, put_down


def test_however_large_an_answer_is_what_is_sent_of_it_is_short(tmp_path: Path) -> None:
    name = put_down(tmp_path, lambda size: b"x" * size, 1 << 20)
    assert len(pickle.dumps(name)) < select.PIPE_BUF / 4
    assert pick_up(name) == b"x" * (1 << 20)
    assert list(tmp_path.iterdir()) == []
