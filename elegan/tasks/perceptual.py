"""How different images look to a network: what samples differ by, and how fast they change with their noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import DataError
from elegan.tasks.diversity import mean

if TYPE_CHECKING:
    from torch import Tensor

    from elegan.engine.loop import Listener
    from elegan.metrics.classifier import Labels
    from elegan.metrics.perceptual import LPIPS
    from elegan.metrics.report import Score
    from elegan.pictures import Pixels
    from elegan.randomness import Randomness
    from elegan.tasks.diversity import Groups
    from elegan.tasks.material import Made, Material

PATHS = 1000
"""Between samples, at most."""


@dataclass(frozen=True)
class Perceptual:
    """The network that says how different images look. name: what scores say of it. weights: hashes of its files."""

    network: LPIPS
    name: str
    weights: str


def perceptual_network(folder: str, download: bool, device: str, listener: Listener) -> Perceptual:
    """LPIPS with VGG16, by the two files in this folder; those that are not there come from the network, if that is allowed."""
    from elegan.metrics.perceptual import LPIPS, linear_shapes, stack_shapes
    from elegan.metrics.weights import PUBLISHED, load_weights
    from elegan.tasks.job import find_device

    loaded = []
    for name, shapes in (("vgg16", stack_shapes("vgg")), ("lpips_vgg", linear_shapes("vgg"))):
        file = Path(folder) / PUBLISHED[name].file
        try:
            there = file if file.is_file() else None
            loaded.append(load_weights(name, shapes, Path(folder), file=there, download=download, announce=listener.message))
        except DataError as error:
            raise DataError(str(error).replace("--weights FILE", "--perceptual FOLDER")) from error
    network = LPIPS("vgg", *(one.tensors for one in loaded)).to(find_device(device))
    other = " and ".join(one.sha256[:12] for one in loaded if not one.published)
    weights = " and ".join(one.sha256[:16] for one in loaded)
    return Perceptual(network, f"VGG16 with weights {other}, not the published ones" if other else "VGG16", weights)


def lpips(material: Material, perceptual: Perceptual, chosen: Groups, seed: int, listener: Listener) -> list[Score]:
    from elegan.metrics.perceptual import lpips_diversity
    from elegan.metrics.report import Score

    def diversity(kind: str, pixels: Pixels, labels: Labels) -> float:
        listener.message(f"LPIPS of {chosen.pairs * len(chosen.classes):,} pairs of {kind}.")
        return mean(lpips_diversity(perceptual.network, pixels, labels, pairs=chosen.pairs, seed=seed, progress=listener.measuring))

    ours = diversity("samples", material.samples[chosen.samples], chosen.sample_labels)
    theirs = diversity("real images", material.reference.images[chosen.real], chosen.real_labels)
    return [Score(f"LPIPS diversity ({perceptual.name})", ours, real=theirs)]


@dataclass
class AtLatents:
    """The randomness of samples with given latents: all else is that of their seeds.

    latents: (n, d), for the normal noise called "latent"; without them it is drawn like all else, and its shape is remembered.
    """

    rest: Randomness
    latents: Tensor | None = None
    shape: tuple[int, ...] | None = None

    def normal(self, stream: str, *shape: int) -> Tensor:
        if stream != "latent":
            return self.rest.normal(stream, *shape)
        self.shape = shape
        return self.rest.normal(stream, *shape) if self.latents is None else self.latents

    def uniform(self, stream: str, *shape: int) -> Tensor:
        return self.rest.uniform(stream, *shape)


def path_length(made: Made, perceptual: Perceptual, seed: int, listener: Listener) -> list[Score]:
    """How fast the run's images change along arcs between latents; what is asked for and all other noise stay, on each arc."""
    import torch

    from elegan.metrics.intervals import bootstrap
    from elegan.metrics.perceptual import path_lengths, trimmed_mean
    from elegan.metrics.report import Score
    from elegan.randomness import SeedRandomness

    random = SeedRandomness(made.seeds[:PATHS])
    shape, count = latent_shape(made), len(random.seeds)
    listener.message(f"The lengths of {count:,} paths between samples.")

    def generate(latents: Tensor, numbers: Tensor) -> Tensor:
        """Both ends of each step apart from each other, so that layers which draw for themselves draw the same."""
        found = []
        for half, of_paths in zip(latents.chunk(2), numbers.chunk(2), strict=True):
            seeds = tuple(made.seeds[i] for i in of_paths.tolist())
            found.append(images_of(made, AtLatents(SeedRandomness(seeds, made.device), half.to(made.device)), of_paths))
        listener.measuring(int(numbers.max()) + 1, count)
        return torch.cat(found)

    ends = random.normal("latent", *shape), random.normal("end of path", *shape)
    lengths = path_lengths(generate, perceptual.network, *ends, random.uniform("share of path", 1)[:, 0])
    found = bootstrap(lengths, trimmed_mean, seed=seed)
    return [Score(f"perceptual path length ({perceptual.name})", found.value, found.low, found.high, better="lower")]


def latent_shape(made: Made) -> tuple[int, ...]:
    """Of the normal noise that a sample is made from; DataError for a model that is made from other noise."""
    import torch

    from elegan.randomness import SeedRandomness

    asked = AtLatents(SeedRandomness(made.seeds[:1], made.device))
    images_of(made, asked, torch.zeros(1, dtype=torch.int64))
    if asked.shape is None:
        raise DataError("a perceptual path length is of arcs in normal noise, and this model's noise is another.")
    return asked.shape


def images_of(made: Made, random: AtLatents, numbers: Tensor) -> Tensor:
    """(m, c, h, w) in [-1, 1], never quantised: the samples of these numbers, as they come out with this randomness."""
    from elegan.engine.average import sampling
    from elegan.randomness import key, layer_randomness

    conditions = None if made.conditions is None else made.conditions[numbers].to(made.device)
    with sampling(made.model.gan) as gan, layer_randomness(key(*numbers.tolist(), "layers"), made.device):
        return gan.sample(random, conditions)
