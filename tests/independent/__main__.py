"""`python -m independent FILE...` checks texts and their runs: `ok`, or a line `error LINE RULE: MESSAGE` each."""

from __future__ import annotations

import sys
from pathlib import Path

from .run import load_file


def main(paths: list[str]) -> int:
    worst = 0
    for path in paths:
        program = load_file(Path(path))
        problems = program.problems or program.broken_runs()
        prefix = f"{path}: " if len(paths) > 1 else ""
        for problem in problems:
            print(f"{prefix}error {problem.line} {problem.rule}: {problem.message}")
            worst = 2
        if not problems:
            print(f"{prefix}ok")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
