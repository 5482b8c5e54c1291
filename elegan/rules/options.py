"""Options that most two-player variants share, in groups. A variant gives each group its own defaults; every field is a flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from torch import nn

from elegan.augment import augmentation
from elegan.errors import OptionError
from elegan.game import GAN, Recipe, Spec
from elegan.losses import objectives, penalties
from elegan.losses.objectives import ObjectiveName
from elegan.losses.penalties import Penalty, PenaltyName
from elegan.networks.conditions import Conditions, DiscriminatorCondition, GeneratorCondition
from elegan.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from elegan.networks.layers import Norm
from elegan.networks.mlp import ActivationName, MLPDiscriminator, MLPGenerator
from elegan.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from elegan.networks.resnet import ResNetDiscriminator, ResNetGenerator
from elegan.optimizers import SGD, Adam, Optimizer, RMSprop, ScheduleName, check_rates, check_shares
from elegan.rules.noise import InstanceNoise, NoiseFall, NoiseName
from elegan.rules.two_player import Remedies, TwoPlayer

NETWORKS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "resnet": (ResNetGenerator, ResNetDiscriminator),
    "r3gan": (R3GANGenerator, R3GANDiscriminator),
    "mlp": (MLPGenerator, MLPDiscriminator),
}


@dataclass(frozen=True)
class Networks:
    """Which networks play."""

    network: Annotated[
        Literal["dcgan", "resnet", "r3gan", "mlp"], "strided convolutions, residual blocks, R3GAN's, or fully connected layers"
    ] = "dcgan"
    latent: Annotated[int, "numbers of noise that a sample is made from"] = 100
    width: Annotated[int, "the generator's channels on its largest map (dcgan) or at 32x32 (resnet, r3gan), or units of a layer (mlp)"] = 64
    discriminator_width: Annotated[int, "the same of the discriminator"] = 64
    depth: Annotated[int, "hidden layers (mlp)"] = 1
    activation: Annotated[ActivationName, "what follows a hidden layer (mlp)"] = "leaky_relu"
    waves: Annotated[int, "sines and cosines of the sample that the discriminator sees beside it, for fine detail (mlp)"] = 0
    discriminator_norm: Annotated[Norm, "how the discriminator's layers are normalised"] = "batch"

    def idle(self) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        if self.network == "mlp":
            return {}
        return {
            "depth": f"--network {self.network} has as many layers as the images' size asks for",
            **dict.fromkeys(("activation", "waves"), f"--network {self.network} has its own"),
        }

    def generator(self, spec: Spec, conditions: Conditions, told: GeneratorCondition) -> nn.Module:
        own = {"depth": self.depth, "activation": self.activation, "bounded": not spec.is_point} if self.network == "mlp" else {}
        make = NETWORKS[self.network][0]
        return make(spec.shape, latent=self.latent, width=self.width, conditions=conditions, told=told, **own)

    def discriminator(self, spec: Spec, conditions: Conditions, told: DiscriminatorCondition) -> nn.Module:
        own = {"depth": self.depth, "activation": self.activation, "waves": self.waves} if self.network == "mlp" else {}
        make, norm = NETWORKS[self.network][1], self.discriminator_norm
        return make(spec.shape, width=self.discriminator_width, norm=norm, conditions=conditions, told=told, **own)


@dataclass(frozen=True)
class Telling:
    """How the networks are told the class or the attributes, where the data has them."""

    generator_condition: Annotated[GeneratorCondition, "joined to the noise, or by conditional batch norm"] = "concatenate"
    discriminator_condition: Annotated[
        DiscriminatorCondition, "one more channel; a projection; or not told, but guessing it as an auxiliary classifier"
    ] = "concatenate"
    auxiliary_weight: Annotated[float, "weight of the guess, if the discriminator guesses"] = 1.0

    def idle(self, conditions: Conditions) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        if not conditions:
            return {field.name: "there is no condition to tell" for field in fields(self)}
        return {} if self.discriminator_condition == "auxiliary" else {"auxiliary_weight": "the discriminator guesses nothing"}


@dataclass(frozen=True)
class Game:
    """What the players lower, and what steadies the game."""

    objective: Annotated[ObjectiveName, "what the players lower"] = "non_saturating"
    label_smoothing: Annotated[float, "real images count as real by 1 less this, for the discriminator"] = 0.0
    penalty: Annotated[PenaltyName, "penalty on the discriminator's gradient"] = "none"
    penalty_weight: Annotated[float, "its weight; gamma of R1 and R2, lambda of gradient penalties"] = 1.0
    penalty_interval: Annotated[int, "applied every so many updates, and then so many times as strongly"] = 1
    penalty_end: Annotated[float, "the share of its weight that is left at last: it falls as half a cosine"] = 1.0
    penalty_until: Annotated[float, "the share of the training after which its weight falls no more"] = 1.0
    discriminator_steps: Annotated[int, "discriminator updates for each of the generator's"] = 1
    clip_weights: Annotated[float, "the largest absolute weight of the discriminator; 0 for any"] = 0.0
    orthogonal: Annotated[float, "weight of the generator's orthogonal regularisation"] = 0.0
    instance_noise: Annotated[float, "noise on all the discriminator sees: its standard deviation at the start; 0 at the end"] = 0.0
    instance_noise_until: Annotated[float, "the share of the training after which there is none"] = 1.0
    instance_noise_fall: Annotated[NoiseFall, "evenly to 0, or by even factors to a twentieth and then to 0"] = "linear"
    augment: Annotated[str, "what the discriminator sees is augmented: colour, translation, cutout, joined by +"] = "none"
    noise: Annotated[NoiseName, "the noise that samples are made from"] = "normal"

    def check(self) -> None:
        """OptionError for an option that is not to be had."""
        objectives.objective(self.objective, self.label_smoothing)
        self.penalty_on_slopes()
        augmentation(self.augment)
        self.noise_on_samples()

    def idle(self) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        of_penalty = ("penalty_weight", "penalty_interval", "penalty_end", "penalty_until")
        unused = dict.fromkeys(of_penalty, "there is no penalty") if self.penalty == "none" else {}
        if self.penalty_end == 1:
            unused = {"penalty_until": "the penalty's weight stays what it is"} | unused
        if not self.instance_noise:
            unused |= dict.fromkeys(("instance_noise_until", "instance_noise_fall"), "there is no instance noise")
        return unused

    def penalty_on_slopes(self) -> Penalty | None:
        return penalties.penalty(self.penalty, self.penalty_weight, self.penalty_interval, self.penalty_end, self.penalty_until)

    def noise_on_samples(self) -> InstanceNoise:
        return InstanceNoise(self.instance_noise, self.instance_noise_until, self.instance_noise_fall)

    def play(self, spec: Spec, generator: nn.Module, discriminator: nn.Module, latent: int, auxiliary: float = 1.0) -> TwoPlayer:
        """The game between these networks."""
        return TwoPlayer(
            spec,
            generator,
            discriminator,
            objectives.objective(self.objective, self.label_smoothing),
            latent=latent,
            noise=self.noise,
            discriminator_steps=self.discriminator_steps,
            penalty=self.penalty_on_slopes(),
            remedies=Remedies(
                augmentation(self.augment),
                self.noise_on_samples(),
                self.clip_weights,
                self.orthogonal,
                auxiliary,
            ),
        )


@dataclass(frozen=True)
class Learning:
    """How fast, how much and how long the players learn."""

    optimizer: Annotated[Literal["adam", "rmsprop", "sgd"], "what makes updates of gradients"] = "adam"
    lr: Annotated[float, "the generator's learning rate"] = 2e-4
    discriminator_lr: Annotated[float, "the discriminator's"] = 2e-4
    beta1: Annotated[float, "Adam's memory of the gradient; momentum of sgd"] = 0.5
    beta2: Annotated[float, "Adam's memory of its square; alpha of rmsprop"] = 0.999
    schedule: Annotated[
        ScheduleName, "how the learning rates fall; late_linear in the second half only, burn_in to a quarter in the first tenth"
    ] = "constant"
    batch: Annotated[int, "real images in a round"] = 64
    steps: Annotated[int, "rounds of training"] = 20_000
    average_half_life: Annotated[float, "images after which a weight's share in the average has halved; 0 for no average"] = 10_000.0

    def idle(self) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        return {"rmsprop": {"beta1": "rmsprop has no momentum here"}, "sgd": {"beta2": "sgd keeps no squares"}}.get(self.optimizer, {})

    def recipe(self, build: Callable[[], GAN], *, conditional: bool = False, idle: Mapping[str, str] | None = None) -> Recipe:
        """The recipe of a two-player game that learns so; idle: options of the game that make no difference."""
        # here too, by the names of the flags: the optimizers call them by their own
        check_rates(**{"--lr": self.lr, "--discriminator-lr": self.discriminator_lr})
        check_shares(**{"--beta1": self.beta1, "--beta2": self.beta2})
        optimizers = {"generator": self.optimizer_at(self.lr), "discriminator": self.optimizer_at(self.discriminator_lr)}
        idle = {**self.idle(), **(idle or {})}
        return Recipe(build, optimizers, self.batch, self.steps, self.average_half_life, conditional, idle)

    def optimizer_at(self, lr: float) -> Optimizer:
        if self.optimizer == "adam":
            return Adam(lr, (self.beta1, self.beta2), schedule=self.schedule)
        return (
            RMSprop(lr, self.beta2, schedule=self.schedule) if self.optimizer == "rmsprop" else SGD(lr, self.beta1, schedule=self.schedule)
        )


def image_recipe(spec: Spec, networks: Networks, game: Game, learning: Learning, telling: Telling | None = None) -> Recipe:
    """The recipe that the options describe; without `telling` the networks are told nothing. OptionError if they contradict."""
    spec = spec if telling else spec.unconditional()
    conditions = Conditions(spec.num_classes, len(spec.attributes))
    told = (telling or Telling()) if conditions else Telling()

    def build() -> TwoPlayer:
        generator = networks.generator(spec, conditions, told.generator_condition)
        discriminator = networks.discriminator(spec, conditions, told.discriminator_condition)
        return game.play(spec, generator, discriminator, networks.latent, told.auxiliary_weight)

    check(networks, game, spec, told)
    idle = {**networks.idle(), **game.idle(), **(telling.idle(conditions) if telling else {})}
    return learning.recipe(build, conditional=telling is not None, idle=idle)


def check(networks: Networks, game: Game, spec: Spec, told: Telling) -> None:
    """OptionError for what would only fail, or silently differ from what is meant, when training."""
    game.check()
    if spec.is_point and networks.network != "mlp":
        raise OptionError(
            f"--network {networks.network} makes images, and the data are points. Use --network mlp --discriminator-norm none."
        )
    if spec.is_point and game.augment != "none":
        raise OptionError(f"--augment {game.augment} changes images, and the data are points. Leave it out.")
    if networks.network == "r3gan" and networks.discriminator_norm != "none":
        raise OptionError(
            "--network r3gan has no norm, and begins with weights of zero that none could divide. Use --discriminator-norm none."
        )
    if networks.network == "r3gan" and told.generator_condition == "batch_norm":
        raise OptionError("--network r3gan has no batch norm to be told the condition by. Use --generator-condition concatenate.")
    if networks.network in ("resnet", "mlp") and networks.discriminator_norm == "batch":
        raise OptionError(f"--network {networks.network} has no discriminator with batch norm. Use --discriminator-norm spectral or none.")
    if "gradient_penalty" in game.penalty and networks.discriminator_norm == "batch":
        raise OptionError(
            f"--penalty {game.penalty} is on each sample's own gradient, which a discriminator with batch norm does not have. "
            "Use --discriminator-norm none or spectral."
        )
