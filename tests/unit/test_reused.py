"""Memory that is used again: never while an array lies in it, and not without bounds."""

import gc
import threading

import numpy as np
import pytest

from daskpar import reused as module
from daskpar.reused import SMALLEST, release, reused


@pytest.fixture(autouse=True)
def none_left():
    release()
    yield
    release()


def place(array):
    return array.__array_interface__["data"][0]


def test_an_array_is_as_asked_for_and_begins_at_a_cache_line():
    for shape, dtype in [((3, 5), "f8"), ((1024, 1024), ">f4"), ((1 << 21,), bool)]:
        array = reused(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert place(array) % 64 == 0


def test_an_array_may_be_empty():  # then it lies nowhere
    array = reused((0, 7), ">f4")
    assert (array.shape, array.dtype) == ((0, 7), np.dtype(">f4"))


def test_memory_comes_back_when_the_last_array_in_it_is_gone():
    first = reused((SMALLEST,), "u1")
    at, part = place(first), first.reshape(1024, -1)[10:20].view("i4")
    del first
    gc.collect()
    second = reused((SMALLEST,), "u1")
    assert place(second) != at
    part[...] = 7
    assert (part == 7).all()
    del part
    assert place(reused((SMALLEST // 8,), "f8")) == at


def test_memory_that_is_much_too_large_is_not_lent():
    at = place(reused((4 * SMALLEST,), "u1"))
    assert place(reused((SMALLEST,), "u1")) != at
    assert place(reused((4 * SMALLEST - 99,), "u1")) == at


def test_no_more_is_kept_than_may_be(monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 3 * SMALLEST)
    held = [reused((SMALLEST,), "u1") for _ in range(5)]
    del held
    assert len(module._free) == 3
    release()
    assert not module._free


def test_threads_never_share_memory():
    wrong = []

    def work(number):
        for _ in range(200):
            array = reused((SMALLEST,), "u1")
            array[::4096] = number
            if not (array[::4096] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
