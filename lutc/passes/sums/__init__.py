"""Passes on n-ary sums: collected, shared, split into adders, or sent to DSP blocks."""
