"""A network that learned to see from unlabelled images alone, trained on real ones and fixed before any GAN is judged.

It learned to tell two views of one image from views of others (SimCLR; Chen et al., 2020). Distances of its features are not
comparable with published ones, which are of Inception's.
"""

from __future__ import annotations

from math import log2

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import DataError
from elegan.metrics.extractors import Extractor, Features, digest, to_tensor
from elegan.metrics.fitting import Progress, fit, half_precision, seeded
from elegan.pictures import Pixels

STEPS, BATCH, PEAK = 600, 128, 2e-3
TEMPERATURE = 0.2
DIMENSION = 128


class Encoder(nn.Module):
    """Images (n, c, h, w) in [-1, 1], of one size from 8 to 256 -> features (n, 128)."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        halvings = max(2, int(log2(min(shape[1:]) / 4)))
        widths = [min(32 * 2**i, DIMENSION) for i in range(halvings - 1)] + [DIMENSION]
        layers: list[nn.Module] = []
        for size_in, size_out in zip((shape[0], *widths), widths, strict=False):
            layers += [nn.Conv2d(size_in, size_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(size_out), nn.ReLU()]
            layers += [nn.Conv2d(size_out, size_out, 3, padding=1, bias=False), nn.BatchNorm2d(size_out), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(DIMENSION, DIMENSION), nn.ReLU(), nn.Linear(DIMENSION, 64))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images).mean((2, 3))
        return features

    @torch.no_grad()
    def features(self, pixels: Pixels) -> Features:
        return Features(self(to_tensor(pixels).contiguous(memory_format=torch.channels_last)))


def train_encoder(pixels: Pixels, *, seed: int = 0, progress: Progress | None = None) -> Encoder:
    """Trained on uint8 (n, h, w, c). The last weights are kept, nothing is selected. DataError for fewer images than a batch."""
    if len(pixels) < BATCH:
        raise DataError(f"a self-supervised network needs at least {BATCH} images to learn from, got {len(pixels)}.")
    _, height, width, channels = pixels.shape
    random, chosen = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    with seeded(seed):
        encoder = Encoder((channels, height, width)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(encoder.parameters(), PEAK, weight_decay=1e-4)

        def loss() -> Tensor:
            images = to_tensor(pixels[chosen.choice(len(pixels), BATCH, replace=False)])
            views = torch.cat([view(images, random), view(images, random)]).contiguous(memory_format=torch.channels_last)
            with half_precision(min(height, width)):
                embedded = encoder.head(encoder(views))
            return contrast(embedded.float())

        fit(optimizer, PEAK, STEPS, loss, progress)
    trained: Encoder = encoder.eval()
    return trained


def contrast(embedded: Tensor) -> Tensor:
    """How badly each of (2n, d) finds its partner, n further on, among all others: a cross-entropy, so ln(2n - 1) by chance."""
    embedded = F.normalize(embedded, dim=1)
    similarity = (embedded @ embedded.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(embedded)).roll(len(embedded) // 2))


def view(images: Tensor, random: torch.Generator) -> Tensor:
    """A view of each image (n, c, h, w): a random part of it, perhaps mirrored, in other colours."""
    n = len(images)
    scale = 0.5 + 0.5 * torch.rand(n, generator=random)
    mirror = torch.where(torch.rand(n, generator=random) < 0.5, -1.0, 1.0)
    move = (2 * torch.rand(n, 2, generator=random) - 1) * (1 - scale)[:, None]
    zero = torch.zeros(n)
    rows = [torch.stack([scale * mirror, zero, move[:, 0]], 1), torch.stack([zero, scale, move[:, 1]], 1)]
    places = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    part = F.grid_sample(images, places, padding_mode="reflection", align_corners=False)
    contrast, tint = 0.6 + 0.8 * torch.rand(n, 1, 1, 1, generator=random), 0.3 * torch.randn(n, images.shape[1], 1, 1, generator=random)
    mean = part.mean((1, 2, 3), keepdim=True)
    return (part - mean) * contrast + mean + tint


def encoder_extractor(encoder: Encoder) -> Extractor:
    return Extractor("self-supervised", digest(encoder), "none", encoder.features, encoder.shape)
