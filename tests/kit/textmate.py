"""A TextMate grammar applied to a text, as editors do it: enough of the format for grammars that stay plain.

Rules are `match` with `captures`, `begin` with `end`, `include` of the repository, and lists of patterns. Regular
expressions are Python's, so a grammar may only use what they share with those of editors (Oniguruma).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

Rule = dict[str, Any]


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@dataclass(frozen=True)
class Grammar:
    """A grammar as its JSON says it."""

    rules: list[Rule]
    repository: dict[str, Rule]

    @classmethod
    def read(cls, path: Path) -> Grammar:
        whole = json.loads(path.read_text())
        return cls(whole["patterns"], whole["repository"])

    def flat(self, rules: list[Rule]) -> Iterator[Rule]:
        """The rules with what they include, in order."""
        for rule in rules:
            if "include" in rule:
                yield from self.flat([self.repository[rule["include"].removeprefix("#")]])
            elif "match" in rule or "begin" in rule:
                yield rule
            else:
                yield from self.flat(rule["patterns"])

    def every(self) -> Iterator[Rule]:
        """Every rule of the grammar that matches something."""
        yield from {id(r): r for r in self.flat([*self.rules, *self.repository.values()])}.values()

    def scopes(self, text: str) -> list[str]:
        """The innermost scope of each character; empty where no rule names it."""
        named: list[str] = [""] * len(text)
        stack: list[Rule] = []
        start = 0
        for line in text.splitlines(keepends=True):
            self._line(line, named, start, stack)
            start += len(line)
        return named

    def _line(self, line: str, named: list[str], start: int, stack: list[Rule]) -> None:
        at, idle = 0, 0
        while at <= len(line):
            found = self._next(line, at, stack)
            if found is None:
                break
            rule, match, end = found
            if stack and "name" in stack[-1]:
                self._name(named, start + at, start + match.start(), stack[-1]["name"])
            outer = rule.get("name", "")
            self._name(named, start + match.start(), start + match.end(), outer)
            key = "match" if "match" in rule else "end" if end else "begin"
            captures = rule.get("captures" if key == "match" else f"{key}Captures", {})
            for number, capture in captures.items():
                if match[int(number)] is not None:
                    first, last = match.span(int(number))
                    self._name(named, start + first, start + last, capture["name"])
            if end:
                stack.pop()
            elif key == "begin":
                stack.append(rule)
            idle = 0 if match.end() > at else idle + 1
            assert idle < 20, f"the grammar goes round in a circle at {line[at:]!r}"
            at = match.end() + (key == "match" and not match[0])
        if stack and "name" in stack[-1]:
            self._name(named, start + at, start + len(line), stack[-1]["name"])

    def _next(self, line: str, at: int, stack: list[Rule]) -> tuple[Rule, re.Match[str], bool] | None:
        """The rule that matches first; of several at one place the end of what is open, then the first listed."""
        best: tuple[Rule, re.Match[str], bool] | None = None
        if stack and (match := _compiled(stack[-1]["end"]).search(line, at)):
            best = stack[-1], match, True
        for rule in self.flat(stack[-1].get("patterns", []) if stack else self.rules):
            match = _compiled(rule.get("match") or rule["begin"]).search(line, at)
            if match and (best is None or match.start() < best[1].start()):
                best = rule, match, False
        return best

    @staticmethod
    def _name(named: list[str], first: int, last: int, name: str) -> None:
        if name:
            named[first:last] = [name] * (last - first)
