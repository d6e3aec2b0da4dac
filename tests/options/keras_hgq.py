"""Every constructor argument of every HGQ2 layer that lutc reads, and every option of its quantisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hgq.quantizer.config import HardSigmoidConfig, HardTanhConfig, all_quantizer_keys
from keras_attention import items as attention_items
from keras_options import SHARED, SIZE, Item, Refused, arguments, conv, pool, posed
from keras_zoo import QuantizerConfig, config, functional, keras, q, samples, scramble
from settings import Setting

from lutc.frontends.keras.registry import HGQ

FREE: dict[str, list[Any]] = {
    "enable_ebops": [False, True],
    "ebops_factor": [2.0],
    "beta0": [1e-3],
    "parallelization_factor": [-1, 2],
    "enable_iq": [True, Refused(False, "the input has no format")],
    "enable_oq": [False, True],
    **{
        f"{name}_conf": [None, config(place, overflow_mode="SAT")]
        for name, place in (
            ("iq", "datalane"),
            ("oq", "datalane"),
            ("kq", "weight"),
            ("bq", "bias"),
            ("toq", "table"),
        )
    },
    "iq_confs": [None, [config(overflow_mode="SAT"), config()]],
    "activation": ["relu", "linear", None],
    "quantization_config": [None],
    "lora_rank": [None],
    "lora_alpha": [None],
}
TABLE: dict[str, list[Any]] = {
    "n_hl": [0, 1, 2],
    "d_hl": [1, 4],
    "subnn_activation": ["tanh", "relu", "sigmoid", None],
    "batch_norm": [False, True],
    "bn_center": [False],
    "bn_scale": [False],
    "bn_momentum": [0.5],
    "bn_epsilon": [0.25],
    "table_idxs": [(5, 4)],
    "activation": ["relu", None],
}
NORM: dict[str, list[Any]] = {
    "axis": [-1, 1, 2],
    "epsilon": [1e-3, 0.25],
    "center": [True, False],
    "scale": [True, False],
    "bn_gamma_initializer": ["ones"],
    "bn_gamma_regularizer": [None, "l2"],
    "bn_gamma_constraint": [None],
    "normalize_axes": [None, "d"],
}
UNTOLD = "HGQ2 does not store it"
EINSUM = {"equation": "abc,cd->abd", "output_shape": (2, 3), "bias_axes": "d"}
EINSUMS: dict[str, list[Any]] = {
    "equation": ["abc,cd->abd"],
    "output_shape": [(2, 3)],
    "bias_axes": [None, "d"],
}
TABLES: dict[str, list[Any]] = {
    "enable_oq": [True, Refused(False, "nothing ends the function")],
    "allow_heterogeneous_input": [True, False],
    "allow_heterogeneous_table": [True, False],
    "override_oq_k0_to_0": [False, True],
}
ITEMS: dict[str, Item] = {
    "QDense": Item({"units": 3}, (4,), {"units": [1, 5]}),
    "QEinsumDense": Item(EINSUM, (2, 4), EINSUMS),
    "QBatchNormDense": Item({"units": 3}, (4,), {"units": [2], **NORM}),
    "QEinsumDenseBatchnorm": Item(
        EINSUM,
        (2, 4),
        {
            **EINSUMS,
            **NORM,
            "bias_axes": ["d"],
            "center": [True, Refused(False, UNTOLD)],
            "scale": [True, Refused(False, UNTOLD)],
            "normalize_axes": [None, "d"],
        },
    ),
    "QDenseT": Item({"n_out": 3}, (4,), {"n_out": [1, 2], **TABLE}),
    "QEinsumDenseT": Item(EINSUM, (2, 4), {**EINSUMS, **TABLE, "normalize_axes": [None, "d"]}),
    "QBatchNormalization": Item({}, (3, 4), NORM),
    "QUnaryFunctionLUT": Item(
        {"activation": "tanh"}, (4,), {"activation": ["gelu", "relu", "silu"], **TABLES}
    ),
    "QAffinedUnaryFunctionLUT": Item(
        {"activation": "tanh"}, (4,), {"activation": ["gelu", "silu"], **TABLES}
    ),
    "QSoftmax": Item(
        {"enable_iq": True},
        (3, 4),
        {
            "axis": [None, -1, 1, (1, 2)],
            "stable": [True, False],
            "input_scaler": [1.0, 0.3],
            "allow_heterogeneous_table": [False, True],
            "enable_iq": [True],
            "exp_iq_conf": [None],
            "exp_oq_conf": [None],
            "inv_iq_conf": [None],
            "inv_oq_conf": [None],
        },
    ),
    **{
        n: Item({}, (3, 4), inputs=2)
        for n in ("QAdd", "QSubtract", "QMultiply", "QMaximum", "QMinimum", "QAveragePow2")
    },
    "QDot": Item({"axes": 1}, (3, 3), {"axes": [1, 2, -1]}, inputs=2),
    "QEinsum": Item({"equation": "bij,bkj->bik"}, (3, 4), {"equation": ["bij,bkj->bki"]}, inputs=2),
    "QSum": Item({}, (3, 4), {"axes": [-1, 1, (1, 2)], "scale": [0.5, 2.0, Refused(3.0, "no power of two")]}),
    "QMeanPow2": Item({}, (3, 4), {"axes": [-1, 1, (1, 2)]}),
}
for n in (1, 2, 3):
    ITEMS[f"QConv{n}D"] = Item({"filters": 2, "kernel_size": 2}, SIZE[n], conv(n))
    for kind in ("Max", "Average"):
        ITEMS[f"Q{kind}Pooling{n}D"] = Item({"pool_size": 2}, SIZE[n], pool(n))
        ITEMS[f"QGlobal{kind}Pooling{n}D"] = Item({}, SIZE[n])
    if n < 3:
        ITEMS[f"QConvT{n}D"] = Item(
            {"filters": 2, "kernel_size": 2},
            SIZE[n],
            {**conv(n, groups=[1]), **TABLE},
        )
# Layers of other versions, and those with tests of their own.
ELSEWHERE = {"QActivation", "QDepthwiseConv1D", "QDepthwiseConv2D", "Quantizer"}
ATTENTION = attention_items(TABLE)
ITEMS |= ATTENTION

ROUNDINGS = (
    "TRN",
    "RND",
    "RND_CONV",
    "TRN_ZERO",
    "RND_ZERO",
    "RND_MIN_INF",
    "RND_INF",
    "S_RND",
    "S_RND_CONV",
)
QUANTISER: dict[str, Sequence[Any]] = {
    "q_type": ["kbi", "kif", Refused("float", "floating point"), Refused("dummy", "none at all")],
    "place": ["datalane"],
    "round_mode": ROUNDINGS,
    "overflow_mode": ["WRAP", "SAT", "SAT_SYM"],
    "homogeneous_axis": [(0,), (0, 1)],
    "heterogeneous_axis": [(), (1,), (-1,)],
    "bw_mapper": [None],
    "trainable": [True, False],
    "is_weight": [],
    "scaler": [None, Refused(2.0, "a scale"), Refused(0.3, "a scale")],
    "affine": [None, (0.5, 0.25), (2.0, -1.0)],
    "qnoise_factor": [None, 0.5],
    "i_decay_speed": [0.0, 1.0],
    **{name: [3] for name in ("b0", "i0", "f0")},
    "k0": [True, False],
    **{name: [None] for name in ("bc", "ic", "fc", "br", "ir", "fr")},
}
FLOATING = {"m0", "e0", "e00", "mc", "ec", "e0c", "mr", "er", "e0r"}


def setting(item: str, option: str, shapes: Sequence[tuple[int, ...]], network: Any, why: str) -> Setting:
    def make() -> Any:
        model = scramble(functional(network, *shapes), bits=6, least=2)
        return posed(model, samples(model, 60), input_types=None)

    return Setting("hgq", item, option, make, why)


def layers() -> Iterator[Setting]:
    missing = set(HGQ) - set(ITEMS) - ELSEWHERE
    assert not missing, f"no settings for {', '.join(sorted(missing))}"
    for name, item in ITEMS.items():
        cls = getattr(q, name)
        for argument in dict.fromkeys([*arguments(cls), "enable_iq", "enable_oq", "beta0", "ebops_factor"]):
            values = item.values.get(argument, FREE.get(argument, SHARED.get(argument)))
            assert values is not None, f"no values for the argument {argument!r} of {name}"
            for value in values:
                why = value.why if isinstance(value, Refused) else ""
                given: Mapping[str, Any] = {**item.base, argument: getattr(value, "value", value)}

                def network(
                    *x: Any, name: str = name, given: Any = given, many: bool = item.inputs > 1
                ) -> Any:
                    layer = getattr(q, name)(**given)
                    return layer(x[0], x[0]) if name in ATTENTION else layer(list(x) if many else x[0])

                text = f"{argument}={getattr(value, 'value', value)!r}"[:80]
                yield setting(name, text, [item.shape] * item.inputs, network, why)


def quantisers() -> Iterator[Setting]:
    missing = set(all_quantizer_keys) - set(QUANTISER) - FLOATING
    assert not missing, f"no values for the options {', '.join(sorted(missing))} of a quantiser"
    for place, name in (("datalane", "iq"), ("weight", "kq"), ("bias", "bq"), ("datalane", "oq")):
        for option, values in QUANTISER.items():
            for value in values:
                if option in ("homogeneous_axis", "heterogeneous_axis") and name != "iq":
                    continue
                why = value.why if isinstance(value, Refused) else ""
                given = {option: getattr(value, "value", value)}
                if option == "homogeneous_axis":
                    given["heterogeneous_axis"] = None
                if option == "heterogeneous_axis":
                    given["homogeneous_axis"] = None

                def network(x: Any, place: str = place, name: str = name, given: Any = given) -> Any:
                    kind = given.get("q_type", "default")
                    conf = config(place, **given) if kind == "default" else typed(kind, place)
                    return q.QDense(3, **{f"{name}_conf": conf}, enable_oq=name == "oq")(x)

                yield setting(name, f"{option}={getattr(value, 'value', value)!r}", [(4,)], network, why)
    for mode in ROUNDINGS:
        for over in ("WRAP", "SAT", "SAT_SYM"):
            conf = {"round_mode": mode, "overflow_mode": over}

            def both(x: Any, conf: Any = conf) -> Any:
                return q.QDense(3, iq_conf=config(**conf), kq_conf=config("weight", **conf))(x)

            yield setting("iq, kq", f"{mode}, {over}", [(4,)], both, "")
    hard_configs: list[Any] = [HardTanhConfig, HardSigmoidConfig]
    for cls in hard_configs:

        def hard(x: Any, cls: Any = cls) -> Any:
            return q.QUnaryFunctionLUT("linear", iq_conf=config(), oq_conf=cls())(x)

        yield setting("oq", cls.__name__, [(4,)], hard, "")


def typed(kind: str, place: str) -> Any:
    return QuantizerConfig(kind, place)


def settings() -> Iterator[Setting]:
    keras.utils.set_random_seed(0)
    yield from layers()
    yield from quantisers()
