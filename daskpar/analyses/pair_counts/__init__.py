"""Pair counts and correlation functions."""
