"""`lazy`: a `functools.cached_property` without the lock that one takes before Python 3.12, at a third of its cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    lazy = cached_property
else:

    class lazy:  # it stands where a function would
        """Computes an attribute when it is first read, and keeps it in the object's own dictionary."""

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self.compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, thing: Any, owner: type | None = None) -> Any:
            if thing is None:
                return self
            value = thing.__dict__[self.name] = self.compute(thing)
            return value
