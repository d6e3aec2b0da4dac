"""Files and graphs that are broken, large or in several parts: they load, or one clear error says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import Graph, refused

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx


def sound() -> Any:
    g = Graph()
    g.output(g.qdq(g.input(["n", 4])))
    return g.model()


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "none.onnx")
    assert "is no file" in refused(tmp_path)
    (tmp_path / "text.onnx").write_text("not a protobuf at all")
    assert "text.onnx: error: is no ONNX model: its protobuf cannot be decoded" in refused(
        tmp_path / "text.onnx"
    )
    whole = sound().SerializeToString()
    assert "cannot be decoded" in refused(whole[: len(whole) // 2]) or "no graph" in refused(
        whole[: len(whole) // 2]
    )
    assert "holds no graph" in refused(b"")
    path = tmp_path / "good.onnx"
    path.write_bytes(whole)
    assert str(load_onnx(path).params[0].type) == str(load_onnx(str(path)).params[0].type) == "s8f2[4]"
    assert str(load_onnx(whole).params[0].type) == "s8f2[4]"


@pytest.mark.parametrize(
    "opset,message", [(5, "follows operator set 5"), (10_000, "install a newer onnx package")]
)
def test_operator_sets_out_of_reach(opset: int, message: str) -> None:
    model = sound()
    model.opset_import[0].version = opset
    assert message in refused(model)
    del model.opset_import[:]
    assert "names no operator set of its own" in refused(model)


def test_weights_in_another_file(tmp_path: Path) -> None:
    g = Graph()
    g.output(g.add("MatMul", g.qdq(g.input(["n", 64])), g.constant(np.ones((64, 32)))))
    model = g.model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert str(load_onnx(tmp_path / "m.onnx").outputs[0].value.type) == "s14f2[32]"
    (tmp_path / "m.data").unlink()
    assert "its weights lie in another file, which cannot be read" in refused(tmp_path / "m.onnx")


def test_weights_beyond_two_gigabytes(tmp_path: Path) -> None:
    """Of a data file larger than a protobuf can be, the part that belongs to a tensor is read."""
    g = Graph()
    g.output(g.add("MatMul", g.qdq(g.input(["n", 64])), g.constant(np.full((64, 32), 3.0))))
    model = g.model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=1024)
    stored = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    (tensor,) = (t for t in stored.graph.initializer if t.external_data)
    where = {e.key: e for e in tensor.external_data}
    weights = (tmp_path / "m.data").read_bytes()[int(where["offset"].value) :][: int(where["length"].value)]
    where["offset"].value = str(3 << 30)
    (tmp_path / "m.onnx").write_bytes(stored.SerializeToString())
    with (tmp_path / "m.data").open("wb") as file:  # sparse: it takes the weights' own space on the disk
        file.seek(3 << 30)
        file.write(weights)
    assert load_onnx(tmp_path / "m.onnx").run(np.ones((1, 64))).tolist() == [[192.0] * 32]


def test_a_file_beyond_two_gigabytes(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate((2 << 30) + 1)
    text = refused(tmp_path / "m.onnx")
    assert "m.onnx: error: is larger than 2 GiB, which no protobuf can be" in text
    assert "save_as_external_data=True" in text


# -- graphs ---------------------------------------------------------------------------------------------------------


def test_a_constant_that_is_not_there() -> None:
    model = sound()
    missing = model.graph.initializer[0].name
    del model.graph.initializer[0]
    text = refused(model)
    assert f"reads {missing!r}, which is no input, no constant and made by no layer" in text
    assert "its weights may have been left out" in text


def test_a_tensor_with_two_makers() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]))
    g.output(g.add("Relu", x, name="first"))
    model = g.model()
    model.graph.node.append(helper.make_node("Neg", [x], [g.outputs[0].name], name="second"))
    assert f"second (Neg): error: makes {g.outputs[0].name!r}, which first (Relu) makes" in refused(model)
    model.graph.node[-1].output[0] = "x"
    assert "second (Neg): error: makes 'x', which is given already" in refused(model)


def test_a_loop() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]))
    back = g.add("Relu", "later", name="first")
    g.nodes.append(helper.make_node("Add", [x, back], ["later"], name="second"))
    g.output("later")
    text = refused(g.model())
    assert (
        "first (Relu): error: reads what is computed from its own result, through first (Relu), second (Add)"
        in text
    )
    assert "a circuit has no loops" in text


def test_layers_in_any_order_are_sorted() -> None:
    model = sound()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert str(load_onnx(model).params[0].type) == "s8f2[4]"


def test_functions_of_the_model_are_inlined() -> None:
    g = Graph()
    g.output(g.add("Twice", g.qdq(g.input(["n", 4])), domain="local"))
    model = g.model()
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 21)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert load_onnx(model).run(np.full((1, 4), 1.5)).tolist() == [[3.0] * 4]


def test_attributes_of_another_type_are_no_traceback() -> None:
    g = Graph()
    g.output(g.add("Concat", g.qdq(g.input(["n", 4])), g.constant(np.ones((1, 4))), axis="one"))
    assert "has an attribute 'axis' of type STRING, and it is of type INT" in refused(g.model())


def test_broken_bytes_are_no_traceback() -> None:
    """Bytes changed and left out at random: the model loads, or what is raised says why it does not."""
    g = Graph()
    x = g.qdq(g.input(["n", 2, 5, 5]), 0.25)
    w = g.dq(np.ones((3, 2, 3, 3), int), 0.5)
    x = g.add("MaxPool", g.qdq(g.add("Conv", x, w, pads=[1, 1, 1, 1]), 0.5), kernel_shape=[2, 2])
    g.output(g.add("Flatten", g.qdq(g.add("Sigmoid", x), 0.01)))
    whole, rng, refusals = g.model().SerializeToString(), np.random.default_rng(3), 0
    for _ in range(120):
        data = bytearray(whole)
        for at in rng.integers(0, len(data) - 4, rng.integers(1, 4)).tolist():
            if rng.integers(0, 2):
                data[at] = int(rng.integers(0, 256))
            else:
                del data[at : at + int(rng.integers(1, 4))]
        try:
            load_onnx(bytes(data))
        except LirError as e:
            refusals += 1
            assert all(d.message for d in e.diagnostics)
    assert refusals > 60


def test_inputs_that_have_no_fixed_shape() -> None:
    g = Graph()
    g.output(g.qdq(g.input(["n", "m"])))
    assert "x (input): error: has no fixed length in dimension 1" in refused(g.model())
    model = sound()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "x (input): error: has no shape" in refused(model)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.STRING, [1, 4]))
    assert "x (input): error: holds elements of type string, which are no numbers" in refused(model)


def test_input_types_that_fit_nothing() -> None:
    assert "the model has no input 'y'" in refused(sound(), input_types={"y": "s8"})
    assert "did you mean pixels?" in refused(_renamed("pixels"), input_types={"pixls": "s8"})
    assert "help" in refused(sound(), input_types="s8.4")


def _renamed(name: str) -> Any:
    g = Graph()
    g.output(g.qdq(g.input(["n", 4], name)))
    return g.model()


def test_outputs_nobody_makes_and_constant_ones() -> None:
    model = sound()
    model.graph.output[0].name = "nowhere"
    assert "nowhere (output): error: is made by no layer" in refused(model)
    g = Graph()
    g.output(g.add("Identity", g.constant([1.0])))
    g.input(["n", 4])
    assert "is a constant" in refused(g.model())
