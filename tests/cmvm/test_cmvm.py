"""Constant matrix times vector: every network computes exactly its matrix, sharing pays, and answers are remembered."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lutc.cmvm import cache, order
from lutc.cmvm.built import luts
from lutc.cmvm.climb import climbed
from lutc.cmvm.compressor import compressor_tree
from lutc.cmvm.cse import Style, eliminate
from lutc.cmvm.groups import grouped
from lutc.cmvm.network import (
    Network,
    Problem,
    Span,
    balanced,
    csd,
    depth_of_outputs,
    digits,
    factors,
    reach,
    right,
    sharing,
    spans,
    weighed,
)
from lutc.cmvm.order import Operand
from lutc.cmvm.price import dissolved, price, total
from lutc.cmvm.search import EFFORTS, Goal, plain, solve
from lutc.cmvm.single import single
from lutc.cmvm.tree import digit_counts, parents

BYTE = Span(-128, 127)


def problem(matrix: Any, inputs: Span | tuple[Span, ...] = BYTE, constants: tuple[int, ...] = ()) -> Problem:
    """A matrix of shape (inputs, outputs) as a problem."""
    array = np.asarray(matrix, dtype=object)
    rows = tuple(tuple((i, int(w)) for i, w in enumerate(column) if w) for column in array.T)
    spans = inputs if isinstance(inputs, tuple) else (inputs,) * len(array)
    return Problem(spans, rows, constants)


def random_problem(
    seed: int, inputs: int = 16, outputs: int = 16, low: int = -128, high: int = 128
) -> Problem:
    return problem(np.random.default_rng(seed).integers(low, high, (inputs, outputs)))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small matrices, sparse and dense, narrow and wide, inputs of any range and depth."""
    inputs, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    wide = st.integers(-(2**40), 2**40)
    weight = st.one_of(st.just(0), st.sampled_from([1, -1, 2, -4]), st.integers(-300, 300), wide)
    rows = draw(
        st.lists(st.lists(weight, min_size=inputs, max_size=inputs), min_size=outputs, max_size=outputs)
    )
    ends = st.tuples(st.integers(-200, 200), st.integers(0, 300), st.integers(0, 4))
    spans = tuple(
        Span(lo, lo + size, 0, d) for lo, size, d in draw(st.lists(ends, min_size=inputs, max_size=inputs))
    )
    constants = tuple(draw(st.lists(st.integers(-9, 9), min_size=outputs, max_size=outputs)))
    return problem(np.array(rows, dtype=object).T.reshape(inputs, outputs), spans, constants)


def adder_depth(problem: Problem, network: Network, most: int = 2) -> int:
    return depth_of_outputs(problem, network, max(most, 2))


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from([0, 2, 3]), st.integers(0, 2), st.sampled_from(EFFORTS[:2]))
@example(problem([[0], [75]]), 0, 0, "fast")  # an input that nothing reads, and one constant
@example(
    problem([[1], [19], [195]], constants=(1,)), 0, 0, "fast"
)  # with its constant, it is as deep row by row
def test_networks_are_right(problem: Problem, most: int, extra: int, effort: str) -> None:
    """Exactly the matrix, never dearer than row by row, within the depth allowed, and the same when asked again."""
    goal = Goal(most, extra)
    network = solve(problem, goal, effort)
    assert right(problem, network)
    cost = luts if most else total
    assert cost(problem, network, most) <= cost(problem, plain(problem), most)
    assert adder_depth(problem, network, most) <= adder_depth(problem, plain(problem), most) + extra
    assert solve(problem, goal, effort) == network
    for number, span in spans(problem, network).items():  # the spans say what really can come
        ends = reach(problem.inputs, factors(network)[number].items())
        assert ends == (span.lo, span.hi)
        assert span.lo % (1 << span.low) == span.hi % (1 << span.low) == 0


@pytest.mark.parametrize("most", [2, 3])
def test_more_effort_is_not_dearer(most: int) -> None:
    problem = random_problem(1, 8, 8)
    found = [luts(problem, solve(problem, Goal(most), e), most) for e in EFFORTS]
    assert found[0] >= found[1] >= found[2]
    assert found[2] < 0.76 * luts(problem, plain(problem), most)


@pytest.mark.parametrize(("shape", "adders"), [((16, 16), 368), ((16, 64), 1310)])
def test_adders_of_random_matrices(shape: tuple[int, int], adders: int) -> None:
    """No worse than it was; tools/bench/cmvm.py has the comparison with others."""
    problem = random_problem(0, *shape)
    network = solve(problem, Goal(0, 2))
    assert right(problem, network)
    assert network.adders() == total(problem, network, 0) <= adders


def test_weights_that_cost_nothing() -> None:
    for matrix in (np.zeros((3, 3)), np.eye(4), 8 * np.eye(4)[::-1], np.diag([1, 2, 64])):
        question = problem(matrix)
        network = solve(question)
        assert right(question, network) and not network.nodes and network.adders() == 0
        assert total(question, network, 2) == 0


def test_equal_rows_are_computed_once() -> None:
    column = np.random.default_rng(3).integers(-99, 99, (8, 1))
    question = problem(np.concatenate([column, -column, 4 * column], axis=1))
    once = solve(problem(column), Goal(2))
    network = solve(question, Goal(2))
    assert right(question, network)
    assert network.adders() == once.adders()


def test_elimination_shares_the_pattern() -> None:
    """`a + 4*b` stands in all rows, once subtracted and once shifted."""
    rows = [
        digits([(0, 1), (1, 4), (2, 1)]),
        digits([(0, -1), (1, -4), (3, 1)]),
        digits([(0, 8), (1, 32), (2, -1)]),
    ]
    nodes, left = eliminate([BYTE] * 4, rows, [9] * 3)
    assert [weighed(n) for n in nodes] == [((0, 1), (1, 4))]
    assert [weighed(r) for r in left] == [((2, 1), (4, 1)), ((3, 1), (4, -1)), ((2, -1), (4, 8))]


def test_elimination_takes_no_digit_twice() -> None:
    """1 + 4 + 16: the pattern `x + 4*x` fits twice, but not into three digits."""
    nodes, (row,) = eliminate([BYTE], [digits([(0, 21)])], [9])
    assert not nodes and weighed(row) == ((0, 21),)
    nodes, (row,) = eliminate([BYTE], [digits([(0, 0b1010101)])], [9], Style(1.0))
    assert len(nodes) == 1 and len(row) == 2


def test_elimination_keeps_to_the_depth() -> None:
    """A late input: sharing with it would make the others wait."""
    rows = [digits([(0, 1), (1, 1), (2, 1), (3, 1)]), digits([(0, 1), (1, 1), (2, 1), (3, -1)])]
    late = [BYTE, BYTE, Span(-8, 7), Span(-8, 7)]
    for limit, expected in ((2, 2), (3, 2)):
        nodes, left = eliminate(late, rows, [limit, limit])
        network = Network(4, tuple(map(weighed, nodes)), tuple(map(weighed, left)))
        question = Problem(tuple(late), tuple(map(weighed, rows)))
        assert right(question, network) and adder_depth(question, network) <= limit
        assert len(nodes) <= expected


def test_a_row_by_way_of_another() -> None:
    matrix = np.array([[77, 77], [-91, -91], [45, 45], [107, 107], [1, 2]])
    assert parents(problem(matrix), 9) in ([None, (0, 1)], [(1, 1), None])
    assert parents(problem(-matrix[:, ::-1]), 0) is None
    assert parents(problem(np.eye(3)), 9) is None
    network = solve(problem(matrix), Goal(0))
    assert right(problem(matrix), network)
    assert network.outputs[1] == ((-1, 1), (4, 1))


def test_digits_are_counted_right() -> None:
    numbers = np.array([*range(-300, 300), 2**50 - 1, -(2**55) + 3], dtype=np.int64)
    assert digit_counts(numbers).tolist() == [len(csd(int(n))) for n in numbers]


def test_climbing_by_pairs_of_sums() -> None:
    """Five terms in common are one shared sum, whatever their signs and the shift between the rows."""
    shared = np.array([3, -1, 16, 5, -64])
    question = problem(np.stack([[*shared, 1, 0], [*(-4 * shared), 0, 1]], axis=1))
    network = climbed(question, plain(question), 2, 9, 10**6)
    assert right(question, network)
    assert total(question, network, 2) < 0.7 * total(question, plain(question), 2)
    assert climbed(question, plain(question), 2, 9, 0) == plain(question)  # no work allowed, none done


def test_what_does_not_pay_is_dissolved() -> None:
    """Two readers save half a chain of three operands each: with the sum's own that is nothing."""
    question = problem([[1, 1], [1, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1]])
    shared = Network(
        7, (((0, 1), (1, 1)),), (((2, 1), (4, 1), (6, 1), (7, 1)), ((3, 1), (5, 1), (6, 1), (7, 1)))
    )
    assert right(question, shared)
    assert dissolved(question, shared, 3) == plain(question)
    kept = dissolved(question, shared, 2)
    assert kept == shared


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 6)), min_size=2, max_size=9),
    st.sampled_from([2, 3]),
)
def test_price(operands: list[tuple[int, int]], most: int) -> None:
    """At least a bit for each chain; at most as if every chain were as wide as the result."""
    extents = dict(enumerate(operands))
    bits = price([(i, 1) for i in extents], extents, most)
    chains = len(operands) - 1 if most == 2 else len(operands) // 2
    assert chains <= bits <= chains * sum(e for e, _ in operands).bit_length()
    assert price([(i, 1) for i in extents], extents, 0) == len(operands) - 1


@st.composite
def operands(draw: st.DrawFn) -> tuple[Operand, ...]:
    one = st.builds(
        lambda lo, size, low, sign, level: Operand(lo << low, (lo + size) << low, low, sign, level),
        st.integers(-50, 50),
        st.integers(0, 90),
        st.integers(0, 5),
        st.sampled_from([1, -1]),
        st.integers(0, 3),
    )
    return tuple(draw(st.lists(one, min_size=1, max_size=12)))


@given(operands(), st.sampled_from([2, 3]), st.randoms(use_true_random=False))
def test_chains_of_a_sum(given: tuple[Operand, ...], most: int, rng: random.Random) -> None:
    """They add up, no deeper than need be; nothing is negated where something is added."""
    values = [rng.randrange(o.lo, o.hi + 1, 1 << o.low) for o in given]
    signs, levels = [o.sign for o in given], [o.level for o in given]
    expected = sum(v * s for v, s in zip(values, signs, strict=True))
    left = set(range(len(given)))
    for numbers, sign in order.chains(given, most)[1]:
        assert 2 <= len(numbers) <= most and left.issuperset(numbers)
        assert any(signs[n] == sign for n in numbers)
        left = left - set(numbers) | {len(values)}
        values.append(sum(values[n] * signs[n] * sign for n in numbers))
        signs.append(sign)
        levels.append(max(levels[n] for n in numbers) + 1)
    assert left == {len(values) - 1} and signs[-1] * values[-1] == expected
    assert levels[-1] == balanced((o.level for o in given), most)
    assert signs[-1] > 0 or all(o.sign < 0 for o in given)


@given(st.lists(st.integers(0, 9) | st.integers(0, 60), max_size=20), st.sampled_from([2, 3]))
def test_the_depth_of_a_balanced_sum_is_that_of_krafts_inequality(levels: list[int], most: int) -> None:
    total = sum(most**d for d in levels)
    assert balanced(levels, most) == next(d for d in itertools.count() if most**d >= total)


def test_depths_are_never_powers() -> None:
    """Deep in a chain of sums, the earliest operand is there any number of adders before the latest one."""
    assert balanced([0, 0, 10**12], 3) == 10**12 + 1
    assert order.brought_together([0, 10**12, 10**12 + 1, 0]) == [0, 4, 5, 0]


@given(operands(), st.lists(st.integers(0, 30), min_size=12, max_size=12), st.sampled_from([2, 3]))
def test_time_in_which_nothing_comes_changes_no_sum(
    given: tuple[Operand, ...], late: list[int], most: int
) -> None:
    far = tuple(replace(o, level=at * (at > 9)) for o, at in zip(given, late, strict=False))
    levels = order.brought_together([o.level for o in far])
    near = tuple(replace(o, level=level) for o, level in zip(far, levels, strict=True))
    assert order.chains(near, most) == order.chains(far, most)
    positive = [tuple(replace(o, sign=1) for o in some) for some in (near, far)]
    assert compressor_tree(positive[0]) == compressor_tree(positive[1])


def test_chains_of_operands_of_one_place() -> None:
    """Lowest first would add 1 bits to 9-bit ones: what begins at the same place goes together."""
    low, high = Operand(0, 255, 0), Operand(0, 3 << 7, 7)
    assert set(order.chains((low, high, low, high), 2)[1][:2]) == {((0, 2), 1), ((1, 3), 1)}


def fewest(widest: int) -> dict[int, int]:
    """By breadth: how many adders each odd constant takes, up to two."""

    def one_more(values: tuple[int, ...]) -> Iterator[int]:
        for u, v, shift in itertools.product(values, values, range(1, widest + 2)):
            yield from (u + (v << shift), abs(u - (v << shift)))

    found = dict.fromkeys(one_more((1,)), 1)
    for first in list(found):
        for second in one_more((1, first)):
            found.setdefault(second, 2)
    return {1: 0} | {c: n for c, n in found.items() if c < 1 << widest and c != 1}


def test_single_constants() -> None:
    known = fewest(9)
    for constant in range(3, 1 << 9, 2):
        network = single(constant)
        assert network is not None and right(problem([[constant]]), network)
        best = known.get(constant, 3)
        assert network.adders() == best <= len(csd(constant)) - 1
    assert [n.adders() for c in (45, -45, 720, 173) if (n := single(c)) is not None] == [2, 2, 2, 3]
    assert right(problem([[-720]]), single(-720) or plain(problem([[1]])))
    assert single(0) is single(64) is single(-1) is single(683) is single((1 << 60) + 1) is None
    assert solve(problem([[45]]), Goal(2)).adders() == 2


@pytest.mark.parametrize(
    "wrong",
    [
        Network(2, (), (((0, 1), (1, 2)),)),
        Network(2, (), (((0, 1), (1, 1)), ((0, 1),))),
        Network(1, (), (((0, 1), (1, 1)),)),
        Network(2, (), (((0, 1), (7, 1)),)),
        Network(2, (((2, 1),),), (((0, 1), (1, 1), (2, 1)),)),
        Network(2, (), (((-1, 1), (0, 1)),)),
        Network(2, (), (((0, 1), (1, 1), (0, 0)),)),
    ],
)
def test_wrong_networks_are_seen(wrong: Network) -> None:
    assert not right(problem([[1], [1]]), wrong)
    assert right(problem([[1], [1]]), Network(2, (), (((0, 1), (1, 1)),)))


# -- answers remembered -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LUTC_CACHE", raising=False)
    monkeypatch.setattr(cache, "_known", {})
    return tmp_path


class Counting:
    """`solve`, and how often it was needed."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, problem: Problem, goal: Goal, effort: str) -> Network:
        self.calls += 1
        return solve(problem, goal, effort)


def ask(solver: Counting, problem: Problem, most: int = 2, *, forget: bool = True) -> Network:
    if forget:
        cache._known.clear()
    return cache.solved(problem, Goal(most), "fast", solver)


def test_answers_are_remembered(folder: Path) -> None:
    solver, question = Counting(), random_problem(5)
    first = ask(solver, question)
    assert ask(solver, question) == first and ask(solver, question, forget=False) == first
    assert solver.calls == 1
    assert len(list(folder.rglob("*.json"))) == len([f for f in folder.rglob("*") if f.is_file()]) == 1
    ask(solver, question, 3)
    ask(solver, random_problem(6))
    ask(solver, problem([[5]]))  # too small for a file
    assert solver.calls == 4 and len(list(folder.rglob("*.json"))) == 3


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"inputs": 16, "nodes": [], "outputs": []}', "\x00\xff"]
)
def test_spoilt_files_are_ignored(folder: Path, content: str) -> None:
    solver, question = Counting(), random_problem(5)
    first = ask(solver, question)
    (path,) = folder.rglob("*.json")
    path.write_text(content)
    assert ask(solver, question) == first and solver.calls == 2
    assert ask(solver, question) == first and solver.calls == 2  # and put right


def test_an_answer_to_something_else_is_ignored(folder: Path) -> None:
    solver, question = Counting(), random_problem(5)
    first = ask(solver, question)
    (path,) = folder.rglob("*.json")
    data = json.loads(path.read_text())
    data["outputs"][0][0][1] += 2
    path.write_text(json.dumps(data))
    assert ask(solver, question) == first and solver.calls == 2


def test_the_disk_can_be_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTC_CACHE", "0")
    solver, question = Counting(), random_problem(5)
    assert ask(solver, question) == ask(solver, question)
    assert solver.calls == 2 and not list(folder.iterdir())


def test_a_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    assert right(random_problem(5), ask(Counting(), random_problem(5)))


def test_many_writers(folder: Path) -> None:
    """Processes that answer the same questions at the same time, in a folder that is not there yet."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_cmvm import random_problem, cache, Goal, right\n"
        "for seed in range(4):\n"
        "    question = random_problem(seed, 10, 10)\n"
        "    assert right(question, cache.solved(question, Goal(), 'fast'))\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    running = [subprocess.Popen(command) for _ in range(4)]
    assert [p.wait(timeout=120) for p in running] == [0] * 4
    files = [f for f in folder.rglob("*") if f.is_file()]
    assert len(files) == 4 and all(json.loads(f.read_text())["inputs"] == 10 for f in files)


def test_binary_weights_share_what_they_do_with_a_few_inputs() -> None:
    """A matrix of +1 and -1 too large to search: each way to add up a few inputs is made once."""
    wide = problem(np.random.default_rng(7).choice([-1, 1], (90, 16)), Span(-2, 1))
    goal = Goal(3, 0)
    for size in (2, 3, 5, 7):
        assert right(wide, grouped(wide, size, 3))
    network = grouped(wide, 3, 3)
    assert len(network.nodes) <= 4 * 30
    found = solve(wide, goal, "fast")
    assert right(wide, found) and adder_depth(wide, found, 3) <= adder_depth(wide, plain(wide), 3)
    cost = total(wide, network, 3)
    assert total(wide, found, 3) <= cost < 0.75 * total(wide, plain(wide), 3)


def test_what_can_be_shared() -> None:
    assert not sharing(problem([[1, 0], [-4, 0], [0, 2]]))  # each input once, each weight one digit
    assert sharing(problem([[3], [1]]))  # 3x = x + 2x
    assert sharing(problem([[1, 1], [1, 0]]))  # two rows read x0
    alone = problem([[1, 0], [-4, 0], [0, 2]])
    assert solve(alone, Goal(3), "normal") == plain(alone)


def test_elimination_keeps_every_digit_and_its_limit() -> None:
    """Whatever is shared, rows stay what they are and become no deeper than allowed, for chains of two and of three."""
    for seed, (most, extra) in enumerate(itertools.product((2, 3), (0, 1, 9))):
        question = random_problem(seed, 7, 9, -40, 40)
        rows = [digits(row) for row in question.rows]
        limits = [balanced([0] * len(row), most) + extra for row in rows]
        nodes, outputs = eliminate(question.inputs, rows, limits, Style(0.25, 0.1, seed), most)
        network = Network(7, tuple(map(weighed, nodes)), tuple(map(weighed, outputs)))
        assert right(question, network) and nodes
        known = spans(question, network, most)
        assert all(known[-1 - j].depth <= limit for j, limit in enumerate(limits))


def test_digits_too_far_apart_for_a_pattern_stay() -> None:
    row = digits([(0, (1 << 1300) + 5)])
    assert eliminate([BYTE], [row], [9]) == ([], [sorted(row)])
