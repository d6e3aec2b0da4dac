"""The examples in CONTRIBUTING.md are the code they are taken from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
# Every example with the file that is named last before it.
EXAMPLES = [
    (re.findall(r"`([\w/]+\.py)`", TEXT[: found.start()])[-1], found.group(1))
    for found in re.finditer(r"```python\n(.*?)```", TEXT, re.DOTALL)
]


def test_there_are_examples() -> None:
    assert {path.split("/")[1] for path, _ in EXAMPLES} == {"onnx", "torch", "keras", "nn"}


@pytest.mark.parametrize(("path", "code"), EXAMPLES)
def test_an_example_stands_in_its_file(path: str, code: str) -> None:
    assert code in (ROOT / path).read_text()


def test_the_files_that_are_named_are_there() -> None:
    named = set(re.findall(r"`((?:lutc|frontends|backends|tests|tools|ir_spec)/[\w/.]*)`", TEXT))
    assert named and not [path for path in named if not (ROOT / path).exists()]
