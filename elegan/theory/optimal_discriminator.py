"""The best discriminator against a generator that stands still, found by training, beside what the theory says it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import log
from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.divergences import quadrature
from elegan.divergences.mixtures import GaussianMixture, around, on_a_line
from elegan.errors import OptionError
from elegan.losses.objectives import OBJECTIVES
from elegan.theory.demonstration import Cell, Demonstration, Table, Tell, tell_nobody
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label, line
from elegan.theory.learned import Lessons, Student, seen_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = on_a_line([0.65, 0.35], [-1.5, 1.5], [0.5, 0.4])
GENERATORS = {
    "far": on_a_line([1.0], [4.0], [0.7]),
    "half way": on_a_line([1.0], [0.5], [1.5]),
    "equal": P,
}
"""What stands still: beyond one of p's peaks, over both, and p itself."""

FEWEST, MOST, TOLD_EVERY = 1000, 10_000_000, 50
"""Samples of each kind; updates."""

RANGE = (-4.0, 6.0)

EQUAL = 0.02
"""How near to 1/2 a discriminator is taken to be 1/2."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The best discriminator against q, by theory and by training.

    jsd: by quadrature. value: V, E log D(x) + E log(1 - D(y)) over fresh samples; values: the same after so many updates.
    loss: what the discriminator lowers, over the same samples. off: the mean of |D - D*| under (p + q) / 2. real, fake: the means of
    D(x) and D(y). from_half: the mean of |D - 1/2| over both. seen: D on the grid of the figure.
    """

    name: str
    q: GaussianMixture
    jsd: float
    value: float
    values: tuple[tuple[int, float], ...]
    loss: float
    off: float
    real: float
    fake: float
    from_half: float
    seen: Tensor

    @property
    def best_value(self) -> float:
        """V* = 2 JSD - ln 4, which is C(G)."""
        return 2 * self.jsd - log(4)


def optimal_discriminator(
    *,
    samples: Annotated[int, "of each kind that teach, and as many fresh ones for the reading"] = 50_000,
    steps: Annotated[int, "updates of the discriminator"] = 1500,
    seed: Annotated[int, "of samples, first weights and batches"] = 0,
    tell: Tell = tell_nobody,
) -> Demonstration:
    """The best discriminator is p / (p + q), and its value 2 JSD - ln 4: trained ones against three generators.

    Goodfellow et al., 2014, proposition 1 and theorem 1. OptionError for too few samples.
    """
    if not FEWEST <= samples <= MOST:
        raise OptionError(f"--samples: got {samples}, expected {FEWEST} to {MOST}: fewer are learned by heart.")
    lessons = Lessons(steps=steps, seed=seed)
    answers = []
    for number, (name, q) in enumerate(GENERATORS.items()):
        answers.append(answer(name, q, samples, lessons, partial(tell_part, tell, number)))
    return Demonstration(
        f"The best discriminator against three generators that stand still, {samples:,} samples of each kind",
        (Table(COLUMNS, tuple(row(found) for found in answers)),),
        sentences(answers),
        lambda figure: draw(figure, answers),
        size=(13.0, 4.2),
    )


def tell_part(tell: Tell, number: int, done: int, total: int) -> None:
    """Of as many parts as there are generators, one after the other."""
    tell(number * total + done, len(GENERATORS) * total)


COLUMNS = ("generator", "JSD", "C(G) = 2 JSD - ln 4", "V, trained", "loss", "mean |D - D*|", "mean D(x)", "mean D(G(z))")


def answer(name: str, q: GaussianMixture, samples: int, lessons: Lessons, tell: Tell) -> Answer:
    seeds = range(4 * lessons.seed, 4 * lessons.seed + 4)
    x, y, fresh_x, fresh_y = (source.sample(samples, seed) for source, seed in zip((P, q, P, q), seeds, strict=True))
    both = torch.cat([x, y])
    student = Student(x, y, seen_in(both, both.std(0)), OBJECTIVES["minimax"], lessons)
    values = []
    for done in student.rounds():
        if done.bit_count() == 1 or done == lessons.steps:  # 1, 2, 4, 8, ...
            values.append((done, value(student.logits(fresh_x), student.logits(fresh_y))))
        if done % TOLD_EVERY == 0 or done == lessons.steps:
            tell(done, lessons.steps)
    real, fake = student.logits(fresh_x), student.logits(fresh_y)
    judged = torch.cat([real, fake]).sigmoid()
    return Answer(
        name,
        q,
        jsd=quadrature.jensen_shannon(P.log_density, q.log_density, around(P, q)),
        value=value(real, fake),
        values=tuple(values),
        loss=float(OBJECTIVES["minimax"].discriminator(real, fake)),
        off=float((judged - best(q, torch.cat([fresh_x, fresh_y]))).abs().mean()),
        real=float(real.sigmoid().mean()),
        fake=float(fake.sigmoid().mean()),
        from_half=float((judged - 0.5).abs().mean()),
        seen=student.logits(grid()).sigmoid(),
    )


def value(real: Tensor, fake: Tensor) -> float:
    """V = E log D(x) + E log(1 - D(y)), from logits at samples of p (n,) and of q (m,)."""
    return float(F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean())


def best(q: GaussianMixture, points: Tensor) -> Tensor:
    """D* = p / (p + q), (n,)."""
    return torch.sigmoid(P.log_density(points) - q.log_density(points))


def row(found: Answer) -> tuple[Cell, ...]:
    return found.name, found.jsd, found.best_value, found.value, found.loss, found.off, found.real, found.fake


def sentences(answers: list[Answer]) -> tuple[str, ...]:
    gap = max(abs(found.value - found.best_value) for found in answers)
    said = [
        f"Trained values are within {gap:.2g} of V*: {', '.join(f'{found.value:.4f} for {found.best_value:.4f}' for found in answers)}."
    ]
    if all(abs(found.loss + found.value) < 1e-9 for found in answers):
        said.append("The loss is -V: the cross-entropy of real and generated samples as the sum of two means, not their mean.")
    above = [found.name for found in answers if found.value > found.best_value]
    if above:
        said.append(f"V is above V* by chance for {', '.join(above)}: over these samples; on average it cannot be.")
    even = [found for found in answers if found.from_half < EQUAL]
    for found in even:
        said.append(
            f"D is 1/2 for the generator called {found.name!r}, whose JSD is {found.jsd:.4f}: there C(G) is {found.best_value:.6f}."
        )
    if [found.name for found in even] == ["equal"]:
        said.append("Only where p = q nothing can be told, and C(G) is at its least, -ln 4 = -1.386294.")
    return tuple(said)


def grid() -> Tensor:
    """The points of the figure, (n, 1)."""
    return torch.from_numpy(line(*RANGE)).unsqueeze(1)


def draw(figure: Figure, answers: list[Answer]) -> None:
    *panels, last = figure.subplots(1, len(answers) + 1)
    for panel, found in zip(panels, answers, strict=True):
        draw_answer(panel, found, legend=found is answers[-1])
    for found, style in zip(answers, ("-", "--", ":"), strict=True):
        steps, values = zip(*found.values, strict=True)
        last.plot(steps, values, color=JUDGE, linestyle=style, label=found.name)
        last.axhline(found.best_value, color=QUIET, linewidth=0.8)
    last.set_xscale("log")
    label(last, "V rises to V* (grey)", "updates of D", legend=True)


def draw_answer(panel: Axes, found: Answer, legend: bool) -> None:
    places = grid().flatten()
    panel.fill_between(places, P.density(places), color=REAL, alpha=0.3, linewidth=0, label="p")
    panel.plot(places, found.q.density(places), color=GENERATED, label="q")
    panel.plot(places, found.seen, color=JUDGE, label="D, trained")
    panel.plot(places, best(found.q, places), color="black", linestyle=":", label="D* = p / (p + q)")
    panel.set_ylim(0, 1.02)
    label(panel, f"{found.name}: JSD {found.jsd:.3f}", "x")
    if legend:
        panel.legend(fontsize=8, frameon=False, loc="upper right")
