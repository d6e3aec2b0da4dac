"""Words that a user chooses among, apart from what acts on them: the command line offers them, and starts quickly."""

from __future__ import annotations

STANDARD = "standard"  # the word for all passes of the usual pipeline
PASS_NAME = r"[\w-]+"  # what a pass may be called, as a pattern
USUAL_TARGET = "xcvu13p"  # what is compiled for where nobody names a target
EFFORTS = ("fast", "normal", "high")  # how long to look for a smaller circuit
OBJECTIVES = (
    "balanced",
    "area",
    "latency",
)  # what decides where a shorter way through a circuit takes more LUTs
DSP_MODES = ("none", "auto", "all")  # which products go to DSP blocks
QUANTISING = ("normal", "high")  # how long to look for better weights of a float model
SCALES = ("powers", "free")  # of its formats: powers of two, or any
GRANULARITIES = ("channel", "tensor")  # what of its data has a format of its own
ENGINES = ("auto", "reference", "c")  # what computes the answers of a design
SIMULATORS = ("auto", "icarus", "ghdl", "verilator")  # what runs a build's bench
