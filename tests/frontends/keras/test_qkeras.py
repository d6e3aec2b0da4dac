"""QKeras models from `.h5` files, quantiser by quantiser and layer by layer, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import qkeras_zoo as zoo
from qkeras_zoo import Layer, activation, bits, conf, dense, flatten, relu

import lutc
from conftest import need_tool
from lutc.diagnostics import LirError
from lutc.driver import compile as build
from lutc.driver import simulate
from lutc.ir.graph import Design
from lutc.ir.ops.flow import Map
from lutc.types import Overflow, Rounding

INPUT = bits(7, 2)


def compare(path: Path, shape: tuple[int, ...], layers: list[Layer], **options: Any) -> Design:
    """The design of a chain, after checking it against QKeras's own arithmetic on every sample."""
    x = zoo.samples(shape)
    design = lutc.load(zoo.save(path / "m.h5", shape, layers, **options))
    want = zoo.predict(layers, x)
    np.testing.assert_array_equal(np.asarray(design.run(x), dtype=float), want)
    assert np.unique(want).size > 1
    return design


# -- quantisers -------------------------------------------------------------------------------------------------------

BOTH = {
    "bits": bits(4),
    "bits_integer": bits(5, 2),
    "bits_symmetric": bits(3, 0, symmetric=1),
    "bits_unsigned": bits(4, 1, keep_negative=False),
    "bits_one": bits(1),
    "bits_alpha": bits(4, 1, alpha=0.5),
    "bits_none": bits(4, 0, alpha=None),
    "binary": conf("binary", alpha=1),
    "binary_01": conf("binary", use_01=True, alpha=2.0),
    "binary_stochastic": conf("stochastic_binary", alpha=None),
    "ternary": conf("ternary", alpha=None, threshold=None),
    "ternary_threshold": conf("ternary", alpha=0.5, threshold=0.7),
    "po2": conf("quantized_po2", bits=3),
    "po2_max": conf("quantized_po2", bits=4, max_value=2),
    "po2_small": conf("quantized_po2", bits=4, max_value=0.5),
}
WEIGHTS = {
    "bits_auto": bits(4, alpha="auto_po2", symmetric=True),
    "bits_auto_2": bits(2, 1, alpha="auto_po2", symmetric=True),
    "bits_auto_later": bits(
        3, alpha="auto_po2", symmetric=True, post_training_scale=None
    ),  # as later versions write
    "bits_auto_8": bits(8, 2, alpha="auto_po2", symmetric=True),
    "binary_auto": conf("binary", alpha="auto_po2"),
    "binary_01_auto": conf("binary", alpha="auto_po2", use_01=True),
    "ternary_auto": conf("ternary", alpha="auto_po2"),
}
DATA = {
    "relu": relu(4),
    "relu_integer": relu(5, 2),
    "relu_slope": relu(5, 1, negative_slope=0.25),
    "relu_steep": relu(4, 0, negative_slope=0.5),
    "tanh": conf("quantized_tanh", bits=4),
    "tanh_symmetric": conf("quantized_tanh", bits=5, symmetric=True),
    "tanh_real": conf("quantized_tanh", bits=5, use_real_tanh=True),
    "sigmoid": conf("quantized_sigmoid", bits=4),
    "sigmoid_symmetric": conf("quantized_sigmoid", bits=5, symmetric=True),
    "sigmoid_real": conf("quantized_sigmoid", bits=5, use_real_sigmoid=True),
}


@pytest.mark.parametrize("name", [*BOTH, *WEIGHTS])
def test_weights(name: str, tmp_path: Path) -> None:
    quantiser = (BOTH | WEIGHTS)[name]
    bias = quantiser if name in BOTH else bits(4)
    compare(tmp_path, (9,), [activation(INPUT), dense(9, 5, quantiser, bias)])


@pytest.mark.parametrize("name", [*BOTH, *DATA])
def test_data(name: str, tmp_path: Path) -> None:
    quantiser = (BOTH | DATA)[name]
    compare(tmp_path, (20,), [activation(INPUT), activation(quantiser)])
    # Behind a sum, as a layer's own activation.
    compare(tmp_path, (6,), [activation(INPUT), dense(6, 4, bits(4), bits(4), quantiser)])


def test_the_port_of_the_first_quantiser(tmp_path: Path) -> None:
    (port,) = compare(tmp_path, (3,), [activation(bits(6, 2, symmetric=1)), flatten()]).params
    assert str(port.type) == "s6f3[3]"
    assert (port.round, port.overflow) == (Rounding.HALF_EVEN, Overflow.SATURATE_SYMMETRIC)


# -- layers -----------------------------------------------------------------------------------------------------------


def pooled(x: Any) -> Any:
    n, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


MODELS: dict[str, Callable[[], tuple[tuple[int, ...], list[Layer]]]] = {
    "jets": lambda: (
        (6,),
        [
            activation(INPUT),
            dense(6, 5, bits(4, alpha="auto_po2"), bits(4)),
            zoo.batch_norm(5, 1),
            activation(relu(5, 2)),
            dense(5, 3, bits(4), bits(4), seed=2),
        ],
    ),
    "image": lambda: (
        (6, 6, 2),
        [
            activation(bits(5, 1)),
            zoo.conv2d(2, 3, 3, bits(4), bits(4), relu(4, 1), padding="same", strides=[2, 2]),
            zoo.depthwise(3, 2, bits(4), bits(3), relu(4, 1)),
            zoo.keras("MaxPooling2D", pooled, pool_size=[2, 2], strides=[2, 2], padding="valid"),
            flatten(),
            dense(3, 2, bits(4), bits(4)),
        ],
    ),
    "series": lambda: (
        (7, 3),
        [activation(bits(5, 1)), zoo.conv1d(3, 4, 3, bits(4), bits(4), bits(5, 1)), flatten()],
    ),
    "folded": lambda: (
        (5, 5, 2),
        [activation(bits(5, 1)), zoo.folded(2, 3, 3, bits(6, 1), bits(8, 3)), activation(relu(5, 2))],
    ),
}


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_model(name: str, sequential: bool, tmp_path: Path) -> None:
    shape, layers = MODELS[name]()
    compare(tmp_path, shape, layers, sequential=sequential)


def test_one_function_for_all_positions(tmp_path: Path) -> None:
    design = compare(tmp_path, *MODELS["image"]())
    assert any(isinstance(v, Map) for v in lutc.ir.graph.body(design))


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_circuit(hdl: str, tmp_path: Path) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    shape, layers = MODELS["jets"]()
    x = zoo.samples(shape, 60)
    built = build(zoo.save(tmp_path / "m.h5", shape, layers), clock_ns=2.0, hdl=hdl)
    np.testing.assert_array_equal(np.asarray(built.run(x), dtype=float), zoo.predict(layers, x))
    folder = built.write(tmp_path / "build", vectors=60, user_vectors={"x": x})
    result = simulate(folder)
    assert result.passed, result.message
    assert result.vectors >= 120


# -- files ------------------------------------------------------------------------------------------------------------


def test_old_files(tmp_path: Path) -> None:
    """Quantisers as text, no modules, the input's shape in the first layer, a list of names in pieces."""
    layers = [activation(INPUT), dense(6, 4, bits(4), bits(5, 1), relu(4, 1))]

    def older(config: dict[str, Any]) -> None:
        entries = config["config"]["layers"]
        shape = entries.pop(0)["config"]["batch_input_shape"]
        entries[0]["config"] |= {"batch_input_shape": shape, "activation": "quantized_bits(7, 2, alpha=1)"}
        entries[1]["config"] |= {
            "kernel_quantizer": "quantized_bits(4,0,alpha=1)",
            "bias_quantizer": "quantized_bits(5, integer=1, alpha=1)",
            "activation": "quantized_relu(4,1)",
        }

    path = zoo.save(tmp_path / "m.h5", (6,), layers, sequential=True, version="2.4.0", edit=older)
    with h5py.File(path, "a") as file:
        group = file["model_weights/qdense_1"]
        names = group.attrs.pop("weight_names")
        for number, name in enumerate(names):
            group.attrs[f"weight_names{number}"] = [name]
    x = zoo.samples((6,))
    np.testing.assert_array_equal(np.asarray(lutc.load(path).run(x), dtype=float), zoo.predict(layers, x))


def test_files_of_keras_3(tmp_path: Path) -> None:
    """The same build, with the config of Keras 3: calls as objects, registered classes with their package."""
    layers = [
        activation(INPUT),
        dense(6, 4, bits(4), bits(4), relu(4, 1)),
        zoo.batch_norm(4, 1),
        activation(bits(5, 1)),
    ]

    def newer(config: dict[str, Any]) -> None:
        before = "x"
        for entry in config["config"]["layers"][1:]:
            history = {"class_name": "__keras_tensor__", "config": {"keras_history": [before, 0, 0]}}
            entry["inbound_nodes"] = [{"args": [history], "kwargs": {}}]
            entry["class_name"] = entry["class_name"].replace("Q", "qkeras>Q")
            before = entry["name"]
        config["config"] |= {"input_layers": ["x", 0, 0], "output_layers": [before, 0, 0]}

    compare(tmp_path, (6,), layers, version="3.15.1", edit=newer)


@pytest.mark.parametrize("count", [0, 1])
def test_branches_and_nested_models(count: int, tmp_path: Path) -> None:
    """A residual sum around a nested model, whose weights stand in its own group and whose calls count from 0 or 1."""
    inner = dense(4, 4, bits(4), bits(4), relu(4, 1))
    first = activation(INPUT)
    entry = {"class_name": "QDense", "name": "d", "config": {"name": "d"} | inner.config}
    source = {
        "class_name": "InputLayer",
        "name": "i",
        "config": {"name": "i", "batch_input_shape": [None, 4]},
    }
    nested = {
        "name": "block",
        "layers": [source | {"inbound_nodes": []}, entry | {"inbound_nodes": [[["i", 0, 0, {}]]]}],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["d", 0, 0]],
    }
    outer = {
        "name": "model",
        "layers": [
            source | {"inbound_nodes": []},
            {
                "class_name": "QActivation",
                "name": "q",
                "config": {"name": "q"} | first.config,
                "inbound_nodes": [[["i", 0, 0, {}]]],
            },
            {
                "class_name": "Functional",
                "name": "block",
                "config": nested,
                "inbound_nodes": [[["q", 0, 0, {"training": False}]]],
            },
            {
                "class_name": "Add",
                "name": "sum",
                "config": {"name": "sum"},
                "inbound_nodes": [[["q", 0, 0, {}], ["block", count, 0, {}]]],
            },
        ],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["sum", 0, 0]],
    }
    weights = {"block": {f"d/{n}:0": v for n, v in inner.weights.items()}}
    path = zoo.write(tmp_path / "m.h5", {"class_name": "Functional", "config": outer}, weights)
    x = zoo.samples((4,))
    q = first.forward(x)
    np.testing.assert_array_equal(np.asarray(lutc.load(path).run(x), dtype=float), q + inner.forward(q))


def test_the_slope_of_keras_2(tmp_path: Path) -> None:
    leaky = zoo.keras("LeakyReLU", lambda x: np.where(x < 0, x * np.float32(0.125), x), alpha=0.125)
    compare(tmp_path, (5,), [activation(INPUT), leaky, activation(bits(8, 2))])


# -- refusals ---------------------------------------------------------------------------------------------------------

HERE = "m.h5: layer 'qdense_1' (QDense): error: "
REFUSED: dict[str, tuple[Layer, str]] = {
    "auto": (
        dense(3, 2, bits(4, alpha="auto")),
        HERE
        + "its kernel quantiser has alpha='auto', a scale that is any float32 number\n  = help: use alpha='auto_po2'",
    ),
    "auto_bias": (
        dense(3, 2, bits(4), bits(4, alpha="auto_po2")),
        HERE
        + "its bias quantiser has alpha='auto_po2' for a vector, which versions of QKeras scale differently",
    ),
    "auto_data": (
        activation(bits(4, alpha="auto_po2")),
        "its activation has alpha='auto_po2' on data, so that its scale depends on them\n  = help: use alpha=1",
    ),
    "noise": (
        activation(bits(4, qnoise_factor=0.5)),
        "its activation mixes in the unquantised number (qnoise_factor=0.5)",
    ),
    "unknown": (
        dense(3, 2, conf("quantized_ulaw", bits=4)),
        HERE
        + "its kernel quantiser is quantized_ulaw, which lutc does not know\n  = help: use one of binary,",
    ),
    "option": (
        dense(3, 2, bits(4, post_training_scale=0.5)),
        "sets the option of its kernel quantiser post_training_scale=0.5",
    ),
    "floor": (
        dense(3, 2, conf("quantized_po2", bits=4, log2_rounding="floor")),
        "rounds exponents in a way that float32 logarithms decide",
    ),
    "wide_po2": (
        activation(conf("quantized_po2", bits=8)),
        "its activation gives powers of two from 2**-64 to 2**63\n  = help: use fewer bits, or a max_value",
    ),
    "sigmoid": (activation(relu(4, use_sigmoid=1)), "its activation applies a sigmoid first"),
    "slope": (
        activation(relu(3, 0, negative_slope=0.03125)),
        "its slope is finer than its format\n  = help: use more bits",
    ),
    "layer": (
        Layer("QBatchNormalization", {}, lambda x: x),
        "(QBatchNormalization): error: lutc has no rule for it\n  = help: ",
    ),
    "text": (
        Layer("QActivation", {"activation": "quantized_bits(__import__('os'))"}, lambda x: x),
        "which is no quantiser",
    ),
    "plain": (
        dense(3, 2, None),
        HERE + "its kernel is not quantised: its numbers take ",
    ),
    "hard_sigmoid": (
        Layer("Activation", {"activation": "hard_sigmoid"}, lambda x: x),
        "its function 'hard_sigmoid of Keras 2' is not one lutc knows",
    ),
    "unfolded": (
        zoo.folded(2, 3, 3, bits(6, 1), None),
        "its folded kernel or bias has no quantiser",
    ),
}


def refused(path: Path) -> str:
    with pytest.raises(LirError) as caught:
        lutc.load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    layer, message = REFUSED[name]
    shape = (5, 5, 2) if "Conv" in layer.kind else (3,)
    text = refused(zoo.save(tmp_path / "m.h5", shape, [activation(INPUT), layer]))
    assert message in text
    assert "m.h5: layer " in text


def test_a_scale_between_two_powers_is_refused(tmp_path: Path) -> None:
    layer = dense(4, 2, conf("binary", alpha="auto_po2"))
    layer.weights["kernel"] = np.full((4, 2), np.sqrt(2), dtype=np.float32)
    text = refused(zoo.save(tmp_path / "m.h5", (4,), [activation(INPUT), layer]))
    assert (
        "a channel whose scale lies between two powers of two, too near to tell which one float32 takes"
        in text
    )
    layer = dense(4, 2, conf("quantized_po2", bits=4))
    layer.weights["kernel"] = np.full((4, 2), np.sqrt(0.5), dtype=np.float32)
    text = refused(zoo.save(tmp_path / "m.h5", (4,), [activation(INPUT), layer]))
    assert "meets 0.7071" in text
    layer = zoo.folded(2, 3, 3, bits(6, 1), bits(8, 3))
    norm = {k: v for k, v in layer.weights.items() if "bn/" in k}
    by = norm["bn/gamma"] / np.sqrt(norm["bn/moving_variance"].astype(np.float64) + 0.001)
    layer.weights["kernel"][0, 0, 0] = 0.03125 / by  # half a step after folding
    text = refused(zoo.save(tmp_path / "m.h5", (5, 5, 2), [activation(bits(5, 1)), layer]))
    assert "its kernel quantiser meets a folded weight so near a rounding border" in text


def test_all_refusals_at_once(tmp_path: Path) -> None:
    layers = [activation(INPUT), REFUSED["auto"][0], REFUSED["noise"][0], REFUSED["layer"][0]]
    assert refused(zoo.save(tmp_path / "m.h5", (3,), layers)).count("error:") == 3


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(b"no HDF5")
    assert "m.h5: error: this is no HDF5 file that can be read" in refused(path)
    with h5py.File(path, "w") as file:
        file.create_group("model_weights")
    assert (
        "the file holds weights, and not how the layers are connected\n  = help: save the whole"
        in refused(path)
    )
    layers = [activation(INPUT), dense(3, 2, bits(4))]

    def edit(config: dict[str, Any]) -> None:
        config["config"]["layers"][2]["inbound_nodes"] = [[["qactivation_0", 0, 0, {"mask": ["x", 0, 0]}]]]

    text = refused(zoo.save(path, (3,), layers, edit=edit))
    assert "layer 'qdense_1' (QDense): error: sets the call argument mask=['x', 0, 0]" in text
    layers[1].weights = {}
    assert "the file holds 0 of its weights, not kernel" in refused(zoo.save(path, (3,), layers))


def test_an_input_without_a_quantiser(tmp_path: Path) -> None:
    layers = [dense(3, 2, bits(4), bits(4))]
    path = zoo.save(tmp_path / "m.h5", (3,), layers)
    assert "--input-type x=s8f4" in refused(path)
    x = np.round(zoo.samples((3,)) * 8) / 8
    found = lutc.load(path, input_types="s10f3").run(x)
    np.testing.assert_array_equal(np.asarray(found, dtype=float), zoo.predict(layers, x))
