"""How a stack will be read: its row bands directly, or decoded once to scratch first."""

from __future__ import annotations

from typing import Literal, NamedTuple

from daskpar.inputs.image_record import ImageStack, Plane

#: A read below this costs a file server more for the opening than for the bytes.
MIN_READ = 256 * 1024


class ReadingPlan(NamedTuple):
    """What reading a stack will cost.

    ``mode`` is ``direct`` (each band opens each file) or ``staged`` (each file is read once and written to
    scratch as native arrays, row band by row band; bands then read those). ``reason`` says why. ``bands`` is
    the number of row bands, ``opens`` that of input files opened in all, ``kb_a_read`` the kB (1000 bytes) a
    band reads from one file (whole images where staged), ``read_bytes`` the input bytes in all,
    ``scratch_bytes`` the scratch space.
    """

    mode: Literal["direct", "staged"]
    reason: str
    bands: int
    opens: int
    kb_a_read: float
    read_bytes: int
    scratch_bytes: int


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
    planes = [plane for plane in (stack.data, stack.mask, stack.uncertainty) if plane is not None]
    bands = -(-height // rows)
    least = min(form.stored.itemsize for plane in planes for form in plane.formats)
    band_bytes = least * width * min(rows, height)
    if stack.sliceable and (band_bytes >= MIN_READ or bands == 1):
        # Every plane of a frame is opened for itself, also where they share a file.
        pixels = sum(_bytes(plane, width * height) for plane in planes)
        reason = f"a band reads {band_bytes / 1e3:,.0f} kB of each file"
        opens = bands * len(planes) * len(stack)
        return ReadingPlan("direct", reason, bands, opens, band_bytes / 1e3, pixels, 0)
    packed = sum(storage != "plain" for plane in planes for storage in plane.storage)
    reason = (
        f"{packed} images are compressed"
        if packed
        else f"a band would read only {band_bytes / 1e3:,.0f} kB of each file, in {bands * len(stack)} opens"
    )
    size = sum(_bytes(plane, width * height) for plane in planes)
    scratch = sum(plane.dtype.itemsize for plane in planes) * len(stack) * width * height
    opens = len(planes) * len(stack)
    return ReadingPlan("staged", reason, bands, opens, size / opens / 1e3, size, scratch)


def _bytes(plane: Plane, pixels: int) -> int:
    """Return the bytes of input that reading a plane once takes: whole files where they are compressed."""
    sizes = [form.stored.itemsize * pixels for form in plane.formats]
    columns = zip(plane.format.tolist(), plane.storage, plane.size.tolist(), strict=True)
    return sum(sizes[form] if storage == "plain" else size for form, storage, size in columns)
