"""How p moves: the paper's rule by hand."""

from __future__ import annotations

from math import inf

import pytest
import torch

from elegan.augment.adaptive import Adaptive
from elegan.errors import OptionError


def played(adaptive: Adaptive, shares: list[float], size: int = 64) -> None:
    """Rounds of `size` real images, of which these shares have positive logits and the others negative ones."""
    for share in shares:
        positive = round(share * size)
        adaptive.observe(torch.cat([torch.full((positive,), 2.5), torch.full((size - positive,), -0.1)]))
        adaptive.adjust(size)


def test_certain_of_all_real_images_p_goes_from_0_to_1_in_so_many_images() -> None:
    adaptive = Adaptive(images=64 * 100)
    played(adaptive, [1.0] * 3)
    assert float(adaptive.p) == 0
    played(adaptive, [1.0])
    assert float(adaptive.p) == pytest.approx(0.04)  # 4 * 64 of 6400 images
    played(adaptive, [1.0] * 92)
    assert float(adaptive.p) == pytest.approx(0.96, abs=1e-5)
    played(adaptive, [1.0] * 8)
    assert float(adaptive.p) == 1
    played(adaptive, [0.0] * 4)
    assert float(adaptive.p) == pytest.approx(0.96)


def test_the_papers_speed_is_the_default() -> None:
    adaptive = Adaptive()
    played(adaptive, [1.0] * 4)
    assert float(adaptive.p) == pytest.approx(4 * 64 / 500_000)


@pytest.mark.parametrize(
    ("shares", "direction"),
    [
        ([0.75] * 4, -1),  # E sign = 0.5
        ([0.875] * 4, 1),  # 0.75
        ([0.5, 1.0, 1.0, 1.0], 1),  # 0, 1, 1 and 1: 0.75
        ([0.5, 0.5, 1.0, 1.0], -1),  # 0.5
    ],
)
def test_p_follows_the_mean_sign_of_four_rounds(shares: list[float], direction: int) -> None:
    adaptive = Adaptive(probability=0.5, images=25_600)
    played(adaptive, shares)
    assert float(adaptive.p) == pytest.approx(0.5 + direction * 0.01)
    played(adaptive, [1.0] * 4)  # earlier rounds are forgotten
    assert float(adaptive.p) == pytest.approx(0.5 + direction * 0.01 + 0.01)


def test_a_rehearsal_raises_a_probability_that_may_rise_and_no_other() -> None:
    for adaptive, expected in (
        (Adaptive(), 0.5),
        (Adaptive(probability=0.75), 0.75),
        (Adaptive(target=None), 0.0),
        (Adaptive(images=inf), 0.0),
    ):
        adaptive.rehearse(0.5)
        assert float(adaptive.p) == expected


def test_at_the_target_and_with_nothing_observed_p_stays() -> None:
    adaptive = Adaptive(probability=0.5, target=0.5, images=256)
    played(adaptive, [0.75] * 4)
    assert float(adaptive.p) == 0.5
    for _ in range(4):
        adaptive.adjust(64)
    assert float(adaptive.p) == 0.5


def test_p_stays_at_least_0() -> None:
    adaptive = Adaptive(images=1)
    played(adaptive, [0.0] * 8)
    assert float(adaptive.p) == 0


def test_a_divided_round_is_the_whole() -> None:
    whole, divided = Adaptive(images=6400), Adaptive(images=6400)
    logits = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)) + 1
    for one in logits:
        whole.observe(one)
        for part in one.split(16):
            divided.observe(part)
        whole.adjust(64)
        divided.adjust(64)
    assert torch.equal(whole.p, divided.p)


@pytest.mark.parametrize("target", [0.3, 0.4])
def test_processes_that_average_what_they_share_move_alike(target: float) -> None:
    """E sign is 1 in one and -1/4 in the other: 0.375 together."""
    two = [Adaptive(probability=0.5, target=target, images=12_800) for _ in range(2)]
    for _ in range(4):
        two[0].observe(torch.ones(32))
        two[1].observe(torch.tensor([1.0] * 12 + [-1.0] * 20))
        for mine, other in zip(two[0].shared, two[1].shared, strict=True):
            mean = (mine + other) / 2
            mine.copy_(mean)
            other.copy_(mean)
        for one in two:
            one.adjust(64)
    expected = 0.5 + (0.02 if target == 0.3 else -0.02)
    assert [float(one.p) for one in two] == pytest.approx([expected] * 2)


@pytest.mark.parametrize("rounds", [5, 7])
def test_a_loaded_one_goes_on_exactly(rounds: int) -> None:
    first, second = Adaptive(probability=0.2, images=3000), Adaptive(images=3000)
    played(first, [1.0] * rounds)
    second.load_state_dict(first.state_dict())
    for one in (first, second):
        played(one, [0.9, 0.7, 0.8, 1.0, 0.2])
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert 0.2 < float(first.p) < 1


def test_without_a_target_p_is_fixed() -> None:
    adaptive = Adaptive(probability=0.3, target=None)
    played(adaptive, [1.0] * 8)
    assert float(adaptive.p) == pytest.approx(0.3)
    assert adaptive.shared == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"probability": 1.5}, "--augment-probability: got 1.5"),
        ({"probability": float("nan")}, "--augment-probability"),
        ({"target": 1.0}, "--augment-target: got 1.0"),
        ({"images": 0}, "--augment-images: got 0"),
    ],
)
def test_values_out_of_range_are_errors(values: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Adaptive(**values)  # type: ignore[arg-type]
