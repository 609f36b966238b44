"""Preloaded by every scheduler: dask's own pages are made when somebody first asks for one.

They need Bokeh, whose import takes a second, a third of a short run; few runs are looked at.
"""

from __future__ import annotations

import asyncio
import importlib
from importlib.util import find_spec
from typing import Any

from tornado import web

DASHBOARD = "distributed.dashboard.scheduler"


def dask_setup(scheduler: Any) -> None:
    """Put a page in front that makes all others, unless they are there or cannot be made."""
    served = scheduler.http_application
    if not served.applications and find_spec("bokeh"):
        served.add_application(web.Application([(r".*", _FirstVisit)], scheduler=scheduler))


class _FirstVisit(web.RequestHandler):
    async def get(self) -> None:
        """Make dask's pages; then go to the one that was asked for."""
        scheduler = self.settings["scheduler"]
        pages = await asyncio.to_thread(importlib.import_module, DASHBOARD)
        served = scheduler.http_application
        if self.application in served.applications:  # another visitor may have been quicker
            served.applications.remove(self.application)
            pages.connect(served, scheduler.http_server, scheduler)
        self.redirect("/" + self.request.uri.lstrip("/"))  # two slashes would name another host

    head = get
