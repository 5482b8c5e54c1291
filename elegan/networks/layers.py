"""Layers that several networks share, and the initialisations that are not PyTorch's own."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

Norm = Literal["batch", "spectral", "none"]
"""What keeps a discriminator's layers in bounds."""


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose running statistics follow one forward pass of its owner's move, not every one.

    A discriminator sees a real and a generated batch in one move; following both would average two distributions
    and advance twice for one update. The engine arms it (`track_running_stats`) for each evaluation of a loss.
    """

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        if self.training and self.track_running_stats:
            self.track_running_stats = False
        return output


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, estimated by power iteration (Miyato et al., 2018).

    The estimate moves on only when the engine calls `advance()`, once for each update of the owner, so that scoring
    twice in one move, or in another player's move, changes nothing. weight: (out, ...), seen as (out, rest).
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, warm_up: int = 15) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", F.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(matrix.shape[1]), dim=0))
        for _ in range(warm_up):
            self._iterate(matrix)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.right.copy_(F.normalize(matrix.T @ self.left, dim=0))
        self.left.copy_(F.normalize(matrix @ self.right, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        # float32 also under autocast: in bfloat16 the quotient would be off by up to 1%.
        # Copies: the estimate may move on before this graph is used backwards, when a generated batch is kept.
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            return weight / torch.dot(self.left.clone(), torch.mv(weight.flatten(1), self.right.clone()))


def spectral_norm(layer: nn.Module) -> nn.Module:
    """`layer` with its weight divided by its largest singular value wherever it is used."""
    assert isinstance(layer.weight, Tensor)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return layer


def spectral_norm_all(network: nn.Module) -> None:
    """Spectral norm for every layer in `network` whose weight is a matrix or a kernel: embeddings too."""
    for layer in list(network.modules()):
        if isinstance(getattr(layer, "weight", None), nn.Parameter) and layer.weight.dim() > 1:  # type: ignore[operator]
            spectral_norm(layer)


def advance(network: nn.Module) -> None:
    """Move every spectral norm in `network` on by one power iteration."""
    for norm, weight in spectral_norms(network):
        norm._iterate(weight.detach().flatten(1))


def spectral_norms(network: nn.Module) -> list[tuple[SpectralNorm, Tensor]]:
    """Every spectral norm in `network`, with the weight that it divides."""
    lists = [module for module in network.modules() if isinstance(module, parametrize.ParametrizationList)]
    return [(norm, parts.original) for parts in lists for norm in parts if isinstance(norm, SpectralNorm)]


FEW_POSITIONS = 64
"""Below this size of the small map, one 4x4 convolution is no faster than a 3x3 convolution and resizing."""


class HalvingConv2d(nn.Conv2d):
    """A 3x3 convolution, then the mean of each 2x2 of its result: (n, c, h, w) -> (n, c', h // 2, w // 2).

    Both together are one 4x4 convolution with stride 2, with 16 products where there were 36 (Karras et al., 2018).
    """

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[2] * input.shape[3] < 4 * FEW_POSITIONS:
            return F.avg_pool2d(super().forward(input), 2)
        return F.conv2d(input, spread(self.weight) / 4, self.bias, stride=2, padding=1)


class DoublingConv2d(nn.Conv2d):
    """Each pixel doubled in both directions, then a 3x3 convolution: (n, c, h, w) -> (n, c', 2h, 2w).

    Both together are one 4x4 transposed convolution with stride 2, with 16 products where there were 36.
    """

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__(size_in, size_out, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[2] * input.shape[3] < FEW_POSITIONS:
            return super().forward(F.interpolate(input, scale_factor=2.0))
        return F.conv_transpose2d(input, spread(self.weight.flip(2, 3)).transpose(0, 1), self.bias, stride=2, padding=1)


def spread(kernel: Tensor) -> Tensor:
    """Kernels (..., 3, 3) -> (..., 4, 4): the sum of four copies, each a pixel apart."""
    rows = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
    return F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))


class CentreCrop(nn.Module):
    """The middle (height, width) of an image: networks that double sizes reach any size so."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        return x[:, :, top : top + self.height, left : left + self.width]


class Surround(nn.Module):
    """(n, c, h, w) -> (n, c, height, width), at least as large: pixels beyond an edge are as the nearest one. Undone by CentreCrop."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.height - x.shape[2], self.width - x.shape[3]
        return F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2), mode="replicate") if down or across else x


class Clamp(nn.Module):
    """Cuts samples to [-1, 1], as a picture does; in training the discriminator sees all."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x
        cut: Tensor = Cut.apply(x) if x.requires_grad else x.clamp(-1, 1)  # type: ignore[no-untyped-call]
        return cut


class Cut(torch.autograd.Function):
    """Numbers cut to [-1, 1]. Beyond an edge a gradient counts where following it downhill leads back inside: else a search that has
    left by accident would never come back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        outwards = ((x > 1) & (gradient < 0)) | ((x < -1) & (gradient > 0))
        return gradient.masked_fill(outwards, 0)


def initialise_normal(network: nn.Module, std: float = 0.02) -> None:
    """Weights N(0, std), batch norm scales N(1, std), biases 0 (Radford et al., 2016, section 4)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)


def initialise_glorot(network: nn.Module, gain: float = 1.0) -> None:
    """Weights uniform with variance 2 gain^2 / (fan in + fan out), biases 0 (Glorot and Bengio, 2010)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
