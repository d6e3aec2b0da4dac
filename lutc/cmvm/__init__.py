"""Constant matrix times vector as a network of shifts and additions that the products share.

`network` states the problem and its answer, `cse` finds shared partial sums, `tree` writes rows as other rows plus a
difference, `groups` makes every sum of a few
inputs once, `single` knows the best network for one constant, `search` tries them and keeps the cheapest, `cache`
remembers answers on disk. Nothing here knows the IR: `lutc.passes.sums.share` translates.
"""
