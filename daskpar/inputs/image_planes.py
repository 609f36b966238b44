"""Which HDUs hold masks and uncertainties, and which bits of a mask count."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from numbers import Integral

from daskpar.errors import InputError
from daskpar.inputs.fits_file import Selector
from daskpar.inputs.image_files import Files, Source, expand, parse_selector

#: An HDU of the frame's own file (``"DQ"``, ``3``, ``("DQ", 2)``), or files: one for all frames or one each.
PlaneFiles = int | tuple[str, int] | Files

_FILE_LIKE = re.compile(r"(?is).*(?:/|\*|\?|\.(?:fits?|fts|fz|gz)(?:\[.*\])?$).*")


def plane_sources(
    wanted: PlaneFiles, frames: Sequence[Source], hdu: Selector | None, root: str, key: str
) -> list[Source]:
    """List where the masks or uncertainties of frames lie.

    Parameters
    ----------
    wanted : PlaneFiles
        As the user wrote it. A name without EXTVER takes the EXTVER that was asked for the frame: ``[SCI,2]``
        goes with ``[DQ,2]``.
    frames : sequence of Source
        The frames.
    hdu : Selector or None
        HDU of the frames where none is written behind their names.
    root : str
        Folder that relative names start from.
    key : str
        ``mask`` or ``uncertainty``, for messages.

    Raises
    ------
    InputError
        Where the number of files is neither one nor that of the frames.
    """
    if _is_hdu(wanted, root):
        selector = parse_selector(wanted)  # type: ignore[arg-type]
        return [Source(frame.path, _same_version(selector, frame.selector or hdu)) for frame in frames]
    found = expand(wanted, root, repeats=True)  # type: ignore[arg-type]
    if len(found) == 1:
        return found * len(frames)
    if len(found) != len(frames):
        todo = "give one for all, one for each, or the name of an HDU"
        raise InputError(f"{len(found)} files for {len(frames)} frames", todo, key=key)
    return found


def _is_hdu(wanted: PlaneFiles, root: str) -> bool:
    if isinstance(wanted, str):
        return not _FILE_LIKE.fullmatch(wanted) and not os.path.lexists(os.path.join(root, wanted))
    if isinstance(wanted, tuple) and len(wanted) == 2:
        return isinstance(wanted[1], int)
    return isinstance(wanted, Integral)


def _same_version(selector: Selector, frame: Selector | None) -> Selector:
    return (selector, frame[1]) if isinstance(selector, str) and isinstance(frame, tuple) else selector


def flag_bits(bits: int | Sequence[int] | None) -> int:
    """Combine flag values into one number; 0 where None.

    A single number is a sum of flag values, as in `astropy.nddata.bitmask`; in a sequence each is one flag, a
    power of two.

    Raises
    ------
    InputError
        Where a number is not positive, or one of a sequence is no power of two.
    """
    if bits is None:
        return 0
    values = [bits] if isinstance(bits, int) else list(bits)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 64:
            raise InputError(f"{value!r} is no flag value", "flags are whole numbers above 0", key="dq_bits")
        if not isinstance(bits, int) and value & (value - 1):
            todo = f"list powers of two (bit number {value} is 2**{value}), or give one sum of flags"
            raise InputError(f"{value} is not one flag", todo, key="dq_bits")
    total = 0
    for value in values:
        total |= value
    return total
