"""Names that the text and hardware can spell."""

from __future__ import annotations

import re


class Names:
    """Gives out names, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wish: str, prefix: str = "n") -> str:
        """`wish` with every odd character replaced, after `prefix` if it would start with a digit, made unique."""
        word = re.sub(r"\W+", "_", wish, flags=re.ASCII).strip("_") or prefix
        if word[0].isdigit():
            word = f"{prefix}_{word}"
        name, count = word, 1
        while name.lower() in self._taken:  # VHDL does not tell case apart
            count += 1
            name = f"{word}_{count}"
        self._taken.add(name.lower())
        return name
