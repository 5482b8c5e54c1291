from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from elegan.augment import AUGMENTATIONS, augmentation
from elegan.errors import OptionError
from elegan.randomness import BatchRandomness

ALL = "colour+translation+cutout"


@dataclass
class Chosen:
    """Uniform numbers as given, by the last part of the stream's name."""

    numbers: dict[str, list[float]]
    asked: list[str] = field(default_factory=list)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        self.asked.append(stream)
        values = torch.tensor(self.numbers[stream.rsplit("/")[-1]], dtype=torch.float64)
        return values.view(len(values), *shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        raise NotImplementedError


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def random(size: int, step: int = 0) -> BatchRandomness:
    return BatchRandomness(seed=0, step=step, start=0, stop=size, total=size)


def augmented(policy: str, x: Tensor, numbers: dict[str, list[float]]) -> Tensor:
    found = augmentation(policy)
    assert found is not None
    return found(x, Chosen(numbers), "test")


def coloured(brightness: float, saturation: float, contrast: float) -> dict[str, list[float]]:
    return {"brightness": [brightness], "saturation": [saturation], "contrast": [contrast]}


NEUTRAL = coloured(0.5, 0.5, 0.5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_the_middle_of_every_colour_draw_changes_nothing(channels: int) -> None:
    x = images(1, channels, 4, 6)
    torch.testing.assert_close(augmented("colour", x, NEUTRAL), x)


def test_brightness_is_added() -> None:
    x = images(1, 3, 4, 6)
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"brightness": [0.0]}), x - 0.5)
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"brightness": [0.9]}), x + 0.4)


def test_saturation_scales_the_distance_from_grey() -> None:
    x = images(1, 3, 4, 6)
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"saturation": [0.0]}), grey.expand_as(x))
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"saturation": [0.75]}), grey + 1.5 * (x - grey))


def test_grey_images_have_no_saturation() -> None:
    x = images(1, 1, 4, 6)
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"saturation": [0.1]}), x)


def test_contrast_scales_the_distance_from_the_images_mean() -> None:
    x = images(1, 3, 4, 6)
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"contrast": [0.0]}), x.mean() + 0.5 * (x - x.mean()))
    torch.testing.assert_close(augmented("colour", x, NEUTRAL | {"contrast": [0.8]}), x.mean() + 1.3 * (x - x.mean()))


def test_all_three_in_their_order_for_each_sample_by_itself() -> None:
    x = images(3, 3, 4, 6)
    draws = {"brightness": [0.1, 0.5, 0.9], "saturation": [0.2, 0.9, 0.4], "contrast": [0.7, 0.3, 0.1]}
    found = augmented("colour", x, draws)
    for i, one in enumerate(x):
        bright = one + draws["brightness"][i] - 0.5
        grey = bright.mean(0, keepdim=True)
        saturated = grey + (bright - grey) * draws["saturation"][i] * 2
        expected = saturated.mean() + (saturated - saturated.mean()) * (draws["contrast"][i] + 0.5)
        torch.testing.assert_close(found[i], expected)


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_keeps_its_values_and_out_of_the_means(channels: int) -> None:
    x = images(1, channels, 4, 6)
    draws = coloured(0.1, 0.9, 0.2)
    found = augmented("colour", x, draws)
    assert torch.equal(found[:, -1], x[:, -1])
    torch.testing.assert_close(found[:, :-1], augmented("colour", x[:, :-1], draws))


@pytest.mark.parametrize("shape", [(8, 8), (21, 37), (16, 40)])
def test_translation_moves_whole_pixels_and_fills_with_zeros(shape: tuple[int, int]) -> None:
    height, width = shape
    x = images(5, 3, height, width)
    draws = {"down": [0.0, 0.999, 0.5, 0.3, 0.8], "right": [0.0, 0.999, 0.5, 0.9, 0.2]}
    found = augmented("translation", x, draws)
    for i in range(len(x)):
        down = int(draws["down"][i] * (2 * (height // 8) + 1)) - height // 8
        right = int(draws["right"][i] * (2 * (width // 8) + 1)) - width // 8
        expected = torch.zeros_like(x[i])
        for row in range(height):
            for column in range(width):
                if 0 <= row - down < height and 0 <= column - right < width:
                    expected[:, row, column] = x[i, :, row - down, column - right]
        assert torch.equal(found[i], expected)


def test_every_shift_up_to_an_eighth_is_as_likely() -> None:
    """400 draws of 5 shifts in each direction; chi-square with 4 degrees of freedom is above 18.5 once in a thousand."""
    x = torch.zeros(400, 1, 16, 16)
    x[:, :, 8, 8] = 1
    found = AUGMENTATIONS["translation"](x, random(400), "test").flatten(1).argmax(1)
    for place in (found // 16, found % 16):
        counts = torch.bincount(place, minlength=16)
        assert counts[6:11].sum() == 400
        assert ((counts[6:11] - 80) ** 2 / 80).sum() < 18.5


def test_images_too_small_to_move_stay() -> None:
    x = images(4, 1, 7, 7)
    assert torch.equal(AUGMENTATIONS["translation"](x, random(4), "test"), x)


@pytest.mark.parametrize(
    ("centre", "rows"),
    [(0.0, range(2)), (0.5, range(2, 6)), (0.51, range(2, 6)), (0.49, range(2, 6)), (0.6, range(3, 7)), (0.999, range(6, 8))],
)
def test_cutout_is_half_of_each_side_around_its_centre(centre: float, rows: range) -> None:
    x = images(1, 3, 8, 8)
    found = augmented("cutout", x, {"cutout_row": [centre], "cutout_column": [0.5]})
    expected = x.clone()
    expected[:, :, rows.start : rows.stop, 2:6] = 0
    assert torch.equal(found, expected)


@pytest.mark.parametrize("shape", [(8, 8), (21, 37), (16, 40), (5, 9)])
def test_cutout_is_that_large_wherever_it_fits(shape: tuple[int, int]) -> None:
    height, width = shape
    for centre in (0.4, 0.45, 0.5, 0.55, 0.6):
        found = augmented("cutout", torch.ones(1, 1, height, width), {"cutout_row": [centre], "cutout_column": [centre]})
        rows, columns = (found[0, 0] == 0).any(1).sum(), (found[0, 0] == 0).any(0).sum()
        assert (rows, columns) == (height // 2, width // 2)
        assert (found == 0).sum() == rows * columns


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_sample_has_its_own_numbers(name: str) -> None:
    x = images(1, 3, 16, 16).expand(8, 3, 16, 16)
    found = AUGMENTATIONS[name](x, random(8), "test")
    assert len({tuple(one.flatten().tolist()) for one in found}) >= 7


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_steps_and_streams_have_their_own_numbers(name: str) -> None:
    x, augment = images(8, 3, 16, 16), AUGMENTATIONS[name]
    first = augment(x, random(8), "real")
    assert torch.equal(first, augment(x, random(8), "real"))
    assert not torch.equal(first, augment(x, random(8), "fake"))
    assert not torch.equal(first, augment(x, random(8, step=1), "real"))


def test_no_two_draws_share_a_stream() -> None:
    uses = ["brightness", "saturation", "contrast", "down", "right", "cutout_row", "cutout_column"]
    chosen, augment = Chosen({use: [0.5] for use in uses}), augmentation(ALL)
    assert augment is not None
    augment(images(1, 3, 16, 16), chosen, "fake")
    assert chosen.asked == [f"fake/{use}" for use in uses]


@pytest.mark.parametrize("policy", [*AUGMENTATIONS, ALL])
def test_a_batch_in_two_parts_is_the_whole(policy: str) -> None:
    x, augment = images(6, 3, 16, 24).float(), augmentation(policy)
    assert augment is not None
    whole = augment(x, random(6), "test")
    for start, stop in ((0, 2), (2, 6)):
        part = augment(x[start:stop], replace(random(6), start=start, stop=stop), "test")
        torch.testing.assert_close(part, whole[start:stop])


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("policy", [*AUGMENTATIONS, ALL])
def test_gradients_are_those_of_finite_differences_twice(policy: str, channels: int) -> None:
    x, augment = images(2, channels, 8, 8).requires_grad_(), augmentation(policy)
    assert augment is not None

    def curved(x: Tensor) -> Tensor:  # augmentation alone is linear or affine: its second derivative would be 0
        return augment(x.sin(), random(2), "test").square().flatten(1).sum(1)

    assert torch.autograd.gradcheck(lambda x: augment(x, random(2), "test"), x)
    assert torch.autograd.gradgradcheck(curved, x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("policy", [*AUGMENTATIONS, ALL])
def test_type_and_memory_format_are_kept(policy: str, channels: int, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x, augment = images(3, channels, 16, 16).to(dtype).contiguous(memory_format=memory_format).requires_grad_(), augmentation(policy)
    assert augment is not None
    found = augment(x, random(3), "test")
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    for one in (found, gradient):
        assert (one.shape, one.dtype) == (x.shape, dtype)
        assert one.is_contiguous(memory_format=memory_format)


def test_the_input_stays_as_it_was() -> None:
    x, augment = images(3, 3, 16, 16), augmentation(ALL)
    assert augment is not None
    augment(x, random(3), "test")
    assert torch.equal(x, images(3, 3, 16, 16))


def test_a_policy_applies_its_parts_in_order() -> None:
    x, augment = images(4, 3, 16, 16), augmentation("cutout+colour")
    assert augment is not None
    expected: Tensor = x
    parts: list[Callable[..., Tensor]] = [AUGMENTATIONS["cutout"], AUGMENTATIONS["colour"]]
    for part in parts:
        expected = part(expected, random(4), "test")
    assert torch.equal(augment(x, random(4), "test"), expected)
    other = augmentation("colour+cutout")
    assert other is not None
    assert not torch.equal(other(x, random(4), "test"), expected)


def test_none_is_none() -> None:
    assert augmentation("none") is None


@pytest.mark.parametrize("policy", ["color", "colour+cutot", "", "colour+", "none+colour"])
def test_an_unknown_name_is_an_error(policy: str) -> None:
    with pytest.raises(OptionError, match="--augment: got"):
        augmentation(policy)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"got 'color' in 'color\+cutout'\. Did you mean 'colour'\?"):
        augmentation("color+cutout")
