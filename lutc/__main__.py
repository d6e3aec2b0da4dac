"""The command `lutc`, and `python -m lutc`: an interrupt while its modules are read is one like any other.

So nothing that takes long to import stands here.
"""

from __future__ import annotations

import os
import signal


def command() -> None:
    """Run the command and end the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # No exception yet: who imports may catch it, and a traceback would tell of an import that nobody asked for.
        signal.signal(signal.SIGINT, _interrupted)
    from lutc import cli

    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cli.command()
    except KeyboardInterrupt:  # before or after the commands, which clear away what they began
        _interrupted()


def _interrupted(number: int = signal.SIGINT, frame: object = None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    command()
