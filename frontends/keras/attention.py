"""Attention of HGQ2: projections, scores, softmax by tables, combination, projection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE

from .activations import QSoftmax
from .base import Demand, HgqLayer, HgqRule, Rule
from .dense import QDense
from .functional import Layer
from .luts import QEinsumDenseT
from .merge import einsum
from .quantizers import quantizer
from .values import Lowering, Tensor

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class QMultiHeadAttention(HgqLayer):
    """Multi-head attention with QEinsumDense projections and QSoftmax."""

    takes = ("query", "value", "key")
    neutral: ClassVar[Mapping[str, Any]] = {
        # the weights' shapes tell the sizes; the rest is read in training alone
        **dict.fromkeys(("num_heads", "value_dim", "output_shape", "dropout"), FREE),
        **dict.fromkeys(("enable_iq", "softmax_allow_heterogeneous_table"), FREE),
        **{f"qkvo_{q}_conf": FREE for q in ("iq", "kq", "bq", "oq", "toq")},
        **{f"softmax_{q}_conf": FREE for q in ("iq", "oq", "exp_iq", "exp_oq", "inv_iq", "inv_oq")},
    }

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.parts: list[Rule] = []
        c = self.config
        shape = _query_shape(layer)
        if c.get("use_gate") or c.get("sliding_window") is not None:
            raise Refusal("it uses a gate or a sliding window", "use use_gate=False, sliding_window=None")
        free = len(shape) - 2  # between batch and features
        project, bias = _projection(free, 1, 2)
        self.fuse = str(c.get("fuse", "none")).lower()
        self.query = self._dense("query_dense", project, bias, "key_dense" if self.fuse == "qkv" else None)
        self.key = self._dense("key_dense", project, None)
        self.value = self._dense("value_dense", project, bias, "key_dense" if self.fuse != "none" else None)
        out, bias = _projection(free, 2, 1)
        self.output = self._dense("output_dense", out, bias)
        axes = c.get("attention_axes")
        self.dot, self.combine, heads = _attention(
            free + 3, tuple(axes) if axes else tuple(range(1, free + 1))
        )
        self.softmax = self._softmax(len(heads))

    def _dense(self, name: str, equation: str, bias: str | None, iq_of: str | None = None) -> HgqRule:
        """A projection; fused ones share the input quantiser that the file keeps with `iq_of`."""
        weights = self.layer.weights
        config = {
            "equation": equation,
            "bias_axes": bias if self.config.get("use_bias", True) else None,
            "enable_iq": bool(weights(name, "iq")),
            "enable_oq": bool(weights(name, "oq")),
            **{
                f"{q}_conf": self.config[f"qkvo_{q}_conf"]
                for q in ("iq", "kq", "bq", "oq", "toq")
                if f"qkvo_{q}_conf" in self.config
            },
        }
        rule = self._projection(name, config)
        self.parts.append(rule)
        if iq_of and weights(iq_of, "iq"):
            rule.iq = quantizer(config["iq_conf"], weights(iq_of, "iq"), "its iq")
        return rule

    def _projection(self, name: str, config: dict[str, Any]) -> HgqRule:
        return QDense(
            Layer(self.layer.name, "QEinsumDense", self.layer.module, config, self.layer.weights(name))
        )

    def _softmax(self, axes: int) -> QSoftmax:
        c, weights = self.config, self.layer.weights
        group = weights("_softmax") or weights("softmax")
        config = {
            "axes": list(range(-axes, 0)),
            "stable": c.get("stable_softmax", True),
            "input_scaler": 1.0 / math.sqrt(float(c["key_dim"])),
            "enable_iq": bool(group("iq")),
            "enable_oq": True,
            "iq_conf": c.get("softmax_iq_conf"),
            "oq_conf": c.get("softmax_oq_conf"),
            **{f"{q}_conf": c.get(f"softmax_{q}_conf") for q in ("exp_iq", "exp_oq", "inv_iq", "inv_oq")},
        }
        for name in ("exp_oq", "inv_oq"):  # QSoftmax sets these itself, whatever it is given
            conf = config[f"{name}_conf"]
            config[f"{name}_conf"] = conf | {
                "config": conf["config"] | {"overflow_mode": "SAT", "round_mode": "RND_CONV"}
            }
        rule = QSoftmax(Layer(f"{self.layer.name}_softmax", "QSoftmax", self.layer.module, config, group))
        self.parts.append(rule)
        return rule

    def check(self) -> None:
        super().check()
        for part in self.parts:
            part.check()

    @staticmethod
    def _inputs(query: Any, value: Any = None, key: Any = None) -> tuple[Any, Any, Any]:
        value = query if value is None else value
        return query, value, value if key is None else key

    def demands(self, *args: Any) -> list[Demand] | None:
        query, value, key = self._inputs(*args)
        pairs = [(self.query, query), (self._first_value(), value), (self._first_key(), key)]
        found: list[Demand] = []
        for rule, x in pairs:
            if isinstance(x, np.ndarray):
                if rule.iq is None:
                    return None
                found.append((rule.iq, rule.before_iq(x)))
        return found

    def _first_value(self) -> HgqRule:
        return self.value

    def _first_key(self) -> HgqRule:
        return self.key

    def lower(self, low: Lowering, *args: Any) -> Tensor:
        query, value, key = self._inputs(*args)
        query, key, value = (
            self.query.lower(low, query),
            self.key.lower(low, key),
            self.value.lower(low, value),
        )
        scores = self.softmax.lower(low, einsum(low, self.dot, key, query))
        return low.quantize(self.output.lower(low, einsum(low, self.combine, scores, value)), self.oq)


class QLinformerAttention(QMultiHeadAttention):
    """The same with keys and values projected to a shorter sequence first."""

    neutral: ClassVar[Mapping[str, Any]] = {"lin_kv_proj_dim": FREE, "lin_kv_proj_mode": "dense"}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        rank = len(_query_shape(layer))
        axes = self.config.get("attention_axes") or range(1, rank - 1)
        x, new = LETTERS[:rank], LETTERS[rank : rank + len(list(axes))]
        w = "".join(x[a] for a in axes) + new
        out = list(x)
        for a, c in zip(axes, new, strict=True):
            out[a] = c
        equation = f"{x},{w}->{''.join(out)}"
        self.lin_k = self._dense("_lin_k_proj", equation, None)
        self.lin_v = (
            self.lin_k if self.config.get("share_kv_proj") else self._dense("_lin_v_proj", equation, None)
        )

    def _first_value(self) -> HgqRule:
        return self.lin_v

    def _first_key(self) -> HgqRule:
        return self.lin_k

    def lower(self, low: Lowering, *args: Any) -> Tensor:
        query, value, key = self._inputs(*args)
        return super().lower(low, query, self.lin_v.lower(low, value), self.lin_k.lower(low, key))


class QMultiHeadAttentionT(QMultiHeadAttention):
    """Attention whose projections are LUT layers."""

    # The weights' shapes tell the networks; where hardware keeps the tables is not ours.
    neutral: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("n_hl", "d_hl", "table_spec", "table_idxs", "bn_momentum"), FREE
    )

    def _projection(self, name: str, config: dict[str, Any]) -> HgqRule:
        mine = ("subnn_activation", "batch_norm", "bn_center", "bn_scale", "bn_epsilon", "enable_ebops")
        config |= {key: self.config[key] for key in mine if key in self.config}
        return QEinsumDenseT(
            Layer(self.layer.name, "QEinsumDenseT", self.layer.module, config, self.layer.weights(name))
        )


class QLinformerAttentionT(QLinformerAttention, QMultiHeadAttentionT):
    """Linformer attention whose projections are LUT layers."""

    def _projection(self, name: str, config: dict[str, Any]) -> HgqRule:
        plain = name.startswith("_lin") and self.config.get("lin_kv_proj_mode") == "dense"
        family = QMultiHeadAttention if plain else QMultiHeadAttentionT
        return family._projection(self, name, config)


def _query_shape(layer: Layer) -> list[Any]:
    shape = (layer.build.get("shapes_dict") or {}).get("query_shape") or layer.build.get("input_shape")
    if not isinstance(shape, list):
        raise Refusal("the file does not tell its input shape", "build the model before saving it")
    return shape


def _projection(free: int, bound: int, out: int) -> tuple[str, str]:
    """The equation of a projection from `bound` last axes to `out` of them, and its bias axes."""
    lead = "z" + LETTERS[:free]
    x, y = LETTERS[free : free + bound], LETTERS[free + bound : free + bound + out]
    return f"{lead}{x},{x}{y}->{lead}{y}", y


def _attention(rank: int, axes: tuple[int, ...]) -> tuple[str, str, tuple[int, ...]]:
    """The equations of key times query, and of scores times value; also the attention axes from the front.

    Projected tensors have `rank` axes: batch, free and attention axes, heads, features.
    """
    axes = tuple(a % (rank - 1) for a in axes)
    query = LETTERS[:rank]
    lead = [i for i in range(rank - 1) if i not in axes]
    spare = iter(LETTERS[rank:])
    key = "".join(next(spare) if i in axes else c for i, c in enumerate(query))
    scores = "".join([*(query[i] for i in lead), *(query[a] for a in axes), *(key[a] for a in axes)])
    return f"{key},{query}->{scores}", f"{scores},{key}->{query}", axes
