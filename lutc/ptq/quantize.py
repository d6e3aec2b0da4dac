"""`lutc.quantize`: a float model, calibrated and searched for the circuit that a user's bound allows."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from lutc.choices import GRANULARITIES, QUANTISING, SCALES, USUAL_TARGET
from lutc.diagnostics import error
from lutc.settings import Settings

from . import source
from .choice import Choice
from .fold import plain
from .result import Quantized
from .search import Progress, Widths
from .task import Task
from .tune import check_trainable

Array = NDArray[Any]


def widths_of(bits: Any, scales: str) -> Widths:
    """The widths that `--bits` asks for: None, a number, `"4..8"`, or a pair. Raises LirError for anything else."""
    free = scales == "free"
    if bits is None:
        return Widths(free=free)
    try:
        if isinstance(bits, str):
            parts = [int(p) for p in bits.split("..")]
        else:
            parts = [int(p) for p in bits] if isinstance(bits, tuple | list) else [int(bits)]
        least, most = (parts[0], parts[-1]) if len(parts) in (1, 2) else (0, 0)
    except (TypeError, ValueError):
        least = most = 0
    if not 1 <= least <= most <= 16:
        raise error(f"{bits!r} are no bits", help="give a number from 1 to 16, or a range such as 4..8")
    if most < 2:
        raise error("weights of one bit are not found after training", help="train them: lutc.nn")
    return Widths(most, (least, most), fixed=len(parts) == 1, free=free)


def quantize(
    model: Any,
    data: Any,
    labels: Any = None,
    *,
    target: str = USUAL_TARGET,
    max_luts: int | None = None,
    max_loss: float | None = None,
    bits: Any = None,
    effort: str = "normal",
    scales: str = "powers",
    granularity: str = "channel",
    keep_softmax: bool = False,
    example_inputs: Any = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a float model after training, for the smallest circuit within a bound.

    Parameters
    ----------
    model
        The path of an ONNX, Keras or PyTorch (`.pt2`) model, or a live one. BatchNorm is folded into the layers.
    data
        What the model will see, `(rows, ...)`: an array, a mapping by input name, or the path of an `.npy` or `.npz`
        file. A fifth of the rows is kept from calibration, and the metric is told on those.
    labels
        The right classes `(rows,)` or numbers, as an array or a path, or `"labels"` in an `.npz` of data. Without
        them the float model's answers are taken for right.
    target
        The part whose LUTs are counted.
    max_luts
        LUTs of the circuit, by lutc's own count, at most.
    max_loss
        What the metric may fall by, in points (hundredths); 0.5 if nothing else is asked for. Of a few rows one may
        be told otherwise in any case.
    bits
        One width of all weights and data, or a range (`"4..8"`): each tensor or channel of data gets a width in it,
        and weights have the most at most.
    effort
        `"high"` trains the weights on the data between their steps, which needs PyTorch.
    scales
        `"powers"` of two, which cost nothing in hardware, or `"free"`: then data has one format for each tensor.
    granularity
        Formats of data for each `"channel"`, or for each `"tensor"`.
    keep_softmax
        Keep a softmax at the end; else it is left to the host.
    example_inputs
        For a PyTorch module: what it may be called with; the first rows of the data if left out.
    progress
        Is told what is being done.

    Raises
    ------
    LirError
        For a model, data or bounds that make no sense, for a bound that cannot be met, and for what lutc cannot
        compile.

    Examples
    --------
    >>> import lutc
    >>> found = lutc.quantize("float.onnx", "calibration.npz", max_loss=0.5)  # doctest: +SKIP
    >>> found.write("quantised.onnx")  # doctest: +SKIP
    """
    tell = progress or (lambda text: None)
    _asked(effort, scales, granularity, max_luts, max_loss)
    widths = widths_of(bits, scales)
    if widths.fixed and (max_luts is not None or max_loss is not None):
        raise error(
            "one width for everything leaves nothing to search", help="give a range, such as bits='4..8'"
        )
    Settings(target=target)
    given = source.arrays(data, "the data")
    right = given.pop("labels", None)
    if labels is not None:
        right = _only(source.arrays(labels, "the labels"))
    if example_inputs is None and given:
        example_inputs = tuple(x[:1] for x in given.values())
    tell("reading the model")
    proto, name = source.as_onnx(model, example_inputs)
    graph = plain(proto, keep_softmax)
    if effort == "high":
        check_trainable(graph)
    task = Task.of(graph, given, right, granularity, scales, tell)
    return Choice(task, widths, target, name, effort, tell).made(max_luts, max_loss)


def _only(found: dict[str, Array]) -> Array:
    if len(found) > 1 and "labels" not in found:
        raise error(f"there are several arrays of labels: {', '.join(found)}", help="give one")
    return found.get("labels", next(iter(found.values())))


def _asked(effort: str, scales: str, granularity: str, luts: Any, loss: Any) -> None:
    for value, what, words in (
        (effort, "effort", QUANTISING),
        (scales, "scales", SCALES),
        (granularity, "granularity", GRANULARITIES),
    ):
        if value not in words:
            raise error(f"there is no {what} {value!r}", help=f"one of {', '.join(words)}")
    if luts is not None and loss is not None:
        raise error("give one bound, in LUTs or in loss: the other is what is made as small as it goes")
    if luts is not None and not (isinstance(luts, int) and luts > 0):
        raise error(f"{luts!r} is no number of LUTs", help="give an integer above 0")
    if loss is not None and not (isinstance(loss, int | float) and 0 <= loss <= 100):
        raise error(
            f"{loss!r} is no loss in points", help="give points of the metric, 0 to 100: 0.5 is usual"
        )
