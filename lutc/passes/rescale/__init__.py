"""`rescale` as hardware: multipliers that are proved, tables, thresholds."""
