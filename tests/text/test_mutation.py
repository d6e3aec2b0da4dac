"""Wrong texts are refused: always with places, never with a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from mutations import MUTATIONS, Mutation, illegal_stage
from random_designs import random_design

from lutc.diagnostics import LirError
from lutc.text.parse import parse
from lutc.text.print import print_design

TEXTS = [
    print_design(random_design(random.Random(seed), stage))
    for seed in range(60)
    for stage in ("tensor", "scalar")
]
TEXTS += [print_design(parse((Path(__file__).parents[1] / "lir/text/tagger.lir").read_text()))]


def refused(text: str) -> list[str]:
    """The places that a text is refused for."""
    with pytest.raises(LirError) as caught:
        parse(text, "m.lir")
    diagnostics = caught.value.diagnostics
    assert diagnostics
    for d in diagnostics:
        assert d.span is not None, d.message
        lines = text.split("\n")
        assert 1 <= d.span.line <= len(lines) and 1 <= d.span.column <= len(lines[d.span.line - 1]) + 1, d
        assert str(d).startswith("m.lir:")
    assert len(set(map(str, diagnostics))) == len(diagnostics), "the same is said twice"
    return [str(d) for d in diagnostics]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_mutation_is_refused(mutation: Mutation) -> None:
    rng = random.Random(mutation.__name__)
    applied = 0
    for text in TEXTS:
        spoiled = mutation(rng, text)
        if spoiled is not None:
            refused(spoiled)
            applied += 1
    assert applied >= 10, "this mutation hardly ever finds something to spoil"


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m is not illegal_stage], ids=lambda m: m.__name__
)
def test_one_mistake_gives_few_messages(mutation: Mutation) -> None:
    """What follows from a mistake is not reported as well. A missing brace or bracket may swallow what comes next."""
    rng = random.Random(mutation.__name__)
    counts = [len(refused(m)) for text in TEXTS[:40] if (m := mutation(rng, text)) is not None]
    assert sum(counts) / len(counts) <= 1.5


def test_noise_ends_in_a_design_or_in_places() -> None:
    rng = random.Random(11)
    taken = 0
    for _ in range(700):
        text = rng.choice(TEXTS)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            junk = rng.choice(["", "", *'%@,=:[]{}()#"!\n ax10.-/<>*\\\t\x00é'])
            text = text[:at] + junk + text[at + rng.randint(0, 3) :]
        try:
            parse(text)
            taken += 1
        except LirError as e:
            assert all(d.span for d in e.diagnostics)
    assert taken < 500
