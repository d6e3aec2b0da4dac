"""The page for users of HGQ2: its names are there, and its two scripts run and end in a circuit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lutc import nn

PAGE = (Path(__file__).parents[2] / "tools" / "site" / "api" / "hgq2.md").read_text()
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_names_are_public() -> None:
    cells = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith(("| `", "| depth"))]
    words = {w for cell in cells for w in re.findall(r"`(?:nn\.)?([A-Z]\w+|[a-z]+_[a-z]+)", cell)}
    assert len(words) > 30
    assert not sorted(
        words - set(nn.__all__) - {"QProduct"}
    )  # what attention is made of, in `lutc.nn.attention`


@pytest.mark.parametrize("kind", ["hgq", "lutc"])
def test_a_script_runs_to_the_circuit(kind: str, tmp_path: Path) -> None:
    (script,) = [s for s in SCRIPTS if ("from hgq" in s) == (kind == "hgq")]
    if kind == "hgq":
        pytest.importorskip("hgq")
    random = np.random.default_rng(0)
    x = random.standard_normal((600, 16))
    np.savez(tmp_path / "jets.npz", x=x, y=(x[:, :5] + 0.1 * x[:, 5:10]).argmax(1))
    env = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    score = re.search(r"accuracy ([\d.]+)", ran.stdout)
    assert score is not None
    assert float(score[1]) > 0.4, ran.stdout  # of five classes
    assert re.search(r"'luts': [1-9]", ran.stdout), ran.stdout + ran.stderr
