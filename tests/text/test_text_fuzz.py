"""Texts with something wrong in them end in a LirError, or in a design that works. `tools/fuzz-text` tries more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from text_fuzzing import failure, mutant, sources

from lutc.diagnostics import LirError
from lutc.text.parse import parse


@pytest.mark.parametrize("chunk", range(5))
def test_texts_with_something_wrong(chunk: int) -> None:
    wrong = [
        f"seed {seed}: {found}"
        for seed in range(chunk * 50, (chunk + 1) * 50)
        if (found := failure(mutant(seed), compiled=seed % 5 == 0))
    ]
    assert not wrong, "\n".join(wrong)


def test_some_are_right_and_some_are_wrong() -> None:
    right = 0
    for seed in range(100):
        try:
            parse(mutant(seed))
            right += 1
        except LirError:
            pass
    assert 10 <= right <= 90 and len(sources()) > 30


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n"
    assert failure(text, compiled=True) is None
    monkeypatch.setattr("lutc.ir.ops.Neg.infer", lambda self: 1 / 0)
    found = failure(text)
    assert found is not None and "ZeroDivisionError" in found


def test_the_script(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "tools" / "fuzz-text"
    command = [sys.executable, str(script), "--count", "10", "--seed", "900", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "10 texts, 0 failed" in done.stdout and not list(tmp_path.iterdir())
