"""The arguments of HGQ2's attention layers, which are called on one input as query, key and value."""

from __future__ import annotations

from typing import Any

from keras_options import Item, Refused
from keras_zoo import config

COMMON: dict[str, list[Any]] = {
    "num_heads": [1, 2],
    "key_dim": [2, 3],
    "value_dim": [None, 2],
    "dropout": [0.0, 0.5],
    "output_shape": [None, 3],
    "attention_axes": [None, 1],
    "fuse": ["none", "kv", "qkv"],
    "stable_softmax": [True, False],
    "softmax_allow_heterogeneous_table": [False, True],
    "share_kv_proj": [False, True],
    "lin_kv_proj_mode": ["dense", "dense_t"],
    "lin_kv_proj_dim": [1, 2],
    "table_spec": [(6, 5)],
    "qkvo_iq_conf": [None, config(overflow_mode="SAT")],
    "qkvo_kq_conf": [None, config("weight", overflow_mode="SAT")],
    "qkvo_bq_conf": [None, config("bias", overflow_mode="SAT")],
    "qkvo_toq_conf": [None, config("table", overflow_mode="SAT")],
    "qkvo_oq_conf": [None, config(overflow_mode="SAT")],
    **{f"softmax_{part}_conf": [None] for part in ("iq", "exp_iq", "exp_oq", "inv_iq", "inv_oq", "oq")},
}
PROJECTED = {"lin_kv_proj_mode": ["dense_t", Refused("dense", "its projections are layers of another kind")]}
BASE: dict[str, Any] = {"num_heads": 2, "key_dim": 2}


def items(table: dict[str, list[Any]]) -> dict[str, Item]:
    """The layers; `table` are the values of what LUT layers take."""
    linear = {**BASE, "lin_kv_proj_dim": 2}
    return {
        "QMultiHeadAttention": Item(BASE, (3, 4), COMMON),
        "QLinformerAttention": Item(linear, (3, 4), COMMON),
        "QMultiHeadAttentionT": Item({**BASE, "d_hl": 2}, (3, 4), {**table, **COMMON}),
        "QLinformerAttentionT": Item({**linear, "d_hl": 2}, (3, 4), {**table, **COMMON, **PROJECTED}),
    }
