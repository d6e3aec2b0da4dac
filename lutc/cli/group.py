"""What all commands share: mistakes become messages and exit codes, and a terminal to print on."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lutc.cli import streams

if TYPE_CHECKING:
    from rich.console import Console


class File(click.Path):
    """A path. The empty one would be taken for the folder that one is in, and - for a file of that name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the path is empty; the folder that you are in is .", param, ctx)
        if os.fspath(value) == "-" and not self.allow_dash:
            self.fail("- is no file here; one that is called so is ./-", param, ctx)
        return super().convert(value, param, ctx)


FILE = File(path_type=Path)
FILE_OR_TERMINAL = File(path_type=Path, allow_dash=True)

# What to do where the system refuses a path, by its number for the reason.
_INSTEAD = {
    errno.ENOENT: "make its folder first, or look at how the path is written",
    errno.EEXIST: "a file stands where a folder is to be: give another path",
    errno.ENOTDIR: "a file stands where a folder is to be: give another path",
    errno.EISDIR: "a folder stands where a file is to be: give another path",
    errno.EACCES: "give a path where you may read and write",
    errno.EPERM: "give a path where you may read and write",
    errno.EROFS: "give a path where you may read and write",
    errno.ENOSPC: "make room, or give a path on another disk",
}


def _terminated(number: int, frame: object) -> None:
    from lutc.diagnostics import Terminated

    raise Terminated(128 + number)


def _interrupted() -> click.exceptions.Exit:
    click.echo("interrupted", err=True)
    return click.exceptions.Exit(128 + signal.SIGINT)


class Group(click.Group):
    """Turns what goes wrong into messages and exit codes."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)  # prints --help and --version
        except BrokenPipeError:
            raise streams.unheard() from None
        except KeyboardInterrupt:
            raise _interrupted() from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke(ctx)
        except BrokenPipeError:
            raise streams.unheard() from None

    def _invoke(self, ctx: click.Context) -> Any:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminated)  # so that what was begun is cleared away
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise  # click knows what to do with them
        except KeyboardInterrupt:
            raise _interrupted() from None
        except Exception as e:
            from lutc.diagnostics import Diagnostic, LirError, shortened
            from lutc.extensions import culprit

            if os.environ.get("LUTC_TRACEBACK") and isinstance(e.__cause__, Exception | SystemExit):
                raise  # what a package raised, told in our words
            if isinstance(e, LirError):
                for d in e.diagnostics:
                    click.echo(str(d), err=True)
                if len(e.diagnostics) > 1:
                    click.echo(f"{len(e.diagnostics)} errors", err=True)
                ctx.exit(2)
            if isinstance(e, OSError):
                place = shortened(os.fsdecode(e.filename), 300) if e.filename is not None else None
                said = e.strerror or str(e) or type(e).__name__
                click.echo(Diagnostic(said, where=place, help=_INSTEAD.get(e.errno or 0)), err=True)
                ctx.exit(2)
            if isinstance(e, MemoryError):
                click.echo("error: there is not enough memory for this", err=True)
                click.echo(" = help: make the model smaller, or compile it on a larger machine", err=True)
                ctx.exit(2)
            if os.environ.get("LUTC_TRACEBACK"):
                raise
            whose = culprit(e.__traceback__)
            said = f"{type(e).__name__}: {shortened(str(e), 1000)}"
            if whose:
                click.echo(f"error in the package {whose.origin}: {said}", err=True)
                click.echo(" = help: tell its makers; LUTC_TRACEBACK=1 shows where", err=True)
                ctx.exit(2)
            click.echo(f"internal error: {said}", err=True)
            click.echo(" = help: this is a bug in lutc; LUTC_TRACEBACK=1 shows where", err=True)
            ctx.exit(3)


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would end with 1, our code for a wrong bit

    # Without a terminal, lines must not be folded at 80 columns: they end in logs and pipes.
    return Terminal(stderr=stderr, width=None if sys.stdout.isatty() else 120, highlight=False)
