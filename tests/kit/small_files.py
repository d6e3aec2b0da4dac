"""One small valid file of every format that lutc reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 4


def onnx_model(path: Path) -> None:
    from onnx import helper, numpy_helper

    given = {"w": WEIGHTS, "s": np.float32(0.25), "z": np.int8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 4), ("y", 3))]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in given.items()]
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], stored)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )


def keras_model(path: Path) -> None:
    import h5py

    def layer(kind: str, name: str, calls: list[Any], **config: Any) -> dict[str, Any]:
        return {"module": "keras.layers", "class_name": kind, "name": name, "registered_name": None} | {
            "config": {"name": name, **config},
            "inbound_nodes": calls,
        }

    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}
    layers = [
        layer("InputLayer", "x", [], batch_shape=[None, 4], dtype="float32"),
        layer(
            "Dense", "dense", [{"args": [tensor], "kwargs": {}}], units=3, activation="relu", use_bias=True
        ),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["dense", 0, 0]]}
    config = {
        "module": "keras",
        "class_name": "Functional",
        "config": {"name": "m", "layers": layers, **ends},
    }
    weights = path.parent / "weights.h5"
    with h5py.File(weights, "w") as file:
        for number, value in enumerate((WEIGHTS, np.ones(3, np.float32))):
            file[f"layers/dense/vars/{number}"] = value
        file["layers/dense/vars"].attrs["name"] = "dense"
    import zipfile

    with zipfile.ZipFile(path, "w") as target:
        target.writestr("config.json", json.dumps(config))
        target.writestr("metadata.json", json.dumps({"keras_version": "3.12.0"}))
        target.writestr("model.weights.h5", weights.read_bytes())


def h5_model(path: Path) -> None:
    import h5py

    entries = [
        {
            "class_name": "InputLayer",
            "config": {"name": "x", "batch_input_shape": [None, 4], "dtype": "float32"},
        }
        | {"name": "x", "inbound_nodes": []},
        {
            "class_name": "Dense",
            "config": {"name": "dense", "units": 3, "activation": "relu", "use_bias": True},
        }
        | {"name": "dense", "inbound_nodes": [[["x", 0, 0, {}]]]},
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["dense", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "m", "layers": entries, **ends}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.13.1"
        group = file.create_group("model_weights/dense")
        group.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        group["dense/kernel:0"], group["dense/bias:0"] = WEIGHTS, np.ones(3, np.float32)


def pt2_program(path: Path) -> None:
    import torch
    import torch.ao.quantization.fx._decomposed

    q = torch.ops.quantized_decomposed

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)
            with torch.no_grad():
                self.layer.weight.copy_(torch.tensor(WEIGHTS.T))

        def forward(self, x: Any) -> Any:
            codes = q.quantize_per_tensor(x, 0.25, 0, -8, 7, torch.int8)
            return torch.relu(self.layer(q.dequantize_per_tensor(codes, 0.25, 0, -8, 7, torch.int8)))

    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(Model().eval(), (torch.zeros(2, 4),), dynamic_shapes=batch, strict=False)
    torch.export.save(program, path)


def nn_model(path: Path) -> None:
    import torch

    import lutc.nn

    lutc.nn.save(torch.nn.Sequential(lutc.nn.LUTDense(3, 2, hidden=2)), path)


def dwn_checkpoint(path: Path) -> None:
    import torch

    state = {
        "0.luts": torch.arange(32.0).reshape(4, 8) - 15.5,
        "0.mapping": torch.arange(12).reshape(4, 3) % 6,
    }
    thresholds = torch.tensor([[0.25, 0.5, 0.75], [-0.5, 0.0, 1.5]])
    saved = {"state_dict": state, "thermometer": {"thresholds": thresholds}, "config": {"num_classes": 2}}
    torch.save(saved, path)


TABLES: dict[str, Any] = {
    "lutc tables": 1,
    "name": "small",
    "input": {"name": "x", "size": 2, "format": "u2"},
    "layers": [
        {
            "inputs": [[0], [1], [0, 1]],
            "tables": [[0, 1, 2, 3], [3, 2, 1, 0], list(range(16))],
            "sum": [[0, 1], [2]],
        }
    ],
    "outputs": {"y": "values", "c": "argmax"},
    "notes": ["by hand"],
}


def tables_json(path: Path) -> None:
    path.write_text(json.dumps(TABLES))


def tables_npz(path: Path) -> None:
    document = json.loads(json.dumps(TABLES))
    document["layers"][0]["tables"][2] = "@t"
    np.savez(path, network=np.array(json.dumps(document)), t=np.arange(16))


FILES: dict[str, Callable[[Path], None]] = {
    "small.onnx": onnx_model,
    "small.keras": keras_model,
    "small.h5": h5_model,
    "small.pt2": pt2_program,
    "nn.pt": nn_model,
    "dwn.pt": dwn_checkpoint,
    "tables.json": tables_json,
    "tables.npz": tables_npz,
}
FORMATS = {"small.keras": "s8f2", "small.h5": "s8f2"}  # of inputs that the model does not quantise
