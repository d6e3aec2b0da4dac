"""Passes that make a design say the same in fewer and narrower values."""
