"""What an evaluation found: scores, each with what real images score, findings in words, and the protocol that makes the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Better = Literal["lower", "higher", "one", ""]
"""Which way a score gets better; `one`: nearer to 1."""

IDENTITY = ("samples.source", "samples.step", "samples.seeds", "samples.conditions", "samples.pixels", "training")
"""The parts of a protocol that say whose samples were measured, not how."""


@dataclass(frozen=True)
class Score:
    """A number with its name, the bounds of a 95% interval, and what as many real training images score, if that is known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    real: float | None = None
    better: Better = ""
    percent: bool = False

    def shown(self, value: float | None) -> str:
        if value is None:
            return ""
        if self.percent:
            return f"{100 * value:.1f}%"
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3e}"

    @property
    def interval(self) -> str:
        return f"{self.shown(self.low)} to {self.shown(self.high)}" if self.low is not None and self.high is not None else ""


@dataclass(frozen=True)
class Evaluation:
    """protocol: how the numbers were made, as nested tables; what it does not share with another evaluation's, forbids comparing.

    pictures: files, by what they show.
    """

    scores: tuple[Score, ...]
    findings: tuple[str, ...]
    protocol: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)

    def score(self, name: str) -> Score:
        """KeyError if there is no score of this name."""
        for score in self.scores:
            if score.name == name:
                return score
        raise KeyError(f"no score {name!r}; there are {', '.join(score.name for score in self.scores)}")

    def as_dict(self) -> dict[str, Any]:
        return {
            "scores": [asdict(score) for score in self.scores],
            "findings": list(self.findings),
            "protocol": self.protocol,
            "notes": list(self.notes),
            "pictures": dict(self.pictures),
        }

    def lines(self) -> list[str]:
        width = max((len(score.name) for score in self.scores), default=0)
        table = [f"{'':{width}}  {'samples':>10}  {'95% interval':>22}  {'real images':>11}"]
        for score in self.scores:
            value, real = score.shown(score.value), score.shown(score.real)
            table.append(f"{score.name:{width}}  {value:>10}  {score.interval:>22}  {real:>11}  {ways(score)}".rstrip())
        said = [f"- {finding}" for finding in self.findings]
        protocol = [f"  {name}: {value}" for name, value in flat(self.protocol)]
        pictures = [f"{name}: {path}" for name, path in self.pictures.items()]
        return [*table, "", *said, *([""] if said else []), *self.notes, *pictures, "Protocol:", *protocol]


def ways(score: Score) -> str:
    return {"lower": "lower is better", "higher": "higher is better", "one": "1 is best", "": ""}[score.better]


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as (dotted name, value)."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def unlike(one: Evaluation, other: Evaluation) -> list[str]:
    """What the two were measured by differently, each as `name: this, that`; empty if their numbers may be compared."""
    ours, theirs = (dict(flat(evaluation.protocol)) for evaluation in (one, other))
    names = [name for name in {**ours, **theirs} if not name.startswith(IDENTITY)]
    return [f"{name}: {ours.get(name, 'nothing')}, {theirs.get(name, 'nothing')}" for name in names if ours.get(name) != theirs.get(name)]
