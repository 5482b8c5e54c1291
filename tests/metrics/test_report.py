from __future__ import annotations

from dataclasses import replace

import pytest

from elegan.metrics.report import Evaluation, Score, flat, unlike

PROTOCOL = {"samples": {"source": "runs/one", "step": 5, "count": 100}, "reference": {"data": "digits"}, "training": None, "seed": 0}
SCORES = (
    Score("FID", 12.345678, 11.0, 13.5, 1.5, "lower"),
    Score("recall", 0.5, 0.25, 0.75, None, "higher", percent=True),
    Score("sharpness", 1234567.0),
)
FOUND = Evaluation(SCORES, ("Blurred.",), PROTOCOL, ("A note.",), {"neighbours": "a.png"})


def test_lines_show_value_interval_and_what_real_images_score() -> None:
    lines = FOUND.lines()
    assert lines[1].split() == ["FID", "12.35", "11", "to", "13.5", "1.5", "lower", "is", "better"]
    assert lines[2].split() == ["recall", "50.0%", "25.0%", "to", "75.0%", "higher", "is", "better"]
    assert lines[3].split() == ["sharpness", "1.235e+06"]
    assert "- Blurred." in lines
    assert "A note." in lines
    assert "neighbours: a.png" in lines
    assert "  samples.step: 5" in lines


def test_a_score_is_found_by_its_name() -> None:
    assert FOUND.score("recall").value == 0.5
    with pytest.raises(KeyError, match="FID, recall, sharpness"):
        FOUND.score("KID")


def test_evaluations_of_other_samples_are_alike_and_by_other_protocols_are_not() -> None:
    other_run = replace(FOUND, protocol={**PROTOCOL, "samples": {"source": "runs/two", "step": 9, "count": 100}, "training": {"data": "x"}})
    assert unlike(FOUND, other_run) == []
    fewer = replace(FOUND, protocol={**PROTOCOL, "samples": {"source": "runs/two", "step": 9, "count": 50}, "seed": 1})
    assert unlike(FOUND, fewer) == ["samples.count: 100, 50", "seed: 0, 1"]
    lacking = replace(FOUND, protocol={"samples": PROTOCOL["samples"], "seed": 0})
    assert unlike(FOUND, lacking) == ["reference.data: digits, nothing"]


def test_flat_names_nested_tables_by_dots() -> None:
    assert dict(flat({"a": {"b": {"c": 1}}, "d": 2})) == {"a.b.c": 1, "d": 2}
