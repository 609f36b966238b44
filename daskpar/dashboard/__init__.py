"""Watching runs: live pages, one offline report, and what the terminal and notebooks show.

    events.jsonl, state.json ──► watching (Watcher) ──► timeline (who did what when)
                                                   └──► science (what the panel makes of receipts)
                                 pages, app: live, with Bokeh        report: one HTML file

Everything here reads run directories and writes nothing into them but the report. `watching`, `timeline`,
`science` and the panels know numbers only; Bokeh is imported in `drawing`, `pages`, `app` and `report`.
"""
