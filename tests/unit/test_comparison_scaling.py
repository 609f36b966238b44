"""Laws of scaling are found again in times made from them; none is drawn through too few points."""

from dataclasses import replace

import numpy as np
import pytest

from daskpar.comparison.laws import LAWS, fit, fits
from daskpar.comparison.scaling import (
    Serial,
    advice,
    best_serial,
    karp_flatt,
    last_worthwhile,
    points,
    version_fits,
)
from daskpar.comparison.timing import Timing

WORKERS = (1, 2, 4, 8, 16, 32)


def generated(
    law, *parameters, workers=WORKERS, repeats=7, scatter=0.01, first=10.0, weak=False, version="v"
):
    rng = np.random.default_rng(4)
    n = np.repeat(np.array(workers, float), repeats)
    seconds = first * (n if weak else 1) / LAWS[law][0](n, *parameters)
    seconds *= np.exp(scatter * rng.standard_normal(n.size))
    number = np.tile(np.arange(1, repeats + 1), len(workers))
    return [
        Timing(version, int(w), int(w), int(r), {"compute": float(s), "total": float(s)})
        for w, r, s in zip(n, number, seconds, strict=True)
    ]


def fitted(timings, weak=False):
    return fits([one.workers for one in timings], [one.work for one in timings], weak=weak)


@pytest.mark.parametrize(
    ("law", "parameters", "weak"),
    [
        ("amdahl", (0.05,), False),
        ("usl", (0.03, 0.002), False),
        ("gustafson", (0.2,), True),
        ("usl", (0.05, 0.004), True),
    ],
)
def test_a_law_is_found_again(law, parameters, weak):
    found = fitted(generated(law, *parameters, weak=weak), weak)
    (best,) = [one for one in found if one.chosen]
    assert best.law == law
    for (name, value), true in zip(list(best.parameters.items())[1:], parameters, strict=True):
        assert abs(value - true) < 4 * best.errors[name] + 1e-9, name
        assert best.errors[name] < 0.2 * true + 0.005
    assert abs(best.parameters["seconds"] - 10) < 4 * best.errors["seconds"]
    assert max(map(abs, best.residuals.values())) < 0.02


def test_errors_say_how_far_off_a_fit_is():
    """Over many sets of times, two standard errors hold the truth about 95 times in 100."""
    rng, inside = np.random.default_rng(1), 0
    n = np.repeat(np.array(WORKERS, float), 5)
    for _ in range(100):
        seconds = 10 / LAWS["amdahl"][0](n, 0.1) * np.exp(0.03 * rng.standard_normal(n.size))
        found = fit("amdahl", n, seconds)
        inside += abs(found.parameters["serial_share"] - 0.1) < 2 * found.errors["serial_share"]
    assert 85 <= inside <= 100


@pytest.mark.parametrize("workers", [(1,), (1, 2), (2, 4)])
def test_none_through_fewer_than_three_points(workers):
    timings = generated("amdahl", 0.1, workers=workers)
    assert fitted(timings) == []


def test_more_workers_than_cores_are_left_out():
    timings = generated("amdahl", 0.05, workers=(1, 2, 4)) + generated("usl", 0.9, 0.5, workers=(8, 16))
    law = next(one for one in version_fits(timings, "v", weak=False, cores=4) if one.law == "amdahl")
    assert set(law.residuals) == {1, 2, 4}
    assert abs(law.parameters["serial_share"] - 0.05) < 0.02
    assert version_fits(timings, "v", weak=False, cores=2) == []
    hollow = {one.workers: one.oversubscribed for one in points(timings, weak=False, cores=4)}
    assert hollow == {1: False, 2: False, 4: False, 8: True, 16: True}


def test_ranks_that_do_not_compute_occupy_cores():
    """Two workers and the rank that hands out work are three on two cores."""
    timings = [replace(one, cores_occupied=one.workers + 1) for one in generated("amdahl", 0.05)]
    reached = points(timings, weak=False, cores=4)
    assert [one.workers for one in reached if not one.oversubscribed] == [1, 2]
    assert reached[1].efficiency == pytest.approx(reached[1].speedup / 3)
    assert version_fits(timings, "v", weak=False, cores=4) == []
    (law,) = version_fits(timings, "v", weak=False, cores=5)
    assert list(law.residuals) == [1, 2, 4]
    found = advice([one for one in reached if one.workers <= 4], [])
    assert found.text == "v: no number of workers that was measured has an efficiency of 70%"


def test_a_law_is_of_the_kind_of_the_problem():
    assert [one.law for one in fitted(generated("amdahl", 0.1))] == ["amdahl", "usl"]
    assert [one.law for one in fitted(generated("gustafson", 0.1, weak=True), weak=True)] == [
        "gustafson",
        "usl",
    ]


def test_repeats_are_no_points():
    """A hundred repeats at three counts leave nothing to judge two parameters and T(1) by."""
    (law,) = fitted(generated("usl", 0.03, 0.002, workers=(1, 2, 4), repeats=100))
    assert (law.law, law.chosen, law.data()["aicc"]) == ("amdahl", True, None)


def test_errors_hold_what_the_machine_adds_to_a_law():
    """Each count is off by 3 %, every time: no number of repeats takes that away."""
    off, rng, inside = dict.fromkeys(WORKERS, 0.0), np.random.default_rng(7), 0
    for _ in range(60):
        off = {n: 0.03 * rng.standard_normal() for n in WORKERS}
        n = np.repeat(np.array(WORKERS, float), 20)
        seconds = 10 / LAWS["amdahl"][0](n, 0.1) * np.exp([off[int(one)] for one in n])
        found = fit("amdahl", n, seconds * np.exp(0.001 * rng.standard_normal(n.size)))
        inside += abs(found.parameters["serial_share"] - 0.1) < 2.8 * found.errors["serial_share"]
    assert inside >= 50  # of t with four degrees of freedom, 95 % lie within 2.8


def test_advice_has_the_efficiency_of_the_table():
    """A version that is half as fast as the serial one has no efficiency of 70 %, however well it scales."""
    slow = generated("amdahl", 0.01, first=20.0)
    timings = [*generated("amdahl", 0.0, workers=(1,), version="serial"), *slow]
    reached = [one for one in points(timings, weak=False, cores=64) if one.version == "v"]
    assert all(one.efficiency < 0.55 for one in reached)
    found = advice(reached, version_fits(timings, "v", weak=False, cores=64))
    assert (found.workers, found.high) == (0, 0)
    assert "no number of workers has an efficiency of 70%" in found.text


def test_speedup_is_over_the_best_serial_time():
    timings = [
        *generated("amdahl", 0.0, workers=(1,), scatter=0, first=12, version="serial"),
        *generated("amdahl", 0.0, workers=(1, 2), scatter=0, first=10, version="dask"),
        *generated("amdahl", 0.0, workers=(1, 2), scatter=0, first=8, version="threads"),
    ]
    assert best_serial(timings) == Serial("threads", pytest.approx(8))
    found = {(one.version, one.workers): one.speedup for one in points(timings, weak=False, cores=2)}
    assert found["serial", 1] == pytest.approx(8 / 12)
    assert found["dask", 2] == pytest.approx(1.6)
    assert best_serial(timings[-7:]) is None
    assert points(timings[-7:], weak=False, cores=2)[0].speedup is None


def test_speedup_is_over_the_serial_version():
    timings = [
        *generated("amdahl", 0.0, workers=(1,), scatter=0, first=8, version="serial"),
        *generated("amdahl", 0.0, workers=(1, 2), scatter=0, first=10, version="dask"),
    ]
    found = {(one.version, one.workers): one for one in points(timings, weak=False, cores=2)}
    assert found["dask", 1].speedup == pytest.approx(0.8)
    assert found["dask", 2].efficiency == pytest.approx(0.8)
    assert found["serial", 1].efficiency == 1


def test_weak_scaling_counts_the_larger_problem():
    timings = generated("gustafson", 0.0, workers=(1, 2, 4), scatter=0, weak=True)
    assert [one.speedup for one in points(timings, weak=True, cores=4)] == pytest.approx([1, 2, 4])


def test_karp_flatt_finds_the_share_of_amdahl():
    for n in (2, 4, 64):
        assert karp_flatt(1 / (0.07 + 0.93 / n), n) == pytest.approx(0.07)
    assert karp_flatt(1.0, 1) is None


def test_advice_is_where_efficiency_falls_below_the_share():
    """Amdahl: efficiency 1 / (1 + s (n - 1)) is 0.7 at n = 1 + 0.4286 / s."""
    timings = generated("amdahl", 0.05)
    found = advice(points(timings, weak=False, cores=64), version_fits(timings, "v", weak=False, cores=64))
    assert abs(found.workers - 9) <= 1
    assert found.low <= 9 <= found.high
    assert "extrapolated" not in found.text
    few = generated("amdahl", 0.005, workers=(1, 2, 4))
    far = advice(points(few, weak=False, cores=8), version_fits(few, "v", weak=False, cores=8))
    assert "extrapolated" in far.text
    assert last_worthwhile(fit("amdahl", [1, 2, 4], [8.0, 4.0, 2.0]), 0.7) > 64


def test_advice_without_a_law_names_the_largest_good_count():
    timings = generated("amdahl", 0.0, workers=(1, 2), scatter=0)
    found = advice(points(timings, weak=False, cores=2), [])
    assert (found.workers, found.low, found.high) == (2, 2, 2)
    assert "largest count measured" in found.text
    assert advice([], []) is None
