"""The command in a test: a folder with a design and a file full of mistakes, and `run` to run it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lutc.cli import main

Run = Callable[..., Result]

TAGGER = """\
lir 1

const @w: s4f2[4, 2] = [
   1.25  -0.5
   0      0.75
  -2      1
   0.25   0.25
]

design tagger(%x: s6f3[4]) -> (score = %s, best = %b) {
  %h          = dense %x, @w  !"dense_1"
  %s: s6f2[2] = quant %h, round=nearest-half-up, overflow=saturate
  %b          = argmax %s     !"answer"
}
"""

WRONG = """\
lir 1

design wrong(%x: s4) -> (y = %y) {
  %a = add %x, %nothing
  %y: s4 = quants %a
}
"""


def invoked(*arguments: str, code: int = 0) -> Result:
    """The command's answer; its exit code must be the one given."""
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`invoked`, in a folder that holds `tagger.lir` and `wrong.lir`."""
    monkeypatch.chdir(tmp_path)
    Path("tagger.lir").write_text(TAGGER)
    Path("wrong.lir").write_text(WRONG)

    return invoked
