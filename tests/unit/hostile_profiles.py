"""Texts that no profile may hold, and every key of one that holds text."""

KEYS = {"ca_file": "/a", "cert": "/b", "key": "/c"}
BASE = {
    "local": {"kind": "local"},
    "slurm": {"kind": "slurm", "memory": "4 GiB"},
    "mpi": {"kind": "mpi", "batch": "slurm", "memory": "4 GiB"},
    "class": {"kind": "class", "path": "dask_jobqueue.PBSCluster"},
    "address": {"kind": "address", "address": "tls://head:8786", "security": KEYS},
}

HOSTILE = [
    "a;b", "a; rm -rf /", "a\nb", "a\n", "\na", "a\rb", "a\tb", "a|b", "a || b", "a & b", "a&&b", "a>b",
    "a<b",
    "$(id)", "`id`", "$HOME", "${IFS}", "a'b", 'a"b', "a\\b", "a*", "a?", "~root", "!a", "#SBATCH --uid=0",
    "a #b", "(a)", "{a,b}", "--uid=0 --x", " a", "a ", "", "-", "a\u2028b", "a\x0bb", "é;", "^a", "%a%;",
    "a\u00a0b", "$(touch x)", "a b\n#SBATCH -p other",
]  # fmt: skip

PLAIN = {"", "-", "--uid=0 --x"}  # words, which an argument of any class may be

# Every key that holds text, as (kind, path to the key); a number in the path stands in a list.
TEXT_KEYS = [
    *((kind, (key,)) for kind in ("slurm", "mpi") for key in (
        "partition", "account", "qos", "constraint", "reservation", "exclude", "licenses", "mail",
        "interface",
        "scratch", "python", "walltime", "memory", "memory_per_cpu", "security", "cores", "workers",
    )),
    *((kind, path) for kind in ("slurm", "mpi") for path in (
        ("constraint", 0), ("extra_directives", 0), ("prologue", 0), ("roots", "data"),
        ("security", "ca_file"), ("security", "cert"), ("security", "key"),
    )),
    *(("slurm", path) for path in (
        ("scheduler_interface",), ("driver", "mode"), ("driver", "walltime"), ("driver", "memory"),
        ("driver", "partition"), ("minimum_workers",), ("maximum_workers",), ("processes",),
    )),
    *(("mpi", path) for path in (("launcher",), ("launcher_options", 0), ("batch",))),
    *(("local", path) for path in (
        ("workers",), ("cores",), ("processes",), ("memory",), ("scratch",), ("dashboard",), ("roots",
        "data"),
    )),
    *(("class", path) for path in (
        ("path",), ("options", "queue"), ("options", "job_extra_directives", 0), ("interface",),
        ("security",),
        ("roots", "data"),
    )),
    *(("address", path) for path in (("address",), ("security", "key"), ("security",), ("roots", "data"))),
]  # fmt: skip


def placed(base, path, value):
    """Return a profile with a value at the path of a key."""
    for part in reversed(path[1:]):
        value = [value] if isinstance(part, int) else {part: value}
    if path[0] == "security" and len(path) > 1:
        value = {**KEYS, **value}
    return {**base, path[0]: value}
