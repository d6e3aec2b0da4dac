"""Fixed-point quantisers whose bit widths are trained."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lutc.types import Overflow, Rounding

Array = NDArray[Any]
LN2 = 0.6931471805599453
_FAR = 1e4  # more bits than any format has
ROUNDINGS = (Rounding.FLOOR, Rounding.HALF_UP, Rounding.HALF_EVEN)


class Bits(NamedTuple):
    """Whole numbers as float tensors of a quantiser's shape: sign bit, bits before and after the point.

    ``integer`` and ``fraction`` carry gradients to the parameters they were rounded from.
    """

    sign: Tensor
    integer: Tensor
    fraction: Tensor

    @property
    def width(self) -> Tensor:
        """Wire width, at least 0; a width of 0 means that the value is pruned."""
        return torch.relu(self.sign + self.integer + self.fraction)


class Formats(NamedTuple):
    """A quantiser's formats as int64 tensors of its shape: sign bit, wire width (sign included), bits after the point.

    As in a type ``s8f4``: a value is ``code * 2**-frac``; width 0 is the number 0.
    """

    signed: Tensor
    width: Tensor
    frac: Tensor


def flat(v: Tensor) -> Array:
    """A CPU tensor as a flat NumPy array that shares its memory where it can."""
    v = v.float() if v.dtype is torch.bfloat16 else v  # which NumPy does not know
    return v.detach().contiguous().numpy().ravel()


class Views:
    """Flat NumPy views of a module's CPU tensors by name, kept for as long as the tensors keep their memory.

    Making one anew costs a few microseconds, which a training step of a small layer pays dozens of times.  Copies of
    the module begin with none.
    """

    def __init__(self) -> None:
        self._held: dict[Any, tuple[int, Array]] = {}

    def __call__(self, name: Any, tensor: Tensor) -> Array:
        held = self._held.get(name)
        if held is None or held[0] != tensor.data_ptr():
            view = flat(tensor)
            # the view's address: of a tensor that is not contiguous it is a copy's, which is made anew each time
            held = self._held[name] = view.ctypes.data, view
        return held[1]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Views, ()


def round_half_up(v: Tensor) -> Tensor:
    """Nearest integer, ties up, exactly (``floor(v + 0.5)`` is wrong where the sum itself is rounded)."""
    low = torch.floor(v)
    return low + (v - low >= 0.5).to(v.dtype)


def round_code(v: Tensor, rounding: Rounding) -> Tensor:
    """``v`` rounded to whole numbers."""
    if rounding is Rounding.HALF_UP:
        return round_half_up(v)
    return torch.floor(v) if rounding is Rounding.FLOOR else torch.round(v)


class _Through(torch.autograd.Function):
    """Another tensor's value with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, instead: Tensor) -> Tensor:
        return instead.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def through(v: Tensor, instead: Tensor) -> Tensor:
    """The value of ``instead`` exactly, with gradients to ``v`` (straight-through estimator)."""
    return _Through.apply(v, instead.detach())  # type: ignore[no-any-return, no-untyped-call]


class _FakeQuantize(torch.autograd.Function):
    """See `fake_quantize`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        sign: Tensor,
        integer: Tensor,
        fraction: Tensor,
        rounding: Rounding,
        overflow: Overflow | None,
    ) -> Tensor:
        scale = torch.exp2(fraction)
        code = round_code(x * scale, rounding)
        ctx.bounded = overflow in (Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC)
        ctx.symmetric = overflow is Overflow.SATURATE_SYMMETRIC
        if overflow is None:
            out = code / scale
            ctx.save_for_backward(x - out, integer, fraction)
            return out
        top, bottom = code_limits(sign, integer, fraction, symmetric=ctx.symmetric)
        if overflow is Overflow.WRAP:
            span = top - bottom + 1
            out = (code - torch.floor((code - bottom) / span) * span) / scale
            ctx.save_for_backward(x - code / scale, integer, fraction)
            return out
        above, below = code > top, code < bottom
        out = torch.maximum(torch.minimum(code, top), bottom) / scale
        ctx.save_for_backward(x - out, integer, fraction, above, below, sign)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        error, integer, fraction, *rest = ctx.saved_tensors
        if not ctx.bounded:
            return grad, None, None, (LN2 * grad * error).sum_to_size(fraction.shape), None, None
        above, below, sign = rest
        step, unit = torch.exp2(-fraction), torch.exp2(integer)
        zero = torch.zeros((), dtype=grad.dtype, device=grad.device)
        low_unit = -unit * sign
        low_step = sign * step if ctx.symmetric else zero
        by_fraction = torch.where(above, step, torch.where(below, -low_step, error))
        by_integer = torch.where(above, unit, torch.where(below, low_unit, zero))
        return (
            torch.where(above | below, zero, grad),
            None,
            (LN2 * grad * by_integer).sum_to_size(integer.shape),
            (LN2 * grad * by_fraction).sum_to_size(fraction.shape),
            None,
            None,
        )


def code_limits(sign: Tensor, integer: Tensor, fraction: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Largest and smallest code of a format; both 0 for one without bits."""
    whole = torch.floor(
        torch.exp2(integer + fraction)
    )  # 1 for a lone sign bit (codes -1 and 0), 0 for no bit at all
    top = torch.clamp(whole - 1, min=0)
    return top, -sign * (top if symmetric else whole)


def fake_quantize(x: Tensor, bits: Bits, rounding: Rounding, overflow: Overflow | None) -> Tensor:
    """``x`` rounded to multiples of ``2**-fraction`` and, unless ``overflow`` is None, brought into range.

    ``bits`` broadcasts to ``x``.  Gradients: of the value straight through, except where it saturates (0); of the bit
    widths as in HGQ (Sun et al., arXiv 2405.00645, eq. 9-12): the quantisation error x - x_q halves with each bit,
    hence d x_q / d fraction = ln 2 * (x - x_q); a saturated value is its limit 2**integer - 2**-fraction (or
    -2**integer) and has that limit's derivatives.  All of it exact in float64 for codes below 2**53.
    """
    return _FakeQuantize.apply(  # type: ignore[no-any-return, no-untyped-call]
        x, bits.sign, bits.integer, bits.fraction, rounding, overflow
    )


def extremes(v: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The least and greatest numbers of those that formats of a shape broadcast to, in that shape."""
    lead = tuple(range(v.dim() - len(shape)))
    low, high = (v.amin(lead), v.amax(lead)) if lead else (v, v)
    kept = tuple(a for a, n in enumerate(shape) if n == 1)
    return (low.amin(kept, keepdim=True), high.amax(kept, keepdim=True)) if kept else (low, high)


class Layer(nn.Module):
    """A module that remembers what it was made with, for `lutc.nn.save`."""

    made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        made = super().__new__(cls)
        object.__setattr__(made, "made_with", (args, options))
        return made


class Quantizer(Layer):
    """A fixed-point quantiser with trained bit widths.

    - `shape`: shape of the bit widths; it must broadcast to the data without the batch axis: ``()`` for one format per
      tensor, ``(channels, 1, 1)`` per channel of an image, the data's own shape per element.
    - `integer`, `fraction`: initial bits before (sign not counted) and after the point.
    - `total`: initial wire width, sign included.  If given, (total, integer) are the parameters instead of
      (integer, fraction), and fraction follows; not for ``"wrap"``.
    - `rounding`: ``"floor"``, ``"nearest-half-up"`` or ``"nearest-half-even"``.
    - `overflow`: ``"wrap"``: the integer bits and the sign are no parameters but follow the data: each training batch
      sets integer = max(integer - decay, what the batch needs), and likewise the sign; nothing wraps in training.
      ``"saturate"`` and ``"saturate-symmetric"``: the integer bits are trained, the sign is fixed.
    - `max_bits`: the wire width never exceeds it.

    In training ``forward`` gives the fake-quantised value with the gradients of `fake_quantize`; in evaluation it is
    the exact fixed-point function that hardware computes.  A width of 0 prunes: the value is 0.

    Raises ValueError for an unknown mode or a negative width.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> quantizer = nn.Quantizer(integer=1, fraction=2, overflow="saturate").eval()
    >>> quantizer(torch.tensor([0.3, -0.9, 5.0])).tolist()
    [0.25, -1.0, 1.75]
    """

    sign: Tensor
    integer: Tensor
    fraction: Tensor
    total: Tensor

    def __init__(
        self,
        shape: tuple[int, ...] = (),
        *,
        integer: float = 2,
        fraction: float = 6,
        total: float | None = None,
        signed: bool = True,
        rounding: str = "nearest-half-up",
        overflow: str = "wrap",
        trainable: bool = True,
        decay: float = 0.01,
        max_bits: int = 24,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.rounding, self.overflow = Rounding(rounding), Overflow(overflow)
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"rounding {rounding!r} is not one of {', '.join(r.value for r in ROUNDINGS)}")
        if total is not None:
            fraction = total - signed - integer
        if total is not None and self.overflow is Overflow.WRAP:
            raise ValueError("a wrapping quantiser's integer bits follow the data: give fraction, not total")
        if signed + integer + fraction < 0 or max_bits < 0:
            raise ValueError("a quantiser cannot have a negative number of bits")
        self.by_total, self.decay, self.max_bits = total is not None, decay, max_bits
        self.tracks = self.overflow is Overflow.WRAP
        self.frozen = False  # ranges stay as they are
        self.tracing = False  # ranges only grow, in evaluation too
        self.elements = math.prod(self.shape)  # in a sample of the last data
        self._views = Views()
        first = torch.full(self.shape, float(fraction if total is None else total))
        second = torch.full(self.shape, float(integer))
        self.register_buffer("sign", torch.full(self.shape, float(signed)))
        self._hold("total" if self.by_total else "fraction", first, trainable)
        self._hold("integer", second, trainable and not self.tracks)

    def _hold(self, name: str, value: Tensor, trainable: bool) -> None:
        if trainable:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    @property
    def precision(self) -> Tensor:
        """The tensor that is trained: ``fraction``, or ``total`` for a quantiser parametrised so."""
        return self.total if self.by_total else self.fraction

    def bits(self) -> Bits:
        """The formats in use, differentiable in the trained widths."""
        sign = torch.ceil(self.sign)
        integer = (
            torch.ceil(self.integer) if self.tracks else through(self.integer, torch.round(self.integer))
        )
        if self.by_total:
            wide = through(self.total, torch.round(torch.clamp(self.total, 0, self.max_bits)))
            return Bits(sign, integer, wide - sign - integer)
        room = self.max_bits - sign - integer.detach()
        return Bits(sign, integer, through(self.fraction, torch.minimum(torch.round(self.fraction), room)))

    def plain(self, project: bool = False) -> Array:
        """`bits` as a NumPy array [3, number of formats], for the compiled kernels (CPU only), after `project`."""
        from . import kernels

        v = self._views
        own = v("sign", self.sign), v("integer", self.integer), v("precision", self.precision)
        made: Array = kernels.formats(*own, self.tracks, self.by_total, self.max_bits, project)
        return made

    def grid(self, mode: int, project: bool) -> Array:
        """`plain`, with what follows from the bits: see `lutc.nn.kernels_quantise.grid`."""
        from . import kernels_quantise as kernels

        v = self._views
        own = v("sign", self.sign), v("integer", self.integer), v("precision", self.precision)
        made: Array = kernels.grid(*own, self.tracks, self.by_total, self.max_bits, project, mode)
        return made

    def pull(self, fraction: Array, integer: Array) -> tuple[Tensor, Tensor | None]:
        """Gradients at (`precision`, ``integer``) from those at the fraction and integer bits, flat as in `plain`."""
        first = torch.from_numpy(fraction.reshape(self.shape))
        if self.tracks:
            return first, None
        if self.by_total:
            integer = integer - fraction
        return first, torch.from_numpy(integer.reshape(self.shape))

    @torch.no_grad()
    def project(self) -> None:
        """Keep the trained widths where `max_bits` lets them count, so that none drifts out of reach."""
        if self.by_total:
            self.total.clamp_(0, self.max_bits)
        else:
            room = self.max_bits - torch.ceil(self.sign) - torch.ceil(self.integer)
            torch.minimum(self.fraction, room, out=self.fraction.detach())

    def formats(self) -> Formats:
        """The formats in use, as whole numbers."""
        with torch.no_grad():
            sign, integer, fraction = (v.to(torch.int64) for v in self.bits())
        width = torch.clamp(sign + integer + fraction, min=0)
        return Formats(torch.where(width > 0, sign, 0), width, torch.where(width > 0, fraction, 0))

    def resources(self) -> Tensor:
        """LUTs of rounding and of limiting the range of the last data's elements; see `lutc.nn.costs`."""
        from .costs import rounding, total

        return total([rounding(self)])

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """The widths, twice: of what it gives, and of what the next layer reads."""
        width = self.formats().width
        return width, width

    def forward(self, x: Tensor) -> Tensor:
        elements = math.prod(x.shape[1:])
        if elements != self.elements:
            self.elements = elements
        if self.training and not self.tracing:
            from . import fused

            size = fused.can(self, x)
            if size is not None:
                return self._fused(size, False, x)
        if self.training:
            self.project()
        bits = self.bits()
        if self.tracks and (self.training or self.tracing):
            y = fake_quantize(x, bits, self.rounding, None)
            if not self.frozen or self.tracing:
                self._track(y.detach(), bits.fraction.detach())
            return y
        if self.training:
            return fake_quantize(x, bits, self.rounding, self.overflow)
        return self.exact(x)

    def _fused(self, size: tuple[int, int, int], constant: bool, x: Tensor) -> Tensor:
        from .fused import FakeQuantize

        made: Tensor = FakeQuantize.apply(  # type: ignore[no-untyped-call]
            self, size, constant, x, self.precision, self.integer
        )
        return made

    def exact(self, x: Tensor) -> Tensor:
        """The fixed-point function itself: no gradient, computed in float64, in ``x``'s type."""
        with torch.no_grad():
            bits = Bits(*(v.double() for v in self.bits()))
            return fake_quantize(x.double(), bits, self.rounding, self.overflow).to(x.dtype)

    def constant(self, w: Tensor) -> Tensor:
        """A weight through this quantiser.  A wrapping one takes the range the weight needs, at any time."""
        if not self.tracks:
            y: Tensor = self(w)
            return y
        if self.training:
            from . import fused

            size = fused.can(self, w)
            if size is not None:
                return self._fused(size, True, w)
        self._fit(w)
        if self.training:
            return fake_quantize(w, self.bits(), self.rounding, None)
        return self.exact(w)

    @torch.no_grad()
    def _fit(self, w: Tensor) -> None:
        """Take the range that a weight needs: of the weight alone, whatever the range was before.

        Where the widest format (`max_bits`) leaves fewer fraction bits, the weight rounds to a coarser step and may
        need a wider range for that, so it is asked again until nothing changes.
        """
        self.integer.fill_(-_FAR)  # room for all fraction bits
        first = True
        while True:
            before = self.integer.clone(), self.sign.clone()
            self._track(round_code(w * torch.exp2(self.bits().fraction), self.rounding), None, forget=True)
            if not first:
                torch.maximum(self.integer, before[0], out=self.integer)
                torch.maximum(self.sign, before[1], out=self.sign)
            settled = torch.equal(self.integer, before[0]) and torch.equal(self.sign, before[1])
            if settled or not (self.bits().fraction < torch.round(self.fraction)).any():
                return
            first = False

    def _track(self, y: Tensor, fraction: Tensor | None, forget: bool = False) -> None:
        code = y if fraction is None else y * torch.exp2(fraction)
        self.track(*extremes(code, self.shape), forget)

    @torch.no_grad()
    def track(self, low: Tensor, high: Tensor, forget: bool = False) -> None:
        """Let the ranges follow codes from ``low`` to ``high`` (float tensors of the quantiser's shape).

        With `torch.distributed` running, the extremes are those over all ranks.
        """
        low, high = torch.clamp(low, max=0).expand(self.shape), torch.clamp(high, min=0).expand(self.shape)
        if not forget and torch.distributed.is_available() and torch.distributed.is_initialized():
            both = torch.stack([-low, high])
            torch.distributed.all_reduce(both, torch.distributed.ReduceOp.MAX)
            low, high = -both[0], both[1]
        fraction = self.bits().fraction
        # bit_length(high) for the upper end, bit_length(-low - 1) for the lower: two's complement reaches one further
        need = torch.maximum(torch.frexp(high)[1], torch.frexp(torch.clamp(-low - 1, min=0))[1]) - fraction
        negative = (low < 0).to(self.sign.dtype)
        decay = float("inf") if forget else 0.0 if self.tracing else self.decay
        self.integer.copy_(torch.maximum(self.integer - decay, need.to(self.integer.dtype)))
        self.sign.copy_(torch.maximum(self.sign - decay, negative))

    def follow(self, low: Array, high: Array, place: Array, group: Array, fraction: Array) -> None:
        """`track` for the compiled kernels: extreme codes by group, edges' places and the places' groups."""
        from . import kernels

        decay = 0.0 if self.tracing else self.decay
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            edges = group[place]  # the groups are the same on all ranks, for they stand on parameters alone
            like = self.integer
            first, last = (torch.from_numpy(v[edges]).to(like.dtype).view(self.shape) for v in (low, high))
            self.track(first, last)
        else:
            v = self._views
            integer, sign = v("integer", self.integer), v("sign", self.sign)
            kernels.follow(low, high, place, group, fraction, integer, sign, decay)

    def reached(self, low: Array, high: Array, fraction: Array) -> None:
        """`track` for `lutc.nn.fused`: extreme codes by block and format."""
        from . import kernels_quantise as kernels

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            first, last = low.min(0).reshape(self.shape), high.max(0).reshape(self.shape)
            self.track(torch.from_numpy(first), torch.from_numpy(last))
        else:
            v = self._views
            kernels.follow(low, high, fraction, v("integer", self.integer), v("sign", self.sign), self.decay)

    def fit(self, w: Array, rounding: int) -> None:
        """`_fit` for `lutc.nn.fused`: of constants [outer, formats, inner]."""
        from . import kernels_quantise as kernels

        v = self._views
        own = v("precision", self.precision), v("integer", self.integer), v("sign", self.sign)
        kernels.fit(w, own[0], self.max_bits, rounding, own[1], own[2])

    @torch.no_grad()
    def reset_range(self) -> None:
        """Forget the tracked range, before tracing it anew on calibration data.  Nothing for saturating quantisers."""
        if self.tracks:
            self.integer.copy_(-self.bits().fraction)
            self.sign.zero_()

    def extra_repr(self) -> str:
        f = self.formats()
        mean = f.width.double().mean().item()
        return f"shape={self.shape}, mean width={mean:.2f}, {self.rounding.value}, {self.overflow.value}"
