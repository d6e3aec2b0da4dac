"""Passes on truth tables: what they take in, give away, and answer where nobody asks."""
