"""The command line. No logic lives here: arguments in, calls, text out.

Exit codes: 0 done; 1 a verification found a wrong bit, `fmt --check` a file to format, or `doctor` a part of the core
missing or a package's addition that cannot be used; 2 the user's input is wrong, or what another package adds; 3 a bug
in lutc; 130 interrupted, 141 nobody reads what is printed (a closed pipe), 143 terminated.

Heavy imports wait inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import gc
import logging
import os

import click

from lutc._version import __version__
from lutc.cli import streams
from lutc.cli.build import compile, simulate
from lutc.cli.designs import opt, run
from lutc.cli.group import Group
from lutc.cli.implement import implement
from lutc.cli.lists import doctor, ops, passes, targets
from lutc.cli.lsp import lsp
from lutc.cli.quantize import quantize
from lutc.cli.text import check, fmt


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lutc")
def main() -> None:
    """Compile trained, quantised neural networks to fixed-latency FPGA circuits."""
    gc.set_threshold(
        1_000_000
    )  # passes make many objects and few circles of them: not looking saves 5 to 10 %


for _command in (
    check,
    compile,
    doctor,
    fmt,
    implement,
    lsp,
    ops,
    opt,
    passes,
    quantize,
    run,
    simulate,
    targets,
):
    main.add_command(_command)


def command() -> None:
    """The command `lutc`: `main`, and an end at once. Taking large graphs apart would be a tenth of the time."""
    streams.opened()
    try:
        main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BrokenPipeError:  # not even a mistake in the options can be told
        code = streams.unheard().exit_code
    logging.shutdown()
    os._exit(streams.flushed(code))
