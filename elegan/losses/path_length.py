"""The path length regulariser of StyleGAN2 (Karras et al., 2020, section 3.2)."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

DECAY = 0.99
"""Of the running average of lengths, for each move in which they are taken."""


def path_lengths(images: Tensor, styles: Tensor, directions: Tensor) -> Tensor:
    """(n,): |J^T y| of each sample, with J the derivative of its image by its styles and y normal noise, divided by sqrt(h w) so that
    the size of the image does not count.

    images: (n, c, h, w), made of styles (n, layers, size); directions y: like images. The mean is over layers, before the root.
    """
    directions = directions / sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * directions).sum(), styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


class PathLength(nn.Module):
    """E (|J^T y| - a)^2, with a the running average of the lengths: equation 4. A step in styles then changes an image by as much
    wherever it is made, and in every direction.

    `forward` is called once or more in a round, then whoever trains with several processes averages `shared` over them, then `adjust`
    is called once: then the average follows. All state is in the state dict.
    """

    average: Tensor
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("sums", torch.zeros(2))

    def forward(self, lengths: Tensor) -> Tensor:
        """The penalty of lengths (n,), about an average that these have moved already."""
        self.sums += torch.stack([lengths.detach().sum(), self.sums.new_tensor(float(len(lengths)))])
        moved = self.average.lerp(self.sums[0] / self.sums[1], 1 - DECAY)
        return (lengths - moved).square().mean()

    @property
    def shared(self) -> list[Tensor]:
        return [self.sums]

    @torch.no_grad()
    def adjust(self) -> None:
        """A move is over. One in which no length was taken moves nothing."""
        if float(self.sums[1]):
            self.average.lerp_(self.sums[0] / self.sums[1], 1 - DECAY)
            self.sums.zero_()
