"""The ceiling of a comparison: the bare kernel in plain processes, each pinned to a core of its own.

Versions like those written by hand, for ``daskpar compare --versions bare=bare_kernels:NAME``, with results
that are compared like all others. Only the kernel is timed: input that is common to all blocks is read,
sorted and compiled for before the clock starts, processes take the next block from a counter, and the clock
stops when the last block is computed, before any result travels.
"""

import os
from multiprocessing import get_context

import daskpar.analyses.image_stats.steps as images
from daskpar.analyses.map import rows
from daskpar.analyses.monte_carlo import rounds, tasks
from daskpar.analyses.pair_counts.cells_stage import count_block, make_plan, sort_piece
from daskpar.analyses.pair_counts.problem import MOST_BLOCKS, Problem
from daskpar.analyses.pair_counts.steps import finished
from daskpar.analysis import load_code

PATIENCE = 600.0


def image_stats(job):
    problem = images.Problem(job.record, job.options)
    bands, groups = len(problem.bands), len(problem.groups)

    def block(k):
        return (
            problem.combine(problem.bands[k]) if k < bands else problem.statistics(problem.groups[k - bands])
        )

    found = pinned(job, block, bands + groups, first=[0, bands] if bands and groups else [0])
    bands, groups = found[:bands], found[bands:]
    return {**problem.images(bands), **problem.rejected(bands), **problem.table(groups)}


def pair_counts(job):
    """Count one sample with itself or another; without patches."""
    problem = Problem(job.record, job.options)
    (name,) = problem.questions
    question, letters = problem.questions[name], problem.letters(name)
    samples = [
        [problem.read(letter, n) for n in range(problem.number_of_pieces(letter))]
        for letter in filter(None, letters)
    ]
    plan = make_plan(question, samples[0], samples[1] if len(samples) > 1 else [], MOST_BLOCKS)
    one, *two = ([sort_piece(question, plan, piece, None) for piece in sample] for sample in samples)

    def block(k):
        return count_block(question, plan, one, two[0] if two else [], k)

    found = pinned(job, block, max(1, len(plan["ranges"])))
    return problem.result({name: finished(found, question.doubled)}, {})


def monte_carlo(job):
    beginning = rounds.Beginning(job.record, job.options)

    def compute_all(work, runs):
        return pinned(
            job, lambda k: tasks.block(work, runs[k], beginning.prepared, beginning.first), len(runs)
        )

    return rounds.in_rounds(beginning, compute_all)


def map_items(job):
    function = load_code(job.options.function)

    def compute_all(blocks):
        return pinned(job, lambda k: rows.compute(function, job.options, blocks[k]), len(blocks))

    return rows.in_rounds(job.record, job.options, compute_all)


def pinned(job, block, blocks, first=(0,)):
    """Return what ``block(0)``, ``block(1)``, … give, computed in pinned processes; those `first` also here.

    That compiles, or loads what was compiled, before the processes are forked.
    """
    for k in first:
        block(k)
    context = get_context("fork")
    ready, done = context.Barrier(job.workers + 1), context.Barrier(job.workers + 1)
    following = context.Value("q", 0)
    cores = sorted(os.sched_getaffinity(0))

    def work(core, pipe):
        os.sched_setaffinity(0, {core})
        found = {}
        ready.wait(PATIENCE)
        while (k := taken(following)) < blocks:
            found[k] = block(k)
        done.wait(PATIENCE)
        pipe.send(found)

    ends, processes = [], []
    for n in range(job.workers):
        here, there = context.Pipe(duplex=False)
        processes.append(context.Process(target=work, args=(cores[n % len(cores)], there)))
        processes[-1].start()
        there.close()
        ends.append(here)
    ready.wait(PATIENCE)
    job.clock.phase("compute")
    done.wait(PATIENCE)
    job.clock.phase("startup")  # what comes now is no work of the kernel
    found = {k: part for end in ends for k, part in end.recv().items()}
    for process in processes:
        process.join()
    return [found[k] for k in range(blocks)]


def taken(following):
    """Take the number of the next block."""
    with following.get_lock():
        following.value += 1
        return following.value - 1
