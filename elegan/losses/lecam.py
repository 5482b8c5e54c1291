"""The LeCam regulariser (Tseng et al., 2021): the discriminator's logits are kept near averages of those of the other kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elegan.errors import OptionError

DECAY = 0.99


class LeCam(nn.Module):
    """weight * (E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2); a_R and a_F are exponential averages of D(x) and of D(G(z)), of the
    rounds before (Tseng et al., 2021, section 3).

    With the loss of a Wasserstein critic the best discriminator then measures a LeCam divergence, which is bounded: for few
    images.

    In each round `observe` is called once or more, then whoever trains with several processes averages `shared` over them,
    then `adjust` is called once. All state is in the state dict. OptionError for values that are out of range.
    """

    real: Tensor
    fake: Tensor
    sums: Tensor
    rounds: Tensor

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise OptionError(f"--lecam: got {weight}, expected a weight from 0 up.")
        self.weight = weight
        self.register_buffer("real", torch.tensor(0.0))
        self.register_buffer("fake", torch.tensor(0.0))
        self.register_buffer("sums", torch.zeros(3))
        self.register_buffer("rounds", torch.tensor(0))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """The value, from logits (n,) of real and of generated samples; 0 in the first round, which has no averages yet."""
        if int(self.rounds) == 0:
            return real.new_zeros((), dtype=torch.float32)
        distances = (real.float() - self.fake).square().mean() + (fake.float() - self.real).square().mean()
        return self.weight * distances

    @property
    def shared(self) -> list[Tensor]:
        """Sums of the round, to be averaged over processes in place before `adjust`."""
        return [self.sums]

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor) -> None:
        """Logits (n,) of as many real as generated samples, in the discriminator's move."""
        self.sums += torch.stack([real.float().sum(), fake.float().sum(), self.sums.new_tensor(float(real.numel()))])

    @torch.no_grad()
    def adjust(self) -> None:
        """A round is over: the averages keep 0.99 of themselves and take 0.01 of the round's means; the first round's are those
        means. A round in which nothing was observed moves nothing."""
        if float(self.sums[2]) == 0:
            return
        keep = DECAY if int(self.rounds) else 0.0
        for average, total in ((self.real, self.sums[0]), (self.fake, self.sums[1])):
            average.mul_(keep).add_(total / self.sums[2], alpha=1 - keep)
        self.sums.zero_()
        self.rounds += 1
