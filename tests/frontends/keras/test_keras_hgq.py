"""Every HGQ2 layer, with random formats per element, equals the framework on every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import QuantizerConfig, compare, config, functional, keras, q, scramble

SAT = config(overflow_mode="SAT")

ONE_INPUT: dict[str, tuple[tuple[int, ...], Any]] = {
    "QDense": ((6,), lambda x: q.QDense(4)(x)),
    "QDense-relu": ((6,), lambda x: q.QDense(4, activation="relu")(x)),
    "QDense-no-bias": ((6,), lambda x: q.QDense(4, use_bias=False, enable_oq=True)(x)),
    "QDense-rows": ((3, 6), lambda x: q.QDense(4, activation="relu")(x)),
    "QDense-rows-alike": ((3, 6), lambda x: q.QDense(4, iq_conf=config(heterogeneous_axis=(2,)))(x)),
    "QEinsumDense": ((3, 6), lambda x: q.QEinsumDense("bij,jk->bki", (5, 3), bias_axes="k")(x)),
    "QEinsumDense-shared": ((3, 6), lambda x: q.QEinsumDense("bij,ijk->bik", (3, 2), bias_axes="ik")(x)),
    "QEinsumDense-dots": ((3, 6), lambda x: q.QEinsumDense("...x,xy->...y", (3, 5))(x)),
    "QBatchNormDense": ((6,), lambda x: q.QBatchNormDense(4, activation="relu")(x)),
    "QEinsumDenseBatchnorm": (
        (3, 6),
        lambda x: q.QEinsumDenseBatchnorm("bij,jk->bik", (3, 5), bias_axes="k", activation="relu")(x),
    ),
    "QBatchNormalization": ((3, 6), lambda x: q.QBatchNormalization()(x)),
    "QBatchNormalization-no-center": ((6,), lambda x: q.QBatchNormalization(center=False)(x)),
    "QDenseT": ((6,), lambda x: q.QDenseT(4)(x)),
    "QDenseT-norm": ((6,), lambda x: q.QDenseT(4, batch_norm=True, n_hl=2, d_hl=4)(x)),
    "QDenseT-norm-no-center": ((6,), lambda x: q.QDenseT(4, batch_norm=True, bn_center=False)(x)),
    "QDenseT-norm-no-scale": (
        (6,),
        lambda x: q.QDenseT(4, batch_norm=True, bn_scale=False, use_bias=False)(x),
    ),
    "QDenseT-relu": ((6,), lambda x: q.QDenseT(4, activation="relu", subnn_activation="sigmoid")(x)),
    "QDenseT-rows": ((3, 6), lambda x: q.QDenseT(4, n_hl=0)(x)),
    "QDenseT-rows-alike": ((3, 4), lambda x: q.QDenseT(3, iq_conf=config(heterogeneous_axis=(2, 3)))(x)),
    "QEinsumDenseT": ((3, 4), lambda x: q.QEinsumDenseT("bij,jk->bki", (5, 3), bias_axes="k")(x)),
    "QEinsumDenseT-norm": (
        (3, 4),
        lambda x: q.QEinsumDenseT("bij,ijk->bik", (3, 2), bias_axes="ik", batch_norm=True)(x),
    ),
    "QConvT1D": ((7, 2), lambda x: q.QConvT1D(3, 3, padding="same")(x)),
    "QConvT2D": ((5, 4, 2), lambda x: q.QConvT2D(3, (2, 2), strides=2, batch_norm=True)(x)),
    "QConv1D": ((9, 2), lambda x: q.QConv1D(3, 3, padding="same", activation="relu")(x)),
    "QConv1D-causal": (
        (9, 2),
        lambda x: q.QConv1D(3, 3, padding="causal", iq_conf=config(heterogeneous_axis=(2,)))(x),
    ),
    "QConv1D-strides": ((9, 2), lambda x: q.QConv1D(3, 4, strides=2, use_bias=False)(x)),
    "QConv2D": ((6, 5, 3), lambda x: q.QConv2D(4, 3, padding="same")(x)),
    "QConv2D-alike": (
        (6, 5, 3),
        lambda x: q.QConv2D(4, (3, 2), dilation_rate=(1, 2), iq_conf=config(heterogeneous_axis=(3,)))(x),
    ),
    "QConv2D-groups": ((5, 5, 4), lambda x: q.QConv2D(6, 3, groups=2, enable_oq=True)(x)),
    "QConv3D": ((4, 3, 3, 2), lambda x: q.QConv3D(2, 2, activation="relu")(x)),
    "QUnaryFunctionLUT-tanh": ((6,), lambda x: q.QUnaryFunctionLUT("tanh")(x)),
    "QUnaryFunctionLUT-sigmoid": (
        (6,),
        lambda x: q.QUnaryFunctionLUT("sigmoid", oq_conf=config("table", k0=0))(x),
    ),
    "QUnaryFunctionLUT-one-table": (
        (3, 4),
        lambda x: q.QUnaryFunctionLUT(
            "gelu", allow_heterogeneous_table=False, allow_heterogeneous_input=False
        )(x),
    ),
    "QAffinedUnaryFunctionLUT": ((6,), lambda x: q.QAffinedUnaryFunctionLUT("softplus")(x)),
    "QSum": ((4, 6), lambda x: q.QSum(axes=1, scale=0.25)(x)),
    "QSum-keepdims": ((4, 6), lambda x: q.QSum(axes=(1, 2), keepdims=True)(x)),
    "QMeanPow2": ((5, 6), lambda x: q.QMeanPow2(axes=1)(x)),
    "QMaxPool1D": ((9, 2), lambda x: q.QMaxPool1D(2, padding="same")(x)),
    "QMaxPool2D": ((6, 5, 2), lambda x: q.QMaxPool2D(3, strides=2, padding="same")(x)),
    "QAvgPool2D": ((6, 4, 2), lambda x: q.QAvgPool2D(2)(x)),
    "QAvgPool1D-odd": ((9, 2), lambda x: q.QAvgPool1D(3, enable_oq=True)(x)),
    "QAvgPool2D-same": ((5, 5, 2), lambda x: q.QAvgPool2D(2, padding="same", enable_oq=True)(x)),
    "QGlobalAvgPool1D": ((8, 3), lambda x: q.QGlobalAvgPool1D()(x)),
    "QGlobalMaxPool2D": ((4, 3, 3), lambda x: q.QGlobalMaxPool2D(keepdims=True)(x)),
    "QSoftmax": ((5,), lambda x: q.QSoftmax(enable_iq=True)(x)),
    "QSoftmax-unstable": ((5,), lambda x: q.QSoftmax(enable_iq=True, stable=False, enable_oq=True)(x)),
    "QMultiHeadAttention": ((4, 5), lambda x: q.QMultiHeadAttention(2, 3)(x, x)),
    "QMultiHeadAttention-fused": ((4, 5), lambda x: q.QMultiHeadAttention(2, 3, fuse="qkv")(x, x)),
    "QLinformerAttention": ((4, 5), lambda x: q.QLinformerAttention(2, 3, 3, use_bias=False)(x, x)),
    "QMultiHeadAttentionT": ((3, 4), lambda x: q.QMultiHeadAttentionT(2, 2, batch_norm=True, d_hl=4)(x, x)),
    "QLinformerAttentionT": ((4, 3), lambda x: q.QLinformerAttentionT(2, 2, 2, d_hl=4)(x, x)),
    "QDense-frozen": ((6,), lambda x: q.QDense(4, trainable=False, iq_conf=config(trainable=False))(x)),
    "QSoftmax-of-a-function": (
        (5,),
        lambda x: q.QSoftmax(enable_iq=False, stable=False)(keras.layers.Activation("tanh")(q.QDense(4)(x))),
    ),
    "QSoftmax-axis": ((3, 4), lambda x: q.QSoftmax(axis=1, enable_iq=True, input_scaler=0.3)(x)),
}

SEVERAL_INPUTS: dict[str, tuple[list[tuple[int, ...]], Any]] = {
    "QAdd": ([(3, 4), (3, 4)], lambda *x: q.QAdd()(list(x))),
    "QAdd-broadcast": ([(3, 4), (1, 4)], lambda *x: q.QAdd()(list(x))),
    "QAdd-three": ([(4,)] * 3, lambda *x: q.QAdd(enable_oq=True)(list(x))),
    "QSubtract": ([(4,)] * 2, lambda *x: q.QSubtract()(list(x))),
    "QMultiply": ([(4,)] * 2, lambda *x: q.QMultiply()(list(x))),
    "QMaximum": ([(4,)] * 2, lambda *x: q.QMaximum()(list(x))),
    "QMinimum": ([(4,)] * 2, lambda *x: q.QMinimum()(list(x))),
    "QAveragePow2": ([(4,)] * 3, lambda *x: q.QAveragePow2()(list(x))),
    "QMultiHeadAttention": (
        [(3, 5), (4, 5)],
        lambda x, y: q.QMultiHeadAttention(2, 3, value_dim=2, fuse="kv", stable_softmax=False)(x, y),
    ),
    "QDot": ([(3, 4), (5, 4)], lambda *x: q.QDot(axes=2)(list(x))),
    "QEinsum": ([(3, 4), (5, 4)], lambda *x: q.QEinsum("bij,bkj->bik")(list(x))),
    "QEinsum-outer": ([(3, 4), (3, 5)], lambda *x: q.QEinsum("bij,bik->bijk")(list(x))),
}


@pytest.mark.parametrize("name", ONE_INPUT)
def test_layer(name: str, tmp_path: Path) -> None:
    shape, make = ONE_INPUT[name]
    compare(scramble(functional(make, shape)), tmp_path)


@pytest.mark.parametrize("name", SEVERAL_INPUTS)
def test_merging_layer(name: str, tmp_path: Path) -> None:
    shapes, make = SEVERAL_INPUTS[name]
    compare(scramble(functional(make, *shapes)), tmp_path)


@pytest.mark.parametrize("q_type", ["kif", "kbi"])
@pytest.mark.parametrize("overflow", ["WRAP", "SAT", "SAT_SYM"])
@pytest.mark.parametrize("rounding", ["TRN", "RND", "RND_CONV"])
def test_quantiser_modes(q_type: str, overflow: str, rounding: str, tmp_path: Path) -> None:
    def conf(place: str) -> QuantizerConfig:
        return QuantizerConfig(q_type, place, overflow_mode=overflow, round_mode=rounding)

    def make(x: Any) -> Any:
        x = q.QDense(5, iq_conf=conf("datalane"), kq_conf=conf("weight"), bq_conf=conf("bias"))(x)
        x = q.QUnaryFunctionLUT("tanh", iq_conf=conf("datalane"), oq_conf=conf("table"))(x)
        return q.QDense(3, iq_conf=conf("datalane"), enable_oq=True, oq_conf=conf("datalane"))(x)

    compare(scramble(functional(make, (4,)), seed=3, bits=7, least=2), tmp_path)


@pytest.mark.parametrize(
    "rounding", ["TRN_ZERO", "RND_ZERO", "RND_MIN_INF", "RND_INF", "S_RND", "S_RND_CONV"]
)
def test_rarer_roundings(rounding: str, tmp_path: Path) -> None:
    conf = config(round_mode=rounding)
    compare(scramble(functional(lambda x: q.QDense(4, iq_conf=conf)(x), (6,))), tmp_path)


def test_zero_bits_prune(tmp_path: Path) -> None:
    """A quantiser without bits makes the number 0, whatever it is given."""
    model = scramble(functional(lambda x: q.QDense(3)(x), (4,)))
    inner = model.layers[1].iq.quantizer
    inner._f.assign(np.array([[3.0, -5, 2, -4]]))
    design = compare(model, tmp_path)
    widths = [f.width for f in design.params[0].type.formats]
    assert widths[1] == widths[3] == 0 < widths[0]


@pytest.mark.parametrize("layer", ["HardTanhConfig", "HardSigmoidConfig"])
def test_sugared_output_quantisers(layer: str, tmp_path: Path) -> None:
    from hgq.quantizer import config as configs

    conf = getattr(configs, layer)()
    compare(scramble(functional(lambda x: q.QDense(4, enable_oq=True, oq_conf=conf)(x), (4,))), tmp_path)


def test_quantizer_as_a_layer(tmp_path: Path) -> None:
    from hgq.quantizer import Quantizer

    def make(x: Any) -> Any:
        return keras.layers.ReLU()(Quantizer(config(overflow_mode="SAT"))(x))

    compare(scramble(functional(make, (4,))), tmp_path)
