"""BigGAN at 32x32 with ten classes (Brock et al., 2019), as the published code writes the step: spectral norm in both networks, noise
and class drive every batch norm, real and generated images are judged together, and two discriminator steps go before one of the
generator, whose filters are pushed apart."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CHANNELS, CLASSES = 3, 10
LATENT, SHARED, WIDTH, BASE = 120, 128, 64, 4
CHUNK = LATENT // 4
ORTHOGONAL, DECAY = 1e-4, 0.9999


def normed(layer: nn.Linear | nn.Conv2d | nn.Embedding) -> nn.Module:
    nn.init.orthogonal_(layer.weight)
    return spectral_norm(layer)


def convolution(size_in: int, size_out: int, kernel: int, *, bias: bool = True) -> nn.Module:
    return normed(nn.Conv2d(size_in, size_out, kernel, padding=kernel // 2, bias=bias))


class Norm(nn.Module):
    """Batch norm with gain and bias of features (n, f)."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = (normed(nn.Linear(features, channels, bias=False)) for _ in range(2))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        gain, bias = 1 + self.gain(features), self.bias(features)
        out: Tensor = self.norm(x) * gain[:, :, None, None] + bias[:, :, None, None]
        return out


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = (convolution(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.value = convolution(channels, channels // 2, 1, bias=False)
        self.last = convolution(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        query = self.query(x).view(n, c // 8, h * w)
        key = F.max_pool2d(self.key(x), 2).view(n, c // 8, h * w // 4)
        value = F.max_pool2d(self.value(x), 2).view(n, c // 2, h * w // 4)
        shares = F.softmax(torch.bmm(query.transpose(1, 2), key), -1)
        gathered = torch.bmm(value, shares.transpose(1, 2)).view(n, c // 2, h, w)
        out: Tensor = self.gamma * self.last(gathered) + x
        return out


class Up(nn.Module):
    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(width, features), Norm(width, features)
        self.conv1, self.conv2 = convolution(width, width, 3), convolution(width, width, 3)
        self.skip = convolution(width, width, 1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x, features)), scale_factor=2))
        y = self.conv2(F.relu(self.norm2(y, features)))
        out: Tensor = y + self.skip(F.interpolate(x, scale_factor=2))
        return out


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(CLASSES, SHARED)
        self.start = normed(nn.Linear(CHUNK, BASE * BASE * WIDTH))
        self.blocks = nn.ModuleList(Up(WIDTH, CHUNK + SHARED) for _ in range(3))
        self.attention = Attention(WIDTH)
        self.end = nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(), convolution(WIDTH, CHANNELS, 3), nn.Tanh())

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        first, *chunks = torch.split(noise, CHUNK, dim=1)
        shared = self.shared(labels)
        x = self.start(first).view(-1, WIDTH, BASE, BASE)
        for number, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            x = block(x, torch.cat([shared, chunk], dim=1))
            if number == 1:  # 16x16
                x = self.attention(x)
        images: Tensor = self.end(x)
        return images


class Down(nn.Module):
    def __init__(self, size_in: int, width: int, *, first: bool = False, down: bool = True) -> None:
        super().__init__()
        self.first, self.down = first, down
        self.conv1, self.conv2 = convolution(size_in, width, 3), convolution(width, width, 3)
        self.skip = convolution(size_in, width, 1) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        skip: Tensor = x
        if self.down:
            y = F.avg_pool2d(y, 2)
            skip = self.skip(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.skip(x), 2)
        out: Tensor = y + skip
        return out


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        begin = [Down(CHANNELS, WIDTH, first=True), Attention(WIDTH), Down(WIDTH, WIDTH)]
        self.blocks = nn.Sequential(*begin, Down(WIDTH, WIDTH, down=False), Down(WIDTH, WIDTH, down=False))
        self.head = normed(nn.Linear(WIDTH, 1))
        self.classes = normed(nn.Embedding(CLASSES, WIDTH))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        features = F.relu(self.blocks(x)).sum((2, 3))
        logits: Tensor = self.head(features).squeeze(1) + (self.classes(labels) * features).sum(1)
        return logits


def overlap(network: nn.Module) -> Tensor:
    """The orthogonal regularisation: inner products of different filters of each layer, squared."""
    total = torch.zeros(())
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            weight: Tensor = layer.parametrizations.weight.original.flatten(1)  # type: ignore[union-attr, operator]
            total = total + ((weight @ weight.T) * (1 - torch.eye(len(weight)))).square().sum()
    return total


def trainer(images: Tensor, labels: Tensor, batch: int) -> Callable[[], None]:
    """A function that does two discriminator steps and one of the generator on random rows of `images`, (n, 3, 32, 32) uint8, and
    their `labels`, (n,) int64."""
    made, judge = Generator(), Discriminator()
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), 5e-5, (0.0, 0.999))
    optimize_d = torch.optim.Adam(judge.parameters(), 2e-4, (0.0, 0.999))

    def discriminator_step() -> None:
        rows = torch.randint(len(images), (batch,))
        real, asked = images[rows].float() / 127.5 - 1, torch.randint(CLASSES, (batch,))
        optimize_d.zero_grad()
        fake = made(torch.randn(batch, LATENT), asked).detach()
        real_logits, fake_logits = judge(torch.cat([real, fake]), torch.cat([labels[rows], asked])).chunk(2)
        loss = F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
        torch.autograd.backward(loss)
        optimize_d.step()
        loss.item()

    def round() -> None:
        for _ in range(2):
            discriminator_step()
        optimize_g.zero_grad()
        asked = torch.randint(CLASSES, (batch,))
        logits = judge(made(torch.randn(batch, LATENT), asked), asked)
        torch.autograd.backward(-logits.mean() + ORTHOGONAL * overlap(made))
        optimize_g.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), made.parameters(), strict=True):
                mine.lerp_(theirs, 1 - DECAY)

    return round
