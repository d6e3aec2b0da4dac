"""How `lutc.nn.convert` reads a float model: traced, walked over, and given its first formats."""
