"""What the header of a frame says about the exposure: its length, its time, filter, unit and WCS."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from daskpar.errors import InputError
from daskpar.inputs.fits_header import Header, Value

_MJD_ZERO = date(1858, 11, 17).toordinal()
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(.+))?")
_OLD_DATE = re.compile(r"(\d\d)/(\d\d)/(\d\d)")
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d(?:\.\d*)?))?Z?")
_WCS_KEY = re.compile(
    rb"(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)[12] *|(?:CD|PC)[12]_[12] *|PV[12]_\d+ *"
    rb"|(?:A|B|AP|BP)_(?:ORDER|DMAX|\d_\d) *|WAT[012]_\d+ *|(?:LON|LAT)POLE *"
    rb"|RADE(?:SYS|CSYS) *|EQUINOX *|EPOCH *"
)
# WCSAXES is left out: it may count axes of length 1 that the frame no longer has.
_CELESTIAL = ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT")


class FrameMeta(NamedTuple):
    """Exposure in s (NaN unknown), mid-time in MJD (NaN unknown), filter, unit (both "" unknown)."""

    exposure: float
    mid_time: float
    filter: str
    unit: str
    unreadable: tuple[str, ...]


def frame_meta(header: Header, primary: Header) -> FrameMeta:
    """Read what is known about an exposure.

    EXPTIME, else EXPOSURE; MJD-AVG or DATE-AVG, else DATE-OBS (with TIME-OBS where it holds no time), else
    MJD-OBS, plus half the exposure where it is known; FILTER; each from the HDU, else from the primary
    header. BUNIT only from the HDU.

    Returns
    -------
    FrameMeta
        ``unreadable`` names the keywords whose value is present but makes no sense; they count as unknown.
    """
    unreadable: list[str] = []

    def value(key: str) -> Value | None:
        for source in dict.fromkeys((header, primary)):
            try:
                if (found := source.get(key)) is not None:
                    return found
            except InputError:
                unreadable.append(key)
        return None

    def number(key: str) -> float:
        found = value(key)
        if found is None:
            return math.nan
        if isinstance(found, bool) or not isinstance(found, int | float):
            unreadable.append(key)
            return math.nan
        return float(found)

    def moment(key: str, time_key: str = "") -> float:
        text = value(key)
        if text is None:
            return math.nan
        mjd = _mjd(str(text), str(value(time_key) or "") if time_key else "")
        if math.isnan(mjd):
            unreadable.append(key)
        return mjd

    exposure = _first(number, "EXPTIME", "EXPOSURE")
    if exposure < 0:
        unreadable.append("EXPTIME")
        exposure = math.nan
    mid_time = _first(number, "MJD-AVG")
    if math.isnan(mid_time):
        mid_time = moment("DATE-AVG")
    if math.isnan(mid_time):
        start = moment("DATE-OBS", "TIME-OBS")
        start = number("MJD-OBS") if math.isnan(start) else start
        mid_time = start + (0 if math.isnan(exposure) else exposure / 172800)
    unit = header.get("BUNIT") if "BUNIT" in header else ""
    return FrameMeta(
        exposure, mid_time, str(value("FILTER") or "").strip(), str(unit or "").strip(), tuple(unreadable)
    )


def _first(number: Callable[[str], float], *keys: str) -> float:
    for key in keys:
        if not math.isnan(found := number(key)):
            return found
    return math.nan


def _mjd(text: str, time: str) -> float:
    """Return a date, ``YYYY-MM-DD[Thh:mm:ss[.s]]`` or ``DD/MM/YY`` (19YY), as MJD; NaN where it is none."""
    if match := _DATE.fullmatch(text.strip()):
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        time = match[4] or time
    elif match := _OLD_DATE.fullmatch(text.strip()):
        year, month, day = 1900 + int(match[3]), int(match[2]), int(match[1])
    else:
        return math.nan
    clock = _TIME.fullmatch(time.strip() or "00:00:00")
    try:
        days = date(year, month, day).toordinal() - _MJD_ZERO
    except ValueError:
        return math.nan
    if clock is None:
        return math.nan
    return days + (int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3] or 0)) / 86400


def wcs_cards(header: Header) -> bytes:
    """Return the 80-byte cards of the celestial WCS of an image, joined; ``b""`` where it has none."""
    try:
        types = [str(header.get(key) or "") for key in ("CTYPE1", "CTYPE2")]
    except InputError:
        return b""
    if not all(kind.startswith(_CELESTIAL) for kind in types):
        return b""
    raw = header.raw
    cards = (raw[i : i + 80] for i in range(0, len(raw), 80))
    return b"".join(card for card in cards if _WCS_KEY.fullmatch(card[:8]))


def without_comments(cards: bytes) -> bytes:
    """Return cards without comments and padding, a line each: what two frames must share to share a WCS."""
    lines = (cards[i : i + 80] for i in range(0, len(cards), 80))
    return b"\n".join(_VALUE.match(line)[0].rstrip() for line in lines)  # type: ignore[index]


_VALUE = re.compile(rb"(?s).{10} *(?:'(?:[^']|'')*'|[^/]*)")
