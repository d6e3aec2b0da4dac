"""The MAGIC loader: whole, unchanged data or none, and parts that share no row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from magic_rows import rows

import lutc
from lutc.nn import datasets

FOLDER = Path(__file__).parents[2] / "tools" / "zoo" / "magic_gamma"


def test_checkpoint_and_onnx_are_one_model() -> None:
    found = [lutc.load(FOLDER / f"magic_gamma.{suffix}") for suffix in ("pt", "onnx")]
    x = np.clip(np.random.default_rng(0).normal(size=(2000, 10)) * 2, -8, 8)
    a, b = (np.asarray(design.run(x)) for design in found)
    assert np.array_equal(a, b)
    assert len(np.unique(a)) > 100


def test_parts_are_apart_and_do_not_depend_on_the_file_order(tmp_path: Path) -> None:
    lines = rows(datasets.ROWS)
    (tmp_path / "a.csv").write_text(
        "\n".join([",".join((*datasets.FEATURES, "class")), *lines[:15000]]) + "\n"
    )
    (tmp_path / "b.csv").write_text("\n".join(lines[15000:]) + "\n")
    whole = tmp_path / "whole.data"
    whole.write_text("\n".join(lines[::-1]))
    parts, again = datasets.magic_gamma(tmp_path), datasets.magic_gamma(whole)
    assert [len(parts[k][0]) for k in ("train", "validation", "test")] == [11412, 3804, 3804]
    seen = np.concatenate([parts[k][0] for k in parts])
    assert len(np.unique(seen, axis=0)) == datasets.ROWS
    assert abs(parts["train"][0].mean()) < 1e-3
    for k in parts:
        assert np.array_equal(np.sort(parts[k][1]), np.sort(again[k][1]))
        np.testing.assert_allclose(parts[k][0], again[k][0], atol=1e-5)


@pytest.mark.parametrize(
    "damage", [lambda r: r[:-1], lambda r: [*r[:-1], "1,2,g"], lambda r: [*r[:-1], r[-1][:-1] + "x"]]
)
def test_damaged_data_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "magic04.data"
    path.write_text("\n".join(damage(rows(datasets.ROWS))))  # type: ignore[operator]
    with pytest.raises(ValueError, match="not the MAGIC data set"):
        datasets.magic_gamma(path)
