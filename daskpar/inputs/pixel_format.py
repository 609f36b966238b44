"""How the stored numbers of an image become pixel values: BITPIX, BSCALE, BZERO, BLANK."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: BITPIX → numpy code of the stored, big-endian numbers.
STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class PixelFormat(NamedTuple):
    """The stored form of an image (FITS 4.0, section 4.4.1.1 and 4.4.2.5)."""

    bitpix: int
    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    @property
    def stored(self) -> np.dtype[Any]:
        """The big-endian dtype of the bytes in the file."""
        return np.dtype(STORED[self.bitpix])

    @property
    def offset_integer(self) -> bool:
        """Whether the integers are stored with half their range subtracted (unsigned, or signed bytes)."""
        if self.bitpix < 0 or self.bscale != 1 or self.blank is not None:
            return False
        return self.bzero == (-128 if self.bitpix == 8 else 1 << (self.bitpix - 1))

    @property
    def plain(self) -> bool:
        """Whether the stored numbers are the pixel values."""
        return self.bscale == 1 and self.bzero == 0 and self.blank is None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The native dtype of the pixel values.

        As ``astropy.io.fits`` gives it: integers unscaled keep their type, those stored with an offset become
        unsigned (signed for bytes), all other scaled integers float32 up to 16 bits and float64 above.
        Differences: unsigned integers with a BLANK become floats too, since undefined pixels are NaN here; a
        BLANK of 0 counts, which astropy overlooks.
        """
        if self.bitpix < 0 or self.plain:
            return self.stored.newbyteorder("=")
        if self.offset_integer:
            return np.dtype("i1" if self.bitpix == 8 else f"u{self.bitpix // 8}")
        return np.dtype("f4" if self.bitpix <= 16 else "f8")

    def values(self, raw: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Turn stored numbers into pixel values.

        Parameters
        ----------
        raw : array of dtype `stored`
            As in the file.
        out : array of dtype `dtype` and the same shape, optional
            Where to write.

        Returns
        -------
        array of dtype `dtype`
            The same bits as ``astropy.io.fits`` gives: multiply, then add, each rounded to `dtype`.
        """
        if out is None:
            out = np.empty(raw.shape, self.dtype)
        if out.shape != raw.shape or out.dtype != self.dtype:
            raise ValueError(f"out must be {raw.shape} {self.dtype}, not {out.shape} {out.dtype}")
        if self.offset_integer:
            # Flipping the top bit adds half the range, without overflow.
            unsigned = out.view(f"u{raw.itemsize}")
            unsigned[...] = raw.view(raw.dtype.str.replace("i", "u"))
            unsigned ^= unsigned.dtype.type(1 << (8 * raw.itemsize - 1))
            return out
        out[...] = raw
        # A scale that overflows gives infinities, in silence: statistics leave them out and count them.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.bscale != 1:
                out *= self.bscale
            if self.bzero != 0:
                out += self.bzero
        if self.blank is not None:
            out[raw == self.blank] = np.nan
        return out
