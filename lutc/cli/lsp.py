"""`lutc lsp`: a server for editors."""

from __future__ import annotations

import click


@click.command()
def lsp() -> None:
    """Serve an editor that works on .lir files: the Language Server Protocol on standard input and output.

    The editor starts it. It shows what is wrong while one types, types and ranges of values, what operations mean and
    where names are defined; it completes and formats. It needs the package pygls: pip install "lutc[lsp]".
    """
    from lutc.lsp.server import server

    server().start_io()
