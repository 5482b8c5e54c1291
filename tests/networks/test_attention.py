"""Self-attention against a loop over positions, its derivatives, and which maps have it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elegan.networks.attention import SelfAttention, attended_level


def awake(channels: int, gamma: float = 0.7) -> SelfAttention:
    torch.manual_seed(0)
    attention = SelfAttention(channels).double()
    attention.gamma.data.fill_(gamma)
    return attention


def by_loops(attention: SelfAttention, x: Tensor) -> Tensor:
    """Each position of one image in turn, its shares of the largest keys and values of every 2x2."""
    query, key, value, last = (layer.weight[:, :, 0, 0] for layer in (attention.query, attention.key, attention.value, attention.last))
    keys, values = [], []
    for i in range(x.shape[1] // 2):
        for j in range(x.shape[2] // 2):
            four = [x[:, 2 * i + k, 2 * j + m] for k in (0, 1) for m in (0, 1)]
            keys.append(torch.stack([key @ one for one in four]).amax(0))
            values.append(torch.stack([value @ one for one in four]).amax(0))
    result = x.clone()
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            weights = torch.stack([(query @ x[:, i, j]) @ one for one in keys]).exp()
            gathered = torch.stack([weight * one for weight, one in zip(weights / weights.sum(), values, strict=True)]).sum(0)
            result[:, i, j] = x[:, i, j] + attention.gamma * (last @ gathered)
    return result


@pytest.mark.parametrize("size", [(4, 4), (5, 8), (2, 3)], ids=str)
@torch.no_grad()
def test_each_position_gathers_values_by_its_shares(size: tuple[int, int]) -> None:
    attention = awake(16)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    expected = torch.stack([by_loops(attention, one) for one in x])
    assert not torch.allclose(expected, x)
    torch.testing.assert_close(attention(x), expected, rtol=1e-12, atol=1e-12)


def test_it_begins_as_the_identity_and_gamma_can_leave_0() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(8), torch.randn(2, 8, 4, 4)
    assert torch.equal(attention(x), x)
    attention(x).square().sum().backward()
    assert attention.gamma.grad is not None
    assert float(attention.gamma.grad.abs()) > 0


def test_queries_and_keys_are_an_eighth_and_values_half_without_biases() -> None:
    attention = SelfAttention(192)
    assert {name: tuple(weight.shape[:2]) for name, weight in attention.named_parameters() if weight.dim()} == {
        "query.weight": (24, 192),
        "key.weight": (24, 192),
        "value.weight": (96, 192),
        "last.weight": (192, 96),
    }
    assert sum(weight.numel() for weight in attention.parameters()) == 2 * 192 * 24 + 2 * 192 * 96 + 1
    narrow = SelfAttention(1)
    assert narrow(torch.randn(1, 1, 2, 2)).shape == (1, 1, 2, 2)


def test_it_has_a_first_and_a_second_derivative() -> None:
    attention, x = awake(8), torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    weights = dict(attention.named_parameters())

    def output(x: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(attention, dict(zip(weights, values, strict=True)), (x,))
        return found

    inputs = (x, *weights.values())
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(output, inputs, fast_mode=True)


def test_layouts_and_precisions_agree() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(32), torch.randn(3, 32, 6, 8)
    attention.gamma.data.fill_(1.0)
    expected = attention(x)
    attention.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(attention(x.to(memory_format=torch.channels_last)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = attention(x)
    torch.testing.assert_close(coarse.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("size", "level"),
    [
        *(((8, 8), None), ((28, 28), None), ((31, 256), None), ((32, 32), 1), ((64, 64), 1), ((128, 128), 1), ((129, 200), 1)),
        *(((130, 130), 2), ((256, 256), 2), ((64, 256), 1)),
    ],
    ids=str,
)
def test_the_map_of_at_most_64_pixels_is_attended_to(size: tuple[int, int], level: int | None) -> None:
    assert attended_level(*size) == level
