"""Reading FITS headers: only the header blocks, only the values that are asked for.

`astropy.io.fits` costs a millisecond or more a file, which is ten seconds for ten thousand frames. This
parser follows the FITS Standard 4.0 (sections 3 and 4) and keeps the header as bytes until a value is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from daskpar.errors import InputError

BLOCK = 2880
CARD = 80
#: No real header comes near this; a file without END must not be read to its end.
MAX_HEADER = 16 << 20

#: ``read_at(offset, count)`` returns at most ``count`` bytes, fewer only at the end of the file.
ReadAt = Callable[[int, int], bytes]
Value = bool | int | float | str

_END = b"END".ljust(CARD)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_INTEGER = re.compile(r"[+-]?\d+")
_SMALL = re.compile("[a-z]").search
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?")


class Header:
    """One FITS header, parsed on demand.

    Parameters
    ----------
    raw : bytes
        The cards before END; a multiple of 80 bytes. Keywords in small letters, which no FITS has, are
        taken as if they were in capitals, as astropy does.
    size : int
        Length in the file, END and padding included; a multiple of 2880.
    """

    __slots__ = ("_places", "_text", "raw", "size")

    def __init__(self, raw: bytes, size: int) -> None:
        self.size = size
        self._read(raw)
        if _SMALL("".join(self._places)):
            cards = (raw[i : i + CARD] for i in range(0, len(raw), CARD))
            self._read(b"".join(card[:8].upper() + card[8:] for card in cards))

    def _read(self, raw: bytes) -> None:
        self.raw = raw
        # Latin-1 maps bytes to characters one by one; FITS itself allows ASCII only.
        self._text = text = raw.decode("latin-1")
        # Backwards, so that the first of several equal keywords wins, as in astropy.
        self._places = {text[i : i + 8]: i for i in range(len(text) - CARD, -1, -CARD)}

    def __contains__(self, key: str) -> bool:
        return f"{key:<8}" in self._places

    def place_of(self, key: str) -> int | None:
        """Return the byte at which the first card of a keyword begins, None where there is none."""
        return self._places.get(f"{key:<8}")

    def contradicts_itself(self, key: str) -> bool:
        """Whether a keyword stands there with different cards: readers take one or the other."""
        name = f"{key:<8}="
        if self._text.count(name) < 2:
            return False
        starts = range(0, len(self._text), CARD)
        return len({self._text[i : i + CARD] for i in starts if self._text.startswith(name, i)}) > 1

    def get(self, key: str) -> Value | None:
        """Return the value of a keyword, None where it is absent or undefined.

        Raises
        ------
        InputError
            Where the card holds no value of the forms of FITS 4.0, section 4.2.
        """
        place = self._places.get(f"{key:<8}")
        if place is None:
            return None
        card = self._text[place : place + CARD]
        if card[8:10] != "= " or key in ("COMMENT", "HISTORY", ""):
            return None
        text = card[10:].lstrip()
        if text.startswith("'"):
            return self._string(key, text, place + CARD)
        return _scalar(key, text.split("/", 1)[0].strip())

    def _string(self, key: str, text: str, following: int) -> str:
        value = _quoted(key, text)
        # A long string: "&" at the end, the rest in CONTINUE cards.
        while value.endswith("&") and self._text.startswith("CONTINUE", following):
            text = self._text[following + 8 : following + CARD].lstrip()
            value = value[:-1] + _quoted(key, text)
            following += CARD
        return value


def _quoted(key: str, text: str) -> str:
    match = _STRING.match(text)
    if not match:
        raise InputError("the string has no closing quote", "mend the header", key=key)
    return match[1].replace("''", "'").rstrip()


def _scalar(key: str, text: str) -> Value | None:
    if not text:
        return None
    if text in ("T", "F"):
        return text == "T"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.upper().replace("D", "E"))
    raise InputError(f"the value {text!r} is no FITS value", "mend the header", key=key)


def read_header(read_at: ReadAt, start: int) -> Header:
    """Read the header that begins at ``start``, block by block, never beyond it.

    Raises
    ------
    InputError
        Where the file ends before the END card and its padding, or the header exceeds 16 MiB.
    """
    blocks: list[bytes] = []
    while len(blocks) * BLOCK < MAX_HEADER:
        block = read_at(start + len(blocks) * BLOCK, BLOCK)
        blocks.append(block)
        end = block.find(_END)
        # END must begin a card; the same letters inside a comment do not end the header.
        while end % CARD and end != -1:
            end = block.find(_END, end + 1)
        if len(block) < BLOCK:
            where = "before its END card" if end == -1 else "inside the padding after its END card"
            raise InputError(f"the header is cut off {where}", "fetch the file again")
        if end != -1:
            raw = b"".join(blocks)
            return Header(raw[: len(raw) - BLOCK + end], len(raw))
    raise InputError(f"no END card within {MAX_HEADER >> 20} MiB", "is this a FITS file?")
