"""Beginning with the weights of another run, and leaving a part of the discriminator as it is (Mo et al., 2020)."""

from __future__ import annotations

import torch
from torch import nn

from elegan.engine.average import Average
from elegan.engine.run import Run, find_run
from elegan.errors import OptionError, RunError
from elegan.game import GAN
from elegan.networks.attention import SelfAttention
from elegan.networks.growing import Growing
from elegan.rules.growing import GrowingStyled
from elegan.tasks.loading import newest_weights

LEAST = 0.1
"""The share of its weights that a model has to take from another run; less is a mistake and no beginning."""


@torch.no_grad()
def begin_with(gan: GAN, average: Average | None, run: str) -> str:
    """Give `gan`, and the average of its networks, the newest weights of `run` that have their names and shapes.

    Returns a note that says how much came over. OptionError if there is no such run or hardly any came over, RunError if no save
    of it is whole.
    """
    found = source_of(run)
    tensors, step, _ = newest_weights(found.checkpoint_folder)
    mine = {f"gan.{name}": value for name, value in gan.state_dict().items() if name.startswith(networks_of(gan))}
    if average is not None:
        mine |= {f"average.{name}": value for name, value in average.state_dict().items()}
    taken = {name: tensors[name] for name, value in mine.items() if name in tensors and tensors[name].shape == value.shape}
    for name, value in taken.items():
        mine[name].copy_(value)
    fit_growth(gan, average)
    weights = {f"gan.{name}" for name, _ in gan.named_parameters()}
    count = sum(mine[name].numel() for name in weights & taken.keys())
    total = sum(mine[name].numel() for name in weights)
    if count < LEAST * total:
        has = f"{found.path} ({found.config.get('model', 'another model')}) has only {count / total:.1%} of this model's weights"
        raise OptionError(f"--init-from: {has} by name and shape. Train with the options of that run.")
    new = sorted(name.removeprefix("gan.") for name in weights - taken.keys())
    others = f" New are {', '.join(new[:3])}{' and others' if len(new) > 3 else ''}." if new else ""
    return f"Begins with the weights of {found.path} at step {step:,}: {count / total:.1%} of them.{others}"


def fit_growth(gan: GAN, average: Average | None) -> None:
    """Networks of another size have grown as far as they can, and those that do not grow in this game are grown."""
    for part in [*gan.modules(), *(average.modules() if average is not None else [])]:
        if isinstance(part, Growing):
            part.grow(min(float(part.growth), part.doublings) if isinstance(gan, GrowingStyled) else part.doublings)


def source_of(run: str) -> Run:
    """The run to begin with; OptionError if there is none."""
    try:
        return find_run(run)
    except RunError as error:
        raise OptionError(f"--init-from: {error}") from error


def networks_of(gan: GAN) -> tuple[str, ...]:
    """How the names of the players' weights begin: what else a game keeps, such as ADA's probability, is its own."""
    networks = [network for networks in gan.players.values() for network in networks]
    return tuple(f"{name}." for name, child in gan.named_children() if any(child is network for network in networks))


def freeze(gan: GAN, blocks: int) -> None:
    """Leave the first `blocks` blocks of the discriminator, those next to the image, as they are; OptionError if it has fewer."""
    layers = getattr(getattr(gan, "discriminator", None), "blocks", None)
    found = blocks_of(layers) if isinstance(layers, nn.Sequential) else []
    if blocks >= len(found):
        if not found:
            raise OptionError(f"--freeze: got {blocks}, and this discriminator has no blocks in a row (StyleGAN's grows). Leave it out.")
        raise OptionError(f"--freeze: got {blocks}, and the discriminator has {len(found)} blocks; at least one has to learn.")
    for layer in [layer for block in found[:blocks] for layer in block]:
        layer.requires_grad_(False)


def blocks_of(layers: nn.Sequential) -> list[list[nn.Module]]:
    """Each convolution, or residual block, with what follows it: norm, activation, attention."""
    found: list[list[nn.Module]] = []
    for layer in layers:
        if any(weight.dim() > 1 for weight in layer.parameters()) and not isinstance(layer, SelfAttention):
            found.append([layer])
        elif found:
            found[-1].append(layer)
    return found
