"""The Inception network that FID, KID and the Inception Score are defined on: TensorFlow's of 2015-12-05.

It is Inception v3 (Szegedy et al., 2016) as the graph has it: 1008 logits, average pools that leave the padding out of their
mean, and a max pool where the last block should have an average pool. Weights come by the names of the published PyTorch port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import DataError
from elegan.metrics.pairs import Pixels, check_pixels
from elegan.metrics.resizing import Resize, resized

SIDE = 299
FEATURES = 2048
LOGITS = 1008
BATCH = 16
"""Images at one time: their widest layer then fits into a processor's cache, which is a tenth faster than 32."""
EPSILON = 1e-3
"""Added to the variance in batch norm."""
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
Pool = Literal["average", "maximum", "halving"]


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, batch norm and ReLU; padded so that the size stays, except where it has a stride."""

    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True

    @property
    def padding(self) -> tuple[int, int]:
        return (self.kernel[0] // 2, self.kernel[1] // 2) if self.padded and self.stride == 1 else (0, 0)


Fork = tuple[Convolution, Convolution]
"""Two convolutions of the same input, joined."""


@dataclass(frozen=True)
class Block:
    """Branches of one input, joined with its pooled copy. pooled: the width of the 1x1 convolution of that copy, 0 for none."""

    branches: Mapping[str, tuple[Convolution | Fork, ...]]
    pool: Pool
    pooled: int = 0

    def named(self, name: str) -> list[list[dict[str, Convolution]]]:
        """Branches, of steps, of convolutions by the names of their weights; a fork is a step of two."""
        return [
            [lettered(f"{name}.{branch}_{number}" if len(steps) > 1 else f"{name}.{branch}", step) for number, step in enumerate(steps, 1)]
            for branch, steps in self.branches.items()
        ]

    def layers(self, name: str, inputs: int) -> Iterator[tuple[str, int, Convolution]]:
        """Names, input widths and convolutions."""
        for branch in self.named(name):
            width = inputs
            for step in branch:
                yield from ((layer, width, convolution) for layer, convolution in step.items())
                width = sum(convolution.width for convolution in step.values())
        if self.pooled:
            yield f"{name}.branch_pool", inputs, Convolution(self.pooled)

    def outputs(self, inputs: int) -> int:
        ends = [part.width for branch in self.named("") for part in branch[-1].values()]
        return sum(ends) + (self.pooled or inputs)


def lettered(name: str, step: Convolution | Fork) -> dict[str, Convolution]:
    return {f"{name}a": step[0], f"{name}b": step[1]} if isinstance(step, tuple) else {name: step}


def at_35(pooled: int) -> Block:
    small, large = Convolution(96, (3, 3)), Convolution(64, (5, 5))
    branches = {"branch1x1": (Convolution(64),), "branch5x5": (Convolution(48), large), "branch3x3dbl": (Convolution(64), small, small)}
    return Block(branches, "average", pooled)


def at_17(width: int) -> Block:
    flat, tall = Convolution(width, (1, 7)), Convolution(width, (7, 1))
    long = (Convolution(width), tall, flat, tall, Convolution(192, (1, 7)))
    branches = {"branch1x1": (Convolution(192),), "branch7x7": (Convolution(width), flat, Convolution(192, (7, 1))), "branch7x7dbl": long}
    return Block(branches, "average", 192)


def at_8(pool: Pool) -> Block:
    fork = (Convolution(384, (1, 3)), Convolution(384, (3, 1)))
    long = (Convolution(448), Convolution(384, (3, 3)), fork)
    return Block({"branch1x1": (Convolution(320),), "branch3x3": (Convolution(384), fork), "branch3x3dbl": long}, pool, 192)


def to_17() -> Block:
    long = (Convolution(64), Convolution(96, (3, 3)), Convolution(96, (3, 3), stride=2))
    return Block({"branch3x3": (Convolution(384, (3, 3), stride=2),), "branch3x3dbl": long}, "halving")


def to_8() -> Block:
    long = (Convolution(192), Convolution(192, (1, 7)), Convolution(192, (7, 1)), Convolution(192, (3, 3), stride=2))
    return Block({"branch3x3": (Convolution(192), Convolution(320, (3, 3), stride=2)), "branch7x7x3": long}, "halving")


STEM = {
    "Conv2d_1a_3x3": Convolution(32, (3, 3), stride=2),
    "Conv2d_2a_3x3": Convolution(32, (3, 3), padded=False),
    "Conv2d_2b_3x3": Convolution(64, (3, 3)),
    "Conv2d_3b_1x1": Convolution(80),
    "Conv2d_4a_3x3": Convolution(192, (3, 3), padded=False),
}
POOLED_AFTER = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")
BLOCKS = {
    "Mixed_5b": at_35(32),
    "Mixed_5c": at_35(64),
    "Mixed_5d": at_35(64),
    "Mixed_6a": to_17(),
    "Mixed_6b": at_17(128),
    "Mixed_6c": at_17(160),
    "Mixed_6d": at_17(160),
    "Mixed_6e": at_17(192),
    "Mixed_7a": to_8(),
    "Mixed_7b": at_8("average"),
    "Mixed_7c": at_8("maximum"),
}


def layers() -> Iterator[tuple[str, int, Convolution]]:
    """All convolutions in the order of the weights: name, input width, what it is."""
    width = 3
    for name, convolution in STEM.items():
        yield name, width, convolution
        width = convolution.width
    for name, block in BLOCKS.items():
        yield from block.layers(name, width)
        width = block.outputs(width)


def inception_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, convolution in layers():
        shapes[f"{name}.conv.weight"] = (convolution.width, inputs, *convolution.kernel)
        shapes |= {f"{name}.bn.{part}": (convolution.width,) for part in BATCH_NORM}
    return shapes | {"fc.weight": (LOGITS, FEATURES), "fc.bias": (LOGITS,)}


Weights = Mapping[str, Tensor]


class Folded(nn.Module):
    """Convolutions of one input that differ in their weights alone, as one; their batch norms are multiplied into it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weights: Weights, names: Sequence[str], like: Convolution) -> None:
        super().__init__()
        folded = [fold(weights, name) for name in names]
        self.register_buffer("weight", torch.cat([weight for weight, _ in folded]).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", torch.cat([bias for _, bias in folded]))
        self.stride, self.padding = like.stride, like.padding

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.weight, self.bias, self.stride, self.padding)


def fold(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    """Kernel and bias, in float64, of the convolution that does what a convolution and its batch norm do."""
    kernel = weights[f"{name}.conv.weight"].double()
    gain, shift, mean, variance = (weights[f"{name}.bn.{part}"].double() for part in BATCH_NORM)
    if (variance < 0).any():
        raise DataError(f"{name}.bn.running_var is negative in places, so these are not the weights of a trained Inception network.")
    scale = gain / (variance + EPSILON).sqrt()
    return kernel * scale.view(-1, 1, 1, 1), shift - mean * scale


class Steps(nn.Module):
    """What a branch does after its first convolution, if that is shared."""

    def __init__(self, weights: Weights, steps: list[dict[str, Convolution]]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(nn.ModuleList(Folded(weights, [name], like) for name, like in step.items()) for step in steps)

    def forward(self, images: Tensor) -> Tensor:
        for step in self.steps:
            assert isinstance(step, nn.ModuleList)
            found = [part(images).relu_() for part in step]
            images = found[0] if len(found) == 1 else torch.cat(found, 1)
        return images


class Mixed(nn.Module):
    """A block. The 1x1 convolutions of its input are one, which reads it once."""

    def __init__(self, weights: Weights, name: str, block: Block) -> None:
        super().__init__()
        branches, pooling = block.named(name), {f"{name}.branch_pool": Convolution(block.pooled)}
        self.begun = [all(one.kernel == (1, 1) for one in branch[0].values()) for branch in branches]
        heads = [branch[0] for branch, begun in zip(branches, self.begun, strict=True) if begun]
        heads += [pooling] if block.pool == "average" else []
        self.widths = [one.width for head in heads for one in head.values()]
        self.heads = Folded(weights, [layer for head in heads for layer in head], Convolution(sum(self.widths)))
        self.branches = nn.ModuleList(Steps(weights, branch[begun:]) for branch, begun in zip(branches, self.begun, strict=True))
        self.pool = block.pool
        self.pooled = Steps(weights, [pooling]) if block.pool == "maximum" else None

    def forward(self, images: Tensor) -> Tensor:
        heads = list(self.heads(images).split(self.widths, 1))
        starts = [F.relu(heads.pop(0)) if begun else images for begun in self.begun]
        found = [branch(start) for branch, start in zip(self.branches, starts, strict=True)]
        return torch.cat([*found, self.copy(images, heads)], 1)

    def copy(self, images: Tensor, heads: list[Tensor]) -> Tensor:
        """The pooled input. Where it is a mean, the 1x1 convolution of it is the mean of the convolution, which has fewer channels."""
        if self.pool == "average":
            return F.avg_pool2d(heads.pop(), 3, 1, 1, count_include_pad=False).relu_()
        if self.pooled is None:
            return F.max_pool2d(images, 3, 2)
        found: Tensor = self.pooled(F.max_pool2d(images, 3, 1, 1))
        return found


class Outputs(NamedTuple):
    """features: pool3 (n, 2048), for FID and KID. logits: (n, 1008) without the bias, for the Inception Score. biased: with it."""

    features: Tensor
    logits: Tensor
    biased: Tensor


class Inception(nn.Module):
    """The network, in the order of channels last and with batch norm folded in; it cannot be trained.

    weights: by the names and shapes of `inception_shapes`; others are ignored. dtype: of images and convolutions; the rest is
    at least in float32. In bfloat16 features are off by a hundredth, which is no FID any more.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weights: Weights, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({name: Steps(weights, [{name: convolution}]) for name, convolution in STEM.items()})
        self.blocks = nn.ModuleList(Mixed(weights, name, block) for name, block in BLOCKS.items())
        self.to(dtype)
        self.dtype, self.accurate = dtype, torch.promote_types(dtype, torch.float32)
        self.register_buffer("weight", weights["fc.weight"].to(self.accurate))
        self.register_buffer("bias", weights["fc.bias"].to(self.accurate))
        self.eval()

    def forward(self, images: Tensor) -> Outputs:
        """Images (n, 3, 299, 299) in [0, 255]."""
        images = ((images.to(self.accurate) - 128) / 128).to(self.dtype, memory_format=torch.channels_last)
        for name, step in self.stem.items():
            images = F.max_pool2d(step(images), 3, 2) if name in POOLED_AFTER else step(images)
        for block in self.blocks:
            images = block(images)
        features = images.to(self.accurate).mean((2, 3))
        logits = features @ self.weight.T
        return Outputs(features, logits, logits + self.bias)

    @torch.inference_mode()
    def outputs(self, pixels: Pixels, resize: Resize = "tf1") -> Outputs:
        """What it makes of images uint8 (n, h, w, c) with 1 or 3 channels, resized to 299 x 299 by this rule.

        Raises DataError for other arrays, OptionError for an unknown rule.
        """
        check_pixels(pixels)
        parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
        # CUDA's convolutions otherwise round to the 10 bits of TF32.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = [self(resized(part, SIDE, resize, self.weight.device)) for part in parts]
        return Outputs(*(torch.cat(part) for part in zip(*found, strict=True)))
