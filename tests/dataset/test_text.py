"""The fast parser against its slow twin, and each way for a line to be wrong."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringkv.cluster.limits import MAX_VALUE
from ringkv.cluster.position import position
from ringkv.dataset.text import Columns, Malformed, line_bounds, parse, why_malformed

KEY = b"f8a24bb8-eff8-41dc-929b-10b4c3e49e05"

UUID4 = st.uuids(version=4).map(lambda uuid: str(uuid).encode())
ODD_BYTES = st.sampled_from([b"-", b" ", b"g", b"G", b"\x00", b"\x10", b"\x18", b"\x41", b"\xff", b"\r", b"7", b"c"])


@st.composite
def nearly_lines(draw: st.DrawFn) -> bytes:
    """A line, well-formed or with one byte replaced, or cut short."""
    line = draw(UUID4) + b" " + draw(st.binary(max_size=8))
    if draw(st.booleans()):
        line = line.swapcase()
    if draw(st.booleans()):
        at = draw(st.integers(0, 36))
        line = line[:at] + draw(ODD_BYTES | st.binary(max_size=2)) + line[at + 1 :]
    return line[: draw(st.integers(0, 60))].replace(b"\n", b"")


@given(st.lists(nearly_lines(), max_size=6), st.sampled_from([b"", b"\n"]))
def test_the_fast_parser_agrees_with_its_slow_twin(lines: list[bytes], end: bytes) -> None:
    chunk = b"\n".join(lines) + end if lines else b""
    # What stands after the last newline is only a line if there is something.
    if not end and lines and not lines[-1]:
        lines = lines[:-1]
    parsed = parse(chunk)
    wrong = [(number, why_malformed(line)) for number, line in enumerate(lines) if why_malformed(line)]
    if wrong:
        assert parsed == Malformed(*wrong[0])
        return
    assert isinstance(parsed, Columns)
    assert parsed.positions.tolist() == [position(line[:36].lower()) for line in lines]
    assert parsed.keys.tobytes() == b"".join(UUID(line[:36].decode()).bytes for line in lines)
    values = zip(parsed.starts.tolist(), parsed.lengths.tolist(), strict=True)
    assert [chunk[start : start + length] for start, length in values] == [line[37:] for line in lines]


@given(st.binary(max_size=50).map(lambda chunk: chunk.replace(b"0", b"\n")))
def test_lines_end_at_newlines_and_nowhere_else(chunk: bytes) -> None:
    starts, ends = line_bounds(chunk)
    lines = chunk.removesuffix(b"\n").split(b"\n") if chunk else []
    assert [chunk[start:end] for start, end in zip(starts, ends, strict=True)] == lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "the line is empty"),
        (b"f8a24bb8 1234", "not a UUID version 4: 'f8a24bb8'"),
        (b"\xef\xbb\xbf" + KEY + b" 1234", "the line is UTF-8 with a byte order mark; save it"),
        (b" " + KEY + b" 1234", "not a UUID version 4: ''"),
        (KEY.replace(b"-41dc", b"-11dc") + b" 1234", "not a UUID version 4: 'f8a24bb8-eff8-11dc"),
        (KEY.replace(b"-929b", b"-c29b") + b" 1234", "not a UUID version 4: 'f8a24bb8-eff8-41dc-c29b"),
        (KEY.replace(b"-", b"") + b" 1234567890", "not a UUID version 4"),
        (b"{" + KEY + b"} 1234", "not a UUID version 4"),
        (KEY, "no space after the key"),
        (KEY + b"\t1234", "no space after the key"),
        (KEY + b"0 1234", "no space after the key"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_malformed_line_is_named_with_its_reason(line: bytes, reason: str, before: int) -> None:
    chunk = (KEY + b" value\n") * before + line + b"\n" + b"also wrong\n"
    found = parse(chunk)
    assert isinstance(found, Malformed)
    assert found.line == before
    assert found.reason.startswith(reason)


def test_a_value_may_be_as_long_as_the_limit_and_no_longer() -> None:
    longest = KEY + b" " + bytes(MAX_VALUE)
    fits = parse(longest + b"\n")
    assert isinstance(fits, Columns)
    assert fits.lengths.tolist() == [MAX_VALUE]
    assert parse(longest + b"x\n") == Malformed(0, f"the value is longer than {MAX_VALUE} bytes")
