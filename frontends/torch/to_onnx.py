"""A float PyTorch model as PyTorch itself exports it to ONNX: what post-training quantisation begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from lutc.diagnostics import LirError, error

from .archive import SAVE, harmless
from .trace import arguments, evaluated, first_line, program_in, quiet


def exported(source: Any, example_inputs: Any = None) -> Any:
    """A module, an `ExportedProgram`, or the path of a saved one, as an `onnx.ModelProto`.

    A module is traced with `example_inputs` (see `load_torch`), with a first dimension of any length where it allows
    that. Raises LirError if PyTorch cannot export it.
    """
    name = str(source) if isinstance(source, str | Path) else type(source).__name__
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise error(
            "exporting PyTorch models to ONNX needs onnxscript",
            where=name,
            help="pip install 'lutc[quantize]'",
        ) from None
    with quiet("torch.onnx"):  # of packages that no one asked for
        try:
            program = _program(source, example_inputs, name)
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
        except LirError:
            raise
        except Exception as e:  # whatever the model and the exporter raise
            raise error(
                f"PyTorch cannot export it to ONNX: {first_line(e)}",
                where=name,
                help="export it to ONNX yourself, and quantise that file",
            ) from None
    return made.model_proto


def _program(source: Any, example: Any, name: str) -> ExportedProgram:
    if isinstance(source, ExportedProgram):
        return source
    if not isinstance(source, nn.Module):
        try:
            return program_in(harmless(Path(source)))
        except LirError:
            raise
        except Exception as e:
            raise error(f"is no program that can be read: {first_line(e)}", where=name, help=SAVE) from None
    if example is None:
        raise error(
            "a PyTorch module says nothing of the shape of its inputs",
            where=name,
            help="show one call: example_inputs=torch.zeros(1, 16)",
        )
    with evaluated(source) as model:
        args, kwargs = arguments(model, example)
        pair = tuple(torch.cat([a, a]) for a in args), {k: torch.cat([v, v]) for k, v in kwargs.items()}
        open_first: Mapping[int, Any] = {0: torch.export.Dim.AUTO}
        shapes: Any = (*(open_first for _ in args),) if not kwargs else None
        try:
            program = torch.export.export(
                model, pair[0], pair[1] or None, dynamic_shapes=shapes, strict=False
            )
            if _open(program):
                return program
        except Exception:  # what the model asserts of its batch
            pass
        return torch.export.export(model, args, kwargs or None, strict=False)


def _open(program: ExportedProgram) -> bool:
    """Whether the first dimension of every input may have any length."""
    names = set(program.graph_signature.user_inputs)
    shown = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    return all(not isinstance(v.shape[0], int) for v in shown)
