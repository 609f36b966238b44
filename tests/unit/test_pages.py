"""Dask's own pages: made for the first visitor, who gets the page that was asked for."""

import json
import subprocess
import sys

import pytest
from processes import environment

VISIT = """
import http.client, json, sys
from urllib.parse import urlsplit
from concurrent.futures import ThreadPoolExecutor
import daskpar
from daskpar.profile import LocalProfile

def answer(path):
    line = http.client.HTTPConnection(urlsplit(link).netloc, timeout=30)
    line.request("GET", path)
    found = line.getresponse()
    return found.status, found.getheader("Location"), found.read().decode()

if __name__ == "__main__":
    dashboard = json.loads(sys.argv[1])
    with daskpar.open_client(LocalProfile(workers=1, processes=False, dashboard=dashboard)) as client:
        link = client.dashboard_link
        before = "bokeh" in sys.modules
        paths = ["/status", "//example.org/status", "/workers?a=b", "/nothing"]
        with ThreadPoolExecutor(4) as visitors:
            first = list(visitors.map(answer, paths))
        later = [answer(path) for path in ("/status", "/", "/nothing", "/health")]
        print(json.dumps([before, first, later, "bokeh" in sys.modules]))
"""


@pytest.fixture
def visited(tmp_path):
    """Return a function that opens a cluster in a process of its own, and visits its pages."""

    def of(dashboard):
        (tmp_path / "visit.py").write_text(VISIT)
        command = [sys.executable, "visit.py", json.dumps(dashboard)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return of


def test_pages_are_made_when_they_are_asked_for(visited):
    before, first, later, after = visited(dashboard=True)
    assert (before, after) == (False, True)
    assert {code for code, _, _ in first} <= {200, 302, 404}
    assert [place for code, place, _ in first if code == 302 and place.startswith("//")] == []
    assert [code for code, _, _ in later] == [200, 301, 404, 200]
    assert "Dask Diagnostic UI" in later[0][2]
    assert later[1][1].endswith("status")


def test_no_pages_are_made_where_none_are_wanted(visited):
    before, first, later, after = visited(dashboard=False)
    assert (before, after) == (False, False)
    assert {code for code, _, _ in first} == {404}
    assert [code for code, _, _ in later] == [404, 404, 404, 200]
