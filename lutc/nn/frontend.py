"""How `lutc.load` takes a trained `lutc.nn` model: an entry point, hence without torch until it is used."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutc.diagnostics import error
from lutc.files.foreign import first_line

if TYPE_CHECKING:
    from lutc.ir.graph import Design
    from lutc.plugins import LoadOptions


class NNFrontend:
    """PyTorch models made of `lutc.nn` layers, live or in a file by `lutc.nn.save`.

    ``example_inputs`` tell the input's shape where no layer does.
    """

    name = "nn"
    suffixes: tuple[str, ...] = (".pt",)

    def matches(self, source: object) -> bool:
        """Whether it is a chain of layers known here; modules that hold more are traced, by the torch frontend."""
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(source, torch.nn.Module):
            return False
        if not any(type(m).__module__.startswith("lutc.nn.") for m in source.modules()):
            return False
        from . import to_design  # noqa: F401 - it adds the rules
        from .rules import chain, unknown

        return not any(unknown(layer) for _, layer in chain(source, ""))

    def load(self, source: Any, options: LoadOptions) -> Design:
        """The design equal to ``source.eval()``; see `lutc.nn.export`. Traces ranges on ``calibrate`` if given.

        Raises LirError for a file that `lutc.nn.save` did not write, and for what has no exact translation.
        """
        try:
            import torch
        except ImportError:
            help = "install it: pip install 'lutc[torch]'"
            raise error("models of lutc.nn need PyTorch", where=str(source), help=help) from None
        from .checkpoint import Checkpoint, read
        from .ranges import traced
        from .to_design import export

        options.only("calibrate", "example_inputs", kind="a model of lutc.nn")
        made = read(source) if isinstance(source, Path) else Checkpoint(source, "model", None)
        example = options.example_inputs
        if isinstance(example, tuple | list):
            example = example[0]
        shape = made.shape if example is None else tuple(example.shape[1:])
        if options.calibrate is None:
            return export(made.model, shape, name=made.name, compare=options.compare)
        samples = options.calibrate
        if isinstance(samples, dict):
            if len(samples) != 1:
                raise error(f"the model has one input, but there are {len(samples)} arrays to calibrate with")
            (samples,) = samples.values()
        like = next(made.model.parameters(), torch.zeros(()))
        data = torch.as_tensor(samples, dtype=like.dtype)
        if data.ndim == 0 or (shape and tuple(data.shape[1:]) != shape):
            raise error(
                f"the calibration data have shape {list(data.shape)}, not {['batch', *(shape or [])]}",
                help="the first dimension counts samples",
            )
        with ExitStack() as copies:
            try:
                twin = copies.enter_context(traced(made.model, [data]))
            except (ValueError, RuntimeError, IndexError) as e:  # no layer said what shape it takes
                help = "the first dimension counts samples"
                text = f"the calibration data of shape {list(data.shape)} do not go through the model"
                raise error(f"{text}: {first_line(e)}", help=help) from None
            size = shape or tuple(data.shape[1:])
            return export(twin, size, name=made.name, compare=options.compare)


FRONTEND = NNFrontend()
