"""What a network is told beside its input, how that becomes features, and the ways to tell a generator or a discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.networks.layers import BatchNorm2d, spectral_norm_all

GeneratorCondition = Literal["concatenate", "batch_norm"]
DiscriminatorCondition = Literal["concatenate", "projection", "auxiliary"]


@dataclass(frozen=True)
class Conditions:
    """A class number of `classes`, (n,) int64, or `numbers` values, (n, k) float32, near [-1, 1]; with neither, nothing."""

    classes: int = 0
    numbers: int = 0

    def __bool__(self) -> bool:
        return bool(self.classes or self.numbers)

    @property
    def outputs(self) -> int:
        """How many logits guess the condition: one for each class, or one for each number."""
        return self.classes or self.numbers

    def features(self, size: int, *, bias: bool = False) -> nn.Module:
        """A layer from a condition to features (n, size): a row for each class, or a linear map of the numbers.

        bias: whether numbers of 0 may have features too; a class always has its own.
        """
        return nn.Embedding(self.classes, size) if self.classes else NumberFeatures(self.numbers, size, bias=bias)


NOTHING = Conditions()


class NumberFeatures(nn.Module):
    """Numbers (n, k) -> features (n, size), linear. At first they are N(0, 1) where the numbers are -1 and 1, as a class's are."""

    def __init__(self, numbers: int, size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, numbers) / sqrt(numbers))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, numbers: Tensor) -> Tensor:
        return F.linear(numbers, self.weight, self.bias)


def speak_softly(features: nn.Module) -> None:
    """Draw the generator's features of a condition anew, from N(0, 0.1).

    The noise must speak louder than the condition at first. With equal voices the generator learns one picture for
    each class on MNIST and never leaves it (a tenth of real digits' variety).
    """
    assert isinstance(features.weight, Tensor)
    numbers = features.weight.shape[1] if isinstance(features, NumberFeatures) else 1
    nn.init.normal_(features.weight, std=0.1 / sqrt(numbers))


class Told:
    """Marks a layer that looks at the condition too: forward(x, condition)."""


class ToldSequential(Told, nn.Sequential):
    """Layers one after the other; those that look at the condition are given it."""

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, condition) if isinstance(layer, Told) else layer(x)
        return x


class ConditionalBatchNorm2d(Told, nn.Module):
    """Batch norm whose gain and bias follow from the condition (Dumoulin et al., 2017; de Vries et al., 2017).

    The gain is 1 + features, the bias is features; both features start at 0, so that it starts as plain batch norm.
    """

    def __init__(self, channels: int, conditions: Conditions) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False)
        self.gain = conditions.features(channels, bias=True)
        self.bias = conditions.features(channels, bias=True)
        for features in (self.gain, self.bias):
            assert isinstance(features.weight, Tensor)
            nn.init.zeros_(features.weight)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        normed: Tensor = self.norm(x)
        gain, bias = (1 + self.gain(condition)).to(normed.dtype), self.bias(condition).to(normed.dtype)
        return torch.addcmul(bias[:, :, None, None], normed, gain[:, :, None, None])


class ToldDiscriminator(nn.Module):
    """Sample (n, c, h, w) and condition -> logit (n,), in one of three ways; without conditions all are the same.

    concatenate: the condition is one more channel, a learned picture for each class (Mirza and Osindero, 2014).
    projection: the logit is head(h) + <features of the condition, h>, with h the last map summed over its positions
    (Miyato and Koyama, 2018).
    auxiliary: the condition is not looked at but guessed, (n, 1 + outputs): the logit, then a logit for each class, or
    one for each number, whose sigmoid is (value + 1) / 2 (Odena et al., 2017).

    A subclass makes `blocks`, from the sample to the last map, and `head`, from `pooled` features to the logit.
    """

    blocks: nn.Module
    head: nn.Module
    embedding: nn.Module
    guess: nn.Module

    def __init__(
        self, shape: tuple[int, int, int], conditions: Conditions, told: DiscriminatorCondition, *, map_channels: int, num_features: int
    ) -> None:
        super().__init__()
        self.told: DiscriminatorCondition | None = told if conditions else None
        self.in_channels = shape[0] + (self.told == "concatenate")
        if self.told == "concatenate":
            self.embedding = conditions.features(shape[1] * shape[2])
        elif self.told == "projection":
            self.embedding = conditions.features(map_channels)
        elif self.told == "auxiliary":
            self.guess = nn.Linear(num_features, conditions.outputs)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.told == "concatenate":
            plane = self.embedding(condition).view(-1, 1, *images.shape[2:])
            images = torch.cat([images, plane.to(images.dtype)], dim=1)
        maps: Tensor = self.blocks(images)
        features = self.pooled(maps)
        logits: Tensor = self.head(features)
        if self.told == "auxiliary":
            return torch.cat([logits, self.guess(features)], dim=1)
        if self.told == "projection":
            logits = logits + (self.embedding(condition) * maps.sum((2, 3))).sum(1, keepdim=True)
        return logits.squeeze(1)

    @property
    def picture(self) -> nn.Module | None:
        """What makes a picture of the condition, where that is joined to the sample.

        It is no function of the sample. Bounding its weights, by a norm or by clipping, would bound no slope, and make
        the picture nearly black.
        """
        return self.embedding if self.told == "concatenate" else None

    def normalise_spectra(self) -> None:
        """Spectral norm for every layer, features of the condition included (Miyato and Koyama, 2018), but for its picture."""
        for part in self.children():
            if part is not self.picture:
                spectral_norm_all(part)

    def pooled(self, maps: Tensor) -> Tensor:
        """What the head sees of the last map: features (n, f)."""
        raise NotImplementedError
