"""Passes: one per file, listed with their reasons in `pipelines.py`."""
