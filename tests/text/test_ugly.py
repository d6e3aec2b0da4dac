"""`fmt` on texts without any layout: the same meaning, once is enough, every comment where it belongs."""

from __future__ import annotations

import re

import pytest
import ugly_texts
from ugly_texts import trouble, ugly

from lutc.text.fmt import format_text


@pytest.mark.parametrize("chunk", range(4))
def test_ugly_texts(chunk: int) -> None:
    wrong = [
        f"{seed}: {found}" for seed in range(chunk * 40, chunk * 40 + 40) if (found := trouble(ugly(seed)))
    ]
    assert not wrong, "\n".join(wrong)


def test_ugly_texts_are_ugly() -> None:
    texts = [ugly(seed) for seed in range(40)]
    assert all(format_text(text) != text for text in texts)
    assert sum(text.count("# of ") + text.count("# above ") for text in texts) > 150
    assert any(re.search(r"%\w+[ \t]*,[ \t]*(#.*)?\n\s*(%|\w+=)", text) for text in texts)


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %a = neg %x  # of %a\n  # above %y\n  %y = neg %a\n}\n"
    assert trouble(text) is None
    right = format_text(text)

    def found(other: str) -> str | None:
        monkeypatch.setattr(ugly_texts, "format_text", lambda _: other)
        return trouble(text)

    assert "the meaning" in str(found(right.replace("neg %a", "abs %a")))
    assert "lost" in str(found(right.replace("# above %y", "")))
    moved = right.replace("  # of %a", "").replace("  # above %y\n", "  # of %a\n  # above %y\n")
    assert "moved" in str(found(moved))
    swapped = right.replace("  # above %y\n  %y = neg %a", "  %y = neg %a  # above %y")
    assert "moved" in str(found(swapped))
