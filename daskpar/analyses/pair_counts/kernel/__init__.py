"""Counting pairs exactly: `partial`, `merge`, `finish`, and what they stand on."""
