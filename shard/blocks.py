"""The blocks of the leased partitions, and what is known of each: a lease proves none of them, the first read does.

    leased, unchecked ──first read──► checked ──► read where it is mapped, or as a copy where memory is too small
             ▲                   └──► corrupt: refused by name, this block alone (`shard.refused`)
             └── its segment is in doubt (`shard.watch`): each read is checked, and none is remembered

A block whose read would have to wait, or that a mirror does not have, is not read here: NotInMemory names it, and
`shard.reads` reads it.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ringkv.cluster.errors import BlockNotFetched, CorruptBlock, DatasetError, PartitionNotLeased
from ringkv.cluster.position import slot_shift
from ringkv.dataset.block import Row, damage, extent_of, read_row
from ringkv.dataset.coalescing import placed
from ringkv.dataset.dataset import Dataset
from ringkv.dataset.format import BLOCK_ROW
from ringkv.dataset.segment import Segment
from ringkv.process.memory import available
from ringkv.shard.body import Body, NotInMemory, Read, why_wrong
from ringkv.shard.entries import Checked, entries_of, entry, slot_entries
from ringkv.shard.looks import Looks
from ringkv.shard.refused import Refused
from ringkv.shard.rows import proved_rows
from ringkv.shard.table import Table

log = logging.getLogger("ringkv.shard")

Result = TypeVar("Result")


class Blocks:
    """`table` has the entries of checked blocks. `largest` is the size in bytes of the largest block that was leased so
    far. All methods but `leasing` are for the event loop's thread.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.width = dataset.manifest.blocks_per_partition
        self.slots = 1 << slot_shift(dataset.manifest.partitions)
        self.table = Table(dataset.manifest.partitions, self.width, self.slots)
        self.rows: dict[int, bytes] = {}  # partition → its rows of blocks.arrow, one behind the other
        self.corrupt = Refused()
        self.refused: dict[int, str] = {}  # partition → why its rows cannot be trusted
        self.keys = 0
        self.bytes = 0
        self.largest = 0
        self.mapped = True
        self._doubted: set[int] = set()  # numbers of segments
        self._suspects: set[int] = set()  # blocks that were found wrong when their segment had been touched
        self._abandoned = ""
        self._looks = Looks()
        self._held: Mapping[int, Body] = {}

    def leasing(self, partitions: Collection[int]) -> dict[int, bytes | CorruptBlock]:
        """The rows of partitions that are to be leased, or why they cannot be trusted. May run in another thread."""
        self.dataset.claim(partitions)
        found, largest = proved_rows(self.dataset, partitions)
        self.largest = max(self.largest, largest)
        return found

    def lease(self, found: Mapping[int, bytes | CorruptBlock]) -> None:
        """Let partitions be read that were not leased before, given what `leasing` found. To be followed by `fit`."""
        for partition, rows in found.items():
            self.refused.pop(partition, None)
            if isinstance(rows, CorruptBlock):
                self.refused[partition] = str(rows)
                log.error("%s", rows)
                continue
            self.rows[partition] = rows
        self._count([partition for partition in found if partition in self.rows], 1)
        for number, group in self.dataset.by_segment(found).items():
            spans = {partition: extent_of(self.rows[partition]) for partition in group if partition in self.rows}
            self.dataset.segments[number].residency.keep(spans)

    def release(self, partitions: Iterable[int]) -> None:
        """Forget partitions and give their pages back. `fit` is to follow."""
        gone = set(partitions)
        if not gone:
            return
        self.dataset.unclaim(gone)
        leased = [partition for partition in gone if self.rows.pop(partition, None) is not None]
        for partition in leased:
            self.table.forget(partition)
        self._count(leased, -1)
        self.refused = {partition: why for partition, why in self.refused.items() if partition not in gone}
        self.corrupt.forget(gone, self.width)
        for number, group in self.dataset.by_segment(gone).items():
            self.dataset.segments[number].residency.release(group)

    def is_leased(self, partition: int) -> bool:
        return partition in self.rows

    def row(self, block: int) -> Row:
        """The row of a block whose partition is leased."""
        return read_row(self.rows[block // self.width], block % self.width)

    def of(self, partition: int) -> range:
        """The blocks of a partition."""
        return range(partition * self.width, (partition + 1) * self.width)

    @property
    def checked_bytes(self) -> int:
        """Bytes of the leased blocks that are checked."""
        return self.table.bytes

    def is_unchecked(self, block: int) -> bool:
        """Whether `unchecked` names the block, if it is not empty: leased, not in doubt, not read yet."""
        partition = block // self.width
        if partition not in self.rows or self.dataset.segment_of(partition) in self._doubted:
            return False
        return block not in self.corrupt and not self.table.has(block)

    def unchecked(self, partitions: Iterable[int]) -> NDArray[np.void]:
        """The blocks, as PLACED has them, of the leased ones of `partitions`: neither checked nor corrupt nor empty."""
        leased = [p for p in partitions if p in self.rows and self.dataset.segment_of(p) not in self._doubted]
        rows = np.frombuffer(b"".join([self.rows[partition] for partition in leased]), BLOCK_ROW)
        blocks = (np.array(leased, np.int64)[:, np.newaxis] * self.width + np.arange(self.width)).ravel()
        found = placed(blocks, rows)
        return found[(found["keys"] > 0) & self._are_open(found)]

    def still_unchecked(self, blocks: NDArray[np.void], forgotten: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these blocks, which were unchecked when `table.forgotten` was as given, are so without a break."""
        return self.table.remembers(blocks["block"], forgotten) & self._are_open(blocks)

    def _are_open(self, blocks: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which of these blocks are neither checked nor corrupt."""
        found = ~self.table.has_all(blocks["block"])
        return found & ~np.isin(blocks["block"], list(self.corrupt)) if self.corrupt else found

    def read(self, block: int) -> tuple[Row, bytes | bytearray]:
        """The block's row and a copy of its body, checked if that has not been done before; b"" if it has no keys.

        Raises NotInMemory, CorruptBlock, PartitionNotLeased, BlockNotFetched.
        """
        found = self.look(block)
        if isinstance(found, Read):
            raise NotInMemory(found)
        return found

    def look(self, block: int) -> tuple[Row, bytes | bytearray] | Read:
        """As `read`; but of a block that is not in memory its read is returned. NotInMemory may be raised too."""
        partition, at = divmod(block, self.width)
        rows = self.rows.get(partition)
        if rows is None:
            raise self.refusal(partition)
        row = read_row(rows, at)
        if not row.keys:
            return row, b""
        if self.corrupt.holds(block):
            raise CorruptBlock(self.corrupt[block])
        number = self.dataset.segment_of(partition)
        segment = self.dataset.segments[number]
        body = self._held.get(block) if self._held else None  # possibly b"", where a file was cut off
        if body is None and self._looks.are_worth_it():
            body = segment.read_now(row.offset, row.size)
            self._looks.saw(found=body is not None)
        if body is None:
            return Read(block, segment, row)
        if isinstance(body, BlockNotFetched):
            raise body
        if number in self._doubted:
            if wrong := why_wrong(body, row):
                self._suspects.add(block)
                # Treated as not leased here: another shard has to say whether the key exists.
                raise PartitionNotLeased(str(segment.changed(wrong)))
        elif isinstance(body, OSError) or not self.table.has(block):
            self._check(block, segment, row, body)
        return row, cast("bytes | bytearray", body)

    def _check(self, block: int, segment: Segment, row: Row, body: bytes | bytearray | OSError) -> None:
        """Note what the first read of a block has brought. Raises CorruptBlock, PartitionNotLeased, NotInMemory."""
        wrong = why_wrong(body, row)
        if segment.origin is not None:
            if wrong and block not in self._held:
                raise NotInMemory(Read(block, segment, row))
            if not wrong and block in self._held:
                return  # it is not known to be in the mirror: there was no room, or there is a hole
        if not wrong:
            self._put(block, row, cast("bytes | bytearray", body))
            return
        self.refuse(block, wrong)
        if block in self.corrupt:
            raise CorruptBlock(self.corrupt[block])
        raise PartitionNotLeased(str(segment.changed(wrong)))

    def proves(self, read: Read, body: Body) -> bool:
        """Whether a block that was read from the disk is leased and right, which is noted; if not, `read` says why."""
        partition = read.block // self.width
        trusted = partition in self.rows and self.dataset.segment_of(partition) not in self._doubted
        if not trusted or read.segment.origin is not None or isinstance(body, Exception):
            return False
        if not self.table.has(read.block):
            if damage(body, read.row):
                return False
            self._put(read.block, read.row, body)
        return True

    def _put(self, block: int, row: Row, body: bytes | bytearray) -> None:
        """Note that a block was read and is right."""
        self.corrupt.pop(block, None)
        number = self.dataset.segment_of(block // self.width)
        if self.mapped and self.slots > 1:
            entries = slot_entries(row, body, self.slots, number)
        else:
            entries = self.slots * entry(row, number, mapped=self.mapped)
        self.table.put(block, row, entries)

    def settle(self, found: Checked) -> None:
        """Note that blocks were read and are right."""
        entries = found.entries if self.mapped else entries_of(found.blocks, found.segment, mapped=False)
        self.table.put_all(found.blocks, entries)

    def refuse(self, block: int, wrong: str) -> None:
        """Note that a block was read and is corrupt, and what is wrong with it.

        If its segment has been touched, it is only suspect: the watch finds out whether that was overwritten.
        """
        if self.dataset.segments[self.dataset.segment_of(block // self.width)].touched():
            self._suspects.add(block)
            return
        error = self.dataset.corrupt(block, wrong)
        if self.corrupt.add(block, wrong, str(error)):
            log.error("%s", error)

    def holding(self, bodies: Mapping[int, Body], call: Callable[[], Result]) -> Result:
        """What `call` returns if it reads these bodies, or raises the errors in their place, instead of the memory."""
        self._held = bodies
        try:
            return call()
        finally:
            self._held = {}

    @property
    def held(self) -> Mapping[int, Body]:
        """The bodies and errors that `holding` has put in the place of what is in memory."""
        return self._held

    def refusal(self, partition: int) -> DatasetError:
        """Why a partition that is not leased, or was refused, cannot be read."""
        if self._abandoned:
            return PartitionNotLeased(self._abandoned)
        if partition in self.refused:
            return CorruptBlock(self.refused[partition])
        return PartitionNotLeased(f"partition {partition} is not leased here; ask an owner of it")

    def distrust(self, segment: int) -> list[int]:
        """The segment may have been written to: check each of its blocks whenever it is read.

        Returns the blocks that had been checked, and those that were found wrong since the segment was touched.
        """
        self._doubted.add(segment)
        before = self.suspects(segment)
        for partition in self._leased_in(segment):
            before += [block for block in self.of(partition) if self.table.has(block)]
            self.table.forget(partition)
        return before

    def suspects(self, segment: int) -> list[int]:
        """The leased blocks of the segment that were found wrong since it was touched; each is returned once."""
        found = {block for block in self._suspects if self.dataset.segment_of(block // self.width) == segment}
        self._suspects -= found
        return sorted(block for block in found if self.is_leased(block // self.width))

    def trust(self, segment: int) -> list[int]:
        """The segment is what it was. Returns its leased partitions, all blocks of which count as unchecked now."""
        self._doubted.discard(segment)
        return self._leased_in(segment)

    def abandon(self, reason: str) -> None:
        """Read nothing any more, as a segment was overwritten; `reason` says which and how."""
        self.release(list(self.rows))
        self._abandoned = reason

    def fit(self) -> None:
        """Read blocks where they are mapped if all that is leased fits into memory, else as copies."""
        room = available() if self.mapped else available() * 3 // 4  # so that small changes do not switch to and fro
        fits = self.bytes <= room
        if fits != self.mapped:
            self.mapped = fits
            if fits:
                log.info("the leased blocks fit into memory: they are read where they are mapped")
            else:
                log.warning("the leased blocks do not fit into memory: they are read as copies, in part from the disk")
            for partition in self.rows:
                self.table.forget(partition)

    def _count(self, partitions: list[int], sign: int) -> None:
        self.keys += sign * int(self.dataset.partitions.keys[partitions].sum())
        self.bytes += sign * int(self.dataset.partitions.sizes[partitions].sum())

    def _leased_in(self, segment: int) -> list[int]:
        entry = self.dataset.manifest.segments[segment]
        return [partition for partition in range(entry.first, entry.last) if partition in self.rows]
