"""The one place that updates weights: it carries out the moves that a variant yields, for all variants alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Literal

import torch
from torch import Tensor, nn

from elegan.engine.average import Average
from elegan.engine.processes import ALONE, Processes
from elegan.errors import NotFiniteError, OptionError, nearest
from elegan.game import GAN, Batch, Move
from elegan.learning import learning_weights, turn
from elegan.networks.layers import advance, spectral_norms
from elegan.optimizers import SGD, Adam, Optimizer, RMSprop
from elegan.randomness import key, layer_randomness

UpdateName = Literal["alternating", "simultaneous", "extragradient"]


@dataclass(frozen=True)
class Settings:
    """How moves are carried out. precision: "fp32" or "bf16" (autocast); accumulate: micro-batches in a round; clip: the
    longest gradient an update may use, 0 for any; update: whether a player sees the moves made before it in the round;
    processes: those that play it together."""

    precision: str = "fp32"
    accumulate: int = 1
    clip: float = 0.0
    seed: int = 0
    update: UpdateName = "alternating"
    processes: Processes = ALONE


class Turns:
    """Carries out rounds of `gan`: one optimizer for each player, and the running average of the generator."""

    def __init__(self, gan: GAN, optimizers: Mapping[str, Optimizer], settings: Settings, average: Average | None = None) -> None:
        if gan.players.keys() != optimizers.keys():
            raise OptionError(f"the game has the players {', '.join(gan.players)}; the recipe has optimizers for {', '.join(optimizers)}.")
        self.gan, self.settings, self.average = gan, settings, average
        self.weights = {name: learning_weights(networks) for name, networks in gan.players.items()}
        self.rates = {name: optimizers[name].rate for name in gan.players}
        self.optimizers = {name: make_optimizer(self.weights[name], optimizers[name]) for name in gan.players}
        self.advancing = {name: [network for network in networks if spectral_norms(network)] for name, networks in gan.players.items()}
        networks = [network for networks in gan.players.values() for network in networks]
        others = [child for child in gan.children() if not any(child is network for network in networks)]
        self.steering = [tensor for child in others for tensor in child.buffers()]
        self.updates = dict.fromkeys(gan.players, 0)
        self.signals: list[str] = []
        self.agreed_to_stop = False

    def round(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Play one round on `batch` and give what was noted: losses, gradient norms, what the variant noted.

        A divided round plays all its micro-batches in step: each move is evaluated on every one, then made once.
        """
        play = {"alternating": self.alternate, "simultaneous": self.move_together, "extragradient": self.look_ahead}[self.settings.update]
        try:
            readings = play(batch.split(self.settings.accumulate), step)
            noted = {name: mean(values) for name, values in self.gan.notes.items()}
        except BaseException:
            for optimizer in self.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            raise
        finally:
            self.gan.notes.clear()
        if self.average is not None:
            self.average.update(self.gan, batch.random.total, (step + 1) * batch.random.total)
        return readings | noted

    def alternate(self, parts: list[Batch], step: int) -> dict[str, Tensor]:
        """Each player answers to the moves before its own."""
        readings: dict[str, Tensor] = {}
        for player, evaluate in self.moves(parts, step):
            readings |= evaluate()
            self.update(player, parts[0].progress)
        return readings

    def move_together(self, parts: list[Batch], step: int) -> dict[str, Tensor]:
        """All gradients are taken at the weights that the round began with."""
        players, readings = self.gradients(parts, step)
        for player in players:
            self.update(player, parts[0].progress)
        return readings

    def look_ahead(self, parts: list[Batch], step: int) -> dict[str, Tensor]:
        """Extragradient (Korpelevich, 1976; Gidel et al., 2019, algorithm 4): move together, take the gradients there, on the
        same images and new noise, and use them from where the round began. The optimizers' moments see both gradients,
        and what the game steers by, such as ADA's probability, only the second."""
        before = {player: [weight.detach().clone() for weight in weights] for player, weights in self.weights.items()}
        steered = [tensor.clone() for tensor in self.steering]
        others = [replace(part, random=replace(part.random, seed=key(part.random.seed, "ahead"))) for part in parts]
        self.move_together(others, step)
        self.gan.notes.clear()
        for tensor, value in zip(self.steering, steered, strict=True):
            tensor.copy_(value)
        players, readings = self.gradients(parts, step)
        for player in players:
            torch._foreach_copy_([weight.detach() for weight in self.weights[player]], before[player])
            self.updates[player] -= 1
        for player in players:
            self.update(player, parts[0].progress)
        return readings

    def gradients(self, parts: list[Batch], step: int) -> tuple[list[str], dict[str, Tensor]]:
        """The gradients of all moves of a round at the same weights: who moves, and the readings."""
        players: list[str] = []
        readings: dict[str, Tensor] = {}
        for player, evaluate in self.moves(parts, step):
            if player in players:
                raise OptionError(f"--update {self.settings.update}: the {player} moves twice in a round. Use alternating.")
            players.append(player)
            readings |= evaluate()
        return players, readings

    def moves(self, parts: list[Batch], step: int) -> Iterator[tuple[str, Callable[[], dict[str, Tensor]]]]:
        """The moves of a round in order: who moves, and what evaluates the move."""
        for number, moves in enumerate(zip(*[self.gan.play(part, step) for part in parts], strict=True)):
            player = moves[0].player
            if player not in self.optimizers:
                raise OptionError(f"play() yielded a move of {player!r}. {nearest(player, self.optimizers)}")
            seeds = [key(self.settings.seed, step, number, part.random.start) for part in parts]
            yield player, partial(self.gradient, moves, seeds, step)

    def gradient(self, moves: tuple[Move, ...], seeds: list[int], step: int) -> dict[str, Tensor]:
        """The mean of a move's losses over micro-batches and processes, and its gradient, left with the player's weights."""
        player = moves[0].player
        for network in self.advancing[player]:
            advance(network)
        losses = [self.evaluate(player, move, seed, len(moves)) for move, seed in zip(moves, seeds, strict=True)]
        loss = mean(losses)
        self.average_over_processes(player, loss)
        norm = self.gradient_norm(player)
        check_finite(player, step, loss, norm)
        return {f"{player}_loss": loss, f"{player}_gradient": norm}

    def update(self, player: str, progress: float) -> None:
        """One update of one player by the gradient that its weights hold."""
        optimizer = self.optimizers[player]
        for group in optimizer.param_groups:
            group["lr"] = self.rates[player](progress)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.gan.settle(player)
        self.updates[player] += 1

    def evaluate(self, player: str, move: Move, seed: int, parts: int) -> Tensor:
        """The loss of one micro-batch, its gradient added to the player's weights. Autocast ends with the forward pass."""
        with turn(self.gan, player), layer_randomness(seed, self.device):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
                loss = move.loss()
            (loss if parts == 1 else loss / parts).backward(inputs=self.weights[player])  # type: ignore[no-untyped-call]
        return loss.detach()

    def average_over_processes(self, player: str, loss: Tensor) -> None:
        """One exchange: the gradient, the loss, what the variant steers by, and whether a signal told any process to stop, so that
        all stop in this round."""
        if self.settings.processes.count == 1:
            return
        told_to_stop = torch.full_like(loss, len(self.signals))
        self.settings.processes.average([*self.gradients_of(player), loss, told_to_stop, *self.gan.shared(player)])
        self.agreed_to_stop = bool(told_to_stop)

    @property
    def stopping(self) -> bool:
        """Whether a signal ends this game: as soon as it comes to the only process; of several, once all know of it."""
        return self.agreed_to_stop if self.settings.processes.count > 1 else bool(self.signals)

    def gradients_of(self, player: str) -> list[Tensor]:
        return [p.grad for p in self.weights[player] if p.grad is not None]

    def gradient_norm(self, player: str) -> Tensor:
        """The length of the player's gradient, before it is clipped to `settings.clip` (0: it is not)."""
        gradients = self.gradients_of(player)
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if self.settings.clip:
            torch._foreach_mul_(gradients, (self.settings.clip / (norm + 1e-12)).clamp(max=1.0))
        return norm

    @property
    def device(self) -> torch.device:
        return next(iter(self.weights.values()))[0].device


def make_optimizer(weights: list[nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    match settings:
        case Adam(lr, (beta1, beta2), eps):
            betas = float(beta1), float(beta2)  # the int 0 of published settings is refused by PyTorch
            return torch.optim.Adam(weights, lr=lr, betas=betas, eps=eps, fused=True)
        case RMSprop(lr, alpha, eps):
            return torch.optim.RMSprop(weights, lr=lr, alpha=alpha, eps=eps)
        case SGD(lr, momentum):
            return torch.optim.SGD(weights, lr=lr, momentum=momentum, fused=True)
    raise OptionError(f"there is no optimizer for {type(settings).__name__}: expected Adam, RMSprop or SGD.")


def mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean()


def check_finite(player: str, step: int, loss: Tensor, norm: Tensor) -> None:
    """Before the player's weights are touched."""
    if isfinite(float(loss + norm)):  # one number to wait for
        return
    what = "loss" if not bool(torch.isfinite(loss)) else "gradient"
    raise NotFiniteError(f"the {player}'s {what} is no longer finite at step {step} (loss {float(loss)}, gradient length {float(norm)}).")
