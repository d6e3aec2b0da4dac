"""A module is read by what it computes, not by its name: what cannot be read so is refused, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
from test_torch_refusals import refused
from torch.ao import quantization as ao
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize
from torch.nn.utils import parametrizations, spectral_norm
from torch_models import Model, nn, same, samples, theirs, torch

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError


def frozen(module: Any) -> Any:
    torch.manual_seed(0)
    module(torch.randn(20, 6) * 3)
    module.apply(ao.disable_observer)
    module.scale.fill_(0.25)
    return module


class Doubled(ao.FakeQuantize):
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)  # type: ignore[no-untyped-call]


class FakeQuantize(ao.FakeQuantize):
    """Another class of the same name."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) + 4  # type: ignore[no-untyped-call]


class Shifted(lnn.QLinear):
    def forward(self, x: Any) -> Any:
        return super().forward(x) + 1


class Louder(lnn.QReLU):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


class Finer(lnn.Quantizer):
    def forward(self, x: Any) -> Any:
        return super().forward(x * 2)


class QuantIdentity(qnn.QuantIdentity):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


def trained(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    model(torch.randn(30, 6) * 2)
    return model.eval()


def doubles(module: nn.Module, inputs: Any, output: Any) -> Any:
    return output * 2


def shifts(module: nn.Module, inputs: Any) -> Any:
    return (inputs[0] + 1,)


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(doubles)
    return module


def prehooked(module: nn.Module) -> nn.Module:
    module.register_forward_pre_hook(shifts)
    return module


def patched(module: nn.Module, name: str = "forward") -> nn.Module:
    old: Callable[..., Any] = getattr(module, name)
    setattr(module, name, lambda *args: old(*args))
    return module


def inner(name: str, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    layer = trained(lnn.QLinear(6, 6))
    change(getattr(layer, name))
    return layer


def plain() -> Any:
    return frozen(ao.FakeQuantize(quant_min=0, quant_max=255))  # type: ignore[no-untyped-call]


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a fake quantiser's subclass": (
        lambda: frozen(Doubled(quant_min=0, quant_max=255)),  # type: ignore[no-untyped-call]
        "0 (Doubled): error: is a class of its own, derived from a fake quantiser",
    ),
    "a subclass of the same name": (
        lambda: frozen(FakeQuantize(quant_min=0, quant_max=255)),  # type: ignore[no-untyped-call]
        "0 (FakeQuantize): error: is a class of its own",
    ),
    "an instance's forward": (lambda: patched(plain()), "has a forward of its own on the instance"),
    "a hook": (lambda: hooked(plain()), "has a forward hook, doubles, which may change what it computes"),
    "a pre-hook": (lambda: prehooked(plain()), "has a forward pre-hook, shifts"),
    "a layer's subclass": (
        lambda: trained(Shifted(6, 6)),
        "derived from QLinear: what it computes is not known",
    ),
    "an activation's subclass": (lambda: trained(Louder(())), "derived from QReLU"),
    "a quantiser's subclass": (lambda: trained(Finer(())), "derived from Quantizer"),
    "a layer's hook": (lambda: hooked(trained(lnn.QLinear(6, 6))), "has a forward hook, doubles"),
    "a layer's pre-hook": (lambda: prehooked(trained(lnn.QLinear(6, 6))), "has a forward pre-hook, shifts"),
    "a layer's own forward": (lambda: patched(trained(lnn.QLinear(6, 6))), "has a forward of its own"),
    "a layer's method": (
        lambda: patched(trained(lnn.QLinear(6, 6)), "quantised"),
        "0 (QLinear): error: has a quantised of its own on the instance",
    ),
    "a hook inside": (
        lambda: inner("input_quantizer", hooked),
        "0.input_quantizer (Quantizer): error: has a forward",
    ),
    "a method inside": (
        lambda: inner("weight_quantizer", lambda m: patched(m, "constant")),
        "has a constant of its own",
    ),
    "weight norm": (lambda: parametrizations.weight_norm(trained(lnn.QLinear(6, 6))), "ParametrizedQLinear"),
    "spectral norm": (
        lambda: spectral_norm(trained(lnn.QLinear(6, 6))),
        "has a forward pre-hook, SpectralNorm",
    ),
    "tables": (lambda: hooked(trained(lnn.LUTDense(6, 6))), "has a forward hook, doubles"),
    "a block's own forward": (
        lambda: patched(nn.Sequential(trained(lnn.QLinear(6, 6)))),
        "0 (Sequential): error: has a forward of its own on the instance",
    ),
    "Brevitas' subclass": (lambda: QuantIdentity(), "0 (QuantIdentity): error: is a class of its own"),
    "Brevitas' hook": (
        lambda: hooked(qnn.QuantIdentity()),
        "0 (QuantIdentity): error: has a forward hook, doubles",
    ),
    "Brevitas' forward": (lambda: patched(qnn.QuantReLU()), "0 (QuantReLU): error: has a forward of its own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_taken_whole_is_what_its_class_says(name: str) -> None:
    make, message = REFUSED[name]
    assert message in refused(nn.Sequential(make(), nn.ReLU()).eval())


class Residual(nn.Sequential):
    def forward(self, x: Any) -> Any:
        return x + super().forward(x)  # type: ignore[no-untyped-call]


class Twice(nn.ReLU):
    def forward(self, x: Any) -> Any:
        return x * 2


TRACED: dict[str, Callable[[], nn.Module]] = {
    "a residual Sequential": lambda: nn.Sequential(
        lnn.Quantizer(()), Residual(lnn.QLinear(6, 6), lnn.QReLU(()))
    ),
    "a subclass of an activation": lambda: nn.Sequential(lnn.QLinear(6, 6), Twice()),
    "a hook on an activation": lambda: nn.Sequential(lnn.QLinear(6, 6), hooked(nn.ReLU())),
    "a pre-hook on an activation": lambda: nn.Sequential(lnn.QLinear(6, 6), prehooked(nn.ReLU())),
    "an activation's own forward": lambda: nn.Sequential(lnn.QLinear(6, 6), patched(nn.ReLU())),
    "a hook on the whole": lambda: hooked(nn.Sequential(lnn.QLinear(6, 6), nn.ReLU())),
    "a hook on a block": lambda: nn.Sequential(lnn.QLinear(6, 6), hooked(nn.Sequential(nn.ReLU()))),
}


@pytest.mark.parametrize("name", TRACED)
def test_others_are_traced_as_they_are(name: str) -> None:
    same(trained(TRACED[name]()), (6,))


@pytest.mark.parametrize("name", TRACED)
def test_what_only_a_trace_sees_is_neither_saved_nor_exported(name: str, tmp_path: Any) -> None:
    model = trained(TRACED[name]())
    with pytest.raises(LirError):
        lnn.save(model, tmp_path / "model.pt", shape=(6,))
    with pytest.raises(LirError):
        lnn.export_onnx(model, shape=(6,))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [nn.Sequential(plain(), nn.ReLU()), nn.Sequential(lnn.Quantizer(()))])
def test_a_hook_for_every_module(model: nn.Module) -> None:
    hook = nn.modules.module.register_module_forward_hook(doubles)
    try:
        assert "torch calls doubles for every module (a global forward hook)" in refused(model)
    finally:
        hook.remove()


def test_a_compiled_model_is_the_model() -> None:
    model = nn.Sequential(plain(), nn.ReLU())
    assert str(lutc.load(torch.compile(model), example_inputs=torch.zeros(1, 6))) == str(
        lutc.load(model, example_inputs=torch.zeros(1, 6))
    )


def test_a_compiled_block_is_named() -> None:
    block: Any = torch.compile(nn.Sequential(nn.ReLU()))
    model = nn.Sequential(plain(), block)
    assert "1 (OptimizedModule): error: is compiled by torch.compile" in refused(model)


def learnable(zero: float, **options: Any) -> Any:
    module = _LearnableFakeQuantize(  # type: ignore[no-untyped-call]
        ao.MovingAverageMinMaxObserver, 0, 15, scale=0.25, zero_point=zero, dtype=torch.quint8, **options
    )
    return module.toggle_observer_update(False)


@pytest.mark.parametrize("zero", [0.0, 0.5, 1.5, 2.7, -5.0, 300.0])
def test_a_learnable_quantiser_clamps_its_zero_point(zero: float) -> None:
    same(nn.Sequential(learnable(zero)), (6,))


def test_a_symmetric_learnable_quantiser_has_no_zero_point() -> None:
    same(nn.Sequential(learnable(4.0, qscheme=torch.per_tensor_symmetric)), (6,))


def test_a_learnable_quantiser_that_observes() -> None:
    module = learnable(0.0)
    module.toggle_observer_update(True)
    assert "freeze it: module.toggle_observer_update(False)" in refused(nn.Sequential(module))


def test_a_shared_module_is_called_twice() -> None:
    quantiser, act = plain(), nn.ReLU()
    same(nn.Sequential(quantiser, act, nn.Sequential(quantiser, act), quantiser), (6,))


def test_a_shared_layer_of_brevitas() -> None:
    torch.manual_seed(0)
    act, linear = qnn.QuantReLU(), qnn.QuantLinear(6, 6, bias=False)
    model = nn.Sequential(qnn.QuantIdentity(), linear, act, nn.Sequential(linear, act)).eval()
    (x,) = samples((6,))
    found = lutc.load(model, example_inputs=x).run(x.double().numpy())
    np.testing.assert_allclose(np.asarray(found, float), theirs(model, x), rtol=1e-6)


def test_shared_layers_of_lutc_in_a_traced_model() -> None:
    layer = lnn.QLinear(6, 6)
    same(trained(nn.Sequential(layer, Twice(), nn.Sequential(layer), layer)), (6,))


def test_shared_weights_of_two_modules() -> None:
    one, two = nn.Linear(6, 6), nn.Linear(6, 6)
    two.weight = one.weight
    same(Model(lambda a, b, x: b(a(x)), one, two), (6,))


def test_a_module_list_used_again() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = lnn.QLinear(6, 6)
            self.layers = nn.ModuleList([layer, lnn.QReLU(()), layer, layer])

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x * 2

    same(trained(Loop()), (6,))
