"""The LeCam regulariser by hand."""

from __future__ import annotations

import pytest
import torch

from elegan.errors import OptionError
from elegan.losses.lecam import LeCam


def after(*rounds: tuple[list[float], list[float]], weight: float = 1.0) -> LeCam:
    lecam = LeCam(weight)
    for real, fake in rounds:
        lecam.observe(torch.tensor(real), torch.tensor(fake))
        lecam.adjust()
    return lecam


def test_real_logits_are_kept_near_the_generated_ones_average_and_these_near_the_real_ones() -> None:
    lecam = after(([2.0, 4.0], [-1.0, -3.0]), weight=0.5)  # averages 3 and -2
    value = lecam(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 5.0]))
    assert float(value) == pytest.approx(0.5 * ((3**2 + 2**2) / 2 + (1**2 + 2**2) / 2))


def test_the_gradient_pulls_real_logits_towards_the_generated_average() -> None:
    lecam, real, fake = after(([3.0], [-2.0])), torch.tensor([1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    lecam(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (float(real.grad), float(fake.grad)) == (6, -4)  # 2 (1 + 2) and 2 (1 - 3)


def test_averages_keep_99_hundredths_and_begin_with_the_first_round() -> None:
    lecam = after(([1.0], [-1.0]), ([3.0], [0.0]), ([2.0], [-5.0]))
    assert float(lecam.real) == pytest.approx(0.99 * (0.99 * 1 + 0.01 * 3) + 0.01 * 2)
    assert float(lecam.fake) == pytest.approx(0.99 * (0.99 * -1) + 0.01 * -5)


def test_without_averages_there_is_nothing_to_keep_near() -> None:
    lecam, logits = LeCam(1.0), torch.ones(2)
    assert float(lecam(logits, logits)) == 0
    lecam.adjust()  # nothing was observed
    assert float(lecam(logits, logits)) == 0
    assert float(lecam.real) == 0


def test_a_divided_round_and_several_processes_are_the_whole() -> None:
    real, fake = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0)).unbind()
    whole, divided, processes = LeCam(1.0), LeCam(1.0), [LeCam(1.0), LeCam(1.0)]
    for r, f in zip(real, fake, strict=True):
        whole.observe(r, f)
        for i in range(0, 16, 4):
            divided.observe(r[i : i + 4], f[i : i + 4])
        for one, half in zip(processes, (slice(8), slice(8, 16)), strict=True):
            one.observe(r[half], f[half])
        mean = (processes[0].shared[0] + processes[1].shared[0]) / 2
        for one in processes:
            one.shared[0].copy_(mean)
        for one in (whole, divided, *processes):
            one.adjust()
    for other in (divided, *processes):
        torch.testing.assert_close(other.real, whole.real)
        torch.testing.assert_close(other.fake, whole.fake)
        torch.testing.assert_close(other(real[0], fake[0]), whole(real[0], fake[0]))


def test_observing_keeps_no_graph() -> None:
    lecam, logits = LeCam(1.0), torch.ones(2, requires_grad=True)
    lecam.observe(logits, logits)
    lecam.adjust()
    assert not any(state.requires_grad for state in lecam.state_dict().values())


def test_a_loaded_one_goes_on_exactly() -> None:
    first, second = after(([1.0], [-1.0]), ([3.0], [0.0])), LeCam(1.0)
    first.observe(torch.ones(2), torch.zeros(2))
    second.load_state_dict(first.state_dict())
    for one in (first, second):
        one.observe(torch.full((2,), 4.0), torch.zeros(2))
        one.adjust()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_half_precision_logits_are_compared_in_float32() -> None:
    lecam = after(([1.0], [-1.0]))
    value = lecam(torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16))
    assert value.dtype == torch.float32
    assert float(value) == 4


def test_a_negative_weight_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"--lecam: got -1\.0"):
        LeCam(-1.0)
