"""Names that the text and hardware can spell."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Names:
    """Gives out names, each once; `taken` are given already."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, wish: str, prefix: str = "n") -> str:
        """`wish` with every odd character replaced, after `prefix` if it would start with a digit, made unique."""
        word = re.sub(r"\W+", "_", wish, flags=re.ASCII).strip("_") or prefix
        return self.distinct(f"{prefix}_{word}" if word[0].isdigit() else word)

    def distinct(self, word: str) -> str:
        """`word` as it is, with a number behind it if the name is given already."""
        name, count = word, 1
        while name.lower() in self._taken:  # VHDL does not tell case apart
            count += 1
            name = f"{word}_{count}"
        self._taken.add(name.lower())
        return name
