"""Frames that cannot be sliced, decoded once for all bands.

In a run this is a stage of its own, whose durable records are the decoded bands: see `building`. Without one,
the tasks that decode write to scratch and hand on where, so that no frame stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
from dask.delayed import Delayed, delayed

from daskpar.analyses.image_stats.alignment import AlignedStack, aligned_rows
from daskpar.analyses.image_stats.calibration import calibrated
from daskpar.analyses.image_stats.with_dask.sources import Array, FileBands, scratch_folder
from daskpar.durable import digest_of, durable
from daskpar.inputs.images import ImageStack
from daskpar.inputs.staging import StagingBlock, decode_bands, staged_band, staging_blocks, stored_rows

Bands = Sequence[tuple[int, int]]


class StagedBands:
    """A plane of files whose rows were laid out by bands; a source, as those in `sources`.

    Parameters
    ----------
    files : FileBands
        What was decoded.
    bands : sequence of (int, int)
        Row bands of the box.
    parts : sequence of mappings
        What `decode_bands` gave, block by block; read array by array.
    """

    def __init__(self, files: FileBands, bands: Bands, parts: Sequence[Mapping[str, Array]]) -> None:
        self.shape, self.dtype, self.identity = files.shape, files.dtype, files.identity
        self.files, self.bands, self.parts = files, bands, parts
        self.blocks = list(staging_blocks(files.record, in_files(files, bands)))

    def read(self, start: int, stop: int) -> Array:
        """Return a band of rows of all frames, native."""
        wanted = [i for i, (low, high) in enumerate(self.bands) if low < stop and high > start]
        pieces = [self._band(number) for number in wanted]
        band = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
        first = self.bands[wanted[0]][0]
        rows, begin = band[:, start - first : stop - first], self.files.rows.start
        rows = calibrated(self.files.record, self.files.plane, rows, begin + start, begin + stop)
        return rows[..., self.files.columns.start : self.files.columns.stop]

    def _band(self, number: int) -> Array:
        holds = zip(self.blocks, self.parts, strict=True)
        parts = [part for block, part in holds if block.first_band <= number < block.last_band]
        return staged_band(parts, number, self.files.plane)  # type: ignore[arg-type]


def in_files(files: FileBands, bands: Bands) -> list[tuple[int, int]]:
    """Return row bands of a box as rows of the files."""
    first = files.rows.start
    return [(first + start, first + stop) for start, stop in bands]


def staging_nodes(files: FileBands, bands: Bands, *, durably: bool) -> list[Delayed]:
    """Return a task for each block of the decoding; what they give belongs into `StagedBands`.

    Durable ones give the arrays, which the run stores; others write them to scratch.
    """
    record, rows = files.record, in_files(files, bands)
    name = digest_of([record.identity(), rows])
    source = delayed((record, rows), name=f"frames-to-decode-{name}", traverse=False)
    blocks = list(staging_blocks(record, rows))
    if not durably:
        folder = str(scratch_folder())
        task = delayed(decode_to_scratch, name=f"decode-to-scratch-{name}", pure=False)
        return [
            task(source, *block, folder, dask_key_name=f"decode-to-scratch-{name}-{number}")
            for number, block in enumerate(blocks)
        ]
    return [_durable(record, rows, source, block) for block in blocks]


def _durable(record: ImageStack, rows: Bands, source: Delayed, block: StagingBlock) -> Delayed:
    mine = rows[block.first_band : block.last_band]
    key = [record.identity(slice(block.first, block.last)), block.first_band, mine]
    verb = "align" if isinstance(record, AlignedStack) else "decode"
    label = f"{verb} frames {block.first}:{block.last} rows {mine[0][0]}:{mine[-1][1]}"
    return durable(decode_block, source, *block, key=key, label=label)


def decode_block(
    source: tuple[ImageStack, Bands], first: int, last: int, first_band: int, last_band: int
) -> dict[str, Array]:
    """Decode some frames, and align them where the record says so, as `decode_bands`."""
    record, block = source[0], StagingBlock(first, last, first_band, last_band)
    return decode_bands(*source, block, aligned_rows if isinstance(record, AlignedStack) else stored_rows)


class ScratchPart(Mapping[str, Array]):
    """What `decode_bands` gave, in a file on scratch: arrays are mapped when they are asked for."""

    def __init__(self, path: Path, arrays: Mapping[str, Array]) -> None:
        self.path = path
        self.places: dict[str, tuple[str, tuple[int, ...], int]] = {}
        with open(path, "wb") as file:
            for name, array in arrays.items():
                self.places[name] = (array.dtype.str, array.shape, file.tell())
                file.write(np.ascontiguousarray(array).data)

    def __getitem__(self, name: str) -> Array:
        dtype, shape, offset = self.places[name]
        return np.memmap(self.path, np.dtype(dtype), "r", offset, shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def decode_to_scratch(
    source: tuple[ImageStack, Bands], first: int, last: int, first_band: int, last_band: int, folder: str
) -> ScratchPart:
    """Decode some frames into a file of a folder on scratch."""
    arrays = decode_block(source, first, last, first_band, last_band)
    return ScratchPart(Path(folder) / f"{uuid4().hex}.bands", arrays)
