"""Packed files with one wrong byte, as a disk may hand them over."""

from pathlib import Path

from dataset.packed import PackedFile


def flip_value_byte(path: Path, partition: int) -> None:
    """Change one byte of the partition's first value; all else stays as it is."""
    with PackedFile.open(path) as packed:
        at = packed.load(partition).values
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
