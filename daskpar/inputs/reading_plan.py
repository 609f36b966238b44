"""How a stack will be read: its row bands directly, or decoded once to scratch first."""

from __future__ import annotations

from typing import Literal, NamedTuple

from daskpar.inputs.image_record import ImageStack, Plane
from daskpar.inputs.staging import staging_blocks

#: A read below this costs a file server more for the opening than for the bytes.
MIN_READ = 256 * 1024


class ReadingPlan(NamedTuple):
    """What reading a stack will cost.

    ``mode`` is ``direct`` (each band opens each file) or ``staged`` (a first stage decodes frames and stores
    them by bands, see `daskpar.inputs.staging`; bands then read those). ``reason`` says why. ``bands`` is the
    number of row bands, ``opens`` that of input files opened in all, ``kb_a_read`` the kB (1000 bytes) read
    at an open, ``read_bytes`` the input bytes in all; ``scratch_bytes`` and ``scratch_reads`` the space of
    what is staged, and how many pieces of it the bands read.
    """

    mode: Literal["direct", "staged"]
    reason: str
    bands: int
    opens: int
    kb_a_read: float
    read_bytes: int
    scratch_bytes: int
    scratch_reads: int


def reading_plan(stack: ImageStack, rows: int) -> ReadingPlan:
    """Choose how to read a stack, from its headers alone.

    Direct where every plane can be sliced and a band reads at least 256 kB of each file, or all of it; else
    staged, since ten thousand frames in a thousand bands would be ten million opens.

    Parameters
    ----------
    stack : ImageStack
        The record.
    rows : int
        Rows of a band; the last band may be lower.

    Raises
    ------
    ValueError
        Where `rows` is below 1.
    """
    if rows < 1:
        raise ValueError("a band has at least one row")
    height, width = stack.shape
    planes = [stack.plane(name) for name in stack.planes]
    spans = [(start, min(start + rows, height)) for start in range(0, height, rows)]
    bands = len(spans)
    least = min(form.stored.itemsize for plane in planes for form in plane.formats)
    band_bytes = least * width * min(rows, height)
    read_bytes = sum(_bytes(plane, width * height) for plane in planes)
    if stack.sliceable and (band_bytes >= MIN_READ or bands == 1):
        # Every plane of a frame is opened for itself, also where they share a file.
        opens = bands * len(planes) * len(stack)
        reason = f"a band reads {band_bytes / 1e3:,.0f} kB of each file"
        return ReadingPlan("direct", reason, bands, opens, band_bytes / 1e3, read_bytes, 0, 0)
    packed = sum(storage != "plain" for plane in planes for storage in plane.storage)
    reason = (
        f"{packed} images are compressed"
        if packed
        else "frames are aligned first"
        if not stack.sliceable
        else f"a band would read only {band_bytes / 1e3:,.0f} kB of each file, in {bands * len(stack)} opens"
    )
    blocks = list(staging_blocks(stack, spans))
    opens = sum(block.last - block.first for block in blocks) * len(planes)
    pieces = sum(block.last_band - block.first_band for block in blocks) * len(planes)
    value = sum(1 if name == "mask" else stack.plane(name).dtype.itemsize for name in stack.planes)
    scratch = value * len(stack) * width * height
    return ReadingPlan("staged", reason, bands, opens, read_bytes / opens / 1e3, read_bytes, scratch, pieces)


def _bytes(plane: Plane, pixels: int) -> int:
    """Return the bytes of input that reading a plane once takes: whole files where they are compressed."""
    sizes = [form.stored.itemsize * pixels for form in plane.formats]
    columns = zip(plane.format.tolist(), plane.storage, plane.size.tolist(), strict=True)
    return sum(sizes[form] if storage == "plain" else size for form, storage, size in columns)
