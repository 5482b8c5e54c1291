"""Networks that grow: all sizes are there from the start, and those up to `growth` doublings are in use (Karras et al., 2018)."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.networks.layers import CentreCrop, Surround


class Growing(nn.Module):
    """How far a network has grown. `growth` is kept with the weights: 2.4 says that the map doubles twice, and that a third doubling
    counts for 0.4. At first it is `doublings`, all there are.

    Layers that are not in use get no gradient. In evaluation mode `growth` itself is read, as an average or a save may have set it,
    and left as it is.
    """

    growth: Tensor

    def __init__(self, doublings: int) -> None:
        super().__init__()
        self.doublings = self.stage = doublings
        self.fades = False
        self.register_buffer("growth", torch.tensor(float(doublings)))

    def grow(self, growth: float) -> None:
        self.growth.fill_(growth)
        self.use(growth)

    def use(self, growth: float) -> None:
        self.stage, self.fades = ceil(growth), growth < ceil(growth)

    def present(self) -> int:
        """The number of doublings in use; `fades` says whether the last of them does not yet count in full."""
        if not self.training:
            self.use(round(float(self.growth), 4))  # an average comes so close to a whole number and no closer
        return self.stage

    def faded(self, before: Tensor, after: Tensor) -> Tensor:
        """Between what there is without the last doubling and with it."""
        share = self.growth - (self.stage - 1)
        return torch.lerp(before, after, share.to(before.dtype))


def enlarge(images: Tensor, times: int) -> Tensor:
    """Each pixel `times` as high and as wide."""
    return images if times == 1 else F.interpolate(images, scale_factor=float(times))


def reduce(images: Tensor, times: int) -> Tensor:
    """The mean of each square of `times` pixels."""
    return images if times == 1 else F.avg_pool2d(images, times)


def coarse(images: Tensor, growth: float, doublings: int) -> Tensor:
    """Images (n, c, h, w) with no more detail than `growth` of `doublings` show: those that the grown generator's are compared with."""
    if growth == doublings:
        return images
    stage = ceil(growth)
    height, width = images.shape[2:]
    whole = Surround(*(-(-side // 2**doublings) * 2**doublings for side in (height, width)))(images)
    after = reduce(whole, 2 ** (doublings - stage))
    if growth < stage:
        after = torch.lerp(enlarge(reduce(after, 2), 2), after, growth - (stage - 1))
    cropped: Tensor = CentreCrop(height, width)(enlarge(after, 2 ** (doublings - stage)))
    return cropped
