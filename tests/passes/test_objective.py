"""Where a shorter way through a circuit takes more LUTs, the objective decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lutc
from lutc.analysis.cost import costs
from lutc.analysis.slack import required
from lutc.analysis.timing import Arrivals
from lutc.choices import OBJECTIVES
from lutc.ir.graph import Design
from lutc.ir.ops import Add, Lut
from lutc.passes.context import Context
from lutc.passes.tables.encode import Encode
from lutc.primitives import XILINX
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.decompose import WIDEST, in_luts
from lutc.rtl.nets import Append, Const, Net
from lutc.rtl.nets import Lut as LutNet


def _design(behind: int) -> Design:
    """A table that an encoder makes cheaper and slower, and adders behind another input beside it."""
    lines = ["lir 1", "", "table @t: u9 -> u4 = ["]
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 16, (4, 16))
    codes = blocks[rng.integers(0, 4, 32)].reshape(-1)
    lines += [
        " ".join(map(str, codes)),
        "]",
        "",
        "design d(%x: u9, %y: u12) -> (z = %z) {",
        "  %a = lut %x, @t",
    ]
    last = "%y"
    for n in range(behind):
        lines.append(f"  %b{n} = add {last}, {last}")
        last = f"%b{n}"
    lines += [f"  %z = add %a, {last}", "}", ""]
    return lutc.loads("\n".join(lines))


def _result(design: Design, objective: str) -> tuple[float, float]:
    context = Context(objective=objective)
    done = Encode()(design, context)
    assert np.array_equal(
        done.run(np.arange(512), np.full(512, 5)), design.run(np.arange(512), np.full(512, 5))
    )
    luts = sum(c.luts for c in costs(done, context.target).values())
    return luts, Arrivals(context.target).of(done.outputs[0].value)


def test_a_table_on_the_slowest_way_stays_quick_for_the_latency() -> None:
    design = _design(0)
    area, latency = _result(design, "area"), _result(design, "latency")
    assert area[0] < latency[0] and area[1] > latency[1]
    assert _result(design, "balanced") == area, "it would be most of the circuit's LUTs"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_table_beside_the_slowest_way_is_encoded(objective: str) -> None:
    design = _design(6)
    assert _result(design, objective) == _result(design, "area")
    assert Encode()(design, Context(objective=objective)) is not design


def test_required_times() -> None:
    design = _design(2)
    target = Context().target
    due = required(design, target)
    arrivals = Arrivals(target)
    for v in design.values:
        assert due[v] >= arrivals.of(v) - 1e-9
        if isinstance(v, Add):
            assert due[v] == pytest.approx(arrivals.of(v)), "the adders are the slowest way"
    (table,) = (v for v in design.values if isinstance(v, Lut))
    assert due[table] > arrivals.of(table) + 0.1


@pytest.mark.parametrize("inputs", range(1, WIDEST + 1))
@pytest.mark.parametrize("kind", ["random", "smooth", "few"])
def test_a_bit_of_many_inputs_in_luts(inputs: int, kind: str) -> None:
    rng = np.random.default_rng(inputs)
    keys = np.arange(1 << inputs)
    contents = {
        "random": rng.integers(0, 2, 1 << inputs),
        "smooth": (np.sin(keys / (1 << inputs) * 9) > 0.3).astype(int),
        "few": rng.integers(0, 2, 16)[(keys * 7 >> 2) % 16],
    }[kind]
    build = ModuleBuilder("m", luts=XILINX)
    x = build.input("x", inputs)
    order = rng.permutation(inputs)
    made = in_luts(build, [build.bit(x, int(i)) for i in order], contents.tolist())
    values = {
        build.bit(x, i): keys_bit for i, keys_bit in enumerate((keys[:, None] >> np.argsort(order) & 1).T)
    }
    found = _evaluated(made, values, 1 << inputs)
    assert np.array_equal(found, contents)


def _evaluated(net: Net, known: dict[Net, Any], rows: int) -> Any:
    if net in known:
        return known[net]
    if isinstance(net, Const):
        return np.full(rows, net.value)
    assert isinstance(net, LutNet)
    bits = net.key.parts[::-1] if isinstance(net.key, Append) else (net.key,)
    key = sum(_evaluated(bit, known, rows) << i for i, bit in enumerate(bits))
    return np.array(net.contents)[key]
