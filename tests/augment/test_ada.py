"""The pipeline as a whole: gradients, types, parts of a batch, and what a probability is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from elegan.augment import AUGMENTATIONS, augmentation
from elegan.augment.ada import BEST, GROUPS, POLICIES, ada
from elegan.augment.adaptive import Adaptive
from elegan.errors import OptionError
from elegan.randomness import BatchRandomness


@dataclass(frozen=True)
class Noted:
    """Randomness that keeps the names of what it was asked for."""

    of: BatchRandomness
    asked: list[str] = field(default_factory=list)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        self.asked.append(stream)
        return self.of.uniform(stream, *shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        self.asked.append(stream)
        return self.of.normal(stream, *shape)


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def random(size: int, step: int = 0) -> BatchRandomness:
    return BatchRandomness(seed=0, step=step, start=0, stop=size, total=size)


@pytest.mark.parametrize("groups", [*POLICIES.values()], ids="+".join)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_gradients_are_those_of_finite_differences_twice(channels: int, groups: tuple[str, ...]) -> None:
    """Fast mode: along random directions, to all pixels."""
    x = images(3, channels, 5, 6).requires_grad_()

    def augment(x: Tensor) -> Tensor:
        return ada(x, random(3), "test", 0.7, groups)

    def curved(x: Tensor) -> Tensor:  # augmentation alone is affine: its second derivative would be 0
        return augment(x.sin()).square().flatten(1).sum(1)

    assert torch.autograd.gradcheck(augment, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(curved, x, fast_mode=True)


def test_gradients_are_exact_in_every_pixel() -> None:
    x = images(2, 3, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ada(x, random(2), "test", 1.0, GROUPS), x)


@pytest.mark.parametrize("p", [0.0, torch.tensor(0.0)], ids=["number", "tensor"])
def test_without_probability_the_images_come_back(p: float | Tensor) -> None:
    x = images(2, 3, 8, 8).bfloat16()
    assert ada(x, random(2), "test", p, GROUPS) is x


def test_a_tiny_probability_changes_next_to_nothing() -> None:
    """No use happens, yet all matrices are applied."""
    x = images(4, 3, 12, 16).float()
    torch.testing.assert_close(ada(x, random(4), "test", 1e-9, GROUPS), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("groups", [*POLICIES.values()], ids="+".join)
def test_a_batch_in_two_parts_is_the_whole(groups: tuple[str, ...]) -> None:
    x = images(6, 3, 16, 24).float()
    whole = ada(x, random(6), "test", torch.tensor(0.6), groups)
    for start, stop in ((0, 2), (2, 6)):
        part = ada(x[start:stop], replace(random(6), start=start, stop=stop), "test", 0.6, groups)
        torch.testing.assert_close(part, whole[start:stop], atol=1e-5, rtol=1e-5)


def test_samples_steps_and_streams_have_their_own_numbers() -> None:
    x = images(1, 3, 16, 16).expand(8, 3, 16, 16)
    first = ada(x, random(8), "real", 1.0)
    assert len({tuple(one.flatten().tolist()) for one in first}) == 8
    assert torch.equal(first, ada(x, random(8), "real", 1.0))
    assert not torch.equal(first, ada(x, random(8), "fake", 1.0))
    assert not torch.equal(first, ada(x, random(8, step=1), "real", 1.0))


def test_no_two_draws_share_a_stream_and_eighteen_transformations_happen() -> None:
    noted = Noted(random(2))
    ada(images(2, 3, 8, 8), noted, "fake", 0.5, GROUPS)
    assert len(set(noted.asked)) == len(noted.asked)
    assert all(name.startswith("fake/") for name in noted.asked)
    happens = [name for name in noted.asked if name.endswith("/happens")]
    assert len(happens) == 18 + 1  # one of them is a turn in two halves


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_rounds_only_at_the_end(dtype: torch.dtype) -> None:
    x = images(4, 3, 16, 16).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ada(x, random(4), "test", 0.8, GROUPS)
    exact = ada(x.detach().float(), random(4), "test", 0.8, GROUPS)
    (gradient,) = torch.autograd.grad(found.float().square().sum(), x)
    assert found.dtype == gradient.dtype == dtype
    assert torch.equal(found, exact.to(dtype))


def test_the_input_stays_as_it_was() -> None:
    x = images(4, 4, 16, 16)
    ada(x, random(4), "test", 0.8, GROUPS)
    assert torch.equal(x, images(4, 4, 16, 16))


def test_alpha_moves_with_the_colours() -> None:
    x = images(8, 1, 16, 16).expand(8, 4, 16, 16)
    found = ada(x, random(8), "test", 0.8, ["blit", "geometry", "cutout"])
    for channel in range(4):
        torch.testing.assert_close(found[:, channel], found[:, 3])


def test_p_is_how_often_a_transformation_happens() -> None:
    """2,000 draws of cutout: within 4 standard deviations; and who is cut out at 0.3 is so at 0.6."""
    x = torch.ones(2000, 1, 4, 4)
    rare, frequent = ((ada(x, random(2000), "test", p, ["cutout"]) == 0).flatten(1).any(1) for p in (0.3, 0.6))
    for cut, p in ((rare, 0.3), (frequent, 0.6)):
        assert abs(float(cut.double().mean()) - p) < 4 * (p * (1 - p) / 2000) ** 0.5
    assert (frequent >= rare).all()


def test_policies_name_groups() -> None:
    assert BEST == ("blit", "geometry", "colour")
    both = augmentation("ada_cutout+ada_blit", probability=0.4)
    assert isinstance(both, Adaptive)
    assert both.groups == ("blit", "cutout")  # the paper's order
    found = augmentation("ada", target=None, probability=0.4)
    assert isinstance(found, Adaptive)
    assert (found.groups, found.target) == (BEST, None)
    assert float(found.p) == pytest.approx(0.4)
    x = images(4, 3, 8, 8)
    assert torch.equal(found(x, random(4), "test"), ada(x, random(4), "test", found.p))
    assert not AUGMENTATIONS.keys() & POLICIES.keys()


def test_an_unknown_group_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"got 'ada_color' in 'ada_color'\. Did you mean 'ada_colour'\?"):
        augmentation("ada_color")


def test_augmentations_of_both_kinds_are_refused() -> None:
    with pytest.raises(OptionError, match="give names of one kind"):
        augmentation("ada+cutout")
