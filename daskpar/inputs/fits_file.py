"""The structure of a FITS file: which HDUs it has and where their data lie. No pixel is read here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from daskpar.errors import InputError
from daskpar.inputs.fits_header import BLOCK, Header, ReadAt, read_header
from daskpar.inputs.pixel_format import STORED

#: What a user may write for an HDU: a number, a name, or a name and an EXTVER.
Selector = int | str | tuple[str, int]
#: The kinds of HDU that hold one; what messages say of those that do not.
IMAGES = ("image", "tiled")
HELD = {
    "empty": "holds no data",
    "groups": "holds random groups",
    "image": "holds an image",
    "tiled": "holds a compressed image",
}
MOST_LISTED = 20


class Hdu(NamedTuple):
    """One header and data unit.

    ``number`` counts from 0; ``kind`` is ``image``, ``tiled`` (a compressed image), ``groups``, ``empty`` or
    the XTENSION of a table; ``data_bytes`` is the length of the data without padding; ``shape`` has the
    slowest axis first, as in numpy.
    """

    number: int
    kind: str
    header: Header
    start: int
    data_start: int
    data_bytes: int
    shape: tuple[int, ...]

    @property
    def next_start(self) -> int:
        """Where the next HDU begins."""
        return self.data_start + -(-self.data_bytes // BLOCK) * BLOCK

    @property
    def name(self) -> str:
        """EXTNAME in capitals, ``PRIMARY`` for the first HDU without one."""
        name = str(self.header.get("EXTNAME") or "").strip().upper()
        return name or ("PRIMARY" if self.number == 0 else "")

    @property
    def version(self) -> int:
        """EXTVER, 1 where absent."""
        version = self.header.get("EXTVER")
        return version if isinstance(version, int) else 1

    def describe(self) -> str:
        """Return one phrase for lists in messages, such as ``1 SCI,2 image 512 x 512``."""
        label = f" {self.name},{self.version}" if self.name and self.number else ""
        shape = self.shape
        if self.kind == "tiled":
            shape = axes(self.header, "Z")
        size = " " + " x ".join(str(n) for n in reversed(shape)) if shape and self.kind != "empty" else ""
        return f"{self.number}{label} {self.kind}{size}"


def axes(header: Header, prefix: str = "") -> tuple[int, ...]:
    """Return the shape from NAXIS and NAXISn (or ZNAXIS, ZNAXISn), slowest axis first.

    Raises
    ------
    InputError
        Where one is missing, no integer, negative, or NAXIS exceeds 999.
    """
    count = _whole(header, f"{prefix}NAXIS", 999)
    return tuple(_whole(header, f"{prefix}NAXIS{i}") for i in range(count, 0, -1))


def _whole(header: Header, key: str, most: int | None = None) -> int:
    value = header.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        found = "is missing" if value is None else f"is {value!r}, not a whole number"
        raise InputError(f"{key} {found}", "mend the header", key=key)
    if value < 0 or (most is not None and value > most):
        raise InputError(f"{key} = {value} is outside what FITS allows", "mend the header", key=key)
    return value


def _describe(number: int, start: int, header: Header) -> Hdu:
    if header.place_of("XTENSION") not in ((0,) if number else (None,)):
        what = "another header begins inside this one: its END card is damaged"
        raise InputError(what, "fetch the file again", key="XTENSION")
    named = header.get("XTENSION")
    if number and not (isinstance(named, str) and named):
        raise InputError("XTENSION does not say what this is", "mend the header", key="XTENSION")
    bitpix = header.get("BITPIX")
    if bitpix not in STORED:
        allowed = ", ".join(map(str, STORED))
        found = "is missing" if bitpix is None else f"= {bitpix}"
        raise InputError(f"BITPIX {found}", f"FITS allows {allowed}", key="BITPIX")
    shape = axes(header)
    for key in ("BITPIX", "NAXIS", *(f"NAXIS{i + 1}" for i in range(len(shape)))):
        if header.contradicts_itself(key):
            raise InputError(f"{key} stands there twice, with different values", "mend the header", key=key)
    pixels = 1 if shape else 0
    grouped = bool(shape) and shape[-1] == 0 and header.get("GROUPS") is True
    for length in shape[:-1] if grouped else shape:
        pixels *= length
    extra = _whole(header, "PCOUNT") if "PCOUNT" in header else 0
    groups = _whole(header, "GCOUNT") if "GCOUNT" in header else 1
    if number == 0 and not grouped:
        # PCOUNT and GCOUNT mean nothing in a primary image; some old programs wrote them.
        extra, groups = 0, 1
    size = abs(int(bitpix)) // 8 * groups * (extra + pixels)
    kind = "groups" if grouped else _kind(header, size)
    return Hdu(number, kind, header, start, start + header.size, size, shape)


def _kind(header: Header, size: int) -> str:
    extension = str(header.get("XTENSION") or "IMAGE")  # in capitals, as FITS says
    if header.get("ZIMAGE") is True and extension in ("BINTABLE", "A3DTABLE"):
        return "tiled"
    if extension not in ("IMAGE", "IUEIMAGE"):
        return extension
    return "image" if size else "empty"


def walk(read_at: ReadAt, size: int | None) -> Iterator[Hdu]:
    """Yield the HDUs of a file in order; only headers are read.

    Parameters
    ----------
    read_at : callable
        Reads bytes at an offset.
    size : int or None
        Length of the file; None where it is not known (compressed), then the end is found by reading.

    Raises
    ------
    InputError
        With the HDU in ``place``, where a header is malformed or cut off.
    """
    number = start = 0
    while True:
        first = read_at(start, 9)
        if number and first != b"XTENSION=":
            return  # the end of the file, or special records behind the last HDU, which readers are to skip
        try:
            if not number and not first.startswith(b"SIMPLE  "):
                what = "this is not a FITS file: it does not begin with SIMPLE"
                raise InputError(what, "remove it from the list")
            hdu = _describe(number, start, read_header(read_at, start))
            if not number and hdu.header.get("SIMPLE") is not True:
                raise InputError("SIMPLE is not T: the file does not follow FITS", "convert it", key="SIMPLE")
        except InputError as error:
            fault = error.faults[0]
            raise InputError(fault.what, fault.todo, place=f"[{number}]", key=fault.key) from None
        yield hdu
        number, start = number + 1, hdu.next_start
        if size is not None and start >= size:
            return


def find(
    read_at: ReadAt,
    size: int | None,
    wanted: Selector | None,
    kinds: Sequence[str] = IMAGES,
    called: str = "an image",
) -> tuple[Hdu, Header]:
    """Find the HDU that a user asked for, and the primary header.

    ``wanted=None`` takes the first HDU of these kinds, as ``astropy.io.fits.getdata`` does.

    Raises
    ------
    InputError
        Where there is no such HDU, or it is of another kind; the message lists those there are.
    """
    seen: list[Hdu] = []
    found: Hdu | None = None
    try:
        for hdu in walk(read_at, size):
            seen.append(hdu)
            if found is None and (hdu.kind in kinds if wanted is None else _matches(hdu, wanted)):
                found = hdu
                if hdu.kind in kinds:
                    return hdu, seen[0].header
            if found is not None and len(seen) > MOST_LISTED:
                break
    except InputError:
        if found is None:  # damage behind the HDU that was asked for is another matter
            raise
    todo = "the file has: " + ", ".join(hdu.describe() for hdu in seen[:MOST_LISTED])
    todo += ", ..." if len(seen) > MOST_LISTED else ""
    if found is not None:
        what = f"the HDU {HELD.get(found.kind, f'is a {found.kind}')}, not {called}"
        todo = f"choose another with hdu= or file.fits[NAME]; {todo}"
        raise InputError(what, todo, place=place(found.number))
    what = f"no HDU holds {called}" if wanted is None else "there is no such HDU"
    raise InputError(what, todo, place=place(wanted))


def _matches(hdu: Hdu, wanted: Selector) -> bool:
    if isinstance(wanted, int):
        return hdu.number == wanted
    name, version = (wanted, None) if isinstance(wanted, str) else wanted
    return hdu.name == name.upper() and version in (None, hdu.version)


def place(wanted: Selector | None) -> str:
    """Return a selector as messages show it: ``[SCI,2]``."""
    if wanted is None:
        return ""
    return f"[{wanted}]" if not isinstance(wanted, tuple) else f"[{wanted[0]},{wanted[1]}]"
