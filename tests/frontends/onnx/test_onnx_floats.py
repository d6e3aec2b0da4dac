"""A model that nothing quantises gets one message: that it is so, and the two ways from it to a circuit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import ModelProto, TensorProto
from onnx_models import Graph

import lutc
from lutc.cli import main
from lutc.diagnostics import Diagnostic, LirError

RNG = np.random.default_rng(0)
ONE = "is not quantised: its weights are floats"


def weights(*shape: int) -> Any:
    return RNG.normal(size=shape)


def classifier(g: Graph, x: str) -> str:
    """As scikit-learn's MLPClassifier is exported."""
    h = g.add(
        "Add", g.add("MatMul", g.add("Cast", x, to=1), g.constant(weights(8, 4))), g.constant(weights(4))
    )
    y = g.add("Add", g.add("MatMul", g.add("Relu", h), g.constant(weights(4, 3))), g.constant(weights(3)))
    return str(g.add("ArgMax", g.add("Softmax", y), axis=1))


def transformer(g: Graph, x: str) -> str:
    """Attention between float matrices, and a norm that no circuit has."""
    q, k, v = (g.add("MatMul", x, g.constant(weights(8, 8))) for _ in range(3))
    scores = g.add("Softmax", g.add("MatMul", q, g.add("Transpose", k, perm=[1, 0])))
    a = g.add("Add", g.add("MatMul", scores, v), x)
    normed = g.add("LayerNormalization", a, g.constant(np.ones(8)), axis=-1)
    return str(g.add("Gemm", normed, g.constant(weights(2, 8)), g.constant(weights(2)), transB=1))


def recurrent(g: Graph, x: str) -> str:
    y, _, _ = g.add(
        "LSTM", g.add("Unsqueeze", x, g.constant(np.array([0]))), g.constant(weights(1, 16, 8)),
        g.constant(weights(1, 16, 4)), outputs=3, hidden_size=4,
    )  # fmt: skip
    return str(g.add("MatMul", y, g.constant(weights(4, 2))))


def with_shapes(g: Graph, x: str) -> str:
    """Integers that count and choose, and a floor of constants, are no quantisers."""
    half = g.add("Floor", g.constant(np.array([2.5, 1.5])))
    shape = g.add("Cast", g.add("Mul", half, g.constant(np.array([2.0, 2.0]))), to=7)
    return str(g.add("Gather", g.add("MatMul", x, g.constant(weights(8, 4))), shape, axis=1))


def model(make: Any, shape: tuple[int | str, ...] = ("n", 8), kind: int = TensorProto.FLOAT) -> ModelProto:
    g = Graph(qonnx=True)
    g.output(make(g, g.input(shape)), kind)
    return g.model()


def told(source: Any, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(LirError) as raised:
        lutc.load(source, **options)
    return raised.value.diagnostics


@pytest.mark.parametrize("make", [classifier, transformer, recurrent, with_shapes])
@pytest.mark.parametrize("given", [None, "s8f4"])
def test_floats_have_one_message(make: Any, given: str | None) -> None:
    shape = (4, 8) if make is transformer else ("n", 8)
    kind = TensorProto.INT64 if make is classifier else TensorProto.FLOAT
    (said,) = told(model(make, shape, kind), input_types=given)
    assert said.where == "test" and said.message.startswith(ONE)
    assert "lutc quantize model.onnx --data calibration.npz" in (said.help or "")
    assert "onnx.save" in (said.help or "") and "lutc.nn.convert(module)" in (said.help or "")


def test_the_command_names_the_file_and_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    onnx.save(model(transformer, (4, 8)), "models/my net.onnx")
    command = (
        "lutc quantize 'models/my net.onnx' --data calibration.npz --target {} -o 'my net.quantised.onnx'"
    )
    (said,) = told("models/my net.onnx")
    assert said.where == "models/my net.onnx" and command.format("PART") in (said.help or "")
    done = CliRunner().invoke(main, ["compile", "models/my net.onnx", "--target", "xc7z020clg400-1"])
    assert done.exit_code == 2 and done.stderr.count("error") == 1
    assert command.format("xc7z020clg400-1") in done.stderr
    with pytest.raises(LirError, match="--target xcvu13p -o"):
        lutc.compile("models/my net.onnx")


def partly(g: Graph, x: str) -> str:
    return str(g.add("MatMul", g.add("MatMul", x, g.dq(np.ones((8, 4), int))), g.constant(weights(4, 3))))


def behind_a_quantiser(g: Graph, x: str) -> str:
    return str(g.add("MatMul", g.quant(x), g.constant(weights(8, 3))))


def rounded_by_hand(g: Graph, x: str) -> str:
    return str(g.add("MatMul", g.add("Round", x), g.constant(weights(8, 3))))


def of_integers(g: Graph, x: str) -> str:
    w = g.add("Cast", g.constant(np.ones((8, 4)), "int8"), to=1)
    return str(g.add("MatMul", g.add("MatMul", x, w), g.constant(weights(4, 3))))


def short(g: Graph, x: str) -> str:
    return str(g.add("MatMul", g.add("MatMul", x, g.constant(weights(8, 4))), g.constant(np.eye(4) * 0.5)))


def a_dialect_of_others(g: Graph, x: str) -> str:
    return str(g.add("MatMul", g.add("Squash", x, domain="com.example"), g.constant(weights(8, 3))))


def without_weights(g: Graph, x: str) -> str:
    return str(g.add("Relu", x))


@pytest.mark.parametrize(
    "make",
    [partly, behind_a_quantiser, rounded_by_hand, of_integers, short, a_dialect_of_others, without_weights],
)
def test_what_is_quantised_in_part_is_told_place_by_place(make: Any) -> None:
    assert all(ONE not in d.message and "lutc quantize" not in (d.help or "") for d in told(model(make)))


def test_floats_of_few_bits_compile() -> None:
    design = lutc.load(
        model(lambda g, x: g.add("MatMul", x, g.constant(np.full((8, 2), 0.75)))), input_types="s4f1"
    )
    assert design.run(np.ones((1, 8))).tolist() == [[6.0, 6.0]]


def test_numbers_that_are_none_are_told_as_before() -> None:
    w = weights(8, 3)
    w[0, 0] = np.nan
    assert all(ONE not in d.message for d in told(model(lambda g, x: g.add("MatMul", x, g.constant(w)))))


def test_half_floats_are_floats() -> None:
    g = Graph()
    w = g.constant(weights(8, 16).astype(np.float16))
    g.output(g.add("MatMul", g.input(("n", 8), kind=TensorProto.FLOAT16), w), TensorProto.FLOAT16)
    (said,) = told(g.model())
    assert said.message.startswith(ONE)
