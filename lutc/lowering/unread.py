"""What is not read is refused: the options a layer was given, and those of them that its rule understood.

An importer that looks up the options it knows drops all others without a word, and with them their meaning. Here a
rule reads what it understands; whatever it left unread must have its neutral value (the one that changes nothing), or
the layer is refused by the name of the option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from lutc.lowering.refusals import Refusal


class _Free:
    """An option that never changes what a trained model computes: an initialiser, a regulariser, a name."""

    def __repr__(self) -> str:
        return "FREE"


FREE: Final = _Free()


class AnyOf:
    """Several values of an option that are all neutral."""

    def __init__(self, *values: Any) -> None:
        self.values = values


class Options(Mapping[str, Any]):
    """Options by name. Looking one up counts as understanding it; `peek`, `in` and iteration do not.

    `neutral` gives the value (or `FREE`, or `AnyOf`) at which an option may be left unread. `noun` is what messages
    call an option.
    """

    def __init__(
        self, given: Mapping[str, Any], neutral: Mapping[str, Any] | None = None, noun: str = "option"
    ) -> None:
        self._given = given
        self._neutral = neutral or {}
        self._noun = noun
        self._read: set[str] = set()
        self._below: dict[str, Options] = {}

    def __getitem__(self, name: str) -> Any:
        value = self._given[name]
        self._read.add(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def peek(self, name: str, default: Any = None) -> Any:
        """An option's value without understanding it."""
        return self._given.get(name, default)

    def changed(self, change: Callable[[Any], Any]) -> Options:
        """The same options with other values: what is looked up there counts here."""
        twin = Options(
            {name: change(value) for name, value in self._given.items()}, self._neutral, self._noun
        )
        twin._read, twin._below = self._read, self._below
        return twin

    def below(self, name: str, given: Mapping[str, Any], neutral: Mapping[str, Any] | None = None) -> Options:
        """Options inside the option `name`: what stays unread there is unread here, as `name.option`."""
        self._read.add(name)
        if name not in self._below or self._below[name]._given is not given:
            self._below[name] = Options(given, neutral, self._noun)
        return self._below[name]

    def unread(self) -> dict[str, Any]:
        """What nobody has looked up and is not neutral, by name."""
        left = {
            name: value
            for name, value in self._given.items()
            if name not in self._read and not self._is_neutral(name, value)
        }
        for name, inner in self._below.items():
            left |= {f"{name}.{inside}": value for inside, value in inner.unread().items()}
        return left

    def check(self) -> None:
        """Raise Refusal naming every option that is unread and not neutral."""
        left = self.unread()
        if not left:
            return
        said = ", ".join(f"{name}={_short(value)}" for name, value in left.items())
        several = "s" if len(left) > 1 else ""
        raise Refusal(
            f"sets the {self._noun}{several} {said}, which lutc does not read here",
            "leave it away or at its default: what lutc does not read it would drop",
        )

    def _is_neutral(self, name: str, value: Any) -> bool:
        if name not in self._neutral:
            return False
        neutral = self._neutral[name]
        if neutral is FREE:
            return True
        return any(same(value, v) for v in (neutral.values if isinstance(neutral, AnyOf) else (neutral,)))


def same(a: Any, b: Any) -> bool:
    """Whether two values of an option are equal: lists and tuples alike, arrays by their elements, 1 not True."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    return bool(a == b)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
