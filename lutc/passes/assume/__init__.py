"""Circuits for assumed inputs only, where that was asked for: what the user's rows never do is left open."""
