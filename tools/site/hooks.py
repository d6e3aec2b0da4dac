"""What the site adds to MkDocs: colours for .lir programs."""

from __future__ import annotations

from typing import Any, ClassVar

import pygments.lexers
from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

from lutc.ir.ops import ALL


class LirLexer(RegexLexer):  # type: ignore[misc]  # pygments has no types
    """The text form, for colours only; `ir_spec/lir.lark` is its grammar."""

    name = "lir"
    aliases: ClassVar[list[str]] = ["lir"]
    filenames: ClassVar[list[str]] = ["*.lir"]
    tokens: ClassVar[dict[str, Any]] = {
        "root": [
            (r"#.*", Comment),
            (r'!?"[^"\n]*"', String),
            (r"^(lir)(\s+)(\d+)", bygroups(Keyword, Text, Number)),
            (r"^(note|run)\b", Keyword),
            (words(("design", "func", "const", "table", "scalar", "file"), suffix=r"\b"), Keyword),
            (words([op.keyword for op in ALL], prefix=r"(?<== )", suffix=r"\b"), Name.Function),
            (r"%[\w.]+", Name.Variable),
            (r"@[\w.]+", Name.Constant),
            (r"\b[su]\d+(f-?\d+)?\b", Keyword.Type),
            (r"-?\d+(\.\d+)?(/\d+)?", Number),
            (r"\w[\w-]*(?==)", Name.Attribute),
            (r"->|=", Operator),
            (r"[\[\](){}<>,:*]", Punctuation),
            (r"\s+", Text),
            (r".", Text),
        ]
    }


def on_startup(**_: object) -> None:
    """Make the lexer known to Pygments, which looks lexers up in a table of its own."""
    mapping = pygments.lexers.LEXERS
    mapping["LirLexer"] = (__name__, "lir", ("lir",), ("*.lir",), ())
    pygments.lexers._lexer_cache["lir"] = LirLexer
