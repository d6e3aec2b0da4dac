"""One setting of tools/options for each argument of each family of Keras's, HGQ2's and QKeras's layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pytest
from keras_options import settings
from settings import Setting, judge

# Read in training alone, or by what counts costs; the tool sets them everywhere.
DULL = re.compile(
    "_(initializer|regularizer|constraint)=|^(name|trainable|autocast|seed|dtype|bn_momentum|enable_ebops)="
    "|^(ebops_factor|beta0|parallelization_factor|table_idxs|i_decay_speed|place|[bif][cr]|[kbif]0)="
)
PARTS = 4


def one_of_each(everything: Iterable[Setting], seed: int = 5) -> list[Setting]:
    """A setting for each argument, the numbers of axes of a layer taken together; rather one that must be exact."""
    groups: dict[tuple[str, str], list[Setting]] = {}
    for s in everything:
        if not DULL.search(s.option):
            groups.setdefault((re.sub(r"\dD$", "", s.item), s.option.split("=")[0]), []).append(s)
    rng = np.random.default_rng(seed)
    chosen = []
    for found in groups.values():
        exact = [s for s in found if not s.refusal]
        later = exact[len(exact) // 2 :] or found  # the first values are mostly the defaults
        chosen.append(later[rng.integers(len(later))])
    return chosen


@pytest.mark.parametrize("part", range(PARTS))
def test_one_setting_of_each_argument(part: int) -> None:
    results = [judge(s) for s in one_of_each(settings())[part::PARTS]]
    wrong = [f"{r.verdict}: {r.setting.name}: {r.detail}" for r in results if not r.verdict.fine]
    assert not wrong, "\n".join(wrong)
    assert sum(r.verdict == "exact" for r in results) > len(results) // 2
