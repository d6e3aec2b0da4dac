"""Refusals of all frontends: a layer that cannot be compiled, and the list of everything that cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from lutc.diagnostics import Diagnostic, LirError


class Refusal(Exception):
    """A layer that cannot be compiled exactly: the reason, and a way out."""

    def __init__(self, reason: str, help: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.help = help


@dataclass
class Refusals:
    """Collects what cannot be compiled, so that one run names all of it.

    `whole` is asked for what is to be said in place of a list: that something is wrong with the model as a whole.
    """

    found: list[Diagnostic] = field(default_factory=list)
    whole: Callable[[], LirError | None] = lambda: None

    def add(self, layer: str, reason: str, help: str | None = None) -> None:
        """Note that `layer` (its name and kind, as the user knows them) cannot be compiled, once per reason."""
        diagnostic = Diagnostic(reason, where=layer, help=help)
        if diagnostic not in self.found:
            self.found.append(diagnostic)

    @contextmanager
    def at(self, layer: str) -> Iterator[None]:
        """A `Refusal` raised inside becomes an entry of the list, and so does what the builder finds wrong."""
        try:
            yield
        except Refusal as e:
            self.add(layer, e.reason, e.help)
        except LirError as e:
            for d in e.diagnostics:
                self.add(layer, d.message, d.help)

    def check(self) -> None:
        """Raise LirError with everything found, if anything was; what many layers have in common is said once."""
        if self.found:
            raise self.whole() or LirError(*_once(self.found))


MANY = 5  # layers that may each have a message of their own, if it is the same
NAMED = 3  # layers that a message names


def named(layers: Sequence[str]) -> str:
    """The first few of many layers, and how many more there are."""
    more = len(layers) - NAMED
    first = ", ".join(layers[:NAMED])
    return first if more <= 0 else f"{first} and {more} more layer{'s' * (more > 1)}"


def _once(found: list[Diagnostic]) -> list[Diagnostic]:
    """One diagnostic for a reason (numbers in it aside) that more than a few layers share."""
    groups: dict[tuple[str, str | None], list[Diagnostic]] = {}
    for d in found:
        groups.setdefault(_kind(d), []).append(d)
    said = []
    for d in found:
        group = groups[_kind(d)]
        if len(group) <= MANY:
            said.append(d)
        elif d is group[0]:
            said.append(replace(d, where=named([e.where or "?" for e in group])))
    return said


def _kind(d: Diagnostic) -> tuple[str, str | None]:
    return re.sub(r"\d+", "0", d.message), d.help
