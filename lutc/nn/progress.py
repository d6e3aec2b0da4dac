"""What is told of a training while it runs: a bar in the terminal, and TensorBoard's files."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .history import Record
from .mistakes import SettingMistake


class Bar:
    """Epochs done, the loss of the last, and what the last validation found, with the time that is left."""

    def __init__(self, shown: Any, task: Any) -> None:
        self._shown, self._task = shown, task
        self._metric = ""

    def told(self, epoch: int, loss: float, luts: float, beta: float, record: Record | None) -> None:
        if record is not None:
            self._metric = f"  metric {record.metric:.4f}"
        text = f"loss {loss:.4f}  {luts:,.0f} LUT  beta {beta:.1e}{self._metric}"
        self._shown.update(self._task, completed=epoch, description=text)


@contextmanager
def bar(first: int, total: int, *, shown: bool) -> Iterator[Bar]:
    """A bar from ``first`` to ``total`` epochs."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, TimeRemainingColumn(), disable=not shown) as progress:
        yield Bar(progress, progress.add_task("", total=total, completed=first))


def tensorboard_needed() -> None:
    """Raise SettingMistake if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise SettingMistake("tensorboard", "TensorBoard is not installed", "pip install tensorboard")


class TensorBoard:
    """Records as scalars in a folder that ``tensorboard --logdir`` shows."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What a run that was killed wrote beyond the checkpoint is hidden by `purge_step`.
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def write(self, record: Record) -> None:
        for name in ("loss", "metric", "luts", "beta", "rate"):
            self._writer.add_scalar(name, getattr(record, name), record.step)
        self._writer.flush()
