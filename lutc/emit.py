"""From the scalar stage to the netlist: every operation's own `rtl`, ports, and instances for calls."""

from __future__ import annotations

from dataclasses import dataclass

from lutc.analysis.layers import layers
from lutc.diagnostics import Diagnostic, LirError
from lutc.ir.graph import Design, Func, Param, Stage, Value, body, functions, owners, topo
from lutc.ir.latency import arrivals, latency
from lutc.ir.ops import Call, Op, Reg
from lutc.ir.ops.flow import evaluate
from lutc.primitives import Primitive
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.circuits import net_format, words, zero
from lutc.rtl.hasten import hastened
from lutc.rtl.nets import DATA, VALID, Module, Net
from lutc.rtl.split import split
from lutc.target import Target


@dataclass(frozen=True)
class Control:
    """What a circuit has besides its data ports: `clk` if it has registers, and these if asked for."""

    clock_enable: bool = False
    valid: bool = False


def netlist(
    design: Design,
    control: Control = Control(),
    notes: dict[str, str] | None = None,
    *,
    luts: Primitive | None = None,
    tables: bool = True,
    hasten: tuple[Target, float] | None = None,
) -> list[Module]:
    """The modules of a design, callees first; the last is the design itself.

    With `luts`, LUTs of the device, tables and what stands in front of them are such that synthesis leaves alone
    (`lutc.rtl.nets.Lut`); without `tables`, only the latter.
    With `hasten`, LUTs by name are put together otherwise for a shorter slowest way on that target, at a share of all
    LUTs that it may cost (`lutc.rtl.hasten`).
    A design without registers is combinational: it has no clock, and no clock enable however much one is asked for.
    Raises LirError for a design that is not in the scalar stage, or that still holds an operation without a circuit.
    """
    _ready(design)
    clocked = latency(design) > 0
    home = layers(design)
    modules: dict[Func, Module] = {}
    done: list[Module] = []
    for func in functions(design):
        registers = latency(func) > 0
        build = ModuleBuilder(
            func.name,
            clock=registers,
            clock_enable=registers and control.clock_enable,
            luts=luts,
            tables=tables,
        )
        nets = _inputs(build, func.params)
        _fill(build, body(func), nets, modules, home)
        build.output("result", nets[func.result])
        done += split(_quick(build.build(), hasten))
        modules[func] = done[-1]
    build = ModuleBuilder(
        design.name, clock=clocked, clock_enable=clocked and control.clock_enable, luts=luts, tables=tables
    )
    build.notes.update(notes or {})
    nets = _inputs(build, design.params, control.valid)
    _fill(build, body(design), nets, modules, home)
    if control.valid:
        build.output(VALID[1], build.delay(build.input(VALID[0], 1), latency(design), reset=0))
    for output in design.outputs:
        if output.value.type.bits:
            build.output(_asked(output.name, control.valid), nets[output.value])
    read = any(p.type.bits for p in design.params)
    if not any(o.value.type.bits for o in design.outputs) and not (control.valid and read):
        raise LirError(
            Diagnostic(
                "every output is the constant 0 without bits: there is nothing to build",
                where=design.name,
                help="check the model's last quantiser",
            )
        )
    return [*done, *split(_quick(build.build(), hasten))]


def _quick(module: Module, hasten: tuple[Target, float] | None) -> Module:
    return hastened(module, *hasten) if hasten else module


def _ready(design: Design) -> None:
    wrong = []
    for owner in owners(design):
        for value in body(owner):
            if isinstance(value, Op) and not isinstance(value, Call) and type(value).rtl is Op.rtl:
                wrong.append(
                    Diagnostic(
                        f"'{value.keyword}' has no circuit of its own",
                        value.span,
                        f"%{value.name}" if value.name else owner.name,
                        "run the passes that write it out: scalarize, rescale",
                    )
                )
    if design.stage is not Stage.SCALAR and not wrong:
        wrong.append(
            Diagnostic("a tensor-stage design has no circuit", where=design.name, help="run scalarize")
        )
    if wrong:
        raise LirError(*wrong[:20])


def _asked(port: str, valid: bool) -> str:
    """A data port's name, apart from those of control ports."""
    return port + DATA if valid and port in VALID else port


def _inputs(build: ModuleBuilder, params: tuple[Param, ...], valid: bool = False) -> dict[Value, Net]:
    """A port for every parameter that has bits."""
    nets: dict[Value, Net] = {}
    for param in params:
        kind = param.type
        if not kind.bits:
            nets[param] = zero(build)
        elif kind.shape:
            nets[param] = build.input(_asked(param.name or "x", valid), kind.bits)
        else:
            nets[param] = build.input(_asked(param.name or "x", valid), *net_format(kind.scalar))
    return nets


def _fill(
    build: ModuleBuilder,
    values: list[Value],
    nets: dict[Value, Net],
    modules: dict[Func, Module],
    home: dict[Value, str],
) -> None:
    times = arrivals(values, {f: latency(f) for f in modules})
    for value in values:
        if isinstance(value, Param):
            continue
        assert isinstance(value, Op)
        with build.at(home[value] or None):
            if times[value] is None and isinstance(value, Call | Reg):
                net = _constant(build, value)  # there from the first cycle on, so it passes no register
            elif isinstance(value, Call):
                net = _instance(build, value, nets, modules[value.func])
            else:
                net = value.rtl(build, *(nets[v] for v in value.operands))
            nets[value] = build.label(net, value.name)


def _constant(build: ModuleBuilder, value: Op) -> Net:
    """A value that depends on no input."""
    code = evaluate(topo([value]), {}, [value])[value][0]
    if value.type.shape:
        return build.const(words(code.ravel().tolist(), value.type), max(value.type.bits, 1))
    return build.const(int(code), *net_format(value.type.scalar))


def _instance(build: ModuleBuilder, call: Call, nets: dict[Value, Net], module: Module) -> Net:
    ports = {p.name or "x": nets[a] for p, a in zip(call.func.params, call.args, strict=True) if p.type.bits}
    return build.instance(module, ports, call.name)["result"]
