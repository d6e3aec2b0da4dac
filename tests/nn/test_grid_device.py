"""The GPU form of training on the grid, its kernels interpreted on the CPU.

Triton decides when it is first imported whether it interprets, so each test is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def interpreted(*command: str, **env: str) -> str:
    env = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", **env}
    done = subprocess.run(
        [sys.executable, *command], env=env, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_equals_plain_autograd() -> None:
    """Values, all gradients and tracked statistics, by the part of the GPU bench that needs no GPU."""
    rows = [json.loads(line) for line in interpreted("tools/bench/nn_gpu.py", "--device", "cpu").splitlines()]
    assert len({row["case"] for row in rows}) >= 7
    always = {"y", "x", "grad w_in", "grad b_in", "grad w_out", "grad b_out", "input_quantizer.sign"}
    for row in rows:
        assert always < set(row["of"]), row
        assert row["worst"] < 1e-9, row


KERNELS = """
import torch
from lutc.nn import kernels_triton as k
torch.manual_seed(0)
B, n_in, rows, n_out = 150, 3, 7, 5
table, grad = torch.randn(n_in, rows, n_out), torch.randn(B, n_out)
index = torch.randint(0, rows, (n_in, B), dtype=torch.int32)
x, level, offset = torch.randn(n_in, B), torch.randn(n_in, rows), torch.randn(n_in, rows)
hot = torch.nn.functional.one_hot(index.long(), rows).float()  # [n_in, B, rows]
near = dict(rtol=1e-5, atol=1e-5)
torch.testing.assert_close(k.gather_sum(table, index), torch.einsum("ibr,iro->bo", hot, table), **near)
by_row, by_error = k.scatter(grad, x, level, index)
torch.testing.assert_close(by_row, torch.einsum("ibr,bo->iro", hot, grad), **near)
error = x - torch.einsum("ibr,ir->ib", hot, level)
torch.testing.assert_close(by_error, torch.einsum("ibr,bo,ib->iro", hot, grad, error), **near)
want = torch.einsum("ibr,bo,iro->ib", hot, grad, table) + torch.einsum("ibr,ir->ib", hot, offset)
torch.testing.assert_close(k.through(grad, table, offset, index), want, **near)
index[1, 4], index[2, 149] = rows, -1
assert k.gather_sum(table, index).isnan().any(1).nonzero().ravel().tolist() == [4, 149]
"""


def test_kernels_are_their_formulas() -> None:
    interpreted("-c", KERNELS)


TRAINING = """
import copy, torch
from lutc.nn import LUTDense, grid_device
torch.manual_seed(0)
layer = LUTDense(3, 2, fraction=3)
x = torch.randn(200, 3)
x[5, 1] = float("nan")
try:
    grid_device.forward(layer, x)
except ValueError as e:
    assert "not finite" in str(e)
else:
    raise AssertionError("a NaN went unseen")
x[5, 1] = 1e5  # needs more rows than there are samples: by plain autograd
twin = copy.deepcopy(layer)
assert torch.equal(grid_device.forward(layer, x), twin.evaluate_reference(x)) and layer.room is None
x[5, 1] = 0
grid_device.forward(layer, x)
assert layer.room is not None
before = layer.input_quantizer.integer.clone()
layer.input_quantizer.frozen = True
grid_device.forward(layer, 3 * x)
assert torch.equal(before, layer.input_quantizer.integer)
"""


def test_what_cannot_be_trained_on_the_grid_and_frozen_ranges() -> None:
    interpreted("-c", TRAINING)


COMPILING = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lutc.nn import kernels_triton as k
for kernel in (k._gather_sum, k._scatter, k._through):
    types = dict.fromkeys(kernel.arg_names, "*fp32")
    types |= {name: "*i32" for name in ("index",)}
    types |= {name: "i32" for name in ("samples", "n_in", "rows", "n_out") if name in types}
    types |= {"S": "constexpr", "O": "constexpr"}
    constants = {(kernel.arg_names.index(name),): value for name, value in (("S", 64), ("O", 32))}
    made = triton.compile(ASTSource(kernel, types, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    print(len(made.asm["cubin"]))
"""


def test_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    """Down to Hopper's machine code, which needs no GPU; interpretation lets pass what the compiler refuses."""
    sizes = interpreted("-c", COMPILING, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path)).split()
    assert len(sizes) == 3
    assert all(int(size) > 1000 for size in sizes)
