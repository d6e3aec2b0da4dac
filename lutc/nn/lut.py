"""LUT layers: a trained truth table on every edge (HGQ-LUT, arXiv 2604.22293)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutc.types import Overflow, Rounding

from . import grid_device, kernels
from .grid import ROUND, GridLUT, Norm, Settings, Surrogate
from .kernel_records import Keys
from .points import Layout, spread
from .quantizer import Array, Formats, Layer, Quantizer, Views, fake_quantize, flat, round_code

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "sin": torch.sin,
}
_COMPILED = {"tanh": kernels.TANH, "relu": kernels.RELU}
_MAX_KEY_BITS = 16
_CHUNK = 1 << 20


def table_luts(m: Tensor, n: Tensor) -> Tensor:
    """LUTs of tables with m key and n value bits (tensors of one shape), differentiable in both.

    HGQ-LUT, arXiv 2604.22293: n * 2**(Y - X) * phi(m) + n with (X, Y) = (6, 5), phi(m) = 2**(m - Y) for m >= Y, else
    m / Y.
    """
    return n * (0.5 * torch.where(m >= 5, torch.exp2(m - 5), m / 5) + 1)


@dataclass(frozen=True)
class LutTables:
    """The truth tables of a layer, as hardware stores them; edges are numbered ``i * n_out + o``.

    keys, values: formats by edge, [n_in, n_out].  codes: all tables one after the other (int64), each from its lowest
    key code to its highest; edge e has the part from at[e] to at[e + 1], one entry per key (2**width of them).
    """

    keys: Formats
    values: Formats
    codes: Array
    at: Array

    @property
    def lowest(self) -> Array:
        """The lowest key code by edge."""
        return -np.where(flat(self.keys.signed) > 0, 1 << np.maximum(flat(self.keys.width) - 1, 0), 0)

    def reals(self) -> Array:
        """All entries as numbers (float64)."""
        steps = np.exp2(-flat(self.values.frac).astype(np.float64))
        values: Array = self.codes * np.repeat(steps, np.diff(self.at))
        return values


def surrogate(layers: Sequence[LUTDense]) -> Tensor:
    """`LUTDense.resources` of all these layers, which are on the CPU."""
    costed, parameters = [], []
    for layer in layers:
        iq, tq = layer.input_quantizer, layer.table_quantizer
        costed.append((iq, tq, layer.positions))
        parameters += [iq.precision, iq.integer, tq.precision, tq.integer]
    total: Tensor = Surrogate.apply(costed, *parameters)  # type: ignore[no-untyped-call]
    return total


class LUTDense(Layer):
    """``y_o = sum_i T_io(x_i)``: a table for every edge, trained as a small network between two quantisers.

    On edge (i, o): the input quantiser of the edge, a network with one input, ``depth`` hidden layers of ``hidden``
    units and one output; if ``batch_norm``, a batch norm of the value (statistics per output over samples and
    inputs, as in HGQ-LUT), divided by sqrt(n_in); the table quantiser of the edge.  Inputs [..., n_in], outputs
    [..., n_out].

    - `activation`: name in `ACTIVATIONS`; with depth 1, "tanh" and "relu" have compiled networks.
    - `integer`, `fraction`, `rounding`, `overflow`, `max_key_bits`: the input quantisers (`Quantizer`); key
      widths <= 16.
    - `table_integer`, `table_fraction`: the table quantisers, of (total, integer) bits, saturating symmetrically.
    - `momentum`, `eps`: of the batch norm, in torch's sense of momentum.
    - `weight_scale`: of the initial weights. Where a batch norm sets the outputs' size anyway, 0.3 lets the tables
      begin smooth: in long trainings such ones need fewer key bits and overfit less.
    - `method`: "grid" trains on the grid (`lutc.nn.grid` on a CPU, `lutc.nn.grid_device` on a GPU); "reference"
      is plain autograd; "auto" takes the grid where it can.  Both give the same values and gradients.

    In evaluation the layer is its tables: exact fixed-point arithmetic, without gradient, computed in float64 and
    returned in the input's type (exact there for results of up to 24 bits in float32, 53 in float64).

    Raises ValueError for a bad option, or for inputs of another width.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> layer = nn.LUTDense(16, 5, fraction=2)
    >>> layer(torch.rand(8, 16)).shape
    torch.Size([8, 5])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        hidden: int = 8,
        depth: int = 1,
        activation: str = "tanh",
        batch_norm: bool = True,
        integer: float = 2,
        fraction: float = 6,
        rounding: str = "nearest-half-up",
        overflow: str = "wrap",
        max_key_bits: int = 12,
        table_integer: float = 2,
        table_fraction: float = 6,
        momentum: float = 0.01,
        eps: float = 1e-3,
        weight_scale: float = 1.0,
        method: str = "auto",
    ) -> None:
        super().__init__()
        if min(n_in, n_out, hidden, depth) < 1:
            raise ValueError("n_in, n_out, hidden and depth must be at least 1")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
        if method not in ("auto", "grid", "reference"):
            raise ValueError(f"method {method!r} is not one of auto, grid, reference")
        if not 0 <= max_key_bits <= _MAX_KEY_BITS:
            raise ValueError(f"max_key_bits must be 0 to {_MAX_KEY_BITS}, not {max_key_bits}")
        self.n_in, self.n_out, self.hidden, self.depth = n_in, n_out, hidden, depth
        self.activation, self.method, self.momentum, self.eps = activation, method, momentum, eps
        self.weight_scale = weight_scale
        edge = (n_in, n_out)
        self.input_quantizer = Quantizer(
            edge,
            integer=integer,
            fraction=fraction,
            rounding=rounding,
            overflow=overflow,
            max_bits=max_key_bits,
        )
        self.table_quantizer = Quantizer(
            edge,
            integer=table_integer,
            total=1 + table_integer + table_fraction,
            overflow="saturate-symmetric",
        )
        self.w_in = nn.Parameter(torch.empty(*edge, hidden))
        self.b_in = nn.Parameter(torch.empty(*edge, hidden))
        if depth > 1:
            self.w_mid = nn.Parameter(torch.empty(*edge, depth - 1, hidden, hidden))
            self.b_mid = nn.Parameter(torch.zeros(*edge, depth - 1, hidden))
        self.w_out = nn.Parameter(torch.empty(*edge, hidden))
        self.b_out = nn.Parameter(torch.zeros(*edge))
        self.batch_norm = batch_norm
        if batch_norm:
            self.gamma = nn.Parameter(torch.ones(n_out))
            self.beta = nn.Parameter(torch.zeros(n_out))
            self.register_buffer("running_mean", torch.zeros(n_out))
            self.register_buffer("running_var", torch.ones(n_out))
        self._layout: Layout | None = None
        self._views = Views()
        self.room: int | None = None  # rows of the last batch on a GPU, see `lutc.nn.grid_device`
        self.positions = (
            1  # how often hardware has the layer: the product of the axes between the first and the last
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: for scale 1 hidden units that bend within the input's usual range, outputs of unit size."""
        nn.init.normal_(self.w_in, std=self.weight_scale)
        nn.init.uniform_(self.b_in, -self.weight_scale, self.weight_scale)
        if self.depth > 1:
            nn.init.normal_(self.w_mid, std=1 / math.sqrt(self.hidden))
        fan = self.hidden * (1 if self.batch_norm else self.n_in)
        nn.init.normal_(self.w_out, std=self.weight_scale / math.sqrt(fan))

    @property
    def weights(self) -> list[Tensor]:
        """What `network` takes."""
        middle = [self.w_mid, self.b_mid] if self.depth > 1 else []
        return [self.w_in, self.b_in, self.w_out, self.b_out, *middle]

    def network(
        self, x: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, *middle: Tensor
    ) -> Tensor:
        """The edges' networks at ``x`` [..., *edges], for weights [*edges, ...]."""
        act = ACTIVATIONS[self.activation]
        h = act(x[..., None] * w_in + b_in)
        for k in range(self.depth - 1):
            h = act(torch.einsum("...d,...ed->...e", h, middle[0].select(-3, k)) + middle[1].select(-2, k))
        return (h * w_out).sum(-1) + b_out

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.n_in:
            raise ValueError(f"LUTDense takes {self.n_in} inputs, not {x.shape[-1]}")
        positions = math.prod(x.shape[1:-1])
        if positions != self.positions:
            self.positions = positions
        rows = x if x.dim() == 2 else x.reshape(-1, self.n_in)
        if not self.training and not self.input_quantizer.tracing:
            y = self._exact(rows)
        elif self.method == "reference" or (self.method == "auto" and not self._grid_can(rows)):
            y = self.evaluate_reference(rows)
        elif rows.is_cuda:
            y = grid_device.forward(self, rows)
        else:
            y = self._grid(rows)
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], self.n_out)

    def _grid_can(self, x: Tensor) -> bool:
        return (
            (x.device.type == "cpu" or (x.is_cuda and find_spec("triton") is not None))
            and x.dtype == self.w_in.dtype
            and x.dtype in (torch.float32, torch.float64)
        )

    # -- training -----------------------------------------------------------------------------------------------

    def evaluate_reference(self, x: Tensor) -> Tensor:
        """The layer on [B, n_in] by plain autograd: what the grid is tested against, and runs anywhere."""
        xq = self.input_quantizer(x[:, :, None].expand(-1, -1, self.n_out))
        t = self.network(xq, *self.weights)
        if self.batch_norm:
            if self.training:
                mean, var = t.mean((0, 1)), t.var((0, 1), unbiased=False)
                self.keep(mean.detach(), var.detach())
            else:
                mean, var = self.running_mean, self.running_var
            t = ((t - mean) * torch.rsqrt(var + self.eps) * self.gamma + self.beta) / math.sqrt(self.n_in)
        return fake_quantize(t, self.table_quantizer.bits(), *self._table_modes).sum(1)

    @property
    def _table_modes(self) -> tuple[Rounding, Overflow]:
        return self.table_quantizer.rounding, self.table_quantizer.overflow

    @torch.no_grad()
    def keep(self, mean: Tensor, var: Tensor) -> None:
        """Let the running statistics follow a batch's."""
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(var.to(self.running_var), self.momentum)

    def _grid(self, x: Tensor) -> Tensor:
        iq, tq, view = self.input_quantizer, self.table_quantizer, self._views
        norm: Norm | None = None
        affine: tuple[Tensor | None, Tensor | None] = (None, None)
        if self.batch_norm:
            affine = (self.gamma, self.beta)
            running = view("mean", self.running_mean), view("var", self.running_var)
            norm = Norm(self.eps, math.sqrt(self.n_in), self.training, self.momentum, *running)
        compiled = self.depth == 1 and self.activation in _COMPILED
        network = None if compiled else self.network
        settings = Settings(iq, tq, view, _COMPILED.get(self.activation, -1), norm, network, self._layout)
        y: Tensor = GridLUT.apply(  # type: ignore[no-untyped-call]
            settings, x, iq.precision, iq.integer, tq.precision, tq.integer, *affine, *self.weights
        )
        if settings.layout is not self._layout:
            self._layout = settings.layout
        return y

    # -- fixed point --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def tables(self) -> LutTables:
        """The truth tables: every edge at all its input codes, in one float64 evaluation."""
        keys, values = self.input_quantizer.formats(), self.table_quantizer.formats()
        width = flat(keys.width)
        at = np.append(0, np.cumsum(1 << width))
        lowest = -np.where(flat(keys.signed) > 0, 1 << np.maximum(width - 1, 0), 0)
        edge = np.repeat(np.arange(width.size), 1 << width)
        code = np.arange(at[-1]) - at[edge] + lowest[edge]
        if self.input_quantizer.overflow is Overflow.SATURATE_SYMMETRIC:  # the lowest code is never read
            code = np.maximum(code, np.minimum(lowest + 1, 0)[edge])
        x = code * np.exp2(-flat(keys.frac).astype(np.float64))[edge]
        weights = [w.detach().double().cpu().reshape(-1, *w.shape[2:]) for w in self.weights]
        bits = self.table_quantizer.bits()
        fraction, whole = (flat(v.double().cpu()) for v in (bits.fraction, bits.integer + bits.fraction))
        limit = torch.from_numpy(np.maximum(np.floor(np.exp2(whole)) - 1, 0))
        scale = torch.from_numpy(np.exp2(fraction))
        parts = []
        for first in range(0, x.size, _CHUNK):
            here = torch.from_numpy(edge[first : first + _CHUNK])
            t = self.network(torch.from_numpy(x[first : first + _CHUNK]), *(w[here] for w in weights))
            if self.batch_norm:
                gain, bias = self._affine()
                t = t * gain[here % self.n_out] + bias[here % self.n_out]
            v = round_code(t * scale[here], self.table_quantizer.rounding)
            parts.append(torch.clamp(v, -limit[here], limit[here]).to(torch.int64).numpy())
        return LutTables(keys, values, np.concatenate(parts), at)

    def _affine(self) -> tuple[Tensor, Tensor]:
        """The batch norm as gain and bias by output, float64."""
        mean, var, gamma, beta = (
            v.detach().double().cpu() for v in (self.running_mean, self.running_var, self.gamma, self.beta)
        )
        gain = gamma * torch.rsqrt(var + self.eps) / math.sqrt(self.n_in)
        return gain, beta / math.sqrt(self.n_in) - mean * gain

    @torch.no_grad()
    def _exact(self, x: Tensor) -> Tensor:
        tables = self.tables()
        iq = self.input_quantizer
        xt = np.ascontiguousarray(x.detach().double().cpu().t().numpy())
        if not np.isfinite(xt).all():
            raise ValueError("an input of a LUT layer is not finite")
        fraction = flat(
            iq.bits().fraction.double().cpu()
        )  # also where the format has no bits: the key is then 0
        out = np.empty((self.n_out, len(x)))
        entries, rounding = 1 << flat(tables.keys.width), ROUND[iq.rounding]
        keys = Keys(np.exp2(fraction), tables.lowest, entries, tables.at, rounding, iq.tracks)
        spread(2 * xt.size * self.n_out, self.n_out, kernels.look_up, xt, keys, tables.reals(), out)
        return torch.from_numpy(out).t().to(x)

    # -- resources ----------------------------------------------------------------------------------------------

    def resources(self) -> Tensor:
        """LUTs of the layer at all its positions, differentiable in the bit widths: `table_luts` of every edge."""
        if self.w_in.device.type == "cpu":
            return surrogate([self])
        m, n = self.input_quantizer.bits().width, self.table_quantizer.bits().width
        return table_luts(m, n).sum() * self.positions

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of keys and values by edge."""
        return self.input_quantizer.formats().width, self.table_quantizer.formats().width

    def extra_repr(self) -> str:
        return f"{self.n_in}, {self.n_out}, hidden={self.hidden}, depth={self.depth}, batch_norm={self.batch_norm}"
