"""Dask against versions written by hand: measured, checked, and told so that a reviewer believes it.

`comparing`: the public `compare`. `request`: what is asked for. `measuring`: round after round. `job`: all of
it inside one batch job. `launch`: one version in a fresh process tree. `child`: what runs there.
`timing`: records. `agreement`: are the results the same? `ratios`, `scaling`, `laws`: what the times say.
`causes`, `sweep`: threads or processes, computing or waiting, the size of blocks.
`simulation`: recorded blocks replayed on more workers. `report`: HTML, Markdown, LaTeX.

A comparison is a folder beside the runs, made by ``daskpar compare``::

    RUNS/compare-NAME-20260101T120000-1a2b/
      comparison.json    what was compared, and all that follows from the timings; replaced after each round
      timings.jsonl      a line a measurement, appended as it is made; never changed
      report.html        written at the end, and again by `report.write_report`
      results/VERSION-WORKERS/    the result of each version, until it was compared
      logs/              what the processes printed, and the batch job
      request.json, profile.yaml, job.json        where a batch job does it: what it is to do, and its id
      failure.json       why that job ended without a comparison, and with which exit code

``comparison.json`` (``"format": 1``)::

    name, created, state ("running", "done", "failed"), recipe (as data), recipe_text, analysis
    error              why it failed, or empty
    machine            fingerprint, cpu, cores, versions, mpi, code (digest of this package), threads
                       (environment), allocation (job and node, or empty)
    problem            digest of recipe, input, and code of the user's
    mpi                which MPI the versions with ranks used, or empty
    by_hand            names of all versions that the analysis has, besides dask
    versions           list of {name, target, lines, launcher ("python", "mpi", "dask"), threads}: the last is
                       the thread variables as the version's own process had them
    workers            list of int; repeats, rounds_done, weak (bool)
    reference          the version that results are compared with
    agreement          list of {version, workers, result_hash, agrees, largest_ulp, differs (names), message}
    ratios             list of {version, base, workers, ratio, low, high, significant, repeats}
    serial             the best serial time, which speed-ups are over: {version, seconds}, or null
    scaling            list of {version, workers, seconds, low, high, speedup, efficiency (a core occupied),
                        karp_flatt, cores_occupied, oversubscribed}
    fits               list of {version, law ("amdahl", "gustafson", "usl"), parameters, errors, residuals,
                        aicc, chosen}
    advice             list of {version, workers, low, high, share, text}
    conclusion         list of sentences
    blocks             {seconds, total_seconds, bytes, stage, started, lane} of each block of one dask run on
                       the least number of workers (lists), or null
    stream             the same on the largest number, and workers
    predictions        list of {workers, seconds, error (or null), extrapolated, stored_rate, text}: dask
                       on more workers, replayed
    sweep              {workers, measured: list of {size, blocks, seconds}, failed: list of {size, message}}:
                       dask with other block sizes; only where asked for
    phases             list of {version, workers, startup, read, compute, gather, write, total (medians),
                       cores_occupied, peak_bytes, bytes_moved}

``timings.jsonl``: each line ``version, workers, cores_occupied, repeat, warmup (bool), seconds {startup,
read, compute, gather, write, total}, peak_bytes, bytes_moved, result_hash, agrees, fingerprint, problem``.
Seconds of a result that differs are null: what is wrong has no time. Lines written before a version turned
wrong keep theirs, and nothing is made of them. What the phases mean says `daskpar.by_hand.Clock`; ``total``
is from the start of the first process to the end of the last. Bytes are null where nothing moves between
processes, see `daskpar.by_hand.Job.moved`; for dask, what blocks stored.
"""
