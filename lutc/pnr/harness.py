"""A circuit between registers, on five pins: what is placed and routed in place of the circuit alone.

A network has more bits than a device has pins, and its pins are not what its user will time: it stands between other
logic. So its inputs come from registers, its outputs go to registers, and these are filled and emptied by shift
registers of another clock, of which the clock that is measured knows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOP = "lutc_harness"
CLOCK = "lutc_clk"
PADS = (CLOCK, "shift", "load", "d", "q")
WHOLE = "lutc_dut"  # the instance


@dataclass(frozen=True)
class Ports:
    """The ports of a circuit: the clock's name or None, inputs and outputs with their widths, in order."""

    top: str
    clock: str | None
    inputs: Sequence[tuple[str, int]]
    outputs: Sequence[tuple[str, int]]

    @staticmethod
    def of(bench: Mapping[str, Any]) -> Ports:
        """Those that a build folder's bench describes; controls are the first inputs."""
        control = [("ce", 1)] * bool(bench["clock_enable"]) + [("rst", 1)] * bool(bench["reset"])
        valid_in, valid_out = ([(name, 1)] * bool(bench["valid"]) for name in ("valid_in", "valid_out"))
        return Ports(
            bench["top"],
            "clk" if bench["clock"] else None,
            [*control, *valid_in, *((n, w) for n, w in bench["inputs"])],
            [*valid_out, *((n, w) for n, w in bench["outputs"])],
        )

    @property
    def bits(self) -> tuple[int, int]:
        return sum(w for _, w in self.inputs), sum(w for _, w in self.outputs)


def stub(ports: Ports) -> str:
    """The circuit as a black box."""
    lines = [f"input {ports.clock}"] if ports.clock else []
    lines += [f"input [{w - 1}:0] {n}" for n, w in ports.inputs]
    lines += [f"output [{w - 1}:0] {n}" for n, w in ports.outputs]
    return f"(* blackbox *)\nmodule {ports.top} (\n  " + ",\n  ".join(lines) + "\n);\nendmodule\n"


def harness(ports: Ports) -> str:
    """The module around the circuit, in Verilog.

    A cycle of `shift` moves one bit of `d` in, and one of the outputs out to `q`; with `load`, the outputs come into
    their shift register. A cycle of the measured clock brings the inputs to the circuit, and its outputs out.
    """
    (n_in, n_out), pins = ports.bits, []
    if ports.clock:
        pins.append(f".{ports.clock}({CLOCK})")
    at = 0
    for name, width in ports.inputs:
        pins.append(f".{name}(from[{at + width - 1}:{at}])")
        at += width
    at = 0
    for name, width in ports.outputs:
        pins.append(f".{name}(y[{at + width - 1}:{at}])")
        at += width
    joined = ",\n      ".join(pins)
    n_in, n_out = max(n_in, 1), max(n_out, 1)
    return f"""module {TOP} (
  input  wire {CLOCK},
  input  wire shift,
  input  wire load,
  input  wire d,
  output reg  q
);
  reg  [{n_in - 1}:0] in, from;
  wire [{n_out - 1}:0] y;
  reg  [{n_out - 1}:0] to, out;
  {ports.top} {WHOLE} (
      {joined});
  always @(posedge shift) begin
    in  <= {{d, in}} >> 1;
    out <= load ? to : out >> 1;
    q   <= out[0];
  end
  always @(posedge {CLOCK}) begin
    from <= in;
    to   <= y;
  end
endmodule
"""


def bench(ports: Ports, latency: int, vectors: int) -> str:
    """A test bench for the harness, or for what was made of it: prints FAILED with the first wrong vector, or PASSED.

    The files inputs.mem and outputs.mem hold a word of all bits for each vector.
    """
    n_in, n_out = (max(n, 1) for n in ports.bits)
    return f"""`timescale 1ns/1ps
module lutc_bench;
  reg clk = 0, shift = 0, load = 0, d = 0;
  wire q;
  {TOP} harness (.{CLOCK}(clk), .shift(shift), .load(load), .d(d), .q(q));
  reg [{n_in - 1}:0] inputs [0:{vectors - 1}];
  reg [{n_out - 1}:0] outputs [0:{vectors - 1}];
  reg [{n_out - 1}:0] found;
  integer v, i;
  initial begin
    $readmemh("inputs.mem", inputs);
    $readmemh("outputs.mem", outputs);
    for (v = 0; v < {vectors}; v = v + 1) begin
      for (i = 0; i < {n_in}; i = i + 1) begin
        d = inputs[v][i]; #5 shift = 1; #5 shift = 0;
      end
      for (i = 0; i < {latency + 2}; i = i + 1) begin
        #5 clk = 1; #5 clk = 0;
      end
      load = 1; #5 shift = 1; #5 shift = 0; load = 0;
      for (i = 0; i < {n_out}; i = i + 1) begin
        #5 shift = 1; #5 shift = 0; found[i] = q;
      end
      if (found !== outputs[v]) begin
        $display("FAILED: vector %0d gives %h, not %h", v, found, outputs[v]);
        $finish;
      end
    end
    $display("PASSED");
    $finish;
  end
endmodule
"""
