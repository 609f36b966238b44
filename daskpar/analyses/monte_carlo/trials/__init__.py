"""Trials that ship with daskpar: callables ``trial(rng, n)``, one idea a file."""
