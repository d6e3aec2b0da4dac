"""`lutc.quantize` and `lutc quantize`: bounds are kept, files are whole, and what makes no sense is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from float_models import KINDS, Net, answers

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ptq.choice import Choice


def classes(seed: int = 3) -> tuple[Any, np.ndarray, np.ndarray]:
    """A model whose classes are its own answers, some of them changed."""
    n = Net([6], seed)
    h = n.add("Relu", n.gemm("x", 6, 10))
    model = n.model(n.add("Softmax", n.gemm(h, 10, 4), axis=1))
    x = n.data(600)
    labels = answers(model, x)[0].argmax(1)
    wrong = n.rng.random(600) < 0.05
    return model, x, np.where(wrong, (labels + 1) % 4, labels)


MODEL, X, LABELS = classes()


@pytest.fixture(scope="module")
def found() -> Any:
    return lutc.quantize(MODEL, X, LABELS, target="xc7a35t")


def test_the_loss_is_kept_to(found: Any) -> None:
    assert found.metric == "accuracy" and found.float_score > 0.9
    assert found.chosen.fall <= max(0.005, 1 / 120) + 1e-9
    assert found.score >= found.float_score - found.chosen.fall - 1e-9
    assert found.chosen.compiled and found.build.report["target"] == "xc7a35t"
    assert found.chosen.luts == found.build.report["estimate"]["luts"]
    assert found.build.report["compared"].startswith("qonnx")
    assert [o.luts for o in found.outcomes] == sorted(o.luts for o in found.outcomes)
    assert any("Softmax is left to the host" in note for note in found.notes)


def test_the_score_is_that_of_the_circuit(found: Any) -> None:
    """On the rows held back, which are the first fifth of a fixed shuffle."""
    order = np.random.default_rng(0).permutation(len(X))
    held = order[: len(X) // 5]
    y = np.asarray(found.build.reference.run(X[held]))
    assert (y.argmax(1) == LABELS[held]).mean() == pytest.approx(found.score, abs=1e-9)


def test_more_loss_takes_fewer_luts(found: Any) -> None:
    more = lutc.quantize(MODEL, X, LABELS, target="xc7a35t", max_loss=5.0)
    assert more.chosen.luts < found.chosen.luts and more.chosen.fall <= 0.05 + 1e-9


@pytest.mark.parametrize("most", [150, 400])
def test_the_luts_are_kept_to(most: int) -> None:
    got = lutc.quantize(MODEL, X, LABELS, max_luts=most)
    assert 0.6 * most <= got.chosen.luts <= most


def test_the_same_twice() -> None:
    a, b = (lutc.quantize(MODEL, X, max_luts=300) for _ in range(2))
    assert a.model == b.model and a.metric == "agreement"


@pytest.mark.parametrize("bits", [3, 6])
def test_one_width_for_everything(bits: int) -> None:
    got = lutc.quantize(MODEL, X, bits=bits)
    for row in got.layers():
        assert row["bits"] <= bits
    assert len(got.outcomes) == 1


def test_training_between_the_steps() -> None:
    plain = lutc.quantize(MODEL, X, LABELS, bits=3)
    trained, again = (lutc.quantize(MODEL, X, LABELS, bits=3, effort="high") for _ in range(2))
    assert trained.model == again.model and trained.model != plain.model
    assert trained.score > plain.score


def test_a_regression() -> None:
    model, x = KINDS["mlp"]()
    right = answers(model, x)[0]
    got = lutc.quantize(model, {"x": x}, right, max_loss=2.0)
    assert got.metric == "R²" and 0.98 <= got.score < 1


def test_files_and_what_they_say(tmp_path: Path) -> None:
    onnx.save(MODEL, tmp_path / "net.onnx")
    np.savez(tmp_path / "cal.npz", x=X, labels=LABELS)
    args = ["quantize", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "cal.npz"), "--max-luts", "300"]
    done = CliRunner().invoke(main, [*args, "-o", str(tmp_path / "q.onnx")])
    assert done.exit_code == 0, done.output
    made = sorted(p.name for p in tmp_path.iterdir())
    assert made == ["cal.npz", "net.onnx", "q.json", "q.onnx", "q.ranges.svg", "q.tradeoff.svg"]
    facts = json.loads((tmp_path / "q.json").read_text())
    chosen = facts["outcomes"][facts["chosen"]]
    assert chosen["compiled"] and chosen["luts"] <= 300 and chosen["score"] <= facts["float"]
    assert (tmp_path / "q.ranges.svg").read_text().count("<svg") == 1
    assert "accuracy" in done.output and "next: lutc compile" in done.output
    build = lutc.compile(tmp_path / "q.onnx")
    assert build.report["estimate"]["luts"] == chosen["luts"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a part that is not known": ({"target": "xc9"}, "xc9"),
    "both bounds": ({"max_luts": 100, "max_loss": 1}, "give one bound"),
    "no luts": ({"max_luts": 0}, "no number of LUTs"),
    "luts that are no number": ({"max_luts": "many"}, "no number of LUTs"),
    "a loss below nothing": ({"max_loss": -1}, "no loss in points"),
    "bits": ({"bits": "x"}, "are no bits"),
    "bits turned": ({"bits": "8..4"}, "are no bits"),
    "one bit": ({"bits": 1}, "weights of one bit"),
    "one width and a bound": ({"bits": 4, "max_loss": 1}, "nothing to search"),
    "an effort": ({"effort": "extreme"}, "there is no effort"),
    "scales": ({"scales": "round"}, "there is no scales"),
    "data of another shape": ({"data": X[:, :5]}, r"\[600, 5\], and the model reads"),
    "few rows": ({"data": X[:5], "labels": None}, "5 rows of data"),
    "data with a hole": ({"data": np.where(X > 2, np.nan, X)}, "not finite"),
    "rows that are all the same": ({"data": np.ones_like(X)}, "answers the same to every row"),
    "words": ({"data": np.array(["a", "b"])}, "no array of numbers"),
    "another input": ({"data": {"y": X, "z": X}}, "no array for input 'x'"),
    "labels of other rows": ({"labels": LABELS[:-1]}, "599 labels for 600 rows"),
    "labels from 1": ({"labels": LABELS + 1}, "from 1 to 4"),
    "labels of another shape": ({"labels": X[:, :3]}, "are no classes"),
    "luts that are too few": ({"max_luts": 1}, "LUTs at least"),
    "no model": ({"model": "nowhere.onnx"}, "no such file"),
    "something else": ({"model": object()}, "no frontend reads"),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_what_makes_no_sense_is_told(kind: str) -> None:
    given, message = WRONG[kind]
    asked = {"model": MODEL, "data": X, "labels": LABELS, **given}
    with pytest.raises(LirError, match=message):
        lutc.quantize(asked.pop("model"), asked.pop("data"), asked.pop("labels"), **asked)


def test_a_model_without_layers() -> None:
    n = Net([4])
    with pytest.raises(LirError, match="no layer with constant weights"):
        lutc.quantize(n.model(n.add("Relu", "x")), n.data())


def test_a_loss_that_cannot_be_kept_to() -> None:
    with pytest.raises(LirError, match="points at least, and 0 are allowed"):
        lutc.quantize(MODEL, X, bits=(2, 3), max_loss=0)


@pytest.mark.parametrize(
    "out, message",
    [("q.txt", "does not end in .onnx"), ("none/q.onnx", "No such folder"), ("", "the path is empty")],
)
def test_nothing_is_written_where_it_cannot_be(tmp_path: Path, out: str, message: str) -> None:
    onnx.save(MODEL, tmp_path / "net.onnx")
    np.save(tmp_path / "cal.npy", X)
    place = str(tmp_path / out) if out else ""
    args = ["quantize", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "cal.npy"), "-o", place]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 2 and message in done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cal.npy", "net.onnx"]


@pytest.mark.parametrize(
    "out, there, message",
    [
        ("net.onnx", (), "this file is read, and would be written over"),
        ("./sub/../net.onnx", ("sub/x",), "this file is read, and would be written over"),
        ("keep.onnx", ("keep.json",), "none of an earlier result"),
        ("keep.onnx", ("keep.tradeoff.svg",), "none of an earlier result"),
    ],
)
def test_no_file_of_others_is_written_over(
    tmp_path: Path, out: str, there: tuple[str, ...], message: str
) -> None:
    onnx.save(MODEL, tmp_path / "net.onnx")
    np.save(tmp_path / "cal.npy", X)
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    args = ["quantize", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "cal.npy")]
    done = CliRunner().invoke(main, [*args, "-o", f"{tmp_path}/{out}"])
    assert done.exit_code == 2 and message in " ".join(done.output.split())
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("value, message", [(np.nan, "not finite"), (1e300, "beyond what float32 holds")])
def test_the_row_that_is_no_data_is_named(tmp_path: Path, value: float, message: str) -> None:
    wrong = X.astype(np.float64)
    wrong[7, 0] = value
    np.save(tmp_path / "cal.npy", wrong)
    with pytest.raises(LirError, match=f"cal.npy: error: the data: row 7 has numbers .*{message}"):
        lutc.quantize(MODEL, tmp_path / "cal.npy")


def test_training_that_helps_nothing_costs_nothing(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the high effort looks at is more than what the normal one does."""
    monkeypatch.setattr(Choice, "_tuned", lambda self, outcome: replace(outcome, fall=1.0))
    high = lutc.quantize(MODEL, X, LABELS, target="xc7a35t", effort="high")
    assert high.chosen.luts <= found.chosen.luts
