from __future__ import annotations

import numpy as np
import pytest

from elegan.metrics.report import Score
from elegan.tasks.findings import far_below, findings, missing_classes

NAMES = ("a", "b", "c")


def test_a_class_that_only_mistakes_make_is_missing() -> None:
    reference = np.repeat([0, 1, 2], 100)
    seen = reference.copy()
    seen[:20] = 2  # a fifth of a is taken for c
    assert missing_classes(np.repeat([0, 1, 2], [120, 150, 30]), seen, reference, NAMES) == ["c"]
    assert missing_classes(np.repeat([0, 1, 2], [80, 100, 120]), seen, reference, NAMES) == []
    assert missing_classes(np.repeat([0, 1], [150, 150]), reference, reference, NAMES) == ["c"]


def test_too_few_samples_miss_nothing() -> None:
    reference = np.repeat([0, 1, 2], 100)
    assert missing_classes(np.array([0, 1, 0, 1]), reference, reference, NAMES) == []


@pytest.mark.parametrize(
    ("n", "due", "expected"), [(0, 6.9, False), (0, 7.0, True), (7, 7.0, False), (50, 100.0, True), (90, 100.0, False)]
)
def test_far_below_is_beyond_chance(n: int, due: float, expected: bool) -> None:
    assert far_below(n, due) == expected


def test_nothing_is_found_where_intervals_reach() -> None:
    scores = [Score("sharpness", 0.7, 0.6, 0.85, 1.0), Score("grain", 5.0, 2.0, 8.0, 1.0), Score("recall", 0.5, 0.4, 0.7, 0.8, "higher")]
    assert findings(scores, None, []) == ["Nothing is wrong that these numbers can show."]


def test_each_finding_names_its_evidence() -> None:
    scores = [
        Score("sharpness", 0.5, 0.4, 0.6, 1.0),
        Score("grain", 8.0, 7.0, 9.0, 1.0),
        Score("recall", 0.2, 0.1, 0.3, 0.8, "higher", percent=True),
    ]
    said = findings(scores, None, ["c"])
    assert said[0] == "Dropped classes: c is hardly ever made."
    assert "0.50 times" in said[1]
    assert "8.0 grey levels; real images by 1.0" in said[2]
    assert "20.0%" in said[3]
    assert "80.0%" in said[3]
