"""The Language Server Protocol around `page`: one page for each open text, read anew when it changes.

pygls is an extra, and imported when a server is made.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from lutc._version import __version__
from lutc.diagnostics import Diagnostic, error
from lutc.lsp.page import Page, Place

if TYPE_CHECKING:
    from lsprotocol import types
    from pygls.lsp.server import LanguageServer
    from pygls.workspace import TextDocument

PAUSE = 0.2  # seconds without a change, after which a text is read
TRIGGERS = ["%", "@", "=", ","]


class Pages:
    """The pages of the texts that are open, by their addresses."""

    def __init__(self) -> None:
        self._pages: dict[str, Page] = {}

    def of(self, document: TextDocument) -> Page:
        """The page of a document as it is now."""
        before, text = self._pages.get(document.uri), document.source
        if before is not None and before.text == text:
            return before
        path = Path(document.path)
        folder = path.parent if path.parent.is_dir() else None
        self._pages[document.uri] = page = Page(text, path.name or "<text>", folder, before)
        return page

    def close(self, uri: str) -> None:
        self._pages.pop(uri, None)


def server() -> LanguageServer:
    """A server that is ready to start. Raises LirError if pygls is not installed."""
    try:
        from lsprotocol import types
        from pygls.lsp.server import LanguageServer
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in ("lsprotocol", "pygls"):
            raise
        raise error("the language server needs the pygls package", help='pip install "lutc[lsp]"') from None

    made = LanguageServer("lutc", __version__, text_document_sync_kind=types.TextDocumentSyncKind.Full)
    pages = Pages()

    def at(
        params: types.HoverParams | types.DefinitionParams | types.CompletionParams,
    ) -> tuple[TextDocument, Page, int, int]:
        """The document and page of a request, and the place it asks for, in characters."""
        document = made.workspace.get_text_document(params.text_document.uri)
        page = pages.of(document)
        place = document.position_codec.position_from_client_units(page.lines, params.position)
        return document, page, place.line, place.character

    def span(
        document: TextDocument, lines: list[str], first: tuple[int, int], last: tuple[int, int]
    ) -> types.Range:
        """Places in characters as the client counts them."""

        def end(line: int, column: int) -> types.Position:
            line = min(max(line, 0), len(lines) - 1)
            place = types.Position(line, min(max(column, 0), len(lines[line])))
            return document.position_codec.position_to_client_units(lines, place)

        return types.Range(end(*first), end(*last))

    def range_of(document: TextDocument, page: Page, place: Place) -> types.Range:
        return span(document, page.lines, (place.line, place.start), (place.line, place.end))

    def told(document: TextDocument, page: Page, problem: Diagnostic) -> types.Diagnostic:
        help = f"\nhelp: {problem.help}" if problem.help else ""
        first, last = (0, 0), (0, 0)
        if where := problem.span:
            first, last = (where.line - 1, where.column - 1), (where.end_line - 1, where.end_column - 1)
        return types.Diagnostic(
            range=span(document, page.lines, first, last),
            message=f"{problem.message}{help}",
            severity=types.DiagnosticSeverity.Error,
            source="lutc",
        )

    def publish(uri: str, runs: bool) -> None:
        document = made.workspace.get_text_document(uri)
        page = pages.of(document)
        problems = [*page.problems, *(page.wrong_runs() if runs else ())]
        found = [told(document, page, p) for p in problems]
        made.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, found, document.version))

    @made.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        publish(params.text_document.uri, runs=True)

    @made.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        publish(params.text_document.uri, runs=True)

    @made.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: types.DidChangeTextDocumentParams) -> None:
        uri, version = params.text_document.uri, params.text_document.version
        await asyncio.sleep(PAUSE)
        document = made.workspace.text_documents.get(uri)
        if document is not None and document.version == version:
            publish(uri, runs=False)  # those are asked when the text is saved: they may take long

    @made.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        pages.close(params.text_document.uri)
        made.text_document_publish_diagnostics(types.PublishDiagnosticsParams(params.text_document.uri, []))

    @made.feature(types.TEXT_DOCUMENT_HOVER)
    def hover(params: types.HoverParams) -> types.Hover | None:
        document, page, line, column = at(params)
        found = page.hover(line, column)
        if found is None:
            return None
        said = types.MarkupContent(types.MarkupKind.Markdown, found.text)
        return types.Hover(said, range_of(document, page, found.place))

    @made.feature(types.TEXT_DOCUMENT_DEFINITION)
    def definition(params: types.DefinitionParams) -> types.Location | None:
        document, page, line, column = at(params)
        place = page.definition(line, column)
        return types.Location(document.uri, range_of(document, page, place)) if place else None

    sorts = {
        "operation": types.CompletionItemKind.Function,
        "value": types.CompletionItemKind.Variable,
        "symbol": types.CompletionItemKind.Constant,
        "attribute": types.CompletionItemKind.Property,
        "word": types.CompletionItemKind.EnumMember,
    }

    @made.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))
    def completion(params: types.CompletionParams) -> list[types.CompletionItem]:
        document, page, line, column = at(params)
        start = page.begun(line, column)
        where = span(document, page.lines, (line, start), (line, column))
        return [
            types.CompletionItem(
                item.label,
                kind=sorts[item.sort],
                detail=item.detail or None,
                # The whole word is replaced: editors do not agree on whether a sigil belongs to it.
                text_edit=types.TextEdit(where, item.label),
            )
            for item in page.completions(line, column)
        ]

    @made.feature(types.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        document = made.workspace.get_text_document(params.text_document.uri)
        page = pages.of(document)
        after = page.formatted()
        if after is None or after == page.text:
            return []
        last = len(page.lines) - 1
        return [types.TextEdit(span(document, page.lines, (0, 0), (last, len(page.lines[last]))), after)]

    return made
