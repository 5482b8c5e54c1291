"""What the numbers of an evaluation mean, in words: each finding names its evidence. Nothing is said that the interval does not carry."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elegan.metrics.classifier import Labels
    from elegan.metrics.memorisation import MemorisationReport
    from elegan.metrics.report import Score

BLURRED = 0.8
"""Sharpness below this is worth a word, if its interval lies below it too."""

NOISY, GREY_LEVELS = 1.25, 2.0
"""Grain is worth a word, if its interval begins above so many times that of real images, and so many grey levels more."""

MISSING = 0.1
"""A class with less than this part of its due is as good as missing."""

FALLS_SHORT = 0.8
"""A share below this part of what real images reach is worth a word."""


def findings(scores: list[Score], copying: MemorisationReport | None, missing: list[str]) -> list[str]:
    """Copied, dropped, blurred, noisy, too alike or unlike anything real; or that nothing of this was found."""
    by_name = {score.name: score for score in scores}
    found = [copied(copying), dropped(missing), blurred(by_name.get("sharpness")), noisy(by_name.get("grain"))]
    found += [
        short_of_real(
            by_name.get("recall"), "variety is missing: samples come near {value} of the real images, other real images near {real}"
        ),
        short_of_real(by_name.get("precision"), "many samples are like no real image: {value} are near one, of other real images {real}"),
        short_of_real(
            by_name.get("useful"), "they teach less than real images: a classifier that saw only samples is right in {value}, {real} else"
        ),
    ]
    said = [line for line in found if line]
    return said or ["Nothing is wrong that these numbers can show."]


def copied(report: MemorisationReport | None) -> str:
    return report.verdict if report is not None and (report.copies or report.close) else ""


def dropped(missing: list[str]) -> str:
    if not missing:
        return ""
    return f"Dropped classes: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} hardly ever made."


def missing_classes(found: Labels, seen: Labels, reference: Labels, names: tuple[str, ...]) -> list[str]:
    """Classes that are made far less often than real images have them, by more than chance.

    found: classes (n,) that a classifier finds in samples; seen: (m,), in real images whose classes are `reference`. What the
    classifier takes real images of other classes for tells how many of the finds are mistakes.
    """
    import numpy as np

    count = len(names)
    confusion = np.zeros((count, count))
    np.add.at(confusion, (reference, seen), 1)
    rates = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)  # of class i, the share taken for class j
    ours, right = np.bincount(found, minlength=count), np.diag(rates)
    mistakes = ours @ (rates - np.diag(right))
    made = np.maximum(ours - mistakes, 0) / np.maximum(right, 0.5)
    due = np.bincount(reference, minlength=count) / len(reference) * len(found)
    return [name for name, n, few, d in zip(names, ours, made, due, strict=True) if few < MISSING * d and far_below(int(n), float(d))]


def far_below(n: int, due: float) -> bool:
    """Whether as few as n where `due` are expected would be seen less than once in 1,000 times (Chernoff's bound for Poisson)."""
    return n < due and due - n + (n * log(n / due) if n else 0.0) > log(1000)


def blurred(score: Score | None) -> str:
    if score is None or score.high is None or score.high >= BLURRED:
        return ""
    return f"The samples are blurred: they have {score.value:.2f} times the fine detail of real images."


def noisy(score: Score | None) -> str:
    if score is None or score.low is None or score.real is None or score.low < max(NOISY * score.real, score.real + GREY_LEVELS):
        return ""
    return f"The samples are noisy, as by {score.value:.1f} grey levels; real images by {score.real:.1f}."


def short_of_real(score: Score | None, said: str) -> str:
    """`said`, where even the upper end of the interval falls short of what real images reach."""
    if score is None or score.real is None or score.high is None or score.high >= FALLS_SHORT * score.real:
        return ""
    text = said.format(value=score.shown(score.value), real=score.shown(score.real))
    return f"{text[0].upper()}{text[1:]}."
