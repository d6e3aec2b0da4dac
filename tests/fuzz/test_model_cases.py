"""Random models of every framework are answered exactly, or refused where they hold what nobody knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from model_cases import FRAMEWORKS, failure, model_case

MODELS, CHUNK = 60, 20  # of each framework; `tools/fuzz --models all` tries more


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("first", range(0, MODELS, CHUNK))
def test_random_models(framework: str, first: int) -> None:
    wrong = [
        f"{framework} {seed}: {found}"
        for seed in range(first, first + CHUNK)
        if (found := failure(model_case(framework, seed)))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_models_are_of_all_kinds(framework: str) -> None:
    """Most are plain; some hold what lutc must or may refuse; and not all of their answers are alike."""
    cases = [model_case(framework, seed) for seed in range(CHUNK)]
    odd = [c for c in cases if c.unknown or c.may]
    assert CHUNK / 2 < len(cases) - len(odd) < CHUNK
    answers = [np.unique(e).size for c in cases for e in c.expected]
    assert np.median(answers) > 3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_wrong_answer_is_found(framework: str) -> None:
    cases = (model_case(framework, seed) for seed in range(CHUNK))
    case = next(c for c in cases if not c.unknown and not c.may)
    other = [np.where(np.arange(e.size).reshape(e.shape) == e.size - 1, e + 1, e) for e in case.expected]
    assert "1 of" in str(failure(replace(case, expected=other)))
    assert "outputs, not" in str(failure(replace(case, expected=[*case.expected, case.expected[0]])))
    assert failure(replace(case, unknown="something")) == "taken, with something"
