"""How `lutc.load` takes a trained `lutc.nn` model: an entry point, hence without torch until it is used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutc.graph import Design
    from lutc.plugins import LoadOptions


class NNFrontend:
    """Live PyTorch models made of `lutc.nn` layers. ``example_inputs`` tell the input's shape where no layer does."""

    name = "lutc.nn"
    suffixes: tuple[str, ...] = ()

    def matches(self, source: object) -> bool:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(source, torch.nn.Module):
            return False
        return any(type(m).__module__.startswith("lutc.nn.") for m in source.modules())

    def load(self, source: Any, options: LoadOptions) -> Design:
        """The design equal to ``source.eval()``; see `lutc.nn.export`. Traces ranges on ``calibrate`` if given."""
        from .lower import export
        from .training import traced

        example = options.example_inputs
        if isinstance(example, tuple | list):
            example = example[0]
        shape = None if example is None else tuple(example.shape[1:])
        if options.calibrate is None:
            return export(source, shape)
        import torch

        data = torch.as_tensor(options.calibrate, dtype=next(source.parameters()).dtype)
        with traced(source, [data]) as twin:
            return export(twin, shape or tuple(data.shape[1:]))


FRONTEND = NNFrontend()
