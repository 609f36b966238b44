"""Monte Carlo runs: one hash for any workers, processes and blocks; extension; replay; kinds of CPU."""

import contextlib
import json

import numpy as np
import pytest
import yaml

import daskpar
from daskpar import driver, ledger
from daskpar.analysis import load_analysis
from daskpar.rundir import list_runs

MODULE = """
import numpy as np


def columns(rng, n):
    MARK
    return rng.standard_normal((n, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]])


def integrand(points):
    return points[:, 0] * points[:, 1] ** 2


def broken(rng, n):
    values = rng.random(n)
    return values / (values[0] != FIRST)
"""
SIZE = 250
N = 70 * SIZE + 77  # no multiple of a batch, and more than 64 blocks
TRIALS = {
    "pi": {"kind": "pi"},
    "error_propagation": {
        "kind": "error_propagation", "formula": "4 * pi * d**2 * f",
        "values": {"d": {"value": 16.5, "error": 0.9}, "f": {"value": 3.2, "error": 0.2}},
    },
    "columns": {"kind": "function", "function": "mine:columns"},
}  # fmt: skip


def write(folder, trial, mark="pass", first=-1.0, outputs=("result.nc", "convergence.png"), **options):
    (folder / "mine.py").write_text(MODULE.replace("MARK", mark).replace("FIRST", repr(first)))
    (folder / "threads.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")
    recipe = {
        "name": "carlo", "analysis": "monte_carlo", "outputs": list(outputs),
        "options": {"trial": trial, "n_samples": N, "seed": 5, "batch_size": SIZE, **options},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


def hashes(folder, monkeypatch, client):
    """Result hashes of all trials in two sizes of blocks, on the workers of a client."""
    monkeypatch.setattr(driver, "opener", lambda kind: lambda *place: contextlib.nullcontext(client))
    found = {}
    for name, trial in TRIALS.items():
        for blocks in (1, 2):
            recipe = write(folder, trial, outputs=(), block_batches=blocks)
            result = daskpar.run(recipe, allow_code=True, runs=folder / "runs")
            assert result.run.read_state()["blocks_total"] >= 64 // blocks
            found[name, blocks] = result.result_hash
    return found


@pytest.fixture(scope="module")
def reference():
    """What the first of these tests found."""
    return {}


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_one_hash_for_any_workers_and_blocks(tmp_path, monkeypatch, reference, workers, processes):
    monkeypatch.syspath_prepend(str(tmp_path))
    with daskpar.open_client("local", workers=workers, processes=processes, dashboard=False) as client:
        found = hashes(tmp_path, monkeypatch, client)
    for name in TRIALS:
        assert len({found[name, blocks] for blocks in (1, 2)}) == 1
    assert found == reference.setdefault("found", found)


def simulated(trial, n=N, **options):
    """The result that `simulate` gives for the same numbers."""
    return daskpar.simulate(trial, n, 5, SIZE, **options).compute(scheduler="synchronous")


def run(cli, *arguments, **variables):
    done = cli(*arguments, "--json", **variables)
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


BEGIN = ["run", "recipe.yaml", "-p", "threads.yaml", "--allow-code"]


@pytest.mark.parametrize("n", [N, 60 * SIZE], ids=["short last batch", "whole batches"])
def test_an_extended_run_draws_new_batches_only(tmp_path, cli, count, n):
    """60 batches in blocks of 16 end in a part of a block, which a longer run must not draw again."""
    mark = count.source.partition("\n")[2].replace("\n", "\n    ").strip()
    trial = {"kind": "function", "function": "mine:columns"}
    drawn = "state = rng.bit_generator.seed_seq.spawn_key[0]"
    body = f"import os\n    {mark}\n    {drawn}\n    mark(str(state))"
    write(tmp_path, trial, body, n_samples=n, block_batches=16)
    run(cli, *BEGIN)
    assert set(count.each().values()) == {1}
    assert len(count.each()) == -(-n // SIZE)
    longer = 2 * N + 11
    extended = run(cli, "resume", "last", "--set", f"options.n_samples={longer}")
    again = {name for name, times in count.each().items() if times > 1}
    assert again == ({str(n // SIZE)} if n % SIZE else set())
    assert len(count.each()) == -(-longer // SIZE)
    twice = run(cli, "resume", "last", "--set", f"options.n_samples={2 * longer}")
    assert sum(count.each().values()) == -(-2 * longer // SIZE) + bool(n % SIZE) + 1
    fresh = [
        daskpar.run(
            tmp_path / "recipe.yaml", tmp_path / "threads.yaml", settings=[f"options.n_samples={size}"],
            allow_code=True, runs=tmp_path / "fresh",
        ).result_hash
        for size in (longer, 2 * longer)
    ]  # fmt: skip
    assert [extended["result_hash"], twice["result_hash"]] == fresh


def test_a_bad_batch_is_named_and_replayed_by_its_number(tmp_path, cli):
    from daskpar.analyses.monte_carlo.kernel.streams import generator

    first = float(generator(5, 37).random())
    write(tmp_path, {"kind": "function", "function": "mine:broken"}, first=first)
    done = cli(*BEGIN)
    assert done.code == 2
    assert "batch 37" in done.stderr
    assert "SeedSequence(5, spawn_key=(37,))" in done.stderr
    assert "daskpar run RUN --replay 37" in done.stderr
    assert "Traceback" not in done.stderr
    status = json.loads(cli("status", "--json").stdout)
    assert status["blocks_done"] == status["blocks_total"] - 1  # the other batches are saved
    again = cli("run", "last", "--replay", 37)
    assert again.code == 2
    assert "not finite" in again.stderr
    assert cli("run", "last", "--replay", 36).stdout == f"values: float64 ({SIZE}, 1)\n"
    none = cli("run", "last", "--replay", 71)
    assert none.code == 2
    assert "there are 71" in none.stderr


@pytest.mark.parametrize(
    ("trial", "bits"),
    [
        (TRIALS["pi"], "everywhere"), (TRIALS["error_propagation"], "everywhere"),
        (TRIALS["columns"], "per_cpu"),
        ({**TRIALS["error_propagation"], "formula": "exp(d) + f"}, "per_cpu"),
        ({"kind": "integral", "formula": "x", "limits": {"x": [0, 1]}}, "everywhere"),
        ({"kind": "integral", "function": "mine:integrand", "limits": {"x": [0, 1]}}, "per_cpu"),
    ],
)  # fmt: skip
def test_bits_follow_from_the_options(trial, bits):
    analysis = load_analysis("monte_carlo")
    assert analysis.bits_of(analysis.options(trial=trial)) == bits


def test_going_on_with_another_kind_of_cpu_says_so(tmp_path, cli):
    write(tmp_path, TRIALS["columns"])
    run(cli, *BEGIN)
    (here,) = list_runs(tmp_path / "runs")
    assert len({record.cpu for record in ledger.scan(here.ledger)[0].values()} - {""}) == 1
    longer = ["resume", "last", "--set", f"options.n_samples={2 * N}"]
    other = cli(*longer, OPENBLAS_CORETYPE="Haswell")
    assert other.code == 0, other.stderr
    assert "warning: " in other.stdout
    assert "another kind of CPU" in other.stdout
    assert "another kind of CPU" in cli("logs").stdout
    assert len({record.cpu for record in ledger.scan(here.ledger)[0].values()}) == 2
    write(tmp_path, TRIALS["pi"])
    run(cli, *BEGIN)
    assert "warnings" not in run(cli, *longer, OPENBLAS_CORETYPE="Haswell")


@pytest.mark.parametrize("method", ["plain", "sobol"])
def test_an_integral_of_a_function(tmp_path, cli, method):
    trial = {
        "kind": "integral", "function": "mine:integrand", "limits": {"x": [0, 2], "y": [0, 3]},
        "method": method,
    }  # fmt: skip
    write(tmp_path, trial, n_samples=64 * 512, batch_size=512)
    assert "--allow-code" in cli(*BEGIN[:-1]).stderr
    run(cli, *BEGIN)
    (here,) = list_runs(tmp_path / "runs")
    found = driver.Result(here).dataset.compute()
    assert abs(float(found["mean"]) - 18.0) < 5 * float(found["standard_error"])
    write(tmp_path, {**trial, "formula": "x * y**2"})
    both = cli(*BEGIN)
    assert both.code == 2
    assert "a formula or a function" in both.stderr


def test_exact_quantiles_in_a_recipe(tmp_path, cli):
    write(tmp_path, TRIALS["columns"], quantiles={"exact": [0.1, 0.5]})
    status = run(cli, *BEGIN)
    assert status["stage"] == "exact quantiles"
    (here,) = list_runs(tmp_path / "runs")
    found = driver.Result(here).dataset.compute()
    from daskpar.analyses.monte_carlo.kernel.streams import generator

    mix = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]])
    parts = [generator(5, b).standard_normal((min(SIZE, N - b * SIZE), 3)) @ mix for b in range(71)]
    np.testing.assert_array_equal(found["quantile"], np.quantile(np.concatenate(parts), [0.1, 0.5], axis=0))
    write(tmp_path, TRIALS["pi"], quantiles="exact")
    run(cli, *BEGIN)
    assert driver.Result(list_runs(tmp_path / "runs")[-1]).dataset["quantile"].size == 5


def test_a_run_gives_what_simulate_gives(tmp_path, cli):
    write(tmp_path, TRIALS["pi"])
    run(cli, *BEGIN)
    found, expected = driver.Result(list_runs(tmp_path / "runs")[0]).dataset.compute(), simulated("pi")
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name])
