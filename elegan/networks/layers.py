"""Layers that several networks share, and the one initialisation that is not PyTorch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


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


def advance(network: nn.Module) -> None:
    """Move every spectral norm in `network` on by one power iteration."""
    for norm, weight in spectral_norms(network):
        norm._iterate(weight.detach().flatten(1))


def spectral_norms(network: nn.Module) -> list[tuple[SpectralNorm, Tensor]]:
    """Every spectral norm in `network`, with the weight that it divides."""
    lists = [module for module in network.modules() if isinstance(module, parametrize.ParametrizationList)]
    return [(norm, parts.original) for parts in lists for norm in parts if isinstance(norm, SpectralNorm)]


class CentreCrop(nn.Module):
    """The middle (height, width) of an image: networks that double sizes reach any size so."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        return x[:, :, top : top + self.height, left : left + self.width]


def initialise_normal(network: nn.Module, std: float = 0.02) -> None:
    """Weights N(0, std), batch norm scales N(1, std), biases 0 (Radford et al., 2016, section 4)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)
