"""Arrays of stored partials that a process keeps from block to block."""

import numpy as np
import pytest

from daskpar import ledger, stored_value
from daskpar.durable import digest_of
from daskpar.stored_value import Remembered, all_of, some_of


@pytest.fixture(autouse=True)
def nothing_kept():
    stored_value.forget()
    yield
    stored_value.forget()


def stored(folder, number, **arrays):
    return ledger.store(folder, digest_of(number), arrays)


@pytest.fixture
def reads(monkeypatch):
    """Return the names that are read from the ledger, a list a time."""
    seen, original = [], ledger.Stored.some

    def some(self, names=None):
        seen.append(names if names is None else list(names))
        return original(self, names)

    monkeypatch.setattr(ledger.Stored, "some", some)
    return seen


def test_an_array_is_read_once(tmp_path, reads):
    record = stored(tmp_path, 1, a=np.arange(3), b=np.arange(4.0))
    assert list(some_of(record, ["a", "none"])) == ["a"]
    again = some_of(record, ["b", "none", "a"])
    assert list(again) == ["b", "a"]
    np.testing.assert_array_equal(again["a"], np.arange(3))
    np.testing.assert_array_equal(again["b"], np.arange(4.0))
    assert reads == [["a", "none"], ["b"]]
    with pytest.raises(ValueError, match="read-only"):
        again["a"][0] = 7


def test_what_is_looked_at_several_times_is_read_once(tmp_path, reads):
    record = Remembered(stored(tmp_path, 1, a=np.arange(3), b=np.arange(4.0)))
    assert [record["a"].sum() for _ in range(3)] == [3, 3, 3]
    assert (set(record), len(record), "c" in record) == ({"a", "b"}, 2, False)
    assert reads == [["a"], ["c"]]


def test_all_arrays_are_read_with_one_opening(tmp_path, reads):
    record = stored(tmp_path, 1, a=np.arange(3), b=np.arange(4.0))
    found = all_of(record)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], np.arange(4.0))
    assert reads == [None]
    assert all_of(found) == found


def test_records_of_other_contents_are_others(tmp_path):
    one, two = stored(tmp_path, 1, a=np.zeros(3)), stored(tmp_path, 2, a=np.ones(3))
    assert some_of(one, ["a"])["a"].sum() == 0
    assert some_of(two, ["a"])["a"].sum() == 3


def test_what_was_used_last_is_kept(tmp_path, reads, monkeypatch):
    records = [stored(tmp_path, n, a=np.full(1000, float(n))) for n in range(4)]
    monkeypatch.setattr(stored_value, "MOST_KEPT", 3 * 8000)
    for n in (0, 1, 2, 0, 3, 0, 1):  # the fourth puts out the second
        assert some_of(records[n], ["a"])["a"][0] == n
    assert len(reads) == 5


def test_one_that_is_too_large_is_not_kept(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(stored_value, "MOST_KEPT", 1000)
    record = stored(tmp_path, 1, a=np.zeros(1000))
    for _ in range(2):
        assert some_of(record, ["a"])["a"].size == 1000
    assert len(reads) == 2


def test_a_damaged_record_is_refused(tmp_path):
    record = stored(tmp_path, 1, a=np.zeros(1000))
    with open(record.path, "r+b") as file:
        file.seek(record.offset + record.length - 600)
        file.write(b"\1")
    for _ in range(2):
        with pytest.raises(ledger.DamagedRecord):
            some_of(record, ["a"])
