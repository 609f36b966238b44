"""The dashboard: a Bokeh server on the loopback interface that reads run directories."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.resources import Resources
from bokeh.server.server import Server
from bokeh.server.views.static_handler import StaticHandler

from daskpar.dashboard import pages
from daskpar.dashboard.pages import Site
from daskpar.dashboard.watching import Runs
from daskpar.errors import UsageError
from daskpar.rundir import RunDirectory

ADDRESS = "127.0.0.1"
PAGES: dict[str, Callable[[Any, Site], None]] = {
    "/": pages.runs_page,
    "/run": pages.run_page,
    "/science": pages.science_page,
    "/compare": pages.compare_page,
}


def make_server(
    folder: Path, run: RunDirectory | None = None, port: int = 0, origins: Sequence[str] = ()
) -> Server:
    """Return a server of the pages, listening on the loopback interface, not yet answering.

    Parameters
    ----------
    folder : Path
        The folder of the runs.
    run : RunDirectory, optional
        The run that pages show first; it may lie elsewhere.
    port : int
        0: any that is free.
    origins : sequence of str
        ``host:port`` under which browsers reach the server through a proxy, besides the loopback address.

    Raises
    ------
    daskpar.errors.UsageError
        The port is in use.
    """
    site = Site(Runs(folder, run), run.name if run is not None else None)
    applications = {path: Application(FunctionHandler(_page(page, site))) for path, page in PAGES.items()}
    try:
        server = Server(
            applications, port=port, address=ADDRESS, allow_websocket_origin=["localhost:0", *origins],
            check_unused_sessions_milliseconds=5000, unused_session_lifetime_milliseconds=15000,
        )  # fmt: skip
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UsageError(
            f"port {port} is in use or not for you", "leave --port out to get one that is free", key="--port"
        ) from error
    _allow(server, [f"{host}:{server.port}" for host in ("localhost", ADDRESS)])
    _serve_relative(server)
    return server


def _page(page: Callable[[Any, Site], None], site: Site) -> Callable[[Any], None]:
    def make(document: Any) -> None:
        page(document, site)

    return make


def _allow(server: Any, origins: list[str]) -> None:
    """Let pages of these addresses talk to the server; the port is known only now."""
    server._tornado._websocket_origins |= set(origins)


def _serve_relative(server: Any) -> None:
    """Name scripts relative to the page, so that pages work below any path of a proxy."""

    def resources(absolute_url: Any = None) -> Resources:
        return Resources(
            mode="server", root_url="./", components=["bokeh", "bokeh-widgets"],
            path_versioner=StaticHandler.append_version,
        )  # fmt: skip

    server._tornado.resources = resources


def serve(server: Server) -> None:
    """Answer until interrupted or terminated."""
    server.start()
    loop = server.io_loop
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not by an exception, which lands in whatever callback is running and may be swallowed there.
        loop.asyncio_loop.add_signal_handler(number, loop.stop)
    try:
        loop.start()
    finally:
        server.stop()
