"""What is too large is counted and refused before the work, with the place; what is only long or deep is compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lutc
from lutc import limits
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.graph import Design
from lutc.ir.latency import latency
from lutc.limits import MAX_ELEMENTS, VARIABLE
from lutc.text.parse import parse
from lutc.text.print import print_design


def design(body: str, ports: str = "%x: s4", output: str = "%y", funcs: str = "") -> str:
    return f"lir 1\n{funcs}design d({ports}) -> (y = {output}) {{\n{body}\n}}\n"


def functions(depth: int, inner: str = "%y = not %a", calls: int = 2) -> str:
    """Functions that each call the one before `calls` times."""
    text = f"func @f0(%a: u1) -> %y {{\n  {inner}\n}}\n"
    for n in range(1, depth):
        lines = [f"  %v{i + 1} = call @f{n - 1}, %v{i}" for i in range(calls)]
        body = "\n".join(lines).replace("%v0", "%a")
        text += f"func @f{n}(%a: u1) -> %v{calls} {{\n{body}\n}}\n"
    return text


TOO_LARGE = {
    "broadcast": design("  %y = broadcast %x, shape=[100000, 100000]"),
    "broadcast beyond 64 bits": design("  %y = broadcast %x, shape=[10000000000, 10000000000, 10000000000]"),
    "pad": design("  %y = pad %x, before=[99999999999], after=[0]", "%x: s4[2]"),
    "pad in two": design("  %y = pad %x, before=[5000, 0], after=[0, 5000]", "%x: s4[2, 2]"),
    "matmul": design("  %y = matmul %x, %z", "%x: u1[5000, 1], %z: u1[1, 5000]"),
    "long matmul": design("  %y = matmul %x, %z", "%x: u1[300, 300], %z: u1[300, 300]"),
    "map": design("  %y = map @f0, %x", "%x: u1[9000000]", funcs="func @f0(%a: u1) -> %y {\n  %y = not %a\n}\n"),
    "port": design("  %y = neg %x", "%x: s4[100000, 100000]"),
    "port of runs": design("  %y = neg %x", "%x: <u1*100000000000>[100000000000]"),
    "calls": design("  %y = call @f59, %x", "%x: u1", funcs=functions(60)),
    "calls of nothing": design("  %y = call @f59, %x", "%x: u1", funcs=functions(60, "%y = reshape %a, shape=[]")),
    "many calls": design("  %y = call @f9, %x", "%x: u1", funcs=functions(10, calls=9)),
    "together": design("\n".join(f"  %v{i} = relu %x" for i in range(20)) + "\n  %y = relu %v19", "%x: s4[1000000]"),
    "tensors together": design(
        "\n".join(f"  %v{i} = broadcast %x, shape=[16000000]" for i in range(9)) + "\n  %y = relu %x"
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", TOO_LARGE.values(), ids=TOO_LARGE)
def test_it_is_refused_at_its_place(text: str) -> None:
    with pytest.raises(LirError) as raised:
        parse(text, "d.lir")
    message = str(raised.value)
    assert "the most" in message and "d.lir:" in message and len(message) < 900


def test_deep_functions_are_refused() -> None:
    text = design("  %y = call @f149, %x", "%x: u1", funcs=functions(150, calls=1))
    with pytest.raises(LirError, match="101 levels deep; 100 are the most"):
        parse(text)
    deep = parse(design("  %y = call @f99, %x", "%x: u1", funcs=functions(100, calls=1)))
    assert deep.run(np.ones(1)).tolist() == [0.0]
    assert "endmodule" in "".join(lutc.compile(deep, stages=1, effort="fast").files.values())


def test_the_builder_counts_and_names_the_layer() -> None:
    b = lutc.Builder("d")
    x = b.input("x", "u4[3000, 60]")
    w = b.constant("w", "u1[60, 100]", np.ones((60, 100)))
    with b.origin("conv1"), pytest.raises(LirError, match="conv1: error: dense makes 18,300,000 operations"):
        b.dense(x, w)
    with b.origin("conv2"), pytest.raises(LirError, match="conv2: error: brings the design to"):
        b.room(1 << 30)


def test_weights_that_are_zero_count_nothing() -> None:
    b = lutc.Builder("d")
    y = b.dense(b.input("x", "u4[30, 6]"), b.constant("w", "u1[6, 10]", np.eye(6, 10)))
    assert y.operations() == 30 * (6 + 10)


def test_the_limit_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    text = design("  %y = relu %x", "%x: s4[100]")
    monkeypatch.setenv(VARIABLE, "99")
    with pytest.raises(LirError, match=f"(?s)100 operations on scalars, and 99 are the most.*{VARIABLE}"):
        parse(text)
    monkeypatch.setenv(VARIABLE, "many")
    assert parse(text).values


def test_compiling_counts_what_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parse(design('  %y = relu %x !"layer7"', "%x: s4[100]"))
    monkeypatch.setenv(VARIABLE, "150")
    with pytest.raises(LirError, match="200 scalar values, and 150 are the most; the most are 100 of"):
        lutc.compile(made, stages=0)


def test_what_is_long_compiles() -> None:
    """No walk along the graph recurses: 3,000 statements one after the other, in the design and in a function."""
    chain = "\n".join(f"  %v{i + 1} = xor %v{i}, %x" for i in range(3_000)).replace("%v0,", "%x,")
    made = parse(design(chain, "%x: u1[2]", "%v3000"))
    assert made.run(np.ones((1, 2))).tolist() == [[1.0, 1.0]]
    assert parse(print_design(made)).run(np.ones((1, 2))).tolist() == [[1.0, 1.0]]


def test_functions_that_call_functions_cost_their_text() -> None:
    """Some 2**20 calls: bounds, latency, print and verify look at every function once."""
    made: Design = parse(design("  %y = call @f19, %x", "%x: u1", funcs=functions(20)))
    assert made.values[-1].operations() == 3 * 2**19 - 1
    assert latency(made) == 0
    assert print_design(parse(print_design(made))) == print_design(made)


@pytest.mark.parametrize("name", ["broadcast", "calls"])
@pytest.mark.parametrize("command", [["compile", "d.lir"], ["opt", "d.lir", "-p", "simplify"]])
def test_the_command_says_it_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(TOO_LARGE[name])
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and done.output.count("error:") == 1 and "the most" in done.output


def test_the_limit_of_elements_is_of_a_tensor() -> None:
    assert MAX_ELEMENTS == 1 << 24
    with pytest.raises(LirError, match="16777217 elements; the most is 16777216"):
        parse(design("  %y = relu %x", "%x: s4[16777217]"))


def test_the_specification_states_the_limits() -> None:
    page = (Path(lutc.__file__).parents[1] / "ir_spec" / "structure.md").read_text("utf-8")
    for limit in (
        limits.MAX_WIDTH,
        limits.MAX_KEY,
        limits.MAX_RANK,
        MAX_ELEMENTS,
        limits.MAX_ALL_ELEMENTS,
        limits.MAX_DEPTH,
        limits.operations(),
        limits.scalars(),
    ):
        assert f"| {limit:,} |" in page


@pytest.mark.parametrize(
    "raised", [MemoryError(), OSError("on fire"), OSError(28, "No space left on device")]
)
def test_what_the_machine_lacks_is_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(design("  %y = neg %x"))
    monkeypatch.setattr("lutc.driver.load", fails)
    done = CliRunner().invoke(main, ["compile", "d.lir"])
    assert done.exit_code == 2 and done.output.startswith("error: ") and "error: error" not in done.output
    assert "enough memory" in done.output or "on fire" in done.output or "No space left" in done.output


def test_an_excerpt_of_a_long_line_is_cut_around_its_place() -> None:
    text = design("  %y = neg " + "%x, " * 25_000 + "%nothing")
    with pytest.raises(LirError) as raised:
        parse(text)
    for d in raised.value.diagnostics:
        assert len(str(d)) < 700
    shown = next(str(d) for d in raised.value.diagnostics if "%nothing" in d.message)
    excerpt, carets = shown.splitlines()[1:3]
    at = carets.index("^")
    assert excerpt[at : at + carets.count("^")] == "%nothing" and "..." in excerpt
