"""Synthetic frames as FITS files: the same bytes for the same description and seed."""

from __future__ import annotations

import hashlib
import inspect
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.atomic import output_errors, replacing
from daskpar.inputs import synthetic
from daskpar.inputs.fits_header import BLOCK
from daskpar.inputs.synthetic import SyntheticImages, synthetic_frame

_START = datetime(2025, 3, 1, 20, 0, 0)
_OVERHEAD = 10.0
_PIXEL_DEGREES = 0.4 / 3600


def write_synthetic(
    spec: SyntheticImages, folder: str | os.PathLike[str], seed: int | None = None
) -> list[str]:
    """Write the frames of a description as ``frame_00000.fits`` and so on.

    Parameters
    ----------
    spec : SyntheticImages
        What to simulate.
    folder : path
        Made where it does not exist.
    seed : int, optional
        Instead of ``spec.seed``.

    Returns
    -------
    list of str
        Full paths, in the order of the frames. A file that is there already, complete and of the same
        description, is left untouched, so that results which depend on it stay valid.

    Raises
    ------
    OutputError
        Where a file cannot be written; earlier files are intact.
    """
    base = Path(folder).absolute()
    names = [base / f"frame_{frame:05d}.fits" for frame in range(spec.n_frames)]
    with output_errors(base):
        base.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda frame: _write(spec, frame, seed, names[frame]), range(spec.n_frames)))
    return [str(name) for name in names]


def _write(spec: SyntheticImages, frame: int, seed: int | None, path: Path) -> None:
    header = _header(spec, frame, spec.seed if seed is None else seed)
    itemsize = np.dtype(spec.dtype).itemsize
    data_bytes = spec.shape[0] * spec.shape[1] * itemsize
    length = len(header) + -(-data_bytes // BLOCK) * BLOCK
    if _is_there(path, header, length):
        return
    pixels = _stored(synthetic_frame(spec, frame, seed).data)
    with replacing(path, size=length) as temporary, open(temporary, "wb") as file:
        file.write(header)
        file.write(pixels.data)
        file.write(bytes(length - file.tell()))


def _is_there(path: Path, header: bytes, length: int) -> bool:
    # Files appear under their name only when complete, and the header says what was simulated.
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == length and file.read(len(header)) == header
    except FileNotFoundError:
        return False


def _stored(data: NDArray[Any]) -> NDArray[Any]:
    if data.dtype == np.uint16:
        return (data ^ np.uint16(0x8000)).astype(">u2")
    return data.astype(">f4")


def _header(spec: SyntheticImages, frame: int, seed: int) -> bytes:
    """Return a FITS header, padded; its SIMHASH tells which description, seed and frame it belongs to."""
    start = _START + timedelta(seconds=frame * (spec.exposure + _OVERHEAD))
    # The source of the simulation belongs to it: another version makes other frames.
    code = hashlib.blake2b(inspect.getsource(synthetic).encode()).hexdigest()
    identity = f"{code} {spec.model_dump_json(exclude={'seed', 'n_frames'})} {seed} {frame}"
    rows, columns = spec.shape
    unsigned = {"BZERO": 32768, "BSCALE": 1} if spec.dtype == "uint16" else {}
    cards: dict[str, bool | int | float | str] = {
        "SIMPLE": True,
        "BITPIX": 16 if spec.dtype == "uint16" else -32,
        "NAXIS": 2,
        "NAXIS1": columns,
        "NAXIS2": rows,
        **unsigned,
        "BUNIT": "adu",
        "EXPTIME": spec.exposure,
        "DATE-OBS": start.isoformat(timespec="milliseconds"),
        "TIMESYS": "UTC",
        "FILTER": "V",
        "GAIN": spec.gain,
        "RDNOISE": spec.read_noise,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": 250.423475,
        "CRVAL2": 36.461319,
        "CRPIX1": (columns + 1) / 2,
        "CRPIX2": (rows + 1) / 2,
        "CDELT1": -_PIXEL_DEGREES,
        "CDELT2": _PIXEL_DEGREES,
        "RADESYS": "ICRS",
        "OBJECT": "simulated",
        "SIMHASH": hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
    }
    text = "".join(_card(key, value) for key, value in cards.items()) + "END".ljust(80)
    return text.encode("ascii").ljust(-(-len(text) // BLOCK) * BLOCK)


def _card(key: str, value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        text = ("T" if value else "F").rjust(20)
    elif isinstance(value, str):
        text = f"'{value:<8}'".ljust(20)
    else:
        text = repr(value).upper().rjust(20)
    return f"{key:<8}= {text}".ljust(80)
