"""The C model of a design: C99 that computes the same codes, many samples at once."""
