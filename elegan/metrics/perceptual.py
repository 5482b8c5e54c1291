"""How different images look to a network: LPIPS, what is made of it, and the features of VGG16.

The networks are AlexNet and VGG16 as torchvision publishes them; weights come by its names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import DataError, OptionError
from elegan.metrics.diversity import Labels, classes, draw_pairs
from elegan.metrics.extractors import to_tensor
from elegan.metrics.fitting import Progress
from elegan.metrics.pairs import Pixels, check_pixels
from elegan.metrics.resizing import Resize, resized

Net = Literal["alex", "vgg"]
Weights = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

PAIRS = 16
"""Pairs of images that go through a network at one time."""


@dataclass(frozen=True)
class Convolution:
    """With bias and ReLU; number: its place in torchvision's `features`. pool: of what size a max pool of stride 2 is before it."""

    number: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0

    def side(self, side: int) -> int:
        """What it makes of a side of images."""
        pooled = (side - self.pool) // 2 + 1 if self.pool else side
        return (pooled + 2 * self.padding - self.kernel) // self.stride + 1


STACKS: dict[Net, tuple[Convolution, ...]] = {
    "alex": (
        Convolution(0, 3, 64, kernel=11, stride=4, padding=2),
        Convolution(3, 64, 192, kernel=5, padding=2, pool=3),
        Convolution(6, 192, 384, pool=3),
        Convolution(8, 384, 256),
        Convolution(10, 256, 256),
    ),
    "vgg": (
        Convolution(0, 3, 64),
        Convolution(2, 64, 64),
        Convolution(5, 64, 128, pool=2),
        Convolution(7, 128, 128),
        Convolution(10, 128, 256, pool=2),
        Convolution(12, 256, 256),
        Convolution(14, 256, 256),
        Convolution(17, 256, 512, pool=2),
        Convolution(19, 512, 512),
        Convolution(21, 512, 512),
        Convolution(24, 512, 512, pool=2),
        Convolution(26, 512, 512),
        Convolution(28, 512, 512),
    ),
}
COMPARED: dict[Net, tuple[int, ...]] = {"alex": (0, 3, 6, 8, 10), "vgg": (2, 7, 14, 21, 28)}
"""The convolutions whose maps LPIPS compares."""


def stack_shapes(net: Net) -> Shapes:
    """Names and shapes of the weights of the convolutions."""
    return {name: shape for layer in STACKS[net] for name, shape in layer_shapes(layer)}


def layer_shapes(layer: Convolution) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"features.{layer.number}.weight", (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    yield f"features.{layer.number}.bias", (layer.outputs,)


def linear_shapes(net: Net) -> Shapes:
    """Names and shapes of what LPIPS learned: a weight for each channel of the maps."""
    widths = [layer.outputs for layer in STACKS[net] if layer.number in COMPARED[net]]
    return {f"lin{i}.model.1.weight": (1, width, 1, 1) for i, width in enumerate(widths)}


def vgg16_shapes() -> Shapes:
    """Names and shapes of the weights up to the second fully connected layer."""
    fully = {"classifier.0": (4096, 512 * 7 * 7), "classifier.3": (4096, 4096)}
    parts = {f"{name}.{part}": shape for name, whole in fully.items() for part, shape in (("weight", whole), ("bias", whole[:1]))}
    return stack_shapes("vgg") | parts


class Held(nn.Module):
    """Weights that are not trained, by the names of their file."""

    def __init__(self, weights: Weights, names: Shapes) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name.replace(".", "_"), weights[name])

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name.replace(".", "_"))


class Stack(nn.Module):
    """The convolutions: normalised images (n, 3, h, w) -> the maps that LPIPS compares, of which the last is the last of all."""

    def __init__(self, net: Net, weights: Weights) -> None:
        super().__init__()
        self.net: Net = net
        self.held = Held(weights, stack_shapes(net))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = []
        for layer in STACKS[self.net]:
            images = F.max_pool2d(images, layer.pool, 2) if layer.pool else images
            kernel, bias = (self.held[name] for name, _ in layer_shapes(layer))
            images = F.conv2d(images, kernel, bias, layer.stride, layer.padding).relu_()
            maps += [images] if layer.number in COMPARED[self.net] else []
        return maps


class LPIPS(nn.Module):
    """The learned perceptual image patch similarity, version 0.1 (Zhang et al., 2018); 0 for equal images, larger for less alike.

    backbone: by `stack_shapes`, linear: by `linear_shapes`. alex is the usual choice for judging, vgg for path lengths.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net, backbone: Weights, linear: Weights) -> None:
        super().__init__()
        self.net: Net = net
        self.stack, self.linear = Stack(net, backbone), Held(linear, linear_shapes(net))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1))

    @torch.no_grad()
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances (n,) of images (n, c, h, w) in [-1, 1] with 1 or 3 channels; DataError for others."""
        check_images(one, self.net)
        check_images(other, self.net)
        if one.shape != other.shape:
            raise DataError(f"pairs of images have one shape, got {tuple(one.shape)} and {tuple(other.shape)}.")
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # CUDA's convolutions otherwise round to 10 bits
            return torch.cat([self.distances(*part) for part in zip(torch.split(one, PAIRS), torch.split(other, PAIRS), strict=True)])

    def distances(self, one: Tensor, other: Tensor) -> Tensor:
        both = torch.cat([one, other]).to(self.shift).expand(-1, 3, -1, -1)
        maps = self.stack((both - self.shift) / self.scale)
        total = self.shift.new_zeros(len(one))
        for name, found in zip(linear_shapes(self.net), maps, strict=True):
            # Each position's channels count by their direction alone; 1e-10 is for those where nothing is seen.
            first, second = (found / (found.norm(dim=1, keepdim=True) + 1e-10)).chunk(2)
            total += ((first - second).square() * self.linear[name].view(-1, 1, 1)).sum(1).mean((1, 2))
        return total


def check_images(images: Tensor, net: Net) -> None:
    """DataError unless these are images (n, c, h, w) in [-1, 1], in floating point and large enough for the network."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0 or not images.is_floating_point():
        raise DataError(f"LPIPS takes images (n, c, h, w) in [-1, 1] with 1 or 3 channels, got {images.dtype} {tuple(images.shape)}.")
    if not (images.abs() <= 1).all():
        low, high = images.min().item(), images.max().item()
        raise DataError(f"LPIPS takes images in [-1, 1], got values from {low:.4g} to {high:.4g}; scale, or clamp, them first.")
    smallest = next(side for side in range(1, 64) if fits(side, net))
    if min(images.shape[2:]) < smallest:
        found = f"{images.shape[2]} x {images.shape[3]}"
        raise DataError(f"LPIPS with {net} takes images of at least {smallest} x {smallest}, got {found}; enlarge them first.")


def fits(side: int, net: Net) -> bool:
    for layer in STACKS[net]:
        side = layer.side(side)
        if side < 1:
            return False
    return True


def lpips_diversity(
    network: LPIPS, pixels: Pixels, labels: Labels, *, pairs: int = 100, seed: int = 0, progress: Progress = lambda done, total: None
) -> dict[int, float]:
    """The mean LPIPS of random pairs in each class of images uint8 (n, h, w, c), by class; higher is more diverse.

    BicycleGAN draws 19 pairs of outputs for each of 100 inputs, which are then the classes (Zhu et al., 2017, section 5.2). Pairs
    are of two images and drawn without repetition; all there are if there are no more than `pairs`. DataError for a class with fewer
    than two images, and images or labels of another form; OptionError for fewer than one pair.
    """
    check_pixels(pixels)
    if pairs < 1:
        raise OptionError(f"pairs: got {pairs}; a mean takes at least one.")
    random, groups = np.random.default_rng(seed), classes(labels, len(pixels), 2)
    drawn = [members[np.array(draw_pairs(len(members), pairs, random))] for members in groups.values()]  # (2, m) each
    sides, values = np.concatenate(drawn, axis=1), []
    for start in range(0, sides.shape[1], PAIRS):
        one, other = (to_tensor(pixels[side[start : start + PAIRS]]).to(network.shift) for side in sides)
        values.append(network(one, other).cpu().double())
        progress(min(start + PAIRS, sides.shape[1]), sides.shape[1])
    by_class = torch.split(torch.cat(values), [both.shape[1] for both in drawn])
    return {label: part.mean().item() for label, part in zip(groups, by_class, strict=True)}


class VGG16(nn.Module):
    """VGG16 (Simonyan and Zisserman, 2015) up to its second fully connected layer, by `vgg16_shapes`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.stack = Stack("vgg", weights)
        self.fully = Held(weights, {name: shape for name, shape in vgg16_shapes().items() if name.startswith("classifier")})

    @torch.no_grad()
    def features(self, pixels: Pixels, resize: Resize = "tf1") -> Tensor:
        """(n, 4096) of images uint8 (n, h, w, c), resized to 224 x 224, after the ReLU: for precision and recall.

        Kynkäänniemi et al. (2019) take this layer. Raises DataError for other arrays.
        """
        check_pixels(pixels)
        parts = [pixels[start : start + PAIRS] for start in range(0, len(pixels), PAIRS)]
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return torch.cat([self(resized(part, 224, resize, self.fully["classifier.0.bias"].device)) for part in parts])

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, 224, 224) in [0, 255]."""
        mean, deviation = (torch.tensor(one, device=images.device).view(3, 1, 1) for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        found = F.max_pool2d(self.stack((images / 255 - mean) / deviation)[-1], 2).flatten(1)
        for name in ("classifier.0", "classifier.3"):
            found = F.linear(found, self.fully[f"{name}.weight"], self.fully[f"{name}.bias"]).relu_()
        return found


Generate = Callable[[Tensor, Tensor], Tensor]
"""Latents (m, ...) and the numbers (m,) of the paths they lie on, in float -> images (m, c, h, w) in [-1, 1].

Both points of a path have its number, and so the same condition and the same noise besides the latent.
"""


def path_lengths(
    generate: Generate,
    distance: Callable[[Tensor, Tensor], Tensor],
    starts: Tensor,
    ends: Tensor,
    shares: Tensor,
    *,
    space: Literal["z", "w"] = "z",
    epsilon: float = 1e-4,
) -> Tensor:
    """(n,) float64: how fast images change on each path between latents; `trimmed_mean` makes it the perceptual path length.

    As in Karras et al. (2019, section 4.1): distance / epsilon^2. distance: of images in pairs, such as LPIPS with vgg. starts, ends:
    latents (n, ..., d) in z, where a path is an arc, or in w, where it is straight. shares: (n,) in [0, 1], where on its path each pair
    of images lies `epsilon` apart; all 0 for the paths' ends. Images above 256 pixels are averaged down. Published values take NVIDIA's
    own VGG16. DataError for images that are not in float32 or float64, since eight bits or bfloat16 make most steps 0 and the rest huge.
    """
    if not len(starts) == len(ends) == len(shares) > 0:
        raise DataError(f"a path has a start, an end and a share of it, got {len(starts)}, {len(ends)} and {len(shares)}.")
    walk, found = {"z": arc, "w": line}[space], []
    for numbers in torch.split(torch.arange(len(starts), device=starts.device), PAIRS):
        between = (starts[numbers], ends[numbers], shares[numbers].view(-1, *[1] * (starts.dim() - 1)))
        latents = torch.cat([walk(*between), walk(*between[:2], between[2] + epsilon)])
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            images = generate(latents, numbers.repeat(2))
        if images.dtype not in (torch.float32, torch.float64):
            raise DataError(f"a path length takes images in float32, got {images.dtype}; neither quantise nor autocast them.")
        found.append(distance(*averaged_down(images, 256).chunk(2)).cpu().double() / epsilon**2)
    return torch.cat(found)


def line(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    return (start.double() + (end.double() - start.double()) * share.double()).to(start.dtype)


def arc(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Along the great circle, at an even angle (Shoemake, 1985); also for vectors that are not of length 1."""
    first, second, share = start.double(), end.double(), share.double()
    cosine = F.cosine_similarity(first, second, dim=-1, eps=1e-12).unsqueeze(-1).clamp(-1, 1)
    angle = cosine.acos()
    found = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()
    return torch.where(cosine.abs() > 1 - 1e-12, line(first, second, share), found).to(start.dtype)


def averaged_down(images: Tensor, side: int) -> Tensor:
    factor = min(images.shape[2:]) // side
    return F.avg_pool2d(images, factor) if factor > 1 else images


def trimmed_mean(values: Tensor) -> float:
    """The mean of those from the 1st to the 99th percentile, where these are values of the set. DataError for a NaN or infinity."""
    if not values.isfinite().all():
        raise DataError("a path length came out as NaN or infinite: the generator makes images that are no numbers.")
    low, high = torch.quantile(values, 0.01, interpolation="lower"), torch.quantile(values, 0.99, interpolation="higher")
    return values[(values >= low) & (values <= high)].mean().item()
