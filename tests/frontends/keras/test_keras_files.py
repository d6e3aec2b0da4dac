"""Files, calibration, and what is refused: every refusal names the layer, the reason and a way out."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import coarse, compare, config, functional, gridded, keras, predict, q, samples, scramble

from lutc.diagnostics import LirError
from lutc.frontends.keras import load_keras
from lutc.ir.ops.flow import Map
from lutc.types import Overflow, Rounding

k = keras.layers
ops = keras.ops


def lut_model() -> keras.Model:
    """Two LUT-Dense layers, whose edges round the input each in its own way."""
    return scramble(functional(lambda x: q.QDenseT(3)(q.QDenseT(4, batch_norm=True)(x)), (5,)), bits=6)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_neither_keras_nor_hgq_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    lut_model().save(path)
    code = (
        "import sys; from lutc.frontends.keras import load_keras; load_keras(sys.argv[1]);"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'keras', 'hgq', 'tensorflow', 'torch', 'jax'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_live_model_is_its_file(tmp_path: Path) -> None:
    model = lut_model()
    design = compare(model, tmp_path)
    live = load_keras(model)
    assert [p.type for p in live.params] == [p.type for p in design.params]
    x = samples(model)[0]
    np.testing.assert_array_equal(live.run(x), design.run(x))


def test_layers_are_found_where_the_file_does_not_name_them(tmp_path: Path) -> None:
    """Older versions of Keras stored no names beside the weights: layers are counted by class then."""
    import h5py

    model = scramble(functional(lambda x: q.QDense(3)(k.ReLU()(q.QDense(4)(x))), (5,)), bits=7)
    new, old = tmp_path / "new.keras", tmp_path / "old.keras"
    model.save(new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        weights = tmp_path / "w.h5"
        weights.write_bytes(source.read("model.weights.h5"))
    with h5py.File(weights, "a") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None) and None)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            target.writestr(name, weights.read_bytes() if name.endswith(".h5") else source.read(name))
    x = samples(model)[0]
    np.testing.assert_array_equal(load_keras(old).run(x), predict(model, [x])[0])


# -- ports ------------------------------------------------------------------------------------------------------------


def test_the_port_of_one_quantiser_is_that_quantiser(tmp_path: Path) -> None:
    conf = config(overflow_mode="SAT", round_mode="RND_CONV")
    model = scramble(functional(lambda x: q.QDense(3, iq_conf=conf)(k.Flatten()(x)), (3, 2)), bits=7)
    (port,) = compare(model, tmp_path).params
    assert (port.round, port.overflow) == (Rounding.HALF_EVEN, Overflow.SATURATE)


def test_the_port_of_many_quantisers_floors_one_bit_finer(tmp_path: Path) -> None:
    model = lut_model()
    (port,) = compare(model, tmp_path).params
    inner = model.layers[1].iq.quantizer
    bits, f = (keras.ops.convert_to_numpy(getattr(inner, n)) for n in ("bits", "f"))
    signed = keras.ops.convert_to_numpy(inner.k)
    finest = np.where(bits + signed > 0, f, -99)[0].max(axis=-1)
    assert (port.round, port.overflow) == (Rounding.FLOOR, Overflow.WRAP)
    assert [t.frac for t in port.type.formats] == (finest + 1).astype(int).tolist()


# -- calibration ------------------------------------------------------------------------------------------------------


def traced() -> dict[str, Any]:
    kbi = config("table", overflow_mode="WRAP", homogeneous_axis=(0,))
    return {
        "dense": functional(lambda x: q.QDense(3)(q.QDense(4, activation="relu")(x)), (5,)),
        "lut": functional(lambda x: q.QDenseT(3)(q.QDenseT(4, batch_norm=True, toq_conf=kbi)(x)), (5,)),
        "conv": functional(lambda x: q.QDense(3)(k.Flatten()(q.QConv1D(2, 3, padding="same")(x))), (6, 2)),
        "function": functional(lambda x: q.QDense(3)(k.Activation("tanh")(q.QDense(4)(x))), (5,)),
        "norm": functional(lambda x: q.QDense(3)(k.BatchNormalization()(q.QDense(4)(x))), (5,)),
        "add": functional(lambda x: q.QAdd()([q.QDense(4)(x), q.QDense(4)(x)]), (5,)),
    }


@pytest.mark.parametrize("name", ["dense", "lut", "conv", "function", "norm", "add"])
def test_calibration_traces_as_hgq_does(name: str, tmp_path: Path) -> None:
    from hgq.utils import trace_minmax

    model = scramble(traced()[name], bits=6, least=2)
    data = [x / 4 for x in samples(model, count=60, seed=5)]
    path = tmp_path / "untraced.keras"
    model.save(path)
    design = load_keras(path, calibrate=data[0])
    trace_minmax(model, data[0])
    inputs = [np.concatenate([data[0], samples(model, count=60)[0]])]
    np.testing.assert_array_equal(design.run(*inputs), predict(model, inputs)[0])
    assert load_keras(model).params[0].type == design.params[0].type
    assert not any("never traced" in note for note in design.notes)


def test_untraced_ranges_are_noted(tmp_path: Path) -> None:
    design = compare(lut_model(), tmp_path)
    assert any("never traced" in note and "--calibrate" in note for note in design.notes)


# -- structure --------------------------------------------------------------------------------------------------------


def test_a_convolution_is_one_function(tmp_path: Path) -> None:
    conf = config(overflow_mode="SAT", heterogeneous_axis=())
    model = functional(
        lambda x: q.QConv2D(4, 3, activation="relu", iq_conf=conf, name="conv")(x), (16, 16, 3)
    )
    design = compare(scramble(model), tmp_path, [samples(model, 4)[0]])
    from lutc.ir.graph import body

    (mapped,) = [v for v in body(design) if isinstance(v, Map)]
    assert mapped.func.name == "conv"
    assert mapped.length == 14 * 14
    assert len(body(design)) < 40


def test_a_convolution_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = config(overflow_mode="SAT", heterogeneous_axis=())
    model = scramble(functional(lambda x: q.QConv2D(4, 3, iq_conf=conf, name="conv")(x), (16, 16, 3)))
    monkeypatch.setenv("LUTC_MAX_OPERATIONS", "1000")
    with pytest.raises(LirError, match=r"'conv'.*operations on scalars, and 1,000 are the most"):
        compare(model, tmp_path)


# -- refusals ---------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[tuple[int | None, ...], Any, dict[str, Any], str, str]] = {
    "recurrent": ((4, 3), lambda x: k.GRU(2)(x), {}, "layer 'gru' (GRU)", "recurrent"),
    "layer norm": ((4,), lambda x: k.LayerNormalization()(x), {}, "(LayerNormalization)", "variance"),
    "no rule": ((4,), lambda x: k.UnitNormalization()(x), {}, "(UnitNormalization)", "no rule"),
    "no rule for an operation": ((4,), lambda x: ops.cumsum(x, axis=1), {}, "(Cumsum)", "no rule"),
    "wide sums": ((4,), lambda x: k.Dense(3)(x), {"input_types": "s20f4"}, "(Dense)", "float32 rounds sums"),
    "no input format": ((4,), lambda x: k.ReLU()(x), {}, "input 'x0'", "without a quantiser"),
    "float output": (
        (4,),
        lambda x: k.Activation("tanh")(x),
        {"input_types": "s8f4"},
        "(Activation)",
        "floating point",
    ),
    "float product": (
        (4,),
        lambda x: ops.tanh(x) * ops.sigmoid(x),
        {"input_types": "s8f4"},
        "(Multiply)",
        "floating point",
    ),
    "softmax inside": (
        (4,),
        lambda x: k.Add()([k.Softmax()(x), x]),
        {"input_types": "s8f4"},
        "(Add)",
        "function of a whole axis",
    ),
    "too wide a table": (
        (4,),
        lambda x: q.QUnaryFunctionLUT("tanh", iq_conf=config(i0=10, f0=12))(x),
        {},
        "(QUnaryFunctionLUT)",
        "keys of up to 23 bits",
    ),
    "division": ((4,), lambda x: x / (x + 1.0), {"input_types": "u8"}, "(TrueDivide)", "divides one value"),
    "unknown length": ((None, 4), lambda x: k.ReLU()(x), {}, "input 'x0'", "not known"),
    "half precision": ((4,), lambda x: k.Dense(2, dtype="mixed_float16")(x), {}, "(Dense)", "mixed_float16"),
    "across the batch": (
        (4,),
        lambda x: ops.sum(x, axis=0),
        {"input_types": "s8"},
        "(Sum)",
        "across the batch",
    ),
    "upsampling": (
        (3, 3, 1),
        lambda x: k.UpSampling2D(2, interpolation="bilinear")(x),
        {},
        "(UpSampling2D)",
        "interpolates",
    ),
    "mode": (
        (4,),
        lambda x: q.QDense(3, iq_conf=config(overflow_mode="WRAP_SM"))(x),
        {},
        "(QDense)",
        "WRAP_SM",
    ),
    "scaler": (
        (4,),
        lambda x: q.QDense(3, iq_conf=config(scaler=0.3))(x),
        {},
        "(QDense)",
        "scaler",
    ),
    "no such input": ((4,), lambda x: q.QDense(3)(x), {"input_types": {"y": "s8"}}, "", "no input 'y'"),
    "calibration shape": (
        (4,),
        lambda x: q.QDense(3)(x),
        {"calibrate": np.zeros((5, 3))},
        "",
        "calibration data",
    ),
    "calibration count": (
        (4,),
        lambda x: q.QDense(3)(x),
        {"calibrate": [np.zeros((5, 4))] * 2},
        "",
        "2 calibration",
    ),
}


COARSE = ("recurrent", "wide sums", "half precision")  # as models of floats they would be told to be those


@pytest.mark.parametrize("name", REFUSED)
def test_refusal(name: str, tmp_path: Path) -> None:
    shape, make, options, place, reason = REFUSED[name]
    path = tmp_path / "m.keras"
    model = functional(make, shape)
    (coarse(model) if name in COARSE else model).save(path)
    with pytest.raises(LirError) as caught:
        load_keras(path, **options)
    text = str(caught.value)
    assert place in text
    assert reason in text
    assert caught.value.diagnostics[0].help or not place


def test_all_refusals_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    coarse(functional(lambda x: k.LSTM(2)(ops.cumsum(k.LayerNormalization()(x), axis=1)), (4, 3))).save(path)
    with pytest.raises(LirError) as caught:
        load_keras(path)
    assert len(caught.value.diagnostics) == 3


BROKEN: dict[str, tuple[Any, str]] = {
    "not a zip": (lambda p: p.write_bytes(b"hello"), "no .keras file"),
    "missing": (lambda p: None, "no such file"),
    "weights only": (lambda p: zip_of(p, {"model.weights.h5": b""}), "no config.json"),
    "damaged config": (lambda p: zip_of(p, {"config.json": b"{", "model.weights.h5": b""}), "damaged"),
    "damaged weights": (lambda p: zip_of(p, {"config.json": b"{}", "model.weights.h5": b"x"}), "damaged"),
}


def zip_of(path: Path, parts: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file(name: str, tmp_path: Path) -> None:
    make, reason = BROKEN[name]
    path = tmp_path / "m.keras"
    make(path)
    with pytest.raises(LirError, match=reason):
        load_keras(path)


def test_subclassed_model_and_odd_config(tmp_path: Path) -> None:
    path, odd = tmp_path / "m.keras", tmp_path / "odd.keras"
    functional(lambda x: q.QDense(2)(x), (3,)).save(path)
    with zipfile.ZipFile(path) as source:
        weights, whole = source.read("model.weights.h5"), json.loads(source.read("config.json"))
    subclassed = {"class_name": "Mine", "config": {"units": 3}}
    zip_of(odd, {"config.json": json.dumps(subclassed).encode(), "model.weights.h5": weights})
    with pytest.raises(LirError, match="subclassed"):
        load_keras(odd)
    del whole["config"]["layers"][1]["inbound_nodes"]
    zip_of(odd, {"config.json": json.dumps(whole).encode(), "model.weights.h5": weights})
    with pytest.raises(LirError, match="not as Keras 3 writes it"):
        load_keras(odd)


def test_plain_weights_of_few_bits_pass(tmp_path: Path) -> None:
    model = coarse(functional(lambda x: k.Dense(3)(k.Dense(4, activation="relu")(x)), (5,)))
    compare(model, tmp_path, gridded(model), input_types={"x0": "s8f4[5]"})
