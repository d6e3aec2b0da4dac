"""The op table: every operation there is, one row each. `lutc ops` prints it, `ir_spec/ops.md` is made from it.

A row is a class with a keyword in one of the families' files. It is in the table because it stands there; to be had
from here, for users and for mypy, it is named in the `__all__` of its file.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType

from lutc.ir.ops import arith, convert, flow, logic, moves, products, sums, table, tensor
from lutc.ir.ops.arith import *
from lutc.ir.ops.base import Op
from lutc.ir.ops.convert import *
from lutc.ir.ops.flow import *
from lutc.ir.ops.logic import *
from lutc.ir.ops.moves import *
from lutc.ir.ops.products import *
from lutc.ir.ops.sums import *
from lutc.ir.ops.table import *
from lutc.ir.ops.tensor import *

# In the order of the table: values from nothing, arithmetic, bits, formats, then tensors and what moves whole values.
FAMILIES = (table, arith, sums, products, logic, convert, tensor, moves, flow)


def _rows(family: ModuleType) -> Iterator[type[Op]]:
    """The operations of a file, in its order; classes without a keyword are what some of them have in common."""
    classes = [c for c in vars(family).values() if isinstance(c, type) and c.__module__ == family.__name__]
    yield from (c for c in classes if issubclass(c, Op) and "keyword" in vars(c))


ALL: tuple[type[Op], ...] = tuple(op for family in FAMILIES for op in _rows(family))

TABLE: Mapping[str, type[Op]] = MappingProxyType({op.keyword: op for op in ALL})

__all__ = ["ALL", "TABLE", "Op"]
__all__ += arith.__all__
__all__ += convert.__all__
__all__ += flow.__all__
__all__ += logic.__all__
__all__ += moves.__all__
__all__ += products.__all__
__all__ += sums.__all__
__all__ += table.__all__
__all__ += tensor.__all__
