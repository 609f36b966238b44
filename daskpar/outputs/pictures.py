"""PNG: a preview of an image, or of the columns, or of a few numbers; drawn without a window.

The same result gives the same bytes: no date, and matplotlib's own style whatever the user's settings.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.outputs import record
from daskpar.outputs.columns import images, table_dimensions

if TYPE_CHECKING:
    import xarray as xr

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write(
    dataset: xr.Dataset,
    path: Path,
    provenance: Mapping[str, Any],
    suffix: str = ".png",
    plot: Callable[[xr.Dataset, Any], None] | None = None,
) -> None:
    """Draw a Dataset.

    Parameters
    ----------
    dataset : xarray.Dataset
        Read in bands, so that an image may be larger than memory.
    path : Path
        The file to fill.
    provenance : mapping
        Kept in a text chunk.
    suffix : str
        ``.png``.
    plot : function (dataset, figure), optional
        Draws on an empty matplotlib Figure with constrained layout. Default: the main image, else the columns
        over the dimension with most variables, else the scalars as text.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(8, 6), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        (plot or _default_plot(dataset))(dataset, figure)
        texts = {"Software": None, record.KEY: record.to_short_text(provenance)}
        figure.savefig(path, format="png", metadata=texts)


def _default_plot(dataset: xr.Dataset) -> Callable[[xr.Dataset, Any], None]:
    from daskpar.outputs import plot_columns, plot_image

    if images(dataset):
        return plot_image.draw
    return plot_columns.draw if table_dimensions(dataset) else plot_columns.draw_scalars


def read_provenance(path: Path) -> dict[str, Any]:
    """Read back what `write` stored; ValueError where the file holds none or is damaged."""
    for kind, body in chunks(path.read_bytes()):
        key, _, text = body.partition(b"\0")
        if kind == b"tEXt" and key == record.KEY.encode():
            return record.from_text(text.decode("ascii"))
    raise ValueError("no text chunk with provenance")


def verify(path: Path) -> None:
    """Check all chunks of the file; ValueError where a checksum is wrong."""
    for _ in chunks(path.read_bytes()):
        pass


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each chunk of a PNG file, after checking its CRC.

    Raises
    ------
    ValueError
        The file is not PNG, cut short, or a checksum is wrong.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG file")
    place, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if place + 12 > len(data):
            raise ValueError("the file is cut short")
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        stored = data[place + 8 + length : place + 12 + length]
        if stored != struct.pack(">I", zlib.crc32(kind + body)):
            raise ValueError(f"the checksum of chunk {kind!r} is wrong")
        yield kind, body
        place += 12 + length
