"""Changes of a text at single places."""

from __future__ import annotations

from collections.abc import Iterable

# From a place, to a place, what stands there then.
Edit = tuple[int, int, str]


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with edits made that do not overlap; all places are those of the text as it is."""
    pieces: list[str] = []
    done = 0
    for start, end, new in sorted(edits):
        pieces += [text[done:start], new]
        done = end
    return "".join([*pieces, text[done:]])
