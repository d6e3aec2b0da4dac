"""What a pass is told besides the design: device and effort, when values are ready on it, and what is assumed."""

from __future__ import annotations

from dataclasses import dataclass, field

from lutc import settings
from lutc import target as targets
from lutc.analysis.timing import Arrivals
from lutc.assumed import Assumed
from lutc.choices import EFFORTS, OBJECTIVES, USUAL_TARGET
from lutc.target import Target


@dataclass(frozen=True)
class Context:
    """The same for all passes of a run, so that none of them knows a device by name.

    `effort` is fast, normal or high: how long to look for a smaller circuit. The `objective` decides where a shorter
    way through the design takes more LUTs: area never takes them, latency does, balanced as long as they are a fiftieth
    of all. `assumed` are the only inputs that answers are asked for, if the user said so. Raises LirError for words
    that are none of these.
    """

    target: Target = field(default_factory=lambda: targets.load(USUAL_TARGET))
    effort: str = "normal"
    objective: str = OBJECTIVES[0]
    assumed: Assumed | None = None

    def __post_init__(self) -> None:
        settings.choice(self.effort, "effort", EFFORTS)
        settings.choice(self.objective, "objective", OBJECTIVES)

    @staticmethod
    def of(target: str, effort: str = "normal") -> Context:
        """The context of a target by its name or file. Raises LirError for an unknown one."""
        return Context(targets.load(target), effort)

    @staticmethod
    def asked(asked: settings.Settings, assumed: Assumed | None = None) -> Context:
        """The context of what a user asked for."""
        return Context(asked.device, asked.effort, asked.objective, assumed)

    @property
    def thorough(self) -> bool:
        """Whether searches that take longer than the rest of the work are worth it."""
        return self.effort != "fast"

    def arrivals(self) -> Arrivals:
        """The delay model for a graph that a pass is about to build: nothing is known of it yet."""
        return Arrivals(self.target)
