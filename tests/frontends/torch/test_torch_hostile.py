"""`.pt2` files that carry code, at every place where PyTorch's own loader would run it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.ao.quantization.fx._decomposed
from payload import Payload, pickled, refused, rewritten
from torch_models import nn, torch

import lutc
from lutc.frontends.torch.program import _expression
from lutc.lowering.refusals import Refusal

Q = torch.ops.quantized_decomposed
MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS, INPUTS = "data/constants/model_constants_config.json", "data/sample_inputs/model.pt"


class Scaled(nn.Module):
    """A weight, a buffer and a lifted constant: what each place of the file holds something of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("shift", torch.tensor([0.5, 0.25, 1.0]))

    def forward(self, x: Any) -> Any:
        codes = Q.quantize_per_tensor(x, 0.25, 0, -8, 7, torch.int8)
        x = Q.dequantize_per_tensor(codes, 0.25, 0, -8, 7, torch.int8)
        return torch.floor(self.layer(x) * torch.tensor([1.0, 2.0, 1.0]) + self.shift)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("pt2") / "good.pt2"
    model = Scaled().eval()
    with torch.no_grad():
        model.layer.weight.copy_(torch.arange(12.0).reshape(3, 4) / 8)
        model.layer.bias.copy_(torch.ones(3))
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (torch.zeros(2, 4),), dynamic_shapes=batch, strict=False)
    torch.export.save(program, path, extra_files={"about.txt": "nothing to fear"})
    return path


def old_layout(good: Path, target: Path, **payloads: Any) -> Path:
    """The same program as PyTorch 2.7 and older saved it; `payloads` replace what its pickles hold."""
    program = torch.export.load(good)
    from torch._export.serde.serialize import serialize

    stored = serialize(program)
    parts = {
        "version": b"8.8",
        "serialized_exported_program.json": stored.exported_program,
        "serialized_state_dict.pt": stored.state_dict,
        "serialized_constants.pt": stored.constants,
        "serialized_example_inputs.pt": stored.example_inputs,
    }
    parts |= {f"serialized_{name}.pt": saved(value) for name, value in payloads.items()}
    with zipfile.ZipFile(target, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return target


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def test_files_without_payload_are_taken(good: Path, tmp_path: Path) -> None:
    new, old = lutc.load(good), lutc.load(old_layout(good, tmp_path / "good.pt2"))
    x = [[0.5, -1.0, 1.75, 0.25]]
    assert new.run(x).tolist() == old.run(x).tolist()


# -- pickles -----------------------------------------------------------------------------------------------------------


def edited(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """A member of JSON with a change made in place."""

    def edit(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return edit


def pickle_first(path_name: str) -> Callable[[bytes], bytes]:
    def change(document: Any) -> None:
        first = next(iter(document["config"].values()))
        first |= {"use_pickle": True, "path_name": path_name}

    return edited(change)


PICKLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "weight": lambda m: {"data/weights/weight_0": saved(Payload(m)), WEIGHTS: pickle_first("weight_0")},
    "constant": lambda m: {"data/constants/tensor_0": saved(Payload(m)), CONSTANTS: pickle_first("tensor_0")},
    "object": lambda m: {"data/constants/custom_obj_0": pickled(m), CONSTANTS: pickle_first("custom_obj_0")},
    "opaque": lambda m: {"data/constants/opaque_obj_0": pickled(m), CONSTANTS: pickle_first("opaque_obj_0")},
    "sample inputs": lambda m: {INPUTS: saved(((Payload(m),), {}))},
    "sample inputs, bare": lambda m: {INPUTS: pickled(m)},
    "weights of 2.7": lambda m: {"data/weights/model.pt": saved({"layer.weight": Payload(m)})},
    "constants of 2.7": lambda m: {"data/constants/model.pt": saved({"c": Payload(m)})},
    "extra": lambda m: {"extra/about.txt": pickled(m)},
    "extra, as text": lambda m: {"extra/run.txt": b"cposix\nmkdir\n(V" + str(m).encode() + b"\ntR."},
    "compiled": lambda m: {"data/aotinductor/model/code.so": b"\x7fELF"},
}


@pytest.mark.parametrize("place", PICKLES)
def test_pickles_are_not_opened(good: Path, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = refused(rewritten(good, tmp_path / "bad.pt2", PICKLES[place](mark)), mark)
    assert "bad.pt2" in text
    assert " = help: " in text


@pytest.mark.parametrize("place", ["state_dict", "constants", "example_inputs"])
def test_pickles_of_the_older_layout(good: Path, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    value: Any = ((Payload(mark),), {}) if place == "example_inputs" else {"layer.weight": Payload(mark)}
    text = refused(old_layout(good, tmp_path / "bad.pt2", **{place: value}), mark)
    assert f"serialized_{place}.pt: error: the checkpoint holds a posix.mkdir" in text


# -- the graph ---------------------------------------------------------------------------------------------------------


def graph(document: Any) -> Any:
    return document["graph_module"]["graph"]


def rename(document: Any, new: str) -> None:
    """The input called otherwise, wherever its name stands."""
    text = json.dumps(document).replace(json.dumps("x"), json.dumps(new))
    document |= json.loads(text)


def call(document: Any, target: str, argument: str) -> None:
    text = {"name": "", "arg": {"as_string": argument}, "kind": 1}
    node: dict[str, Any] = {
        "target": target,
        "inputs": [text],
        "metadata": {},
        "name": "run",
        "is_hop_single_tensor_return": None,
    }
    graph(document)["nodes"].insert(0, node | {"outputs": [{"as_none": True}]})
    document["verifiers"] = []


def containers(document: Any, spec: Any) -> None:
    for entry in document["graph_module"]["module_call_graph"]:
        if entry["signature"]:
            entry["signature"]["out_spec"] = json.dumps([1, spec])


def leaf(kind: str, context: Any) -> dict[str, Any]:
    return {"type": kind, "context": context, "children_spec": []}


def size(document: Any, text: str) -> None:
    graph(document)["tensor_values"]["x"]["sizes"][0] = {"as_expr": {"expr_str": text, "hint": None}}


GRAPHS: dict[str, tuple[Callable[[Any, str], Any], str]] = {
    "shape": (lambda d, m: size(d, f"__import__('os').mkdir({m!r})"), "has a dimension of"),
    "shape, by an attribute": (
        lambda d, m: size(d, f"Integer(1).__class__.mro({m!r})"),
        "has a dimension of",
    ),
    "a tower of powers": (lambda d, m: size(d, "9**9**9**9"), "has a dimension of '9**9**9**9'"),
    "powers of powers": (
        lambda d, m: size(d, "Pow(Integer(9), Pow(Integer(9), Integer(99)))"),
        "has a dimension of",
    ),
    "name": (lambda d, m: rename(d, f"x=__import__('os').mkdir({m!r})"), "has the name"),
    "target": (lambda d, m: call(d, "torch.os.mkdir", m), "calls 'torch.os.mkdir', which is no operator"),
    "library": (lambda d, m: call(d, "torch.ops.load_library", m), "which is no operator"),
    "save": (lambda d, m: call(d, "torch.ops.aten.save.default", m), "which is no operator"),
    "file": (lambda d, m: call(d, "torch.ops.aten.from_file.default", m), "which is no operator"),
    "import": (
        lambda d, m: containers(
            d,
            leaf(
                "collections.defaultdict",
                {"default_factory_module": "marker", "default_factory_name": "run", "dict_context": []},
            ),
        ),
        "takes or returns a 'collections.defaultdict'",
    ),
    "import of an enumeration": (
        lambda d, m: containers(
            d, leaf("builtins.dict", json.dumps([{"__enum__": True, "fqn": "marker:Run", "name": "x"}]))
        ),
        "has keys",
    ),
    "symbol without end": (
        lambda d, m: d["range_constraints"].update({"u9999999": {"min_val": 0, "max_val": 4}}),
        "has the dimension 'u9999999'",
    ),
    "nesting": (lambda d, m: graph(d).update(inputs=json.loads("[" * 200 + "]" * 200)), "nests deeper"),
    "wrong kind": (lambda d, m: d.update(graph_module=5), "is damaged"),
}


@pytest.mark.parametrize("place", GRAPHS)
def test_the_graph_names_nothing_that_runs(
    good: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = GRAPHS[place]
    mark = tmp_path / "mark"
    (tmp_path / "marker.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nrun = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = rewritten(good, tmp_path / "bad.pt2", {MODEL: edited(lambda d: change(d, str(mark)))})
    assert message in refused(path, mark)


def test_guards_are_dropped(good: Path, tmp_path: Path) -> None:
    """Conditions on the inputs, which PyTorch compiles as Python; a circuit needs none."""
    mark = tmp_path / "mark"
    guard = f"__import__('os').mkdir({str(mark)!r}) or L['x']"
    path = rewritten(good, tmp_path / "good.pt2", {MODEL: edited(lambda d: d.update(guards_code=[guard]))})
    lutc.load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Symbol('s27', positive=True, integer=True), Max(Integer(1), FloorDiv(Symbol('s53'), Integer(2))))",
        "Add(Symbol('s27', positive=True, integer=True), Integer(-1))",
        "Pow(Symbol('s0', integer=True), Integer(2))",
        "((s0 - 1)//2) + 1",
        "s0**2",
        "True",
    ],
)
def test_shapes_of_torch_export(text: str) -> None:
    assert _expression(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "lambda: 0",
        "s0.x",
        "[1]",
        "'a'*9",
        "s0 if 1 else 2",
        "x",
        "exec",
        "1e9",
        "\u0661",
        "Symbol('os')",
    ],
)
def test_other_expressions(text: str) -> None:
    with pytest.raises(Refusal, match="has a dimension of"):
        _expression(text)


# -- sizes -------------------------------------------------------------------------------------------------------------


def stretch(document: Any) -> None:
    about = next(iter(document["config"].values()))["tensor_meta"]
    about["sizes"], about["strides"] = [{"as_int": 1 << 40}], [{"as_int": 0}]


def test_stored_tensors_are_no_larger_than_the_file(good: Path, tmp_path: Path) -> None:
    path = rewritten(good, tmp_path / "bad.pt2", {WEIGHTS: edited(stretch)})
    assert "holds 48 bytes, and its tensor [1099511627776] needs more" in refused(path, tmp_path / "mark")
    emptied = rewritten(good, tmp_path / "none.pt2", {"data/weights/weight_0": b""})
    assert "holds 0 bytes" in refused(emptied, tmp_path / "mark")


@pytest.mark.parametrize(
    "make",
    [lambda: torch.full((10**6, 10**6), 1.0), lambda: torch.ones(1).expand(10**12)],
    ids=["full", "expand"],
)
def test_constants_are_counted_before_they_are_made(make: Callable[[], Any]) -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            codes = Q.quantize_per_tensor(x, 0.25, 0, -8, 7, torch.int8)
            return Q.dequantize_per_tensor(codes, 0.25, 0, -8, 7, torch.int8) * make().sum()

    program = torch.export.export(Model(), (torch.zeros(1, 3),), strict=False)
    with pytest.raises(lutc.LirError, match="makes a constant of 1,000,000,000,000 numbers"):
        lutc.load(program)
