"""Numbers of rows in C: a number, a progression, or a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Tables:
    """The constant tables of a file, each once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[tuple[str, bytes], str] = {}
        self._wide: dict[tuple[int, ...], str] = {}

    def name(self, ctype: str, numbers: NDArray[np.int64]) -> str:
        """The table of these numbers."""
        key = (ctype, numbers.astype(np.int64).tobytes())
        if key not in self._known:
            self._known[key] = self._put(ctype, [_spelled(n, ctype) for n in numbers.ravel().tolist()])
        return self._known[key]

    def doubles(self, numbers: list[str]) -> str:
        """The table of numbers that are spelled as C reads them."""
        key = ("double", "\0".join(numbers).encode())
        if key not in self._known:
            self._known[key] = self._put("double", numbers)
        return self._known[key]

    def wide(self, numbers: tuple[int, ...], words: int) -> str:
        """The table of wide numbers, as limbs."""
        key = (words, *numbers)
        if key not in self._wide:
            parts = [f"{(n >> 32 * i) & 0xFFFFFFFF:#x}u" for n in numbers for i in range(words)]
            self._wide[key] = self._put("uint32_t", parts)
        return self._wide[key]

    def _put(self, ctype: str, words: list[str]) -> str:
        name = f"table_{len(self._known) + len(self._wide)}"
        self.lines.append(f"static const {ctype} {name}[{len(words)}] = {{")
        line = "   "
        for word in words:
            if len(line) + len(word) > 100:
                self.lines.append(line)
                line = "   "
            line += f" {word},"
        self.lines += [line, "};"]
        return name

    def index(self, rows: NDArray[np.int64], counter: str) -> str:
        """The element of `rows` that a loop's counter picks."""
        rows = rows.ravel()
        if len(rows) == 1:
            return str(int(rows[0]))
        step = int(rows[1] - rows[0])
        if (np.diff(rows) == step).all():
            if not step:
                return str(int(rows[0]))
            said = counter if step == 1 else f"{step} * {counter}"
            return f"{int(rows[0])} + {said}" if rows[0] else said
        least = int(rows.min())
        kind = "uint32_t" if rows.max() - least > 65535 else "uint16_t"
        return f"{least} + {self.name(kind, rows - least)}[{counter}]"


def _spelled(number: int, ctype: str) -> str:
    if ctype == "int64_t":
        return "INT64_MIN" if number == -(1 << 63) else f"INT64_C({number})"
    if ctype == "int32_t" and number == -(1 << 31):
        return "INT32_MIN"
    if ctype == "float":
        return f"{number}.0f"
    if ctype == "double":
        return f"{number}.0"
    return f"{number}u" if ctype == "uint32_t" else str(number)
