"""The verb ``compare`` as a process: one JSON document, a report, and no processes left."""

import json

from by_hand_problems import PROBLEMS

from daskpar.recipe import Recipe


def write(tmp_path, name):
    path = tmp_path / "recipe.yaml"
    path.write_text(Recipe.from_data({"name": "small", **PROBLEMS[name]}).dump())
    return path


def test_dask_beside_by_hand_versions(cli, tmp_path, runs):
    arguments = ["--versions", "dask,serial,threads", "--workers", "1", "--repeats", "1", "--json"]
    done = cli("compare", write(tmp_path, "monte_carlo"), *arguments, timeout=300)
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    timings = found["timings"]
    assert [(one["version"], one["workers"]) for one in sorted(timings, key=lambda one: one["version"])] == [
        ("dask", 1),
        ("serial", 1),
        ("threads", 1),
    ]
    for one in timings:
        assert {"version", "workers", "cores_occupied", "repeat", "seconds", "peak_bytes"} <= set(one)
        assert {"startup", "compute", "total"} <= set(one["seconds"])
        assert one["peak_bytes"] > 20e6
    assert len({one["result_hash"] for one in timings}) == 1
    assert all(one["agrees"] for one in found["agreement"])
    (folder,) = runs.iterdir()
    data = json.loads((folder / "comparison.json").read_text())
    assert (data["format"], data["state"], data["rounds_done"]) == (1, "done", 1)
    assert len(data["blocks"]["seconds"]) == len(data["blocks"]["stage"]) > 2
    assert data["predictions"][-1]["extrapolated"]
    assert "Blocks of the dask run" in (folder / "report.html").read_text()


def test_dask_in_threads_of_one_worker(cli, tmp_path, runs, count):
    """Both threads compute, and each run, the warm-up and one round, has one process that does."""
    work = "def work(parameters):\n    time.sleep(0.05)\n    mark(os.getpid())\n    return {'y': 1}\n"
    (tmp_path / "mine.py").write_text("import time\n" + count.source + work)
    recipe = {
        "name": "small", "analysis": "map", "inputs": {"grid": {"x": list(range(12))}},
        "options": {"function": "mine:work", "items_per_block": 1},
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    arguments = ["--versions", "dask_threads", "--workers", "2", "--repeats", "1", "--allow-code", "--json"]
    done = cli("compare", path, *arguments, timeout=300)
    assert done.code == 0, done.stderr
    (one,) = (timing for timing in json.loads(done.stdout)["timings"] if not timing["warmup"])
    assert (one["version"], one["workers"], one["cores_occupied"]) == ("dask_threads", 2, 2)
    (folder,) = runs.iterdir()
    assert set(json.loads((folder / "comparison.json").read_text())["blocks"]["lane"]) == {0, 1}
    assert sorted(count.each().values()) == [12, 12]


def test_what_makes_no_sense_is_refused(cli, tmp_path):
    path = write(tmp_path, "map")
    for arguments, said in (
        (("--versions", "daks"), "did you mean 'dask'"),
        (("--workers", "one"), "--workers: 'one' is no list of whole numbers"),
        (("--workers", "0"), "workers and repeats are 1 or more"),
        (("--versions", "mine=my:run"), "pass --allow-code"),
        (("--weak", "--workers", "2,4"), "growing problems are compared with one worker"),
    ):
        done = cli("compare", path, *arguments)
        assert (done.code, said in done.stderr) == (2, True), done.stderr
