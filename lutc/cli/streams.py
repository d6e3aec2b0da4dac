"""The standard streams of the command: closed by the shell, full, or read by nobody. Never the code of a wrong bit."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import click


def opened() -> None:
    """Streams that the shell closed (`>&-`) lead nowhere, and no file that is opened gets their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115 - until the end


def unheard() -> click.exceptions.Exit:
    """Nobody reads what is printed any more, as behind `| head -1`: no more is; the code is that of SIGPIPE."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return click.exceptions.Exit(128 + signal.SIGPIPE)


def flushed(code: int) -> int:
    """All that was printed is out; the exit code, which says so if it cannot get there."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or 128 + signal.SIGPIPE
        except ValueError:  # closed by who wrote to it, as a server does
            pass
        except OSError as e:  # a full disk
            code = code or 2
            with suppress(OSError):
                os.write(2, f"error: {e.strerror}\n".encode())
    return code
