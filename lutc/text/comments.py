"""The comments of a text, and which of its units each one belongs to. `fmt` walks the units in order and asks."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Token

_COMMENT = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*')  # strings too: a # in one begins no comment


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment as it is written, from its `#` on; `start` is its place in the text."""

    start: int
    line: int
    text: str


def comments_of(text: str) -> list[Comment]:
    """All comments, in order."""
    found, line, at = [], 1, 0
    for place in _COMMENT.finditer(text):
        start = place.start()
        line, at = line + text.count("\n", at, start), start
        if place[0].startswith("#"):
            found.append(Comment(start, line, place[0].rstrip()))
    return found


@dataclass(slots=True)
class Around:
    """What stands around one unit of the text: lines above it (comments and blanks), and a comment behind it."""

    above: list[str] = field(default_factory=list)
    behind: str = ""


class Comments:
    """Gives every comment to one unit: the one it stands in or above, or the one that ends in front of it."""

    def __init__(self, text: str) -> None:
        self.all = comments_of(text)
        self.masked = _COMMENT.sub(lambda place: " " * len(place[0]), text)
        self.ends = [m.start() for m in re.finditer("\n", text)]
        self.next = 0  # the first comment that has not been given
        self.last = 0  # the line that the last unit or comment ended in

    def around(self, first: Token, last: Token, *, behind: bool = True) -> Around:
        """The comments of the unit from `first` to `last`; those inside it are put above it."""
        return self._around(_start(first), _end(last), behind)

    def rest(self) -> list[str]:
        """What stands below all units."""
        end = len(self.masked) + 1
        return self._around(end, end, False).above

    def _around(self, start: int, end: int, behind: bool) -> Around:
        found = Around()
        line = self._line(start)
        while self.next < len(self.all) and self.all[self.next].start < end:
            comment = self.all[self.next]
            if comment.line > self.last + 1 and comment.line < line:
                found.above.append("")
            found.above.append(comment.text)
            self.last = min(comment.line, line)
            self.next += 1
        if line > self.last + 1:
            found.above.append("")
        if behind and self.next < len(self.all):
            comment = self.all[self.next]
            if re.fullmatch(r"[ \t\f\r]*,?[ \t\f\r]*", self.masked[end : comment.start]):
                found.behind = comment.text
                self.next += 1
        self.last = self._line(end)
        return found

    def skip(self, unit: Token) -> bool:
        """Pass over the comments inside a unit, which writes them itself; whether there are any."""
        start = self.next
        while self.next < len(self.all) and self.all[self.next].start < _end(unit):
            self.next += 1
        self.last = self._line(_start(unit))
        return self.next > start

    def between(self, first: Token, last: Token) -> bool:
        """Whether a comment stands in the unit from `first` to `last`."""
        return any(_start(first) <= c.start < _end(last) for c in self.all[self.next :])

    def place(self, character: str, behind: Token) -> Token:
        """The next such character of the text behind a token, comments and strings left out."""
        from lark import Token

        at = self.masked.index(character, _end(behind))
        return Token("PLACE", character, start_pos=at, end_pos=at + 1)

    def _line(self, place: int) -> int:
        return bisect_left(self.ends, place) + 1


def _start(token: Token) -> int:
    assert token.start_pos is not None
    return token.start_pos


def _end(token: Token) -> int:
    assert token.end_pos is not None
    return token.end_pos
