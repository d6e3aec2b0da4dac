"""Dimensions of length 0 and batches of no samples: every operation has them, and run and compile take them."""

from __future__ import annotations

import numpy as np
import pytest

import lutc
from lutc.diagnostics import LirError
from lutc.ir.interp import execute
from lutc.passes.manager import random_codes, run
from lutc.passes.pipelines import standard
from lutc.text.parse import parse
from lutc.text.print import print_design

HEAD = """lir 1
const @w: s4[0, 3] = []
const @v: s4[3, 0] = []
const @n: <>[0, 2] = []
table @t: u2 -> s3 = [0 1 -1 2]
table @s: <>[0] -> <>[0] = []
func @f(%a: s4[2]) -> %b {
  %b = sum %a
}
func @g(%a: <>[0]) -> %b {
  %b = sum %a
}
"""

# An operation, and the shape of what it gives.
CASES = {
    "%y = neg %e": (0, 3),
    "%y = add %e, %e": (0, 3),
    "%y = mul %e, %e": (0, 3),
    "%y = compare %e, %e, rel=gt": (0, 3),
    "%y: s3f1[0, 3] = quant %e, round=nearest-half-up, overflow=saturate": (0, 3),
    "%y: <>[0, 3] = rescale %e, by=1/3": (0, 3),
    "%y: <>[0, 3] = rescale %e, by=[1/3 1/5 1/7], axis=1": (0, 3),
    "%y = scale %e, by=0.75": (0, 3),
    "%y = dense %e, @v": (0, 0),
    "%y = dense %z, @w": (2, 3),
    "%y = matmul %e, %m": (0, 2),
    "%y = matmul %z, %e": (2, 3),
    "%y = sum %e, axes=[0]": (3,),
    "%y = sum %e, axes=[1]": (0,),
    "%y = sum %e": (),
    "%y = argmax %e": (0,),
    "%y = transpose %e, perm=[1, 0]": (3, 0),
    "%y = reshape %e, shape=[3, 0, 7]": (3, 0, 7),
    "%y = broadcast %e, shape=[4, 0, 3]": (4, 0, 3),
    "%y = concat %e, %e, axis=0": (0, 3),
    "%y = concat %e, %m, axis=0": (3, None),
    "%y = slice %x, start=[1], stop=[1]": (0,),
    "%y = gather %x, indices=[]": (0,),
    "%y = pad %e, before=[1, 0], after=[1, 0]": (2, 3),
    "%y = const @n": (0, 2),
    "%y = map @f, %p": (0,),
    "%y = map @g, %z": (2,),
    "%y = lut %k, @t": (0,),
    "%y = lut %q, @s": (0,),
    "%y = select %c, %e, %e": (0, 3),
}  # fmt: skip
PORTS = (
    "%x: s4[2], %e: s4[0, 3], %z: s4[2, 0], %m: s4[3, 2], %p: s4[0, 2], %k: u2[0], %q: <>[0], %c: u1[0, 3]"
)


@pytest.mark.parametrize(("statement", "shape"), CASES.items(), ids=[c.split("=")[1] for c in CASES])
def test_every_operation(statement: str, shape: tuple[int, ...]) -> None:
    """Right or refused at its place; through the text, the interpreter for 0, 1 and 3 samples, and all passes."""
    text = f"{HEAD}design d({PORTS}) -> (y = %y, n = %o) {{\n  {statement}\n  %o = neg %x\n}}\n"
    if None in shape:
        with pytest.raises(LirError, match="concat"):
            parse(text)
        return
    design = parse(text)
    assert parse(print_design(design)).outputs[0].value.type.shape == shape
    for samples in (0, 1, 3):
        reals = {p.name or "": np.zeros((samples, *p.type.shape)) for p in design.params}
        answer = design.run(**reals)["y"]
        assert answer.shape == (samples, *shape) and not np.any(answer)
    done = run(design, standard(stages=1), check=8)
    codes = random_codes(design, 5)
    assert execute(done, codes)["y"].shape == (5, *shape)
    assert "module d" in "".join(lutc.compile(design, stages=1).files.values())


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_a_build_with_empty_ports(tmp_path: object, hdl: str) -> None:
    text = "lir 1\ndesign d(%a: <>[0, 2], %x: s4[2], %z: <>[0]) -> (y = %y, e = %a) {\n  %y = neg %x\n}\n"
    folder = lutc.compile(parse(text), stages=1, hdl=hdl).write(f"{tmp_path}/b", vectors=20)
    assert lutc.simulate(folder).passed


def test_a_build_of_nothing_is_refused() -> None:
    with pytest.raises(LirError, match="nothing to build"):
        lutc.compile(parse("lir 1\ndesign d(%a: <>[0, 2]) -> (y = %a) {\n}\n"))


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
@pytest.mark.parametrize("valid", [False, True])
@pytest.mark.parametrize(
    "design",
    [
        "() -> (y = %c) {\n  %c: u2 = number value=3\n}\n",
        "() -> (y = %c, z = %d) {\n  %c: s70 = number value=-590295810358705651711\n  %d: u1 = number value=1\n}\n",
        "(%x: s4[0]) -> (y = %c) {\n  %c: u2 = number value=3\n}\n",
        "(%x: u0) -> (y = %c, z = %x) {\n  %c: u2 = number value=3\n}\n",
    ],
)
def test_a_build_without_inputs(tmp_path: object, hdl: str, valid: bool, design: str) -> None:
    made = lutc.compile(parse(f"lir 1\ndesign d{design}"), stages=1, hdl=hdl, valid=valid, clock_enable=True)
    assert lutc.simulate(made.write(f"{tmp_path}/b", vectors=20)).passed


@pytest.mark.parametrize("kind", ["s4[0]", "u0", "<>[0, 2]"])
def test_valid_bits_alone_are_nothing_to_build(kind: str) -> None:
    with pytest.raises(LirError, match="nothing to build"):
        lutc.compile(parse(f"lir 1\ndesign d(%x: {kind}) -> (y = %x) {{\n}}\n"), valid=True)
