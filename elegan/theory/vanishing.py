"""Two distributions that part: Jensen-Shannon stops saying how far, Wasserstein-1 does not, and what each generator feels of it."""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi, sqrt
from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.divergences import discrete, mixtures, quadrature
from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.divergences.integration import Panels, integrals
from elegan.errors import OptionError
from elegan.losses.objectives import OBJECTIVES
from elegan.theory.demonstration import Cell, Demonstration, Table
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label, line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Losses = Callable[[Tensor], Tensor]
"""A loss (n,) at each of the points (n,)."""

APART = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0)
POINTS_APART = (0.0, 0.01, 1.0, 10.0)
LOGITS = (-10.0, -5.0, -2.0, 0.0, 2.0, 5.0)

NARROWEST, WIDEST = 0.7, 10.0
"""Standard deviations: below, the largest slope is above what float64 holds; above, all divergences are as good as 0."""

ROUNDING = 1e-12
"""What is smaller is rounding, where integrals are of numbers of about 1."""

VANISHED = 1e-3
"""Of a slope: what is left of it where one says that it has vanished."""

UNBOUNDED = "relativistic_average"
"""It compares with the average logit, and has no best discriminator: a score of M far out, where real samples are rare and generated
ones far rarer, and of -M on the other side, moves both averages; the loss comes as near to 0 as one likes."""


def vanishing(*, std: Annotated[float, "standard deviation of both Gaussians: noise on both makes it larger"] = 1.0) -> Demonstration:
    """Why Jensen-Shannon fails and Wasserstein-1 works: both, and what each generator feels, while two Gaussians part.

    P = N(0, std^2) is real, Q = N(s, std^2) generated. Arjovsky and Bottou (2017); Arjovsky et al. (2017); Goodfellow et al. (2014,
    section 3). What is felt at the best discriminator is so for one that is exact everywhere: a trained one can be flat where it saw
    no samples, and then no objective feels anything. OptionError unless std is from 0.7 to 10.
    """
    if not NARROWEST <= std <= WIDEST:
        raise OptionError(f"--std: got {std}, expected a standard deviation from {NARROWEST} to {WIDEST:g}.")
    parting, points, by_logit, felt = parting_table(std), points_table(), logit_table(), felt_table(std)
    return Demonstration(
        f"Real N(0, {std:g}^2) and generated N(s, {std:g}^2), s apart",
        (parting, points, by_logit, felt),
        (*said_of_divergences(parting, points), *said_of_logits(by_logit), *said_of_felt(parting, felt)),
        lambda figure: draw(figure, std),
        size=(13.5, 4.4),
    )


def log_ratio(x: Tensor, apart: float, std: float) -> Tensor:
    """log p(x) / q(x): the logit of the best discriminator p / (p + q)."""
    return (apart / 2 - x) * apart / std**2


def slope_of_mean(losses: Losses, apart: float, std: float) -> float:
    """d/ds of the mean over x ~ N(s, std^2) of losses that do not change with s, at s = apart: the integral of dq/ds times them.

    To 1e-10, or 1e-10 of its size where that is more; losses may jump.
    """

    def integrand(grid: Panels) -> Tensor:
        z = (grid.x - apart) / std
        density = (-z.square() / 2).exp() / (std * sqrt(2 * pi))
        # Losses may be infinite where the density is 0 in float64; what counts is far from there.
        return torch.where(density == 0, 0.0, density * z / std * losses(grid.x.flatten()).reshape(grid.x.shape)).unsqueeze(0)

    value = float(integrals(integrand, between(apart, std)))
    return value if abs(value) > ROUNDING else 0.0


def between(apart: float, std: float) -> tuple[float, float]:
    return mixtures.around(gaussian(0.0, std), gaussian(apart, std))


def gaussian(mean: float, std: float) -> mixtures.GaussianMixture:
    return mixtures.on_a_line([1.0], [mean], [std])


DIVERGENCES: dict[str, tuple[Callable[..., float], Callable[[Tensor, Tensor], Tensor]]] = {
    "JSD": (quadrature.jensen_shannon, lambda x, ratio: F.logsigmoid(-ratio) / 2),
    "KL(P||Q)": (quadrature.kl, lambda x, ratio: -ratio.exp()),
    "W1": (quadrature.wasserstein, lambda x, ratio: x),
}
"""Each as a function of densities, and what a little more of q at x adds to it, up to a constant: log(2q / (p + q)) / 2, -p/q, and
for W1 Kantorovich's potential, which is x where Q lies to the right of P. The second one, held fixed, gives the slope."""


def divergence(name: str, apart: float, std: float) -> float:
    value = DIVERGENCES[name][0]
    return value(gaussian(0.0, std).log_density, gaussian(apart, std).log_density, between(apart, std))


def slope(name: str, apart: float, std: float) -> float:
    """d/ds of the divergence."""
    added = DIVERGENCES[name][1]
    return slope_of_mean(lambda x: added(x, log_ratio(x, apart, std)), apart, std)


def parting_table(std: float) -> Table:
    columns = ("s", *(column for name in DIVERGENCES for column in (name, f"d{name}/ds")))
    rows = tuple((s, *(cell for name in DIVERGENCES for cell in (divergence(name, s, std), slope(name, s, std)))) for s in APART)
    return Table(columns, rows, "Gaussians s apart: divergences, and their slopes in s")


def points_table() -> Table:
    rows = []
    for apart in POINTS_APART:
        places = torch.tensor(sorted({0.0, apart}), dtype=torch.float64)
        p, q = torch.zeros_like(places), torch.zeros_like(places)
        p[0], q[-1] = 1, 1
        values = discrete.jensen_shannon(p, q), discrete.kl(p, q), discrete.total_variation(p, q)
        rows.append((apart, *values, discrete.wasserstein(p, q, places)))
    return Table(("apart", "JSD", "KL(P||Q)", "total variation", "W1"), tuple(rows), "Two point masses")


def each(name: str, fake: Tensor, real: Tensor) -> Tensor:
    """(n,): the generator's loss of each pair of logits (n,) alone; real ones matter to a relativistic objective only."""
    losses: Tensor = torch.vmap(lambda f, r: OBJECTIVES[name].generator_loss(f.unsqueeze(0), r.unsqueeze(0)))(fake, real)
    return losses


def logit_slope(name: str, logits: Tensor) -> Tensor:
    """(n,): the slope of the generator's loss in the discriminator's logit of a generated sample, at each of logits (n,).

    A relativistic loss compares with a real sample's logit: that is the mirror image, minus the generated one's.
    """
    fake = logits.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(each(name, fake, -logits.detach()).sum(), fake)
    return slopes


def logit_table() -> Table:
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    rows = tuple((name, *logit_slope(name, logits).tolist()) for name in OBJECTIVES)
    title = "The slope of each generator's loss in the logit of a generated sample (relativistic: a real one has minus that logit)"
    return Table(("objective", *(f"{logit:g}" for logit in LOGITS)), rows, title)


def felt(name: str, apart: float, std: float) -> float | None:
    """d/ds of the generator's loss, with the discriminator held at its best for P and Q, so far apart; None where there is no best."""
    if name == UNBOUNDED:
        return None
    return slope_of_mean(lambda x: losses_at_best(name, x, apart, std), apart, std)


def losses_at_best(name: str, x: Tensor, apart: float, std: float) -> Tensor:
    """(n,): the generator's loss at samples x (n,) where the discriminator is at its best, up to a constant.

    The best one is log p/q for cross-entropy, and for relativistic pairs too (what decides of two samples which is real), f'(p/q) for
    a bound on an f-divergence, p / (p + q) for least squares, the sign of p - q for the hinge, and the slope -1 for a critic that
    may have a slope of 1 at most.
    """
    ratio = log_ratio(x, apart, std)
    if name.startswith("f_"):  # whose generator lowers -E T
        return -F_DIVERGENCES[name.removeprefix("f_")].optimal(ratio.exp())
    if name == "relativistic_paired":
        return against_reals(name, ratio, apart, std)
    best = {"least_squares": ratio.sigmoid(), "hinge": ratio.sign(), "wasserstein": -x}.get(name, ratio)
    return each(name, best, best)


def against_reals(name: str, fake: Tensor, apart: float, std: float) -> Tensor:
    """(n,): the mean of the generator's loss over real samples, at the logits of generated ones (n,)."""
    z = torch.linspace(-9, 9, 361, dtype=torch.float64)  # even steps integrate what is smooth and falls off so fast to 1e-10
    shares = (-z.square() / 2).exp()
    pairs = torch.cartesian_prod(fake, log_ratio(std * z, apart, std))
    return each(name, pairs[:, 0], pairs[:, 1]).reshape(len(fake), len(z)) @ (shares / shares.sum())


def felt_table(std: float) -> Table:
    rows = tuple((name, *(felt(name, s, std) for s in APART[1:])) for name in OBJECTIVES)
    title = "What the generator feels at the best discriminator: the slope of its loss in s, with the discriminator held fixed"
    return Table(("objective", *(f"s = {s:g}" for s in APART[1:])), rows, title)


def said_of_divergences(parting: Table, points: Table) -> tuple[str, ...]:
    first, last = numbers(parting.rows[2]), numbers(parting.rows[-1])
    same = points.rows[1:]
    return (
        f"From s = {first[0]:g} to s = {last[0]:g} the slope of JSD goes from {first[2]:.4g} to {last[2]:.4g}: JSD has come to "
        f"{last[1]:.6f}, and can come to ln 2 = {log(2):.6f} at most. The slope of W1 goes from {first[6]:.4g} to {last[6]:.4g}.",
        f"Two point masses from {same[0][0]:g} to {same[-1][0]:g} apart: JSD {spread(same, 1)}, KL {spread(same, 2)}, "
        f"total variation {spread(same, 3)}; W1 {spread(same, 4)}.",
    )


def numbers(row: tuple[Cell, ...]) -> list[float]:
    return [cell for cell in row if isinstance(cell, float)]


def spread(rows: tuple[tuple[Cell, ...], ...], column: int) -> str:
    """The one value that a column holds, or its range."""
    low, *_, high = sorted(numbers(row)[column] for row in rows)
    return f"{low:.6g} each" if low == high or high - low < ROUNDING else f"from {low:.6g} to {high:.6g}"


def said_of_logits(table: Table) -> tuple[str, ...]:
    slopes = {str(row[0]): numbers(row) for row in table.rows}
    weak = [name for name, row in slopes.items() if abs(row[0]) < VANISHED]
    return (
        f"Where D is sure that a sample is generated (logit {LOGITS[0]:g}), minimax leaves a slope of {slopes['minimax'][0]:.4g}, "
        f"non_saturating {slopes['non_saturating'][0]:.5f}. Below {VANISHED} in size: {', '.join(weak)}.",
    )


def said_of_felt(parting: Table, table: Table) -> tuple[str, ...]:
    rows = {str(row[0]): numbers(row) for row in table.rows if None not in row}
    vanished = [name for name, row in rows.items() if abs(row[-1]) < VANISHED * max(map(abs, row))]
    kept = [f"{name} {row[-1]:.4g}" for name, row in rows.items() if name not in vanished]
    far = f"s = {APART[-1]:g}"
    said = [f"At the best discriminator and {far} the generator still feels: {', '.join(kept)}."]
    if vanished:
        said.insert(0, f"At the best discriminator and {far} less than {VANISHED} of the largest slope is left of: {', '.join(vanished)}.")
    said += said_of_identities(parting, rows)
    return (
        *said,
        f"{UNBOUNDED} is left out: it has no best discriminator, as huge scores of rare samples bring its loss as near to 0 as one likes.",
    )


def said_of_identities(parting: Table, rows: dict[str, list[float]]) -> list[str]:
    """Two theorems, where the numbers agree with them. KL(Q||P) has the slope of KL(P||Q) here, as the variances are the same."""
    of_jsd, of_kl = ([numbers(row)[column] for row in parting.rows[1:]] for column in (2, 4))
    said = []
    if agree(rows["minimax"], [2 * slope for slope in of_jsd]):
        said.append("minimax feels exactly 2 dJSD/ds: its value at the best discriminator is 2 JSD - ln 4 (Goodfellow et al., 2014).")
    if agree(rows["non_saturating"], [kl - 2 * jsd for jsd, kl in zip(of_jsd, of_kl, strict=True)]):
        said.append("non_saturating feels exactly dKL(Q||P)/ds - 2 dJSD/ds (Arjovsky and Bottou, 2017, theorem 2.5).")
    return said


def agree(found: list[float], expected: list[float]) -> bool:
    return all(abs(a - b) < 1e-8 for a, b in zip(found, expected, strict=True))


def draw(figure: Figure, std: float) -> None:
    values, slopes, by_logit = figure.subplots(1, 3)
    apart = [float(s) for s in line(0.05, APART[-1], 60)]
    for name, colour in (("JSD", GENERATED), ("KL(P||Q)", QUIET), ("W1", REAL)):
        values.plot(apart, [divergence(name, s, std) for s in apart], color=colour, label=name)
        slopes.plot(apart, [slope(name, s, std) for s in apart], color=colour, label=f"d {name} / ds")
    values.axhline(log(2), color=GENERATED, linestyle=":", linewidth=1)
    values.text(APART[-1], log(2) + 0.1, "ln 2", color=GENERATED, ha="right", fontsize=8)
    values.set_ylim(0, APART[-1] / std)
    slopes.set_yscale("log")
    label(values, "The divergence", "s, the distance of the means", legend=True)
    label(slopes, "Its slope: what there is to follow", "s, the distance of the means", legend=True)
    draw_logits(by_logit)


def draw_logits(axes: Axes) -> None:
    logits = torch.linspace(-10, 5, 301, dtype=torch.float64)
    for (names, sizes), style in zip(alike(logits).items(), STYLES, strict=False):
        axes.plot(logits, sizes, label=names, color=style[0], linestyle=style[1], linewidth=1.4)
    axes.set_yscale("log")
    axes.set_ylim(1e-5, 1e5)
    label(axes, "What each generator gets back, by the logit", "logit of a generated sample; below 0 D sees through it")
    axes.set_ylabel("size of the slope of its loss")
    axes.legend(fontsize=7, frameon=False, loc="upper right")


STYLES = (
    (GENERATED, "-"),
    (JUDGE, "-"),
    (REAL, "-"),
    (QUIET, "-"),
    (JUDGE, ":"),
    (QUIET, ":"),
    (REAL, "--"),
    (GENERATED, "--"),
)


def alike(logits: Tensor) -> dict[str, list[float]]:
    """The sizes of the slopes at logits (n,), once for all objectives that share them, by their names."""
    groups: list[tuple[list[str], Tensor]] = []
    for name in OBJECTIVES:
        sizes = logit_slope(name, logits).abs()
        same = [names for names, others in groups if torch.allclose(sizes, others, rtol=1e-9)]
        if same:
            same[0].append(name)
        else:
            groups.append(([name], sizes))
    return {", ".join(names): sizes.tolist() for names, sizes in groups}
