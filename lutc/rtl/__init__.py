"""Language-neutral hardware: nets, what builds them, and how a large module is split."""
