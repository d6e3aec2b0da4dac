"""A model that nothing quantises gets one message: that it is so, and the two ways from it to a circuit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch_models import F, fake, gridded, nn, torch

import lutc
from lutc.diagnostics import Diagnostic, LirError

ONE = "is not quantised: its weights are floats"


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()


class Bare(nn.Module):
    """A function of modules and the input; the first module's weights are multiples of 1/8 if it is `coarse`."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module, coarse: bool = False) -> None:
        super().__init__()
        self.function, self.m = function, nn.ModuleList(modules)
        if coarse:
            gridded(self.m[0])

    def forward(self, x: Any) -> Any:
        return self.function(*self.m, x)


class Last(nn.Module):
    """A recurrent layer, of which the last step counts."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.LSTM(6, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.inner(x)[0][:, -1])


def told(source: Any, example: Any = None, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(LirError) as raised:
        lutc.load(source, example_inputs=example, **options)
    return raised.value.diagnostics


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "a chain": (chain, (1, 6)),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()), (1, 1, 5, 5)),
    "recurrent": (Last, (1, 5, 6)),
    "a transformer": (lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), (1, 4, 6)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("given", [None, "s8f4"])
def test_floats_have_one_message(name: str, given: str | None) -> None:
    make, shape = MODELS[name]
    (said,) = told(make().eval(), torch.zeros(shape), input_types=given)
    assert said.message.startswith(ONE)
    assert "torch.export.save" in (said.help or "") and "lutc.nn.convert(module)" in (said.help or "")
    assert "lutc quantize model.pt2 --data calibration.npz" in (said.help or "")


def test_programs_too(tmp_path: Path) -> None:
    program = torch.export.export(chain(), (torch.zeros(1, 6),))
    (said,) = told(program)
    assert said.message.startswith(ONE) and "torch.export.save" in (said.help or "")
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    (said,) = told(path)
    assert said.where == str(path) and "torch.export.save" not in (said.help or "")
    assert f"lutc quantize {path} --data calibration.npz --target PART -o net.quantised.onnx" in (
        said.help or ""
    )
    with pytest.raises(LirError, match="--target xc7a100t -o"):
        lutc.compile(path, "xc7a100t")


PARTLY: dict[str, nn.Module] = {
    "behind a quantiser": Bare(lambda m, x: m(fake(x)), nn.Linear(6, 3)),
    "rounded by hand": Bare(lambda m, x: m(torch.round(x)), nn.Linear(6, 3)),
    "weights that are": Bare(lambda m, n, x: n(m(x)), nn.Linear(6, 6), nn.Linear(6, 3), coarse=True),
    "without weights": Bare(F.relu),
}


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_quantised_in_part_is_told_place_by_place(name: str) -> None:
    for said in told(PARTLY[name].eval(), torch.zeros(1, 6)):
        assert ONE not in said.message and "lutc quantize" not in (said.help or "")


def test_floats_of_few_bits_compile() -> None:
    model = Bare(lambda m, x: m(x), nn.Linear(6, 3), coarse=True)
    design = lutc.load(model.eval(), example_inputs=torch.zeros(1, 6), input_types="s4f1")
    assert [p.type.shape for p in design.params] == [(6,)]
