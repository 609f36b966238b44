"""Open and close local clusters, and tell after each what is left: ``python tests/cycles.py NUMBER``.

Prints a line of JSON a cycle: temporary files, child processes, open handles, ports listened on.
"""

import json
import sys
import tempfile
from pathlib import Path

import psutil

import daskpar


def state():
    me = psutil.Process()
    files = sorted(str(path) for path in Path(tempfile.gettempdir()).rglob("*") if path.is_file())
    ports = [one.laddr.port for one in me.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    children = len(me.children(recursive=True))
    return {"files": files, "children": children, "handles": me.num_fds(), "listening": len(ports)}


def cycle():
    with daskpar.open_client("local", workers=2) as client:
        assert client.submit(sum, [1, 2]).result() == 3


def main(number):
    cycle()  # what a process opens once, it keeps
    print(json.dumps(state()), flush=True)
    for _ in range(number):
        cycle()
        print(json.dumps(state()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
