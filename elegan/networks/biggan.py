"""BigGAN's networks for any size from 8 to 1023 (Brock et al., 2019, section 3 and appendix B).

At 128x128, 256x256 and 512x512 they are the paper's. At 64x64 and 32x32 they have the channels of the authors' later code, and small images
have as many on every map. Sizes that are no 4 * 2^k are cropped, as in dcgan.py.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from elegan.errors import OptionError
from elegan.networks.attention import SelfAttention, attended_level
from elegan.networks.conditions import (
    NOTHING,
    ConditionalBatchNorm2d,
    Conditions,
    DiscriminatorCondition,
    GeneratorCondition,
    ToldDiscriminator,
    ToldSequential,
)
from elegan.networks.dcgan import num_doublings, smallest_map
from elegan.networks.layers import BatchNorm2d, CentreCrop, Norm, SpectralNorm
from elegan.networks.resnet import DownBlock, UpBlock

LARGEST_SMALL_SIDE, SMALL = 40, 4
"""Up to here all maps have 4 times `width` channels."""

UP = {3: (16, 8, 4, 2), 4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1), 6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)}
DOWN = {4: (1, 2, 4, 8, 16), 5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)}
"""By how often the size doubles or halves: channels of each map of the generator, of each block of the discriminator, over `width`."""

SHARED = 128
"""Features of a condition, of which all of the generator's batch norms are told."""


def generator_widths(width: int, height: int, image_width: int) -> list[int]:
    """Channels from the smallest map to the largest. OptionError for images that are too large."""
    doublings = num_doublings(height, image_width)
    if doublings > max(UP):
        raise OptionError(f"--network biggan is for sides below 1024; got {height}x{image_width}. Use --size 512, or --model stylegan2.")
    small = min(height, image_width) <= LARGEST_SMALL_SIDE
    return [width * factor for factor in ((SMALL,) * (doublings + 1) if small else UP[doublings])]


def discriminator_blocks(width: int, height: int, image_width: int) -> list[tuple[int, bool]]:
    """Each block's channels, and whether it halves the map: two of four do on small images, else all but the last, to 4 pixels, or
    up to 7 where sides are of 640 and more."""
    side = min(height, image_width)
    if side <= LARGEST_SMALL_SIDE:
        return [(SMALL * width, i < 2) for i in range(4)]
    halvings = next((count for count in DOWN if side >> count <= 4), max(DOWN))
    return [(width * factor, i < halvings) for i, factor in enumerate(DOWN[halvings])]


def chunk_sizes(latent: int, layers: int) -> list[int]:
    """How many numbers of noise each of the generator's layers is given: equally many, and the last what is left over.

    Chunk k begins at k * (latent // layers). OptionError if there is not one for each.
    """
    if latent < layers:
        raise OptionError(
            f"--latent: got {latent}, but BigGAN gives each of {layers} layers a part of the noise at this size. "
            f"Use {layers} or more; multiples of {layers}, such as {20 * layers}, give each as much."
        )
    size = latent // layers
    return [size] * (layers - 1) + [latent - size * (layers - 1)]


class GeneratorSpectralNorm(SpectralNorm):
    """Spectral norm for a network of which there is a running average, and whose samples are kept from one move to the next.

    The average of singular vectors is no unit vector, and not those of the averaged weights. So in evaluation they are found anew,
    from the averaged ones on, and not kept. In training new ones do not overwrite the old, which a kept graph may still need:
    compiled, it has no copies of its own.
    """

    ITERATIONS = 3

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.right = F.normalize(matrix.T @ self.left, dim=0)
        self.left = F.normalize(matrix @ self.right, dim=0)

    def forward(self, weight: Tensor) -> Tensor:
        if self.training:
            return super().forward(weight)
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            matrix, left = weight.flatten(1), self.left
            for _ in range(self.ITERATIONS):
                right = F.normalize(matrix.T @ left, dim=0)
                left = F.normalize(matrix @ right, dim=0)
            return weight / torch.dot(left, matrix @ right)


def initialise_orthogonal(network: nn.Module) -> None:
    """Every matrix, kernel and embedding with orthogonal rows or columns of length 1 (Saxe et al., 2014), biases 0."""
    for module in network.modules():
        if isinstance(weight := getattr(module, "weight", None), Tensor) and weight.dim() > 1:
            nn.init.orthogonal_(weight)
            if isinstance(bias := getattr(module, "bias", None), Tensor):
                nn.init.zeros_(bias)


class LinearBatchNorm2d(ConditionalBatchNorm2d):
    """Batch norm whose gain, less 1, and bias are linear in features (n, f), without constants: (n, c, h, w) -> (n, c, h, w)."""

    def __init__(self, channels: int, num_features: int) -> None:
        super().__init__(channels, Conditions(numbers=num_features))
        self.gain, self.bias = (nn.Linear(num_features, channels, bias=False) for _ in range(2))


class BigGANGenerator(nn.Module):
    """Noise (n, latent) and condition -> sample (n, c, h, w) in [-1, 1].

    The noise is cut into chunks. The first makes the smallest map. Each other, joined to the condition's features, which all blocks
    share, drives the batch norms of one block; without a condition it does so alone. All layers have spectral norm. width: the
    paper's ch; small images have 4 times as many channels. latent_layers: into how many equal chunks the noise is cut; 1 if it
    cannot be, and the last is larger.
    """

    embedding: nn.Module

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 120,
        width: int = 96,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "batch_norm",
    ) -> None:
        super().__init__()
        if conditions and told == "concatenate":
            raise OptionError("BigGAN's generator is told the condition by its batch norms. Use --generator-condition batch_norm.")
        channels, *size = shape
        sizes, attended = generator_widths(width, *size), attended_level(*size)
        self.chunks = chunk_sizes(latent, len(sizes))
        self.latent_layers = len(sizes) if len(set(self.chunks)) == 1 else 1
        self.base = sizes[0], *smallest_map(*size)
        self.told = bool(conditions)
        if conditions:
            self.embedding = conditions.features(SHARED)
        self.project = nn.Linear(self.chunks[0], self.base[0] * self.base[1] * self.base[2])
        stages: list[nn.Module] = []
        for level, pair, chunk in zip(range(len(sizes) - 2, -1, -1), pairwise(sizes), self.chunks[1:], strict=True):
            block = UpBlock(*pair, partial(LinearBatchNorm2d, num_features=chunk + (SHARED if conditions else 0)))
            stages.append(ToldSequential(block, *([SelfAttention(pair[1])] if level == attended else [])))
        self.blocks = nn.ModuleList(stages)
        convolution = nn.Conv2d(sizes[-1], channels, 3, padding=1)
        self.paint = nn.Sequential(BatchNorm2d(sizes[-1]), nn.ReLU(inplace=True), convolution, CentreCrop(*size), nn.Tanh())
        initialise_orthogonal(self)
        self.normalise_spectra()

    def normalise_spectra(self) -> None:
        """Spectral norm for every layer but the features of the condition."""
        for layer in [layer for part in (self.project, self.blocks, self.paint) for layer in part.modules()]:
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                parametrize.register_parametrization(layer, "weight", GeneratorSpectralNorm(layer.weight))

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        first, *chunks = torch.split(noise, self.chunks, dim=1)
        shared = [self.embedding(condition)] if self.told else []
        maps: Tensor = self.project(first).view(-1, *self.base)
        for block, chunk in zip(self.blocks, chunks, strict=True):
            maps = block(maps, torch.cat([*shared, chunk], dim=1))
        images: Tensor = self.paint(maps)
        return images


class BigGANDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how.

    width: as the generator's.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 96,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "projection",
        norm: Norm = "spectral",
    ) -> None:
        if norm == "batch":
            raise OptionError("BigGAN's discriminator has no batch norm; its norm is 'spectral' or 'none'.")
        stages, attended = discriminator_blocks(width, *shape[1:]), attended_level(*shape[1:])
        last = stages[-1][0]
        super().__init__(shape, conditions, told, map_channels=last, num_features=last)
        sizes = [self.in_channels, *(size for size, _ in stages)]
        blocks: list[nn.Module] = []
        for i, (size_out, halves) in enumerate(stages):
            blocks.append(DownBlock(sizes[i], size_out, size_out, halves=halves, first=i == 0))
            if i + 1 == attended:
                blocks.append(SelfAttention(size_out))
        self.blocks = nn.Sequential(*blocks, nn.ReLU())
        self.head = nn.Linear(last, 1)
        initialise_orthogonal(self)
        if norm == "spectral":
            self.normalise_spectra()

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.sum((2, 3))
