"""Bands that are held at a time, and blocks of them: they cover all rows, and are as large as is said."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from daskpar.analyses.image_stats import partition
from daskpar.inputs.reading_plan import MIN_READ

SIZES = st.tuples(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 200_000))


def cover(spans, length):
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    assert all(start < stop for start, stop in spans)


@given(SIZES)
def test_bands_cover_all_rows_and_hold_what_they_may(sizes):
    frames, rows, row_bytes = sizes
    bands = partition.row_bands(frames, rows, row_bytes)
    cover(bands, rows)
    height = bands[0][1] - bands[0][0]
    assert height == 1 or height * frames * row_bytes <= partition.LARGEST_BAND_BYTES + frames * row_bytes
    if height * frames * row_bytes > partition.BAND_BYTES + frames * row_bytes:
        assert (height - 1) * row_bytes < MIN_READ


@given(SIZES)
def test_blocks_are_runs_of_bands(sizes):
    frames, rows, row_bytes = sizes
    bands = partition.row_bands(frames, rows, row_bytes)
    blocks = partition.row_blocks(bands, frames * row_bytes)
    cover(blocks, rows)
    assert [band for block in blocks for band in partition.bands_within(bands, *block)] == bands
    if len(blocks) < len(bands):
        assert max(stop - start for start, stop in blocks) * frames * row_bytes <= partition.BLOCK_BYTES
        assert len(blocks) >= partition.LEAST_BLOCKS
    else:
        few = len(bands) < 2 * partition.LEAST_BLOCKS
        high = 2 * (bands[0][1] - bands[0][0]) * frames * row_bytes > partition.BLOCK_BYTES
        assert few or high


@given(st.integers(1, 3000), st.integers(1, 200 << 20))
def test_blocks_of_frames(frames, frame_bytes):
    blocks = partition.frame_blocks(frames, frame_bytes)
    cover(blocks, frames)
    size = blocks[0][1]
    assert size == 1 or size * frame_bytes <= partition.BLOCK_BYTES + frame_bytes


def test_part_of_a_band():
    bands = [(0, 4), (4, 8), (8, 10)]
    assert partition.bands_within(bands, 4, 10) == [(4, 8), (8, 10)]
    assert partition.bands_within(bands, 5, 9) == [(5, 8), (8, 9)]
