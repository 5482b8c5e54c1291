"""The running average of the networks that samples are made with (Karras et al., 2018, section 4)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from elegan.game import GAN, Batch
from elegan.learning import turn


class Average(nn.Module):
    """Copies of the networks that `gan.averaged` names: floats follow their originals slowly, integers at once.

    half_life: images after which a weight's share has halved; 0 follows at once. Early on, a twentieth of the images
    seen so far, so that the first, useless weights are soon forgotten; not so where the first ones are `useful`.
    """

    def __init__(self, gan: GAN, half_life: float, *, useful: bool = False) -> None:
        super().__init__()
        self.half_life, self.useful = half_life, useful
        self.networks = nn.ModuleDict({name: copy.deepcopy(getattr(gan, name)) for name in gan.averaged})
        self.networks.requires_grad_(False)

    @torch.no_grad()
    def update(self, gan: GAN, images: int, images_seen: int) -> None:
        """Move towards `gan` by what `images` more images mean after `images_seen`."""
        half_life = self.half_life if self.useful else min(self.half_life, images_seen / 20)
        share = 1.0 if half_life == 0 else 1 - 0.5 ** (images / half_life)
        for name, network in self.networks.items():
            mine, theirs = network.state_dict(), getattr(gan, name).state_dict()
            floats = [key for key, value in mine.items() if value.is_floating_point()]
            torch._foreach_lerp_([mine[key] for key in floats], [theirs[key] for key in floats], share)
            for key in mine.keys() - floats:
                mine[key].copy_(theirs[key])

    def view(self, gan: GAN) -> GAN:
        """A GAN that shares everything with `gan` but makes its samples with the averaged networks."""
        twin = copy.copy(gan)
        twin._modules = {**gan._modules, **self.networks._modules}
        return twin


@torch.no_grad()
def estimate_statistics(gan: GAN, batches: Iterable[Batch]) -> None:
    """Set the running statistics of `gan`'s batch norms to those of its own samples, averaged over `batches`.

    The average of weights is not the network whose statistics were averaged with it; estimating them anew gives the
    statistics that belong to the averaged weights.
    """
    norms = [m for name in gan.averaged for m in getattr(gan, name).modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    networks = [getattr(gan, name) for name in gan.averaged]
    with turn(gan, None), restored([module for network in networks for module in network.modules()], norms):
        for network in networks:
            network.eval()  # dropout and the like as in sampling; only the norms look at the batch
        for norm in norms:
            norm.track_running_stats = True  # without it, resetting does nothing
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches
            norm.train()
        for batch in batches:
            for norm in norms:
                norm.track_running_stats = True
            gan.sample(batch.random, batch.condition)


@contextmanager
def restored(modules: list[nn.Module], norms: list[_BatchNorm]) -> Iterator[None]:
    """Modes and the norms' settings are afterwards what they were, whatever is done to them in here."""
    modes = [module.training for module in modules]
    settings = [(norm.momentum, norm.track_running_stats) for norm in norms]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for norm, (momentum, tracking) in zip(norms, settings, strict=True):
            norm.momentum, norm.track_running_stats = momentum, tracking


@contextmanager
def sampling(gan: GAN) -> Iterator[GAN]:
    """`gan` in the state in which samples are made: evaluation mode, no gradients; restored afterwards."""
    networks = [getattr(gan, name) for name in gan.averaged]
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        with torch.no_grad():
            yield gan
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
