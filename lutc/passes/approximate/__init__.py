"""Circuits that may be off by a proven bound, where that was asked for."""
