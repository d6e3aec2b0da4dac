"""The dictionary's page agrees with the op table, and with the words that messages explain."""

from __future__ import annotations

import re
from pathlib import Path

from lutc.ir.ops import TABLE
from lutc.synonyms import OPERATIONS

PAGE = (Path(__file__).resolve().parents[2] / "ir_spec" / "dictionary.md").read_text()


def rows() -> list[list[list[str]]]:
    """The rows of the table of operations; of each cell the words in it that are set as code."""
    section = PAGE.partition("\n## Operations\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.*) \|$", section, re.M)[1:]
    return [[re.findall(r"`([\w.]+)`", cell) for cell in re.split(r" ?\| ?", row)] for row in found]


def test_operations_are_those_of_the_table() -> None:
    here = [word for _, _, ours, _ in rows() for word in ours]
    assert len(here) > 20
    assert set(here) <= TABLE.keys()


def test_messages_say_the_same() -> None:
    """Who writes an operation of XLS, CIRCT or MLIR is told one that a row with that word names."""
    named: dict[str, set[str]] = {}
    for xls, mlir, ours, _ in rows():
        for word in (*xls, *(word.rpartition(".")[2] for word in mlir)):
            named.setdefault(word, set()).update(ours)
    explained = named.keys() & OPERATIONS.keys() - TABLE.keys()
    assert len(explained) >= 8
    assert {word: OPERATIONS[word] for word in explained if OPERATIONS[word] not in named[word]} == {}
