"""The one place that updates weights: it carries out the moves that a variant yields, for all variants alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elegan.engine.average import Average
from elegan.errors import NotFiniteError, OptionError, nearest
from elegan.game import GAN, Adam, Batch, Move
from elegan.learning import learning_weights, turn
from elegan.networks.layers import advance, spectral_norms
from elegan.randomness import key, layer_randomness


@dataclass(frozen=True)
class Settings:
    """How moves are carried out. precision: "fp32" or "bf16" (autocast); accumulate: micro-batches in a round."""

    precision: str = "fp32"
    accumulate: int = 1
    clip: float = 0.0
    seed: int = 0


class Turns:
    """Carries out rounds of `gan`: one optimizer for each player, and the running average of the generator."""

    def __init__(self, gan: GAN, optimizers: Mapping[str, Adam], settings: Settings, average: Average | None = None) -> None:
        if gan.players.keys() != optimizers.keys():
            raise OptionError(f"the game has the players {', '.join(gan.players)}; the recipe has optimizers for {', '.join(optimizers)}.")
        self.gan, self.settings, self.average = gan, settings, average
        self.weights = {name: learning_weights(networks) for name, networks in gan.players.items()}
        self.optimizers = {name: make_optimizer(self.weights[name], optimizers[name]) for name in gan.players}
        self.advancing = {name: [network for network in networks if spectral_norms(network)] for name, networks in gan.players.items()}
        self.updates = dict.fromkeys(gan.players, 0)

    def round(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Play one round on `batch` and give what was noted: losses, gradient norms, what the variant noted.

        A divided round plays all its micro-batches in step: each move is evaluated on every one, then made once.
        """
        readings: dict[str, Tensor] = {}
        parts = batch.split(self.settings.accumulate)
        plays = [self.gan.play(part, step) for part in parts]
        try:
            for number, moves in enumerate(zip(*plays, strict=True)):
                seeds = [key(self.settings.seed, step, number, part.random.start) for part in parts]
                readings |= self.move(moves, seeds, step)
            noted = {name: torch.stack(values).mean() for name, values in self.gan.notes.items()}
        finally:
            self.gan.notes.clear()
        if self.average is not None:
            self.average.update(self.gan, batch.random.total, (step + 1) * batch.random.total)
        return readings | noted

    def move(self, moves: tuple[Move, ...], seeds: list[int], step: int) -> dict[str, Tensor]:
        """One update of one player: the mean of its losses over the micro-batches, its gradient, its optimizer."""
        player = moves[0].player
        if player not in self.optimizers:
            raise OptionError(f"play() yielded a move of {player!r}. {nearest(player, self.optimizers)}")
        for network in self.advancing[player]:
            advance(network)
        try:
            losses = [self.evaluate(player, move, seed, len(moves)) for move, seed in zip(moves, seeds, strict=True)]
            loss, norm = torch.stack(losses).mean(), self.gradient_norm(player)
            check_finite(player, step, loss, norm)
            self.optimizers[player].step()
        finally:
            self.optimizers[player].zero_grad(set_to_none=True)
        self.gan.settle(player)
        self.updates[player] += 1
        return {f"{player}_loss": loss, f"{player}_gradient": norm}

    def evaluate(self, player: str, move: Move, seed: int, parts: int) -> Tensor:
        """The loss of one micro-batch, its gradient added to the player's weights. Autocast ends with the forward pass."""
        with turn(self.gan, player), layer_randomness(seed, self.device):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
                loss = move.loss()
            (loss / parts).backward(inputs=self.weights[player])  # type: ignore[no-untyped-call]
        return loss.detach()

    def gradient_norm(self, player: str) -> Tensor:
        """The length of the player's gradient, before it is clipped to `settings.clip` (0: it is not)."""
        gradients = [p.grad for p in self.weights[player] if p.grad is not None]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if self.settings.clip:
            torch._foreach_mul_(gradients, (self.settings.clip / (norm + 1e-12)).clamp(max=1.0))
        return norm

    @property
    def device(self) -> torch.device:
        return next(self.gan.parameters()).device


def make_optimizer(weights: list[nn.Parameter], adam: Adam) -> torch.optim.Adam:
    # floats: the int 0 of published settings is refused by PyTorch
    betas = float(adam.betas[0]), float(adam.betas[1])
    return torch.optim.Adam(weights, lr=adam.lr, betas=betas, eps=adam.eps, fused=True)


def check_finite(player: str, step: int, loss: Tensor, norm: Tensor) -> None:
    """Before the player's weights are touched."""
    if bool(torch.isfinite(loss) & torch.isfinite(norm)):
        return
    what = "loss" if not bool(torch.isfinite(loss)) else "gradient"
    raise NotFiniteError(f"the {player}'s {what} is no longer finite at step {step} (loss {float(loss)}, gradient length {float(norm)}).")
