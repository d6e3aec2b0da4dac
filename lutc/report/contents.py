"""The contents of `report.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lutc._version import __version__
from lutc.analysis.cost import Cost, built, by_pass
from lutc.analysis.flipflops import flip_flops
from lutc.analysis.timing import longest_stage
from lutc.ir.graph import Design, Output, Param
from lutc.ir.latency import latency
from lutc.ir.ops.base import number
from lutc.rtl.circuits import offset
from lutc.rtl.nets import Module
from lutc.settings import Settings
from lutc.types import Type


def facts(
    design: Design,
    modules: Sequence[Module],
    settings: Settings,
    *,
    period: float | None,
    stages: Sequence[tuple[str, Design]] = (),
    compared: str = "",
) -> dict[str, Any]:
    """Everything a tool or a person may want to know of a build, as plain JSON values.

    `latency_cycles` is the number of rising edges from an input to its answer, `ii` the number of cycles between two
    inputs. Bit ranges are `[high, low]` within the port. LUTs are estimates: of `modules`, the netlist, where a target
    is such that it can be counted (`lutc.rtl.sites`); else, and after each of the `stages` in `passes`, the sum of what
    operations estimate, null as long as operations are left that have no circuit yet. DSP blocks are counted, and
    flip-flops are the bits of the netlist's registers. `dsp` says how products were chosen for blocks, `stage_ns` is
    the longest way between registers by the target's delay model, which comes from where `delays` says. `compared`
    says what the design was compared with when it was loaded.
    """
    ranks, target = latency(design), settings.device
    layers, ffs = built(design, modules, target), flip_flops(modules)
    luts = sum(c.luts for c in layers.values())
    every = layers | {k: Cost() for k in ffs if k not in layers}
    return {
        "lutc": __version__,
        "top": design.name,
        "hdl": settings.hdl,
        "effort": settings.effort,
        "objective": settings.objective,
        "dsp": settings.dsp,
        "target": target.name,
        "part": target.part,
        "clock_ns": period if ranks else None,
        "delay_factor": settings.delay_factor,
        "stages": ranks,
        "latency_cycles": ranks,
        "ii": 1,
        "clock_enable": settings.clock_enable and ranks > 0,
        "valid": settings.valid and ranks > 0,
        "inputs": [_input(p) for p in design.params],
        "outputs": [_output(o) for o in design.outputs],
        "estimate": {
            "luts": round(luts),
            "ffs": ffs.total(),
            "dsps": sum(c.dsps for c in layers.values()),
            "device_luts": target.luts,
            "device_dsps": target.dsps,
            "stage_ns": round(longest_stage(design, target.crowded(luts)), 3),
            "delays": target.delays,
            "layers": [_layer(k, c, ffs[k]) for k, c in every.items()],
            "passes": [_after(name, found) for name, found in by_pass(stages, target)],
        },
        "compared": compared or "not compared: it is its own reference",
        "notes": list(design.notes),
    }


def _layer(name: str, cost: Cost, ffs: int) -> dict[str, Any]:
    return {"layer": name or None, "luts": round(cost.luts), "ffs": ffs, "dsps": cost.dsps}


def _after(name: str, layers: dict[str, Cost] | None) -> dict[str, Any]:
    if layers is None:
        return {"pass": name, "luts": None, "layers": None}
    each = [{"layer": k or None, "luts": round(c.luts)} for k, c in layers.items() if c.luts]
    return {"pass": name, "luts": round(sum(c.luts for c in layers.values())), "layers": each}


def _port(name: str, kind: Type) -> dict[str, Any]:
    elements = [[offset(kind, i) + f.width - 1, offset(kind, i)] for i, f in enumerate(kind.formats)]
    return {
        "name": name,
        "format": str(kind.format) if kind.format else [str(f) for f in kind.formats],
        "shape": list(kind.shape),
        "width": kind.bits,
        "bits": [kind.bits - 1, 0] if kind.bits else None,
        "element_bits": [e if f.width else None for e, f in zip(elements, kind.formats, strict=True)],
    }


def _input(param: Param) -> dict[str, Any]:
    return _port(param.name or "x", param.type) | {
        "round": param.round.value,
        "overflow": param.overflow.value,
        "scale": number(param.scale),
        "offset": number(param.offset),
    }


def _output(output: Output) -> dict[str, Any]:
    return _port(output.name, output.value.type) | {
        "scale": [number(s) for s in output.scale],
        "offset": [number(o) for o in output.offset],
    }
