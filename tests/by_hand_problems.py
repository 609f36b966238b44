"""Small problems of every analysis, with blocks that share out unevenly; and dask's result of each."""

import dask
import xarray as xr

from daskpar.analyses.image_stats import partition
from daskpar.analyses.pair_counts import cells_stage
from daskpar.dataset_store import result_hash
from daskpar.execution import each_stage
from daskpar.preparation import prepare_nothing

PI = {"analysis": "monte_carlo", "options": {"trial": {"kind": "pi"}, "seed": 5}}
BOX = {"kind": "clustered", "n_points": 4000, "boxsize": 100, "n_clusters": 60, "cluster_sigma": 2, "seed": 3}
SURVEY = {"kind": "clustered", "n_points": 3000, "boxsize": 100, "n_clusters": 50, "survey": True, "seed": 3}
FRAMES = {"n_frames": 7, "shape": [101, 83], "stars": 30, "seed": 2}
PROBLEMS = {
    "map": {
        "analysis": "map",
        "inputs": {"grid": {"omega_matter": [0.3, 2.0], "hubble": [70.0], "redshift": [0.1, 0.5, 1.0]}},
        "options": {
            "function": "daskpar.analyses.map.examples:comoving_distance",
            "on_error": "record",
            "rounds": 2,
        },
    },
    "waiting": {
        "analysis": "map",
        "inputs": {"grid": {"seconds": [0.0, 0.001, -1.0], "number": [1, 2]}},
        "options": {
            "function": "daskpar.analyses.map.examples:waiting",
            "on_error": "record",
            "retries": 1,
        },
    },
    "monte_carlo": {**PI, "options": {**PI["options"], "n_samples": 41_000, "batch_size": 1000}},
    "monte_carlo in rounds": {
        **PI,
        "options": {**PI["options"], "n_samples": 10**6, "batch_size": 500, "target_error": 0.01},
    },
    "bootstrap": {
        "analysis": "monte_carlo",
        "inputs": {"synthetic": {"rows": 50, "columns": ["v"], "seed": 7}},
        "options": {
            "trial": {"kind": "bootstrap", "columns": ["v"], "statistic": "median"},
            "n_samples": 3000,
            "batch_size": 64,
            "seed": 3,
        },
    },
    "pair_counts": {
        "analysis": "pair_counts",
        "inputs": {"synthetic": BOX},
        "options": {
            "edges": {"start": 0.5, "stop": 12, "bins": 8, "log": True},
            "boxsize": 100,
            "estimator": None,
        },
    },
    "correlation": {
        "analysis": "pair_counts",
        "inputs": {
            "synthetic": SURVEY,
            "randoms": {
                "synthetic": {**SURVEY, "kind": "uniform", "n_points": 5000, "seed": 4},
            },
        },
        "options": {
            "metric": "s_mu",
            "edges": [1.0, 3.0, 9.0],
            "mu_edges": [0, 0.5, 1],
            "los": "midpoint",
            "patch_grid": [2, 1, 2],
            "split_randoms": 2,
        },
    },
    "image_stats": {
        "analysis": "image_stats",
        "inputs": {"synthetic": FRAMES},
        "options": {"combine": {"sigma": 2, "grow": 1.5, "weights": [1, 2, 1, 3, 1, 1, 2]}},
    },
    "float images": {
        "analysis": "image_stats",
        "inputs": {"synthetic": {**FRAMES, "dtype": "float32"}},
        "options": {"combine": {"method": "median", "rejection": "minmax", "scaling": "exposure"}},
    },
}


# More blocks than the problems would have, so that they share out unevenly and slabs have neighbours.
MANY_BLOCKS = """
from importlib import import_module
from daskpar.analyses.pair_counts import cells_stage
few = cells_stage.number_of_blocks
cells_stage.number_of_blocks = lambda cost, **more: max(23, few(cost, **more))
from daskpar.analyses.image_stats import partition
partition.LEAST_BAND_BYTES = 4000
"""
FORWARD = """
real = import_module("daskpar.analyses.{analysis}.with_{how}")
run = real.run
run_pool = getattr(real, "run_pool", None)
"""


def many_blocks_here(monkeypatch):
    """Do in this process what `MANY_BLOCKS` does in others."""
    few = cells_stage.number_of_blocks
    monkeypatch.setattr(cells_stage, "number_of_blocks", lambda cost, **more: max(23, few(cost, **more)))
    monkeypatch.setattr(partition, "LEAST_BAND_BYTES", 4000)


def write_package(folder, name, **modules):
    """Write a package of modules."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(text)


def write_small(folder, analysis, how):
    """Write a module that runs a by-hand version with many blocks; return its target."""
    text = MANY_BLOCKS + FORWARD.format(analysis=analysis, how=how)
    write_package(folder, f"small_{analysis}", **{f"with_{how}": text})
    return f"small_{analysis}.with_{how}:run"


def prepared(name, folder):
    """Return a problem as by-hand versions get it."""
    return prepare_nothing({"name": "small", **PROBLEMS[name]}, "local", folder)


def dask_result(problem):
    """Compute a problem with dask, in this thread."""
    stages = each_stage(problem.build())
    stage, result = next(stages), None
    while stage is not None:
        (result,) = dask.compute(stage.collection, scheduler="synchronous")
        stage = stages.send(result)
    return result


def hash_of(variables):
    """Return the result hash of what a by-hand version returns."""
    return result_hash(xr.Dataset(dict(variables)))
