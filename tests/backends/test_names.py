"""Identifiers: legal in both languages, and none given twice."""

from __future__ import annotations

import re

import pytest

from lutc.backends.identifiers import RESERVED, Scope, legal


@pytest.mark.parametrize(("hint", "name"), [
    ("dense_1/MatMul:0", "dense_1_MatMul_0"), ("__a__b__", "a_b"), ("7seg", "n7seg"), ("", "n"), ("Signal", "Signal_n"),
    ("float", "float_n"), ("always_ff", "always_ff_n"), ("\N{GREEK SMALL LETTER MU}", "n"),
])  # fmt: skip
def test_legal(hint: str, name: str) -> None:
    assert legal(hint) == name


def test_a_scope_gives_no_name_twice() -> None:
    scope = Scope()
    given = [scope.claim(hint) for hint in ("a", "A", "a/2", "a", "a_3", "signal", "Signal_n", *RESERVED)]
    assert given[:5] == ["a", "A_2", "a_2_2", "a_3", "a_3_2"]
    assert len({name.lower() for name in given}) == len(given)
    assert not {name.lower() for name in given} & RESERVED
    assert all(re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name) for name in given)
