"""Doubling and halving maps by bilinear interpolation, each the mirror of the other.

Doubling is each pixel twice and then the low-pass filter [1, 2, 1] / 4 in both directions, which is [1, 3, 3, 1] / 4 in one step;
halving is the same filter and then the mean of each 2x2. Beyond an edge the map goes on as its last pixel. Constant maps stay what
they are, edges included, and both are linear, so gradients of gradients are exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def double(maps: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, c, 2h, 2w)."""
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear")


def halve(maps: Tensor) -> Tensor:
    """(n, c, 2h, 2w) -> (n, c, h, w)."""
    count, channels, height, width = maps.shape
    # The transpose of doubling, which is its gradient: on a CPU in bfloat16 forward and backward together are 50 times
    # as fast as a convolution with this filter, one for each channel.
    transpose = torch.ops.aten.upsample_bilinear2d_backward
    return transpose(maps, [height, width], [count, channels, height // 2, width // 2], False) / 4  # type: ignore[no-any-return]


def binomial(maps: Tensor, *, gain: float = 1.0) -> Tensor:
    """[1, 3, 3, 1] x [1, 3, 3, 1] / 64 times `gain`, a kernel for each channel of `maps`: (c, 1, 4, 4)."""
    line = maps.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return (gain * line[:, None] * line).expand(maps.shape[1], 1, 4, 4)


def smooth(maps: Tensor, padding: int, *, gain: float = 1.0) -> Tensor:
    """The binomial filter of StyleGAN2 (Karras et al., 2020, appendix B): (n, c, h, w) -> (n, c, h + 2 padding - 3, w + 2 padding - 3).

    Beyond an edge there is 0.
    """
    return F.conv2d(maps, binomial(maps, gain=gain), padding=padding, groups=maps.shape[1])


def smooth_and_halve(maps: Tensor) -> Tensor:
    """The binomial filter, and every second pixel: (n, c, h, w) -> (n, c, h // 2, w // 2)."""
    # Not with stride 2: on a CPU its gradient in bfloat16 takes 4 to 10 times as long as this.
    return smooth(maps, 1)[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)


def double_smoothly(maps: Tensor) -> Tensor:
    """Zeros between the pixels, and the binomial filter with gain 4: (n, c, h, w) -> (n, c, 2h, 2w)."""
    return F.conv_transpose2d(maps, binomial(maps, gain=4.0), stride=2, padding=1, groups=maps.shape[1])
