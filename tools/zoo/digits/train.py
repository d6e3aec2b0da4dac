"""Train the digits classifier of the model zoo and write it in both ONNX dialects.

    pip install torch==2.13.0 scikit-learn onnx
    python tools/zoo/digits/train.py            # writes digits_qonnx.onnx and digits_qdq.onnx beside this file

The data is scikit-learn's `load_digits`: 1,797 handwritten digits, 8x8 pixels from 0 to 16, here kept to 4 bits. Each
dialect is trained by itself, with quantisers in the forward pass and straight-through gradients: QONNX with scales
that are powers of two, QuantizeLinear/DequantizeLinear with scales that are not. The epoch with the best accuracy on
the validation part is kept; the test part is looked at once, at the end.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, save_model
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SIZES = (64, 32, 32, 10)
EPOCHS = 120
SEED = 7


@dataclass(frozen=True)
class Dialect:
    """What the quantisers of a dialect look like."""

    name: str
    weight_bits: int
    activation_bits: int
    power_of_two: bool  # scales of weights and activations
    per_channel: bool  # a scale for each neuron of the hidden layers


QONNX = Dialect("digits_qonnx", weight_bits=4, activation_bits=4, power_of_two=True, per_channel=False)
QDQ = Dialect("digits_qdq", weight_bits=4, activation_bits=4, power_of_two=False, per_channel=True)


def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels and digits: 60 % to train, 20 % to choose the epoch, 20 % to test."""
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    rest_x, test_x, rest_y, test_y = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    train_x, val_x, train_y, val_y = train_test_split(
        rest_x, rest_y, test_size=0.25, random_state=0, stratify=rest_y
    )
    return {"train": (train_x, train_y), "val": (val_x, val_y), "test": (test_x, test_y)}


def through(x: torch.Tensor, quantised: torch.Tensor) -> torch.Tensor:
    """The quantised number forwards, the gradient of `x` backwards."""
    return x + (quantised - x).detach()


class Network(torch.nn.Module):
    """A multi-layer perceptron whose weights, biases and activations are quantised as the dialect says."""

    activation_scales: torch.Tensor

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        layers = [torch.nn.Linear(a, b) for a, b in pairwise(SIZES)]
        self.weights = torch.nn.ParameterList(layer.weight for layer in layers)
        self.biases = torch.nn.ParameterList(layer.bias for layer in layers)
        self.register_buffer("activation_scales", torch.ones(len(SIZES) - 2))

    def step(self, scale: torch.Tensor) -> torch.Tensor:
        return torch.exp2(torch.ceil(torch.log2(scale))) if self.dialect.power_of_two else scale

    def weight_scale(self, i: int) -> torch.Tensor:
        """The scale of a layer's weights: the largest weight takes the largest code."""
        size = self.weights[i].detach().abs()
        hidden = i < len(self.weights) - 1
        most = size.amax(dim=1, keepdim=True) if self.dialect.per_channel and hidden else size.amax()
        return self.step(most / (2 ** (self.dialect.weight_bits - 1) - 1))

    def codes(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A layer's weights as integers, and their scale."""
        scale = self.weight_scale(i)
        top = 2 ** (self.dialect.weight_bits - 1) - 1
        return torch.clamp(torch.round(self.weights[i] / scale), -top, top), scale

    def bias_scale(self, i: int) -> torch.Tensor:
        """Biases are counted in steps of the sums they are added to."""
        before = self.activation_scales[i - 1] if i else torch.ones(())
        return (self.weight_scale(i) * before).reshape(-1)

    def forward(self, x: torch.Tensor, calibrate: bool = False) -> torch.Tensor:
        top = 2**self.dialect.activation_bits - 1
        x = torch.clamp(x, 0, 15)
        for i, (weight, shift) in enumerate(zip(self.weights, self.biases, strict=True)):
            codes, scale = self.codes(i)
            steps = self.bias_scale(i)
            bias = through(shift, torch.round(shift / steps) * steps)
            x = torch.nn.functional.linear(x, through(weight, codes * scale), bias)
            if i < len(self.weights) - 1:
                x = torch.relu(x)
                if calibrate:
                    size = torch.quantile(x.detach(), 0.999) / top
                    self.activation_scales[i] = self.step(torch.clamp(size, min=1e-3))
                grid = self.activation_scales[i]
                x = through(
                    torch.clamp(x, max=float(top * grid)), torch.clamp(torch.round(x / grid), 0, top) * grid
                )
        return x


def accuracy(network: Network, x: np.ndarray, y: np.ndarray) -> float:
    with torch.no_grad():
        return float((network(torch.from_numpy(x)).argmax(dim=1).numpy() == y).mean())


def train(dialect: Dialect, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> Network:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    network = Network(dialect)
    x, y = torch.from_numpy(parts["train"][0]), torch.from_numpy(parts["train"][1])
    optimiser = torch.optim.AdamW(
        [
            {"params": network.weights, "lr": 3e-3, "weight_decay": 1e-2},
            {"params": network.biases, "lr": 1e-1, "weight_decay": 0.0},  # counted in much larger steps
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    best = -1.0
    kept: dict[str, torch.Tensor] = {}
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x))
        for batch in torch.split(order, 64):
            optimiser.zero_grad()
            # Sums of pixels are large; a softer softmax keeps the gradients alive.
            loss = torch.nn.functional.cross_entropy(
                network(x[batch], calibrate=epoch < EPOCHS // 2) / 4, y[batch]
            )
            torch.autograd.backward(loss)
            optimiser.step()
        schedule.step()
        score = accuracy(network, *parts["val"])
        if epoch >= EPOCHS // 2 and score >= best:
            best, kept = score, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(kept)
    print(f"{dialect.name}: validation {best:.4f}, test {accuracy(network, *parts['test']):.4f}")
    return network


# -- export ---------------------------------------------------------------------------------------------------------


def model(nodes: list[Any], constants: dict[str, Any], opset: int, domain: str = "") -> ModelProto:
    stored = []
    for name, value in constants.items():
        tensor = TensorProto()
        tensor.CopyFrom(
            value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value))
        )
        tensor.name = name
        stored.append(tensor)
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", SIZES[0]])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", SIZES[-1]])],
        stored,
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="lutc model zoo")


def to_qonnx(network: Network) -> ModelProto:
    """Weights and biases stay floats; Quant nodes round them, as Brevitas and QKeras export it."""
    domain = "qonnx.custom_op.general"
    constants: dict[str, Any] = {"zero": np.float32(0)}
    nodes = []

    def quant(source: str, to: str, scale: float, bits: int, signed: bool, narrow: bool = False) -> str:
        constants[f"{to}_scale"], constants[f"{to}_bits"] = np.float32(scale), np.float32(bits)
        inputs = [source, f"{to}_scale", "zero", f"{to}_bits"]
        flags: dict[str, Any] = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": "ROUND"}
        nodes.append(helper.make_node("Quant", inputs, [to], name=f"{to}_quant", domain=domain, **flags))
        return to

    bits = network.dialect.activation_bits
    x = quant("pixels", "x0", 1.0, bits, signed=False)
    for i in range(1, len(SIZES)):
        constants[f"w{i}"] = network.weights[i - 1].detach().numpy()
        constants[f"b{i}"] = network.biases[i - 1].detach().numpy()
        scale = float(network.weight_scale(i - 1))
        w = quant(f"w{i}", f"wq{i}", scale, network.dialect.weight_bits, signed=True, narrow=True)
        b = quant(f"b{i}", f"bq{i}", float(network.bias_scale(i - 1)), 16, signed=True)
        last = i == len(SIZES) - 1
        out = "scores" if last else f"h{i}"
        nodes.append(helper.make_node("Gemm", [x, w, b], [out], name=f"dense_{i}", transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"r{i}"], name=f"relu_{i}"))
            x = quant(f"r{i}", f"x{i}", float(network.activation_scales[i - 1]), bits, signed=False)
    return model(nodes, constants, 17, domain)


def to_qdq(network: Network, x: np.ndarray) -> ModelProto:
    """4-bit integers in the file, a scale for each neuron, and scores in 8 bits with a zero point."""
    four = {True: TensorProto.INT4, False: TensorProto.UINT4}
    constants: dict[str, Any] = {}
    nodes = []

    def ends(source: str, to: str, scale: float, zero: TensorProto) -> str:
        """A pair of quantiser and dequantiser."""
        constants[f"{to}_scale"], constants[f"{to}_zero"] = np.float32(scale), zero
        parameters = [f"{to}_scale", f"{to}_zero"]
        nodes.append(
            helper.make_node("QuantizeLinear", [source, *parameters], [f"{to}_q"], name=f"{to}_quantize")
        )
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{to}_q", *parameters], [to], name=f"{to}_dequantize")
        )
        return to

    zero = helper.make_tensor("", four[False], [], [0])
    value = ends("pixels", "x0", 1.0, zero)
    for i in range(1, len(SIZES)):
        codes, scale = network.codes(i - 1)
        scales = scale.reshape(-1).numpy()
        steps = network.bias_scale(i - 1).numpy()
        bias = np.round(network.biases[i - 1].detach().numpy() / steps).astype(np.int32)
        constants[f"w{i}"] = helper.make_tensor(
            "", four[True], codes.shape, codes.detach().numpy().astype(int).ravel()
        )
        constants[f"w{i}_scale"] = scales if len(scales) > 1 else scales[0]
        constants[f"b{i}"], constants[f"b{i}_scale"] = bias, steps if len(steps) > 1 else steps[0]
        for name in ("w", "b"):
            inputs = [f"{name}{i}", f"{name}{i}_scale"]
            nodes.append(
                helper.make_node(
                    "DequantizeLinear", inputs, [f"{name}d{i}"], name=f"{name}{i}_dequantize", axis=0
                )
            )
        last = i == len(SIZES) - 1
        nodes.append(
            helper.make_node("Gemm", [value, f"wd{i}", f"bd{i}"], [f"h{i}"], name=f"dense_{i}", transB=1)
        )
        if last:
            with torch.no_grad():
                scores = network(torch.from_numpy(x)).numpy()
            scale = (scores.max() - scores.min()) / 255
            byte = numpy_helper.from_array(
                np.asarray(np.clip(np.rint(-scores.min() / scale), 0, 255), np.uint8)
            )
            ends(f"h{i}", "scores", float(scale), byte)
        else:
            nodes.append(helper.make_node("Relu", [f"h{i}"], [f"r{i}"], name=f"relu_{i}"))
            value = ends(f"r{i}", f"x{i}", float(network.activation_scales[i - 1]), zero)
    return model(nodes, constants, 21)


def main() -> int:
    parts = data()
    qonnx = to_qonnx(train(QONNX, parts))
    qdq = to_qdq(train(QDQ, parts), parts["train"][0])
    checker.check_model(qdq)
    for proto, dialect in ((qonnx, QONNX), (qdq, QDQ)):
        save_model(proto, HERE / f"{dialect.name}.onnx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
