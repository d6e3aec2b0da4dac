"""What a netlist means, in Python integers: the expectation of tests. It knows no printer and no simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lutc.rtl import nets as nl

Value = int | None


def number(pattern: int, net: nl.Net) -> int:
    """What the low bits of ``pattern`` mean in the format of ``net``."""
    pattern %= 1 << net.width
    return pattern - (1 << net.width) if net.signed and pattern >= 1 << (net.width - 1) else pattern


def _meaning(net: nl.Net, values: Sequence[int]) -> int:
    """The value of a net without state from those of its operands; before it is cut to the net's width."""
    match net, values:
        case nl.Const(value=value), _:
            return value
        case nl.As() | nl.Resize(), (a,):
            return a
        case nl.Slice(low=low), (a,):
            return a >> low
        case nl.Append(parts=parts), _:
            total = 0
            for part, value in zip(parts, values, strict=True):
                total = total * 2**part.width + value % 2**part.width
            return total
        case nl.Not(), (a,):
            return -1 - a
        case nl.Add(), (a, b):
            return a + b
        case nl.Sub(), (a, b):
            return a - b
        case nl.Mul(), (a, b):
            return a * b
        case nl.And(), (a, b):
            return a & b
        case nl.Or(), (a, b):
            return a | b
        case nl.Xor(), (a, b):
            return a ^ b
        case nl.Eq(), (a, b):
            return int(a == b)
        case nl.Lt(), (a, b):
            return int(a < b)
        case nl.Gt(), (a, b):
            return int(a > b)
        case nl.Mux(), (select, then, other):
            return then if select else other
        case nl.Rom(contents=contents, key=key), (a,):
            entry: int = contents[a % 2**key.width]
            return entry
    raise AssertionError(f"{net!r} of {values}")


class Model:
    """A module and its registers; None is a value that is not known yet."""

    def __init__(self, module: nl.Module) -> None:
        self.module = module
        self.state: dict[nl.Net, Value] = {net: net.reset for net in module.nets if isinstance(net, nl.Reg)}
        self.inside = {instance: Model(instance.module) for instance in module.instances}
        self.now: dict[nl.Net, Value] = {}

    def outputs(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Values of the output ports, before the clock edge."""
        now: dict[nl.Net, Value] = {}
        answers: dict[nl.Instance, dict[str, Value]] = {}
        for net in self.module.nets:
            if isinstance(net, nl.Input):
                now[net] = inputs[net.port]
            elif isinstance(net, nl.Reg):
                now[net] = self.state[net]
            elif isinstance(net, nl.InstanceOutput):
                used = net.instance
                if used not in answers:
                    pins = {
                        port.port: now[pin] for port, pin in zip(used.module.inputs, used.inputs, strict=True)
                    }
                    answers[used] = self.inside[used].outputs(pins)
                now[net] = answers[used][net.port]
            else:
                known = [value for operand in net.operands if (value := now[operand]) is not None]
                complete = len(known) == len(net.operands)
                now[net] = number(_meaning(net, known), net) if complete else None
        self.now = now
        return {output.port: now[output.net] for output in self.module.outputs}

    def clock(self, ce: int, rst: int) -> None:
        """A rising edge, after :meth:`outputs`."""
        for net in self.state:
            assert isinstance(net, nl.Reg)
            if self.module.reset and rst and net.reset is not None:
                self.state[net] = net.reset
            elif ce or not self.module.clock_enable:
                self.state[net] = self.now[net.a]
        for model in self.inside.values():
            model.clock(ce, rst)
