"""Judging samples of unlabelled data: a network trained on real training images without labels, fixed before any GAN is judged,
and the kernel distance between its features of samples and of held-out real images.

The network learns to tell two views of one image from views of others (SimCLR; Chen et al., 2020). The distance is the
unbiased squared MMD with the kernel (<x, y> / d + 1)^3 (KID; Binkowski et al., 2018), on these features instead of
Inception's: it is not comparable with a published KID.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from judge import Pixels, to_tensor
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 128)
FEATURES = WIDTHS[-1]


class Encoder(nn.Module):
    """Images (n, c, h, w) in [-1, 1] -> features (n, 128)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size_in, size_out in zip((channels, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(size_in, size_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(size_out), nn.ReLU()]
            layers += [nn.Conv2d(size_out, size_out, 3, padding=1, bias=False), nn.BatchNorm2d(size_out), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, 64))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images).mean((2, 3))
        return features


def view(images: Tensor, random: torch.Generator) -> Tensor:
    """A view of each image: a random part of it, perhaps mirrored, in other colours."""
    n = len(images)
    scale = 0.5 + 0.5 * torch.rand(n, generator=random)
    mirror = torch.where(torch.rand(n, generator=random) < 0.5, -1.0, 1.0)
    move = (2 * torch.rand(n, 2, generator=random) - 1) * (1 - scale)[:, None]
    zero = torch.zeros(n)
    grid = torch.stack([torch.stack([scale * mirror, zero, move[:, 0]], 1), torch.stack([zero, scale, move[:, 1]], 1)], 1)
    part = F.grid_sample(
        images, F.affine_grid(grid, list(images.shape), align_corners=False), padding_mode="reflection", align_corners=False
    )
    contrast, tint = 0.6 + 0.8 * torch.rand(n, 1, 1, 1, generator=random), 0.3 * torch.randn(n, images.shape[1], 1, 1, generator=random)
    mean = part.mean((1, 2, 3), keepdim=True)
    return (part - mean) * contrast + mean + tint


def train_encoder(pixels: Pixels, *, steps: int = 600, batch: int = 128, seed: int = 0) -> Encoder:
    """The last weights are kept, nothing is selected."""
    torch.manual_seed(seed)
    random, chosen = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    encoder = Encoder(pixels.shape[3]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(encoder.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        images = to_tensor(pixels[chosen.integers(0, len(pixels), batch)])
        views = torch.cat([view(images, random), view(images, random)]).contiguous(memory_format=torch.channels_last)
        embedded = F.normalize(encoder.head(encoder(views)), dim=1)
        similarity = embedded @ embedded.T / 0.2
        similarity.fill_diagonal_(-torch.inf)
        loss = F.cross_entropy(similarity, torch.arange(2 * batch).roll(batch))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return encoder.eval()  # type: ignore[no-any-return]


def digest(encoder: nn.Module) -> str:
    """A hash of the weights: which network judged."""
    state = hashlib.sha256()
    for value in encoder.state_dict().values():
        state.update(value.contiguous().numpy().tobytes())
    return state.hexdigest()[:16]


@torch.no_grad()
def features_of(encoder: Encoder, pixels: Pixels) -> Tensor:
    return torch.cat([encoder(to_tensor(pixels[i : i + 500])) for i in range(0, len(pixels), 500)]).double()


def kernel_distance(one: Tensor, other: Tensor, subsets: int = 50, size: int = 500, seed: int = 0) -> tuple[float, float]:
    """Mean over random subsets of the unbiased squared MMD, and its standard error. Features (n, d), (m, d), each brought to
    mean 0 and standard deviation 1 in the second."""
    mean, scale = other.mean(0), other.std(0).clamp(min=1e-6)
    one, other = (one - mean) / scale, (other - mean) / scale
    random = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        a, b = (x[random.choice(len(x), size, replace=False)] for x in (one, other))
        values.append(unbiased(a, b))
    return float(np.mean(values)), float(np.std(values, ddof=1) / subsets**0.5)


def unbiased(a: Tensor, b: Tensor) -> float:
    n, d = a.shape
    within = [(x @ x.T / d + 1) ** 3 for x in (a, b)]
    across = (a @ b.T / d + 1) ** 3
    own = sum(float((k.sum() - k.diagonal().sum()) / (n * (n - 1))) for k in within)
    return own - 2 * float(across.mean())
