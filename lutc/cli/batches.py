"""`lutc run` on files: whole where they are small, else some samples at a time, so that memory is no limit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lutc.cli import answers
from lutc.diagnostics import error
from lutc.engines import engine as engines
from lutc.files.foreign import mapped_arrays, read_arrays
from lutc.files.writing import naming, write_stream, write_streams
from lutc.ir import interp
from lutc.ir.graph import Design

AT_ONCE = 1 << 23  # numbers of inputs and outputs together


def run(
    design: Design, inputs: Path, output: Path, *, codes: bool, engine: str
) -> dict[str, dict[str, Any]] | None:
    """Answer the samples of a file in another; of codes, say what they mean."""
    given = mapped_arrays(inputs)
    each = sum(p.type.size for p in design.params) + sum(o.value.type.size for o in design.outputs)
    count = max((len(x) for x in given.values() if x.ndim), default=0) if given else 0
    if given is None or count * max(each, 1) <= AT_ONCE or not _streams(design, codes):
        return _at_once(design, inputs, output, codes, engine)
    named = _named(design, given)
    rows = max(AT_ONCE // max(each, 1), 1)
    engines.chosen(design, count, engine)  # for all of them, not for the first few
    with tempfile.TemporaryDirectory(prefix=".lutc-", dir=output.parent) as work:
        files = {o.name: Path(work) / str(n) for n, o in enumerate(design.outputs)}
        with naming(output), ExitStack() as stack:
            opened = {name: stack.enter_context(path.open("wb")) for name, path in files.items()}
            for first in range(0, count, rows):
                for name, part in _part(
                    design, {k: x[first : first + rows] for k, x in named.items()}, codes, engine, output
                ):
                    opened[name].write(np.ascontiguousarray(part).data)
        kind = np.dtype(np.int64 if codes else np.float64)
        shapes = {o.name: (count, *o.value.type.shape) for o in design.outputs}
        if output.suffix == ".npy":
            name = design.outputs[0].name
            write_stream(output, kind, shapes[name], files[name])
        else:
            texts = answers.formats(design, output) if codes else {}
            write_streams(output, kind, {n: (shapes[n], files[n]) for n in files}, texts)
    return answers.about(design) if codes else None


def _streams(design: Design, codes: bool) -> bool:
    """Whether all answers are machine numbers; others are written as text, whose length all of them decide."""
    return not codes or all(o.value.type.max_width < 64 for o in design.outputs)


def _at_once(
    design: Design, inputs: Path, output: Path, codes: bool, engine: str
) -> dict[str, dict[str, Any]] | None:
    read = read_arrays(inputs)
    named = interp.arguments(
        design, () if isinstance(read, dict) else (read,), read if isinstance(read, dict) else {}
    )
    found = engines.answer(design, named, engine=engine)
    if not codes:
        answers.save_reals(design, found, output)
        return None
    return answers.save_codes(design, found, output)


def _named(design: Design, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays by port. Raises LirError unless they are as many samples each."""
    alone = set(given) == {""}
    named = interp.arguments(design, (given[""],) if alone else (), {} if alone else given)
    for name, x in named.items():
        if not x.ndim:
            raise error(f"input {name!r} is a single number", help="the first dimension counts samples")
    interp.same_batch(design, named)
    return named


def _part(
    design: Design, some: Mapping[str, Any], codes: bool, engine: str, output: Path
) -> Iterator[tuple[str, Any]]:
    if codes:
        found = engines.answer(design, some, engine=engine)
        yield from ((name, x.astype(np.int64)) for name, x in found.items())
        return
    reals = engines.run(design, engine=engine, **some)
    named = reals if isinstance(reals, dict) else {design.outputs[0].name: reals}
    for o in design.outputs:
        yield o.name, answers.doubles(o, named[o.name], output)
