"""Pure functions on arrays: partial, merge and finish of a Monte Carlo, and what trials draw with."""
