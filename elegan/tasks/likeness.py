"""How near pictures come to given images: by their pixels, by the run's own discriminator, beside the nearest training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from elegan.engine.loop import Listener
    from elegan.engine.run import Run
    from elegan.explore.projection import Features
    from elegan.game import GAN
    from elegan.pictures import Pixels
    from elegan.tasks.model import Model


def as_seen(model: Model, pixels: Pixels) -> torch.Tensor:
    """(n, c, h, w) in [-1, 1], on the model's device."""
    import torch

    device = next(model.gan.parameters()).device
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def discriminator_features(gan: GAN) -> Features:
    """What the run's own discriminator makes of images: its last map of each size but 1x1; nothing if it is fully connected.

    It was trained on this data, and is at hand. Where it is shown a picture of the condition, it is shown the mean of all.
    """
    import torch

    from elegan.networks.conditions import ToldDiscriminator
    from elegan.networks.growing import Growing
    from elegan.networks.layers import Surround

    discriminator = getattr(gan, "discriminator", None)
    blocks = getattr(discriminator, "blocks", None)
    if not isinstance(discriminator, ToldDiscriminator) or not isinstance(blocks, (torch.nn.Sequential, Growing)):
        return lambda images: []
    parts = [layer for one in blocks.children() for layer in (one if isinstance(one, torch.nn.ModuleList) else [one])]
    layers = [layer for layer in parts if not isinstance(layer, Surround)]

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        maps: dict[tuple[int, ...], torch.Tensor] = {}
        x = images
        if (picture := discriminator.picture) is not None:
            spec, device = gan.spec, images.device
            all_asked = torch.arange(spec.num_classes, device=device) if spec.classes else images.new_zeros(1, len(spec.attributes))
            plane = picture(all_asked).mean(0).view(1, 1, *images.shape[2:])
            x = torch.cat([images, plane.expand(len(images), -1, -1, -1).to(images.dtype)], dim=1)

        def keep(layer: torch.nn.Module, given: Any, found: Any) -> None:
            if isinstance(found, torch.Tensor) and found.dim() == 4 and found.shape[2] * found.shape[3] > 1:
                maps[tuple(found.shape[2:])] = found

        hooks = [layer.register_forward_hook(keep) for layer in layers]
        try:
            blocks(x)
        finally:
            for hook in hooks:
                hook.remove()
        return list(maps.values())

    return features


def nearest_training(run: Run, model: Model, pixels: Pixels, data: str | None, notes: list[str], listener: Listener) -> Pixels | None:
    """For each image the training image with the least squared difference; None, and a note, where they are not at hand."""
    import numpy as np
    import torch

    from elegan.tasks.material import learned_from, wanted_of

    where = data or str(run.config["data"])
    training = learned_from(run, where, data is not None, wanted_of(run, model.spec, False), notes, listener)
    if training is None:
        return None
    wanted, best, which = torch.from_numpy(pixels).flatten(1).float(), None, None
    for start in range(0, len(training), 2000):
        part = torch.from_numpy(training.images[start : start + 2000].astype(np.float32)).flatten(1)
        least, at = torch.cdist(wanted, part).min(1)
        nearer = least < best if best is not None else torch.ones_like(least, dtype=torch.bool)
        which = at + start if which is None else torch.where(nearer, at + start, which)
        best = least if best is None else torch.minimum(least, best)
    assert which is not None
    return np.ascontiguousarray(training.images[which.numpy()])


def psnrs(pictures: Pixels, originals: Pixels) -> tuple[float, ...]:
    from elegan.metrics.pairs import psnr

    return tuple(psnr(pictures, originals).tolist())


def distances(model: Model, pictures: Pixels, originals: Pixels, features: Features) -> tuple[float, ...]:
    """Of pictures, and so rounded to 8 bits."""
    import torch

    from elegan.explore.directions import evaluating
    from elegan.explore.projection import distance

    with torch.no_grad(), evaluating(model.walkable):
        return tuple(distance(as_seen(model, pictures), as_seen(model, originals), features).tolist())
