"""What is known of a value beside what it is made of: found once, and kept with the value in its own dictionary.

Values never change, so a fact once found stays true. There are two kinds, which differ in what becomes of them when a
pass makes the same operation anew on other operands of the same types (`carry`):

* a *local* fact follows from the operation, its attributes and its operands' types, and is taken along; whatever
  `lutc.lazy` keeps with an operation is local, too;
* a fact *from below* follows from the graph under the value, and is left behind.

A fact is kept under a name that no field can have. Whoever wants a new one makes a `Fact`, and says which kind it is.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")

_FROM_BELOW: set[str] = set()


class Fact(Generic[T]):
    """Something that can be known of a value, a function or a design.

    `from_below` says that it follows from the graph under the value, not from the operation and its operands' types
    alone.
    """

    __slots__ = ("_key",)

    def __init__(self, name: str, *, from_below: bool) -> None:
        self._key = f"fact {name}"
        if from_below:
            _FROM_BELOW.add(self._key)

    def __contains__(self, thing: object) -> bool:
        return self._key in thing.__dict__

    def of(self, thing: object) -> T | None:
        """The fact, or None where it is not known."""
        return thing.__dict__.get(self._key)

    def keep(self, thing: object, found: T) -> T:
        """Note the fact, and give it back."""
        thing.__dict__[self._key] = found
        return found


def carry(old: object, new: object) -> dict[str, Any]:
    """Give `new`, which is to be `old` on other operands of the same types, all that is as true of it.

    Returns the dictionary of `new`, in which the fields that differ are still those of `old`.
    """
    kept = new.__dict__
    kept.update(old.__dict__)
    for fact in _FROM_BELOW:
        if fact in kept:
            del kept[fact]
    return kept
