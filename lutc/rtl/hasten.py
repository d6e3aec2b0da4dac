"""A shorter way through a netlist by other LUTs for the same functions, where the slowest ways are.

A LUT by name is put together with those LUTs by name that it waits for, which gives a function of more inputs, up to
`WIDEST`; and that is taken apart again so that the inputs that are there last pass one LUT, at its quickest pins, and
the others are looked up meanwhile (as in `decompose`, with the free inputs chosen by time instead of number of LUTs).
Cascades of encoders, roundings and tables become flat so. Nothing but truth tables changes, and they are composed
exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lutc.rtl.bits import bits_of
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.decompose import WIDEST, columns_of
from lutc.rtl.nets import Input, InstanceOutput, Lut, Module, Net
from lutc.rtl.sites import sites
from lutc.rtl.ways import PINS, Ways, through
from lutc.target import Target
from lutc.truth import Codes, dependence, spread

_ROUNDS = 24
_NEAR = 0.02  # of the slowest way: LUTs on ways that are shorter by no more are taken up together
_FREE = 4  # inputs set aside at most
_GAIN = 20  # ps
_DEAREST = 12  # LUTs of one function


def hastened(module: Module, target: Target, more: float) -> Module:
    """The module with a shorter slowest way; its LUT sites grow by no more than the share `more`.

    It stays as it is where nothing is found. Its LUTs must be such as `lutc.rtl.sites` counts.
    """
    if not any(isinstance(net, Lut) for net in module.nets):
        return module
    most = (1 + more) * sum(sites([module], target).values())
    best, shortest = module, Ways(bits_of(module, target)).longest()
    for _ in range(_ROUNDS):
        made = _round(best, target)
        if made is None or sum(sites([made], target).values()) > most:
            break
        longest = Ways(bits_of(made, target)).longest()
        if longest >= shortest:
            break
        best, shortest = made, longest
    return best


def _round(module: Module, target: Target) -> Module | None:
    """The module with the LUTs on its slowest ways made anew; None where none of them can be made quicker."""
    bits = bits_of(module, target)
    ways = Ways(bits)
    due = (1 - _NEAR) * ways.longest()
    luts = [net for net in module.nets if isinstance(net, Lut)]
    ready = {net: max((ways.ready.get(x >> 1, 0) for x in bits.bits[net]), default=0) for net in module.nets}
    slow = [n for n in luts if ready[n] + ways.behind[bits.bits[n][0] >> 1] >= due]
    search = _Search(ready)
    plans: dict[Net, _Plan] = {net: plan for net in slow if (plan := search.plan(net))}
    return _rebuilt(module, plans, ready) if plans else None


@dataclass(frozen=True)
class _Plan:
    """A function of bits: of `inputs` (nets of one bit, or plans), the first lowest. `time`: when it answers."""

    inputs: tuple[Net | _Plan, ...]
    contents: Codes
    time: int
    luts: int


@dataclass
class _Search:
    """Looks for quicker ways to make a LUT's function; `ready` says when nets are there."""

    ready: dict[Net, int]
    known: dict[tuple[tuple[Net, ...], bytes], tuple[int, _Plan | None]] = field(default_factory=dict)

    def plan(self, net: Lut) -> _Plan | None:
        """The quickest plan found for a LUT that is quicker than it is."""
        best, least = None, self.ready[net] - _GAIN
        for inputs, contents in self._flattened(net, least - 1):
            found = self.made(tuple(inputs), contents, least - 1)
            if found and found.luts <= _DEAREST:
                best, least = found, found.time
        return best

    def _flattened(self, net: Lut, limit: int) -> Iterator[tuple[list[Net], Codes]]:
        """The function of a LUT by other inputs: the LUTs that are there last replaced, one more at a time.

        It ends where an input that is no LUT is there too late for an answer by `limit`.
        """
        inputs, contents = _key(net), np.array(net.contents)
        for _ in range(WIDEST):
            if any(self.ready[x] + PINS[0] > limit for x in inputs if not isinstance(x, Lut)):
                return
            waited = [x for x in inputs if isinstance(x, Lut)]
            fitting = [x for x in waited if len({*inputs, *_key(x)}) - 1 <= WIDEST]
            if not fitting:
                return
            last = max(fitting, key=self.ready.__getitem__)
            inputs, contents = _replaced(inputs, contents, last)
            if max(self.ready[x] for x in inputs) + PINS[0] <= limit:
                yield inputs, contents

    def made(self, inputs: tuple[Net, ...], contents: Codes, limit: int) -> _Plan | None:
        """The quickest way to make a function that is found; None if none answers by `limit`."""
        key = inputs, contents.astype(np.uint8).tobytes()
        tried, found = self.known.get(key, (-1, None))
        if found is None and tried < limit:
            found = self._made(inputs, contents, limit)
            self.known[key] = limit, found
        return found if found and found.time <= limit else None

    def _made(self, inputs: tuple[Net, ...], contents: Codes, limit: int) -> _Plan | None:
        live = np.flatnonzero(dependence(contents, 1)[0])
        contents = contents[spread(tuple(live.tolist()))]
        inputs = tuple(inputs[i] for i in live)
        if len(inputs) <= 6:
            arrivals = [self.ready[x] for x in inputs]
            time = through(arrivals) if len(inputs) > 1 else max(arrivals, default=0)
            return _Plan(inputs, contents, time, int(len(inputs) > 1)) if time <= limit else None
        order = sorted(range(len(inputs)), key=lambda i: self.ready[inputs[i]])
        best: _Plan | None = None
        for size in range(1, _FREE + 1):
            free = tuple(sorted(order[-size:]))
            before = (
                self.ready[inputs[order[-size - 1]]] + 2 * PINS[0]
            )  # the last of the others passes two LUTs
            if max(before, through([self.ready[inputs[i]] for i in free])) > limit:
                continue
            different, places = columns_of(contents.astype(np.uint8), len(inputs), free)
            width = (len(different) - 1).bit_length()
            if size + width > 6:
                continue
            rest = tuple(x for i, x in enumerate(inputs) if i not in free)
            # The first key has code 0, so that a code that is one of the inputs is not that input inverted.
            first = int(places[0])
            codes = [self.made(rest, (places ^ first) >> bit & 1, limit - PINS[0]) for bit in range(width)]
            if any(code is None for code in codes):
                continue
            parts = [code for code in codes if code is not None]
            # A code that never comes answers as the last one does.
            answers = different[np.minimum(np.arange(1 << width) ^ first, len(different) - 1)]
            time = through([*(p.time for p in parts), *(self.ready[inputs[i]] for i in free)])
            found = _Plan(
                (*parts, *(inputs[i] for i in free)),
                answers.T.astype(np.int64).reshape(-1),
                time,
                1 + sum(p.luts for p in parts),
            )
            if found.time <= limit:
                best, limit = found, found.time - 1
        return best


def _key(net: Lut) -> list[Net]:
    """A LUT's inputs, the lowest bit of its key first; none is constant."""
    return [bit for _, bit in net.connected if bit is not None]


def _replaced(inputs: list[Net], contents: Codes, lut: Lut) -> tuple[list[Net], Codes]:
    """A function by the inputs of one of its inputs."""
    others = [x for x in inputs if x is not lut]
    below = _key(lut)
    together = list(dict.fromkeys([*others, *below]))
    words = np.arange(1 << len(together))

    def read(nets: Sequence[Net], known: dict[Net, Codes]) -> Codes:
        """The keys that these nets' bits make in every case."""
        key = np.zeros_like(words)
        for place, x in enumerate(nets):
            key |= known[x] << place
        return key

    values = {x: words >> place & 1 for place, x in enumerate(together)}
    values[lut] = np.array(lut.contents)[read(below, values)]
    return together, contents[read(inputs, values)]


def _rebuilt(module: Module, plans: dict[Net, _Plan], ready: dict[Net, int]) -> Module:
    """The module with other LUTs for those that are planned; all else as it was."""
    luts = next(net.primitive for net in module.nets if isinstance(net, Lut))
    build = ModuleBuilder(
        module.name,
        clock=module.clock,
        clock_enable=module.clock_enable,
        reset=module.reset,
        luts=luts,
    )
    build.notes.update(module.notes)
    nets: dict[Net, Net] = {}
    done: dict[object, dict[str, Net]] = {}

    def planned(plan: _Plan) -> Net:
        inputs = [planned(x) if isinstance(x, _Plan) else nets[x] for x in plan.inputs]
        times = [x.time if isinstance(x, _Plan) else ready[x] for x in plan.inputs]
        return build.lut(inputs, plan.contents.tolist(), dict(zip(inputs, times, strict=True)))

    for net in module.nets:
        with build.at(module.origins.get(net)):
            if isinstance(net, Input):
                nets[net] = build.input(net.port, *net.format, module.port_comments.get(net.port))
            elif isinstance(net, InstanceOutput):
                if net.instance not in done:
                    ports = zip(net.instance.module.inputs, net.instance.inputs, strict=True)
                    pins = {port.port: nets[x] for port, x in ports}
                    done[net.instance] = build.instance(
                        net.instance.module, pins, module.names.get(net.instance)
                    )
                nets[net] = done[net.instance][net.port]
            elif net in plans:
                nets[net] = build.label(planned(plans[net]), module.names.get(net))
            elif isinstance(net, Lut) and net.key.width > 1:
                inputs = [nets[x] for x in _key(net)]
                times = {nets[x]: ready[x] for x in _key(net)}
                nets[net] = build.label(build.lut(inputs, net.contents, times), module.names.get(net))
            else:
                nets[net] = build.again(module, net, [nets[x] for x in net.operands], shared=True)
    for output in module.outputs:
        build.output(output.port, nets[output.net], module.port_comments.get(output.port))
    return build.build()
