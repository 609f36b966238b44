"""Header cards: what the images are, what they were made from, and how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from astropy.io import fits

_MOST_INPUT_CARDS = 999  # IMCMBnnn, as IRAF's imcombine writes them
_MOST_RECIPE_LINES = 200
_BITPIX = {
    "b1": 8, "u1": 8, "i1": 8, "i2": 16, "u2": 16, "i4": 32, "u4": 32, "i8": 64, "u8": 64,
    "f2": -32, "f4": -32, "f8": -64,
}  # fmt: skip
# Cards of a WCS header that describe the file it came from, not the sky.
_STRUCTURE = {
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT",
    "BSCALE", "BZERO", "BLANK", "BUNIT", "EXTNAME", "EXTVER", "CHECKSUM", "DATASUM", "COMMENT", "HISTORY",
    "END", "",
}  # fmt: skip


def primary_header(dataset: xr.Dataset, provenance: Mapping[str, Any]) -> fits.Header:
    """Return the header of the empty first HDU.

    It holds NCOMBINE, the mean exposure (EXPTIME, s) and mid-time (MJD-AVG) of the frames, their names
    (IMCMBnnn, up to 999) and the recipe as HISTORY; each where it is known.
    """
    from astropy.io import fits

    header = fits.Header()
    cards = [("SIMPLE", True, "FITS standard 4.0"), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)]
    header.extend(cards, strip=False)
    version = provenance.get("versions", {}).get("daskpar", "")
    header["CREATOR"] = (f"daskpar {version}".strip(), "software that wrote this file")
    if provenance.get("ended"):  # ISO 8601 with an offset, which FITS does not write
        header["DATE"] = (str(provenance["ended"])[:19], "[UTC] end of the run")
    for card in _frame_cards(dataset):
        header.append(card, end=True)
    for line in _history(provenance):
        header.add_history(line)
    return header


def _frame_cards(dataset: xr.Dataset) -> Iterator[tuple[str, Any, str]]:
    names = _input_names(dataset)
    count = dataset.attrs.get("ncombine") or dataset.sizes.get("frame") or len(names)
    if count:
        yield "NCOMBINE", int(count), "number of frames combined"
    for attribute, coordinate, keyword, comment in (
        ("mean_exposure", "exposure", "EXPTIME", "[s] mean exposure of the frames"),
        ("mean_mid_time", "mid_time", "MJD-AVG", "[d] mean MJD (UTC) of mid-exposure"),
    ):
        value = _mean(dataset, attribute, coordinate)
        if math.isfinite(value):
            yield keyword, value, comment
    for number, name in enumerate(names[:_MOST_INPUT_CARDS], start=1):
        yield f"IMCMB{number:03d}", _card_text(name), ""


def _mean(dataset: xr.Dataset, attribute: str, coordinate: str) -> float:
    if attribute in dataset.attrs:
        return float(dataset.attrs[attribute])
    if coordinate not in dataset.coords:
        return math.nan
    values = np.asarray(dataset[coordinate].values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan


def _input_names(dataset: xr.Dataset) -> list[str]:
    if "inputs" in dataset.attrs:
        return [str(name) for name in dataset.attrs["inputs"]]
    if "path" not in dataset.coords:
        return []
    paths = np.atleast_1d(dataset["path"].values).tolist()
    hdus = np.atleast_1d(dataset["hdu"].values).tolist() if "hdu" in dataset.coords else [0] * len(paths)
    return [
        str(path) + (f"[{hdu}]" if hdu not in (0, "0", "") else "")
        for path, hdu in zip(paths, hdus, strict=False)
    ]


def _history(provenance: Mapping[str, Any]) -> Iterator[str]:
    recipe = provenance.get("recipe")
    text = str(recipe.get("text", "")) if isinstance(recipe, Mapping) else ""
    lines = text.expandtabs(4).splitlines()
    if lines:
        yield "Recipe, in full in the extension PROVENANCE:"
    for line in lines[:_MOST_RECIPE_LINES]:
        yield _card_text(line) or " "
    if len(lines) > _MOST_RECIPE_LINES:
        yield f"... and {len(lines) - _MOST_RECIPE_LINES} lines more"


def extension_header(
    variable: xr.DataArray, extension: str, shared: Mapping[str, Any]
) -> tuple[fits.Header, int]:
    """Return the header of an image extension and the offset (BZERO) its integers are stored with.

    Parameters
    ----------
    variable : xarray.DataArray
        Bool, integer or float. In ``attrs``, ``unit`` is a FITS unit string, ``wcs_header`` header text,
        ``long_name`` a few words.
    extension : str
        EXTNAME.
    shared : mapping
        Attributes of the Dataset: its ``wcs_header`` counts where the variable has none.

    Raises
    ------
    TypeError
        For a dtype that a FITS image cannot hold.
    """
    from astropy.io import fits

    code = variable.dtype.str[1:]
    if code not in _BITPIX:
        raise TypeError(f"{variable.name}: a FITS image cannot hold {variable.dtype}")
    header = fits.Header()
    header["XTENSION"] = ("IMAGE", str(variable.attrs.get("long_name", ""))[:40])
    header["BITPIX"] = _BITPIX[code]
    header["NAXIS"] = variable.ndim
    for axis, length in enumerate(reversed(variable.shape), start=1):
        header[f"NAXIS{axis}"] = length
    header.extend([("PCOUNT", 0), ("GCOUNT", 1), ("EXTNAME", extension), ("INHERIT", True)], strip=False)
    if variable.attrs.get("unit"):
        header["BUNIT"] = _card_text(str(variable.attrs["unit"]))
    offset = _offset(variable.dtype)
    if offset:
        header.extend([("BSCALE", 1), ("BZERO", offset)], strip=False)
    if tuple(map(str, variable.dims[-2:])) == ("y", "x"):
        text = str(variable.attrs.get("wcs_header") or shared.get("wcs_header") or "")
        header.extend(wcs_cards(text), unique=True)
    return header, offset


def _offset(dtype: np.dtype[Any]) -> int:
    if dtype == np.int8:
        return -128
    return 1 << (8 * dtype.itemsize - 1) if dtype.kind == "u" and dtype.itemsize > 1 else 0


def wcs_cards(text: str) -> fits.Header:
    """Return the cards of a header string, of 80 characters or of lines, that describe the sky."""
    from astropy.io import fits

    header = fits.Header.fromstring(text, sep="\n" if "\n" in text else "")
    for keyword in set(header) & _STRUCTURE:
        header.remove(keyword, remove_all=True)
    return header


def _card_text(text: str) -> str:
    """Escape what a card cannot hold: all but printable ASCII."""
    escaped = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in escaped)
