"""The language server: what a page knows of a text, right or not; and the protocol, spoken by pygls' client."""

from __future__ import annotations

import asyncio
import builtins
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import need_module
from lutc.cli import main
from lutc.ir.ops import TABLE
from lutc.lsp.page import Page, Place

TEXT = """\
lir 1

const @w: s4f2[2] = [0.5, 1]
table @t: u2 -> u1 = [0, 1, 1, 0]

func @f(%x: u2) -> %y {  # its %x is its own
  %y = lut %x, @t
}

design top(%x: s4f2[2], %u: u2 round=floor) -> (p = %p, q = %q, z = %z) {
  %p       = mul %x, @w            !"dense_1"
  %q: s6   = quant %s, round=floor, overflow=saturate
  %s       = sum %p, axes=[0]
  %z       = call @f, %u
}

run x=[1, 1], u=1 => z=0
"""
LINES = TEXT.split("\n")
GOOD = TEXT.replace(LINES[11] + "\n" + LINES[12], LINES[12] + "\n" + LINES[11])


def place(text: str, marked: str) -> tuple[int, int]:
    """Where `|` stands in a part of the text, which is unique."""
    part = marked.replace("|", "")
    assert text.count(part) == 1, part
    before = text[: text.index(part) + marked.index("|")]
    return before.count("\n"), len(before) - before.rfind("\n") - 1


def hover(page: Page, marked: str) -> str:
    found = page.hover(*place(page.text, marked))
    return found.text if found else ""


def labels(page: Page, marked: str) -> list[str]:
    return [item.label for item in page.completions(*place(page.text, marked))]


def test_a_right_text_has_no_problems_but_its_runs() -> None:
    page = Page(GOOD)
    assert page.problems == []
    assert [p.message for p in page.wrong_runs()] == ["z is 1, and not 0"]
    assert Page(GOOD.replace("z=0", "z=1")).wrong_runs() == []


def test_problems_stand_at_their_places() -> None:
    page = Page(TEXT)
    (problem,) = page.problems
    assert problem.message == "%s is used before it is defined"
    assert problem.span is not None and (problem.span.line, problem.span.column) == (12, 20)
    assert page.wrong_runs() == []


def test_values_have_types_and_ranges() -> None:
    page = Page(GOOD)
    assert hover(page, "mul %|x") == "```lir\n%x: s4f2[2]\n```\n\nrange: -2 to 1.75"
    assert hover(page, "  %|p ") == (
        "```lir\n%p: s8f4[2] = mul\n```\n\nrange: -2 to 1.75\n\n"
        "`mul`: The product of two values. Its bits after the point are those of both factors together.\n\n"
        "from the layer dense_1"
    )
    assert hover(page, "lut %x|,").startswith("```lir\n%x: u2\n```")  # the function's own, at the word's end
    assert hover(page, "its %x| is") == ""  # a comment
    assert hover(page, '"dense|_1"') == ""
    assert hover(page, "run |x") == ""


def test_symbols_operations_and_attributes_are_explained() -> None:
    page = Page(GOOD)
    assert hover(page, "%x, @w|  ") == "```lir\nconst @w: s4f2[2]\n```"
    assert hover(page, "lut %x, |@t") == "```lir\ntable @t: u2 -> u1\n```"
    assert hover(page, "call @|f") == "```lir\nfunc @f(%x: u2) -> u1\n```"
    assert hover(page, "= s|um").startswith(
        "```lir\n%y = sum %x, axes=[]\n```\n\nThe sum over the dimensions"
    )
    assert hover(page, "ax|es").startswith("`axes`: one or more of: an integer")
    assert hover(page, "ov|erflow=sat").startswith(
        "`overflow`: wrap, saturate, saturate-symmetric; must be given where"
    )
    assert hover(page, "u2 ro|und").startswith("`round`: floor, ceil")
    assert hover(page, "des|ign top") == ""


@pytest.mark.parametrize("op", TABLE.values(), ids=lambda op: op.keyword)
def test_every_operation_is_explained_and_completed(op: Any) -> None:
    stage = "" if "tensor" in {s.value for s in op.stages} else " scalar"
    text = f"lir 1{stage}\n\ndesign d(%x: s4) -> (y = %y) {{\n  %y = {op.keyword} %x\n}}\n"
    page = Page(text)
    assert (op.__doc__ or "").split()[-1] in hover(page, f"= {op.keyword}|")
    assert op.keyword in labels(page, f"= {op.keyword}|")


def test_definitions_of_values_are_in_their_own_function() -> None:
    page = Page(TEXT)  # the mistake in it changes nothing
    assert page.definition(*place(TEXT, "lut %|x")) == Place(5, 8, 10)
    assert page.definition(*place(TEXT, "mul |%x")) == Place(9, 11, 13)
    assert page.definition(*place(TEXT, "quant %|s")) == Place(12, 2, 4)
    assert page.definition(*place(TEXT, "call @f|")) == Place(5, 5, 7)
    assert page.definition(*place(TEXT, "%x, @|w ")) == Place(2, 6, 8)
    assert page.definition(*place(TEXT, "m|ul")) is None
    assert Page("lir 1\n").definition(7, 0) is None


def test_what_a_mistake_hides_is_remembered() -> None:
    good = Page(GOOD)
    broken = GOOD.replace("mul %x, @w ", "mul %x @w ")
    assert "as it was" not in hover(good, "  %s|  ")
    page = Page(broken, before=good)
    assert [p.message for p in page.problems] == ["a comma is missing before '@w'"]
    assert hover(page, "  %|s  ").startswith("```lir\n%s: s9f4 = sum\n```")
    assert hover(page, "  %|s  ").endswith("as it was before the mistake")
    assert "as it was" not in hover(page, "call @f, %|u")
    assert hover(Page(broken), "  %|s  ") == "```lir\n%s       = sum %p, axes=[0]\n```"  # nothing to remember
    assert page.stale and not Page(GOOD, before=page).stale


@pytest.mark.parametrize(
    "text", ["", "lir", "lir 1\n", "lir 1\ndesign", "}\n", '"', "lir 1\ndesign d(%x: s4) -> (y = "]
)
def test_beginnings_of_texts_are_pages(text: str) -> None:
    page = Page(text)
    assert page.problems
    for line, row in enumerate([*page.lines, ""]):
        for column in range(len(row) + 1):
            page.hover(line, column)
            page.definition(line, column)
            page.completions(line, column)
    assert page.formatted() is None or text == "lir 1\n"


def test_every_prefix_of_a_text_is_a_page() -> None:
    page = None
    for end in range(0, len(TEXT), 7):
        page = Page(TEXT[:end], before=page)
        page.hover(len(page.lines) - 1, 2)
        page.completions(len(page.lines) - 1, len(page.lines[-1]))


def test_completion_goes_by_what_stands_in_front() -> None:
    page = Page(GOOD)
    assert {"dense", "relu", "lincomb"} <= set(labels(page, "%p       = |mul"))
    assert "reg" not in labels(page, "%p       = |mul")  # of the scalar stage
    assert labels(page, "mul %|x") == ["%x", "%u"]
    assert labels(page, "lut %|x") == ["%x"]
    assert labels(page, "call @|f") == ["@f", "@t", "@w"]
    assert labels(page, "overflow=|sat") == ["wrap", "saturate", "saturate-symmetric"]
    assert "nearest-half-even" in labels(page, "quant %s, round=|")
    assert "toward-zero" in labels(page, "u2 round=|")
    assert labels(page, "sum %p, |axes") == ["axes"]
    assert labels(page, "its %|x") == []  # a comment
    assert labels(page, '"den|se') == []
    assert page.begun(*place(GOOD, "mul %x|")) == place(GOOD, "mul |%x")[1]
    assert page.begun(*place(GOOD, "overflow=sat|")) == place(GOOD, "overflow=|sat")[1]


def test_formatting_is_that_of_fmt() -> None:
    loose = "lir 1\ndesign d(%x:s4)->(y=%y){\n%y=neg %x\n}\n"
    assert Page(loose).formatted() == "lir 1\n\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n"
    assert Page("lir 1\ndesign d(").formatted() is None


def test_data_files_lie_beside_the_text(tmp_path: Path) -> None:
    text = (
        'lir 1\n\nconst @w: s4[1] = file "w.npy"\n\ndesign d(%x: s4[1]) -> (y = %y) {\n  %y = add %x, @w\n}\n'
    )
    assert "w.npy" in Page(text, "d.lir", tmp_path).problems[0].message


# -- the protocol ---------------------------------------------------------------------------------------------------


def spoken(talk: Callable[[Any, list[Any]], Awaitable[None]]) -> None:
    """Start `lutc lsp` as an editor does, and talk to it; what it publishes is collected."""
    need_module("pygls")
    from lsprotocol import types
    from pygls.lsp.client import LanguageClient

    async def session() -> None:
        client: Any = LanguageClient("test", "1")
        published: list[Any] = []

        client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(lambda params: published.append(params))

        await client.start_io(sys.executable, "-c", "from lutc.cli import main; main(['lsp'])")
        await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
        client.initialized(types.InitializedParams())
        await talk(client, published)
        await client.shutdown_async(None)
        client.exit(None)
        await client.stop()

    asyncio.run(asyncio.wait_for(session(), 120))


async def until(published: list[Any], version: int) -> list[Any]:
    while not published or published[-1].version != version:
        await asyncio.sleep(0.01)
    return list(published[-1].diagnostics)


def test_an_editor_is_served(tmp_path: Path) -> None:
    need_module("lsprotocol")
    from lsprotocol import types

    uri = (tmp_path / "top.lir").as_uri()
    broken = GOOD.replace("mul %x, @w            ", "mul %x, @v            ")
    document = types.TextDocumentIdentifier(uri)

    async def talk(client: Any, published: list[Any]) -> None:
        client.text_document_did_open(
            types.DidOpenTextDocumentParams(types.TextDocumentItem(uri, "lir", 1, GOOD))
        )
        (wrong,) = await until(published, 1)
        assert wrong.message == "z is 1, and not 0" and wrong.range.start.line == 16

        def write(version: int, text: str) -> None:
            change = types.TextDocumentContentChangeWholeDocument(text)
            versioned = types.VersionedTextDocumentIdentifier(version=version, uri=uri)
            client.text_document_did_change(types.DidChangeTextDocumentParams(versioned, [change]))

        write(2, GOOD.replace("\n\n", '\n\nnote "\U0001f600\\q"\n', 1))
        (wrong,) = await until(published, 2)
        # Counted in UTF-16 units, as clients do that ask for nothing else: two for that character.
        assert wrong.range == types.Range(types.Position(2, 5), types.Position(2, 11))

        write(3, broken)
        (wrong,) = await until(published, 3)
        assert wrong.message == "there is no @v\nhelp: one of: @w, @t, @f" and wrong.source == "lutc"
        line, column = place(broken, "|@v")
        assert wrong.range == types.Range(types.Position(line, column), types.Position(line, column + 2))

        def at(marked: str) -> types.Position:
            return types.Position(*place(broken, marked))

        found = await client.text_document_hover_async(types.HoverParams(document, at("quant %|s")))
        assert found.contents.value.startswith("```lir\n%s: s9f4 = sum\n```")
        assert found.range.start == at("quant |%s")
        where = await client.text_document_definition_async(types.DefinitionParams(document, at("quant %|s")))
        assert where.uri == uri and where.range.start == types.Position(*place(broken, "|%s       ="))
        items = await client.text_document_completion_async(
            types.CompletionParams(document, at("overflow=sat|"))
        )
        assert [i.label for i in items] == ["wrap", "saturate", "saturate-symmetric"]
        assert items[0].text_edit.range.start == at("overflow=|sat")
        options = types.FormattingOptions(tab_size=2, insert_spaces=True)
        asked = types.DocumentFormattingParams(document, options)
        (edit,) = await client.text_document_formatting_async(asked)
        assert edit.new_text == Page(broken).formatted()
        assert edit.range == types.Range(types.Position(0, 0), types.Position(len(LINES) - 1, 0))

        client.text_document_did_close(types.DidCloseTextDocumentParams(document))
        while published[-1].version is not None:
            await asyncio.sleep(0.01)
        assert not published[-1].diagnostics

    spoken(talk)


def test_without_pygls_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def gone(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] in ("pygls", "lsprotocol"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", gone)
    result = CliRunner().invoke(main, ["lsp"])
    assert result.exit_code == 2
    assert "the language server needs the pygls package" in result.output
    assert 'pip install "lutc[lsp]"' in result.output
