"""Who learns: freezing all players but the one who moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from elegan.game import GAN

Part = nn.Parameter | _BatchNorm

PREPARED: WeakKeyDictionary[GAN, dict[str, list[Part]]] = WeakKeyDictionary()
"""The parts of each player that can learn, once `prepare_networks` has settled which: of small networks, looking for them
anew in each turn costs a tenth of a round."""


@contextmanager
def turn(gan: GAN, player: str | None) -> Iterator[None]:
    """Only `player` learns in here: the others' weights ask for no gradient and their running statistics stand still.

    Freezing comes before the forward pass: that is what saves the other players' weight gradients, in compiled
    networks too. Turns nest; leaving one restores what was before. `None` freezes everybody.
    """
    before: list[tuple[Part, bool]] = []
    for name, parts in (PREPARED.get(gan) or parts_of_players(gan)).items():
        for part in parts:
            before.append((part, learns(part)))
            set_learns(part, name == player)
    try:
        yield
    finally:
        for part, wanted in before:
            set_learns(part, wanted)


def set_learning(networks: Iterable[nn.Module], wanted: bool) -> None:
    """Whether the weights of `networks` ask for gradients and their batch norms follow the data.

    A batch norm that does not follow still normalises by the batch's own statistics while training.
    """
    for part in learning_parts(networks):
        set_learns(part, wanted)


def parts_of_players(gan: GAN) -> dict[str, list[Part]]:
    return {name: learning_parts(networks) for name, networks in gan.players.items()}


def learning_parts(networks: Iterable[nn.Module]) -> list[Part]:
    """What can learn, each once: weights, by gradients, and batch norms, by running statistics.

    Weights that the variant froze when it built the networks are not among them.
    """
    parts: dict[int, Part] = {}
    for module in (module for network in networks for module in network.modules()):
        for weight in module._parameters.values():
            if weight is not None and not getattr(weight, "fixed", False):
                parts[id(weight)] = weight
        if isinstance(module, _BatchNorm):
            parts[id(module)] = module
    return list(parts.values())


def learning_weights(networks: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The weights among the parts that can learn."""
    return [part for part in learning_parts(networks) if isinstance(part, nn.Parameter)]


def prepare_networks(gan: GAN) -> None:
    """Training mode, and nobody learns outside a turn. Weights that are frozen when this is first called stay so.

    Networks that are given other layers or weights afterwards have to be prepared again.
    """
    gan.train()
    for weight in gan.parameters():
        if not hasattr(weight, "fixed"):
            weight.fixed = not weight.requires_grad  # type: ignore[attr-defined]
    PREPARED[gan] = parts_of_players(gan)
    for networks in gan.players.values():
        set_learning(networks, False)


def learns(part: Part) -> bool:
    return part.track_running_stats if isinstance(part, _BatchNorm) else part.requires_grad


def set_learns(part: Part, wanted: bool) -> None:
    if isinstance(part, _BatchNorm):
        part.track_running_stats = wanted
    else:
        part.requires_grad_(wanted)
