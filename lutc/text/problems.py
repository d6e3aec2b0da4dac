"""What is wrong with a text, collected while it is read, each thing at its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lutc.diagnostics import Diagnostic, LirError, Source, did_you_mean
from lutc.ir.graph import OpMistake
from lutc.text import syntax
from lutc.text.arity import decoded
from lutc.text.literals import type_help, type_of
from lutc.types import Type


class Problems:
    """Notes what is wrong and goes on, so that one run tells everything."""

    def __init__(self, source: Source, found: list[Diagnostic]) -> None:
        self.source = source
        self.found = found

    def __len__(self) -> int:
        return len(self.found)

    def wrong(self, message: str, first: Any, last: Any = None, *, help: str | None = None) -> None:
        """Note a mistake at the tokens from `first` to `last`."""
        self.found.append(Diagnostic(message, syntax.span(self.source, first, last), help=help))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note the LirErrors raised inside, and go on."""
        try:
            yield
        except LirError as e:
            self.found.extend(e.diagnostics)

    def type(self, token: Any) -> Type:
        """The type that a token spells. Raises LirError."""
        try:
            return type_of(str(token))
        except ValueError as e:
            raise LirError(
                Diagnostic(str(e), syntax.span(self.source, token), help=type_help(str(token)))
            ) from None

    def attributes(
        self, kinds: dict[str, Any], given: Sequence[syntax.Attribute], what: str
    ) -> dict[str, Any]:
        """Attributes by name, decoded. Everything wrong is noted; what is missing is the caller's business."""
        found: dict[str, Any] = {}
        for name, token in given:
            if name not in kinds:
                help = did_you_mean(name, list(kinds)) or "it takes none"
                self.wrong(f"{what} has no attribute {str(name)!r}", name, help=help)
            elif name in found:
                self.wrong(f"{name} is given twice", name, help="write it once")
            else:
                try:
                    found[str(name)] = decoded(kinds[name], token.type, str(token))
                except OpMistake as e:
                    self.wrong(f"{name} {e.message}", token, help=e.help)
                except ValueError as e:
                    self.wrong(f"{name}: {e}", token)
        return found
