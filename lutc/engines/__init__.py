"""Ways to run a design: the reference interpreter, and its C model compiled here. All give the same codes."""
