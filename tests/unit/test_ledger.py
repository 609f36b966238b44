"""The ledger: what was stored comes back bit for bit, whatever happens to the rest of the disk."""

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskpar import ledger, record_files
from daskpar.durable import digest_of
from daskpar.errors import OutputError

KEYS = [digest_of(i) for i in range(8)]
ARRAYS = {
    **{f"n{code}": np.arange(6).reshape(2, 3).astype(code) for code in "b h i q B H I Q f d e g F D".split()},
    "bool": np.array([True, False]),
    "big": np.arange(4, dtype=">i4"),
    "text": np.array(["", "a", "ünïcode ☃"]),
    "bytes": np.array([b"", b"ab\x00c"]),
    "date": np.array(["2026-01-01", "NaT"], "M8[ns]"),
    "delta": np.array([1, -1], "m8[ms]"),
    "scalar": np.float64(3.5),
    "zero_d_text": np.asarray("mag"),
    "empty": np.empty((0, 3)),
    "empty_text": np.empty(0, "U5"),
    "no_width": np.array([""]),
    "nan": np.array([np.nan, -0.0, np.inf]),
    "strided": np.arange(12).reshape(3, 4).T[::2],
    "read_only": np.broadcast_to(np.float32(2), (3, 2)),
}


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    record_files.close(tmp_path)


def same(one, other):
    """Whether two arrays have equal shape, kind, width and bits, in whatever byte order."""
    one, other = np.asarray(one), np.asarray(other)
    little = one.dtype.newbyteorder("<"), other.dtype.newbyteorder("<")
    return (
        little[0] == little[1]
        and one.shape == other.shape
        and one.astype(little[0]).tobytes() == other.tobytes()
    )


def segment_of(folder):
    (path,) = (folder / "segments").glob("*.seg")
    return path


def stored_three(folder):
    """Store three small records in one segment; return them and the segment's bytes."""
    records = [
        ledger.store(folder, key, {"x": np.arange(4.0) + i, "s": np.array(["ab"])})
        for i, key in enumerate(KEYS[:3])
    ]
    record_files.close(folder)
    return records, segment_of(folder).read_bytes()


@pytest.mark.parametrize("name", ARRAYS)
def test_every_kind_of_array_comes_back(folder, name):
    array = ARRAYS[name]
    record = ledger.store(folder, KEYS[0], {name: array})
    assert list(record) == [name]
    assert same(array, record[name])
    assert record[name].dtype.isnative


def test_an_empty_partial_and_many_names(folder):
    empty = ledger.store(folder, KEYS[0], {})
    record = ledger.store(folder, KEYS[1], ARRAYS)
    assert dict(empty) == {}
    assert list(record) == list(ARRAYS)
    found, damage = ledger.scan(folder)
    assert (set(found), damage) == ({*KEYS[:2]}, [])
    assert all(same(ARRAYS[name], found[KEYS[1]][name]) for name in ARRAYS)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(max_size=9),
        hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)),
        max_size=3,
    )
)
def test_any_partial_comes_back(tmp_path_factory, partial):
    folder = tmp_path_factory.mktemp("ledger")
    ledger.store(folder, KEYS[0], partial)
    record_files.close(folder)
    found, damage = ledger.scan(folder)
    assert damage == []
    assert list(found[KEYS[0]]) == list(partial)
    assert all(same(partial[name], found[KEYS[0]][name]) for name in partial)


@pytest.mark.parametrize(
    "value", [np.array([None]), np.array([{}]), np.zeros(2, [("a", "f4")])], ids=["none", "dict", "fields"]
)
def test_what_cannot_be_stored_is_refused_by_name(folder, value):
    with pytest.raises(TypeError, match="'odd'"):
        ledger.store(folder, KEYS[0], {"odd": value})
    assert ledger.scan(folder) == ({}, [])


def test_large_records_are_files_of_their_own(folder):
    large, small = np.arange(ledger.SMALL // 8 + 1.0), np.arange(3)
    one = ledger.store(folder, KEYS[0], {"a": small, "b": large})
    two = ledger.store(folder, KEYS[1], {"b": small})
    assert one.path.endswith(f"files/{KEYS[0][:2]}/{KEYS[0]}.rec")
    assert two.path.endswith(".seg")
    assert same(one["b"], large)
    assert same(one["a"], small)
    assert ledger.scan(folder)[0] == {KEYS[0]: one, KEYS[1]: two}


def test_a_record_is_a_small_picklable_description(folder):
    record = ledger.store(folder, KEYS[0], {"x": np.zeros(100_000)})
    assert len(record["x"]) == 100_000
    data = pickle.dumps(record)
    assert len(data) < 1000
    assert same(pickle.loads(data)["x"], np.zeros(100_000))


def test_find_looks_through_segments_and_files(folder):
    stored = [ledger.store(folder, key, {"x": np.arange(i + 1)}) for i, key in enumerate(KEYS[:2])]
    record_files.close(folder)
    stored.append(ledger.store(folder, KEYS[2], {"x": np.arange(9)}))
    stored.append(ledger.store(folder, KEYS[3], {"x": np.zeros(ledger.SMALL)}))
    assert [ledger.find(folder, key) for key in KEYS[:5]] == [*stored, None]
    assert len(list((folder / "segments").iterdir())) == 2


def test_find_takes_the_undamaged_one_of_two(folder):
    first = ledger.store(folder, KEYS[0], {"x": np.arange(5)})
    second = ledger.store(folder, KEYS[0], {"x": np.arange(5)})
    flip(segment_of(folder), first.length - 1)
    assert ledger.find(folder, KEYS[0]) == second
    assert ledger.scan(folder)[0] == {KEYS[0]: second}


def test_an_empty_or_missing_ledger(tmp_path):
    assert ledger.scan(tmp_path / "none") == ({}, [])
    assert ledger.find(tmp_path / "none", KEYS[0]) is None


def test_a_torn_tail_at_every_byte_is_skipped_silently(folder):
    records, data = stored_three(folder)
    ends = [record.offset + record.length for record in records]
    path = segment_of(folder)
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        found, damage = ledger.scan(folder)
        assert set(found) == {KEYS[i] for i in range(3) if ends[i] <= cut}
        assert damage == []


def flip(path, place, bit=0x01):
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_anywhere_costs_one_record_and_is_reported(folder, bit):
    records, data = stored_three(folder)
    path = segment_of(folder)
    middle = records[1]
    for place in range(middle.offset, middle.offset + middle.length):
        flip(path, place, bit)
        found, damage = ledger.scan(folder)
        assert set(found) == {KEYS[0], KEYS[2]}, place
        assert len(damage) == 1, (place, damage)
        assert path.name in damage[0]
        assert f"at byte {middle.offset}" in damage[0]
        path.write_bytes(data)


@pytest.mark.parametrize(("field", "size"), [(28, 4), (32, 8)], ids=["header", "payload"])
@pytest.mark.parametrize("value", [0, 1, 1000, 2**20, 2**31 - 1, -1])
def test_a_damaged_length_costs_one_record(folder, field, size, value):
    records, data = stored_three(folder)
    wrong = struct.pack("<Q", value & (1 << 64) - 1)[:size]
    at = records[0].offset + field
    segment_of(folder).write_bytes(data[:at] + wrong + data[at + size :])
    found, damage = ledger.scan(folder)
    assert set(found) == {KEYS[1], KEYS[2]}
    assert len(damage) == 1


def test_rubbish_of_any_kind_never_stops_a_scan(folder):
    _, data = stored_three(folder)
    rng = np.random.default_rng(7)
    for _ in range(200):
        noise = bytearray(data)
        begin, width = int(rng.integers(len(data))), int(rng.integers(1, 80))
        noise[begin : begin + width] = rng.bytes(width)
        segment_of(folder).write_bytes(noise)
        found, _ = ledger.scan(folder)
        for record in found.values():
            record.verify()


def test_a_record_read_later_notices_damage(folder):
    record = ledger.store(folder, KEYS[0], {"x": np.arange(5.0)})
    path = segment_of(folder)
    flip(path, record.length - 1)
    with pytest.raises(ledger.DamagedRecord, match="'x'"):
        record["x"]
    flip(path, record.length - 1)
    flip(path, 80)
    with pytest.raises(ledger.DamagedRecord):
        record["x"]


def test_another_record_in_its_place_is_noticed(folder):
    record = ledger.store(folder, KEYS[0], {"x": np.arange(5.0)})
    record_files.close(folder)
    segment_of(folder).unlink()
    other = ledger.store(folder, KEYS[0], {"x": np.arange(1, 6.0)})
    os.replace(other.path, record.path)
    with pytest.raises(ledger.DamagedRecord):
        record.verify()


def test_threads_share_a_segment(folder):
    partials = {digest_of([t, i]): {"x": np.full(50 + i, t)} for t in range(4) for i in range(25)}
    keys = list(partials)

    def work(mine):
        for key in mine:
            ledger.store(folder, key, partials[key])

    threads = [threading.Thread(target=work, args=(keys[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    segment_of(folder)
    found, damage = ledger.scan(folder)
    assert (set(found), damage) == (set(keys), [])
    assert all(same(found[key]["x"], partials[key]["x"]) for key in keys)


def test_a_full_segment_is_followed_by_another(folder, monkeypatch):
    monkeypatch.setattr(record_files, "SEGMENT_BYTES", 2000)
    for key in KEYS:
        ledger.store(folder, key, {"x": np.arange(100)})
    assert len(list((folder / "segments").iterdir())) > 1
    assert set(ledger.scan(folder)[0]) == set(KEYS)


def test_a_ledger_removed_meanwhile_is_begun_again(folder):
    ledger.store(folder, KEYS[0], {"x": np.arange(3)})
    segment_of(folder).unlink()
    record = ledger.store(folder, KEYS[1], {"x": np.arange(3)})
    assert same(record["x"], np.arange(3))
    assert set(ledger.scan(folder)[0]) == {KEYS[1]}


FORK = """
import os, sys
import numpy as np
from daskpar import ledger, record_files
from daskpar.durable import digest_of
folder = sys.argv[1]
ledger.store(folder, digest_of("parent"), {"x": np.arange(3)})
child = os.fork()
for i in range(50):
    ledger.store(folder, digest_of([child == 0, i]), {"x": np.full(9, i)})
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def test_a_forked_child_writes_a_segment_of_its_own(tmp_path):
    done = python(FORK, tmp_path)
    assert done.returncode == 0, done.stderr
    found, damage = ledger.scan(tmp_path)
    assert (len(found), damage) == (101, [])
    assert len(list((tmp_path / "segments").iterdir())) == 2


FULL = """
import json, sys
import numpy as np
from daskpar import ledger, record_files
from daskpar.durable import digest_of
from daskpar.errors import OutputError
stored, refused = [], 0
for i, size in enumerate([200, 200, 200, 100000, 200, 100000, 10]):
    try:
        ledger.store(sys.argv[1], digest_of(i), {"x": np.arange(size)})
        stored.append(digest_of(i))
    except OutputError as error:
        assert error.exit_code == 5 and "bytes" in str(error) and sys.argv[1] in str(error), str(error)
        refused += 1
print(json.dumps([stored, refused]))
"""


def test_a_full_disk_costs_the_block_that_met_it_and_no_other(tmp_path):
    limit = 5000  # bytes a file may have: as a disk that fills up in the middle of a record

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = python(FULL, tmp_path, preexec_fn=limited)
    assert done.returncode == 0, done.stderr
    stored, refused = json.loads(done.stdout)
    assert refused >= 2
    assert stored
    found, damage = ledger.scan(tmp_path)
    assert (set(found), damage) == (set(stored), [])


def test_a_full_disk_leaves_no_temporary_file(tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    code = FULL.replace("100000", "1000000")
    assert python(code, tmp_path, preexec_fn=limited).returncode == 0
    assert [path.name for path in tmp_path.rglob("*") if path.suffix == ".tmp"] == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "segments").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=str(tmp_path)):
        ledger.store(tmp_path, KEYS[0], {"x": np.arange(3)})
