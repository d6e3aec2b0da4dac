"""Data to train on, in whatever form people have them, as batches of inputs, targets and weights."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from lutc.files.foreign import first_line

from .mistakes import SettingMistake

FORMS = "(x, y) or (x, y, weights) of tensors or arrays, a Dataset, a DataLoader, or another iterable of such batches"
Tree = Any  # a tensor, or tuples, lists and dicts of them


class Batch(NamedTuple):
    """Samples along axis 0: what the model reads, what the loss reads beside its answer, weights [samples] or None."""

    x: Tree
    y: Tree
    weight: Tensor | None = None


def mapped(tree: Tree, change: Callable[[Any], Any]) -> Tree:
    """A tree with every leaf changed."""
    if isinstance(tree, Mapping):
        return {k: mapped(v, change) for k, v in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(mapped(v, change) for v in tree)
    return change(tree)


def leaves(tree: Tree) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves(part)
    else:
        yield tree


def joined(trees: list[Tree]) -> Tree:
    """Trees of one form, one after the other along axis 0."""
    first = trees[0]
    if isinstance(first, Mapping):
        return {k: joined([t[k] for t in trees]) for k in first}
    if isinstance(first, tuple | list):
        return tuple(joined([t[k] for t in trees]) for k in range(len(first)))
    return torch.cat(trees) if first.dim() else torch.stack(trees)


def called(model: Callable[..., Any], x: Tree) -> Any:
    """The model's answer: several inputs are its arguments, by place (a tuple) or name (a dict)."""
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple | list) else model(x)


@contextmanager
def unmoved() -> Iterator[None]:
    """Random numbers that are drawn inside are not drawn outside."""
    state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(state[0])
    np.random.set_state(state[1])


class Source:
    """Batches of one argument, ``where``; tensors move to the model's device, and float64 arrays to its float type.

    Raises SettingMistake for what is no data, empty, of unequal lengths, or not finite.
    """

    def __init__(
        self, where: str, data: Any, model: nn.Module, *, batch: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.where, self.seed, self.rank, self.ranks = where, seed, rank, ranks
        like = next((p for p in model.parameters() if p.dtype.is_floating_point), torch.zeros(()))
        self._device, self._dtype = like.device, like.dtype
        self.whole: Batch | None = None
        self.loader: Any = None
        self.batch = batch
        if type(data) is TensorDataset and len(data.tensors) in (2, 3):
            data = data.tensors
        if isinstance(data, tuple):
            self.whole = self._whole(data)
            self.batch = min(batch, self.length)
        elif isinstance(data, Dataset):
            self.loader = self._loader(data, batch)
        elif isinstance(data, Iterator):
            help = "give a list of batches, or an object whose __iter__ begins anew"
            raise SettingMistake(where, f"a {type(data).__name__} gives its batches only once", help)
        elif isinstance(data, Iterable) and not isinstance(data, Tensor | np.ndarray | Mapping | str):
            self.loader = data
        else:
            raise SettingMistake(where, f"a {type(data).__name__} is not {FORMS}")
        self.first = self._first()

    # -- forms ----------------------------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        """Samples of whole tensors."""
        assert self.whole is not None
        return len(next(leaves(self.whole.x)))

    def _whole(self, data: tuple[Any, ...]) -> Batch:
        made = self._batch(data)
        sizes = {tuple(v.shape[:1]) for part in made if part is not None for v in leaves(part)}
        if len(sizes) != 1 or sizes in ({()}, {(0,)}):
            lengths = ", ".join(str(list(v.shape)) for part in made if part is not None for v in leaves(part))
            raise SettingMistake(self.where, f"no samples, or not equally many of each: shapes {lengths}")
        problem = unfit(made)
        if problem:
            raise SettingMistake(
                self.where, problem, "leave those samples away, or put numbers in their places"
            )
        return made

    def _loader(self, data: Dataset[Any], batch: int) -> DataLoader[Any]:
        if isinstance(data, IterableDataset):
            return DataLoader(data, batch // self.ranks or 1)
        if not isinstance(data, Sized) or not len(data):
            raise SettingMistake(self.where, f"a {type(data).__name__} without samples, or without a length")
        size = min(batch, len(data))
        if self.ranks > 1:
            shares: Any = DistributedSampler(data, self.ranks, self.rank, seed=self.seed, drop_last=True)
            return DataLoader(data, max(size // self.ranks, 1), sampler=shares, drop_last=True)
        order = torch.Generator()
        return DataLoader(
            data, size, shuffle=self.where == "train", generator=order, drop_last=self.where == "train"
        )

    def _batch(self, given: Any) -> Batch:
        """What a loader gave, as tensors in place."""
        if isinstance(given, list | tuple) and len(given) in (2, 3):
            x, y, *rest = given
            try:
                weight = self._tensor(rest[0]) if rest and rest[0] is not None else None
                return Batch(mapped(x, self._tensor), mapped(y, self._tensor), weight)
            except (TypeError, ValueError, RuntimeError) as e:
                raise SettingMistake(self.where, f"no tensors: {first_line(e)}") from None
        raise SettingMistake(
            self.where,
            f"a batch is a {type(given).__name__}"
            + (f" of {len(given)}" if isinstance(given, Sized) else ""),
            "a batch is (x, y), or (x, y, weights)",
        )

    def _tensor(self, value: Any) -> Tensor:
        made = value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
        if made.dtype == torch.float64 and not isinstance(value, Tensor):
            made = made.to(self._dtype)
        return made.to(self._device, non_blocking=True)

    def _first(self) -> Batch:
        if self.whole is not None:
            return self.rows(slice(0, min(self.batch, self.length)))
        with unmoved():
            try:
                given = next(iter(self.loader), None)
            except Exception as e:  # whatever a user's data set raises
                raise SettingMistake(
                    self.where, f"its first batch fails: {type(e).__name__}: {first_line(e)}"
                ) from e
        if given is None:
            raise SettingMistake(self.where, "there is no batch")
        made = self._batch(given)
        if problem := unfit(made):
            raise SettingMistake(
                self.where, problem, "leave those samples away, or put numbers in their places"
            )
        return made

    # -- batches ----------------------------------------------------------------------------------------------------

    def rows(self, which: Any) -> Batch:
        """Some samples of whole tensors."""
        assert self.whole is not None
        x, y, weight = self.whole
        if isinstance(x, Tensor) and isinstance(y, Tensor):  # by far the most, and every microsecond counts
            return Batch(x[which], y[which], None if weight is None else weight[which])
        return Batch(
            mapped(x, lambda v: v[which]),
            mapped(y, lambda v: v[which]),
            None if weight is None else weight[which],
        )

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch to train on: shuffled by seed and epoch, and of this rank's share."""
        if self.whole is None:
            self._seed(number)
            yield from map(self._batch, self.loader)
            return
        own = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(self.length, generator=own)
        for first in range(0, self.length - self.batch + 1, self.batch):
            yield self.rows(order[first : first + self.batch][self.rank :: self.ranks])

    def _seed(self, number: int) -> None:
        """Let all that shuffles a loader begin anew with the epoch, so that a resumed run meets the same order."""
        loader = self.loader
        samplers = [getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
        samplers += [getattr(s, "sampler", None) for s in samplers]
        for part in (loader, *samplers):
            if isinstance(getattr(part, "generator", None), torch.Generator):
                part.generator.manual_seed(self.seed * 1_000_003 + number)
            if callable(getattr(part, "set_epoch", None)):
                part.set_epoch(number)

    def all(self) -> Iterator[Batch]:
        """All samples once, in whatever order, moving no random number outside."""
        if self.whole is not None:
            yield self.whole
            return
        with unmoved():
            self._seed(0)
            made = [self._batch(given) for given in self.loader]
        yield from made


def unfit(batch: Batch) -> str | None:
    """What of a batch is not finite, or no weight; None if nothing is."""
    for name, part in (("inputs", batch.x), ("targets", batch.y), ("weights", batch.weight)):
        for k, v in enumerate(leaves(part)):
            if isinstance(v, Tensor) and v.dtype.is_floating_point and not bool(torch.isfinite(v).all()):
                bad = (~torch.isfinite(v)).nonzero()[0].tolist()
                which = f"{name}[{k}]" if isinstance(part, Mapping | tuple | list) else name
                return f"the {which} hold numbers that are not finite, the first at {bad}"
    w = batch.weight
    if w is not None and (w.dim() != 1 or bool((w < 0).any()) or not bool((w > 0).any())):
        return f"the weights, of shape {list(w.shape)}, are no numbers [samples] of at least 0, some of them more"
    return None
