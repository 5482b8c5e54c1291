"""Options that most two-player variants share, in groups. A variant gives each group its own defaults; every field is a flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Literal, NamedTuple

from torch import nn

from elegan.augment import Augment, augmentation
from elegan.errors import OptionError
from elegan.game import GAN, Recipe, Spec
from elegan.losses import objectives, penalties
from elegan.losses.lecam import LeCam
from elegan.losses.objectives import ObjectiveName
from elegan.losses.penalties import Penalty, PenaltyName
from elegan.networks.biggan import BigGANDiscriminator, BigGANGenerator
from elegan.networks.conditions import Conditions, DiscriminatorCondition, GeneratorCondition
from elegan.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from elegan.networks.layers import Norm
from elegan.networks.mlp import ActivationName, MLPDiscriminator, MLPGenerator
from elegan.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from elegan.networks.resnet import ResNetDiscriminator, ResNetGenerator
from elegan.networks.stylegan import StyleGANDiscriminator, StyleGANGenerator
from elegan.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from elegan.optimizers import SGD, Adam, Optimizer, RMSprop, ScheduleName, check_rates, check_shares
from elegan.rules.noise import InstanceNoise, NoiseFall, NoiseName
from elegan.rules.two_player import Remedies, TwoPlayer

JOINED: tuple[GeneratorCondition, ...] = ("concatenate",)
EITHER: tuple[GeneratorCondition, ...] = ("concatenate", "batch_norm")


class Pair(NamedTuple):
    """A generator and a discriminator that belong together, and which of the options each of them takes beside its width.

    norms: those that the discriminator can have. told: the ways in which the generator can be told a condition.
    """

    generator: Callable[..., nn.Module]
    discriminator: Callable[..., nn.Module]
    norms: tuple[Norm, ...]
    told: tuple[GeneratorCondition, ...] = JOINED
    generator_options: tuple[str, ...] = ()
    discriminator_options: tuple[str, ...] = ()


NETWORKS: dict[str, Pair] = {
    "dcgan": Pair(DCGANGenerator, DCGANDiscriminator, ("batch", "spectral", "none"), EITHER),
    "resnet": Pair(ResNetGenerator, ResNetDiscriminator, ("spectral", "none"), EITHER),
    "biggan": Pair(BigGANGenerator, BigGANDiscriminator, ("spectral", "none"), ("batch_norm",)),
    "stylegan": Pair(StyleGANGenerator, StyleGANDiscriminator, ("none",), JOINED, ("widest", "depth"), ("widest",)),
    "stylegan2": Pair(StyleGAN2Generator, StyleGAN2Discriminator, ("none",), JOINED, ("widest", "depth"), ("widest",)),
    "r3gan": Pair(R3GANGenerator, R3GANDiscriminator, ("none",), JOINED, ("widest",), ("widest",)),
    "mlp": Pair(MLPGenerator, MLPDiscriminator, ("spectral", "none"), JOINED, ("depth", "activation"), ("depth", "activation", "waves")),
}


@dataclass(frozen=True)
class Networks:
    """Which networks play."""

    network: Annotated[
        Literal["dcgan", "resnet", "biggan", "stylegan", "stylegan2", "r3gan", "mlp"],
        "strided convolutions, residual blocks, those of BigGAN, StyleGAN, StyleGAN2 or R3GAN, or fully connected layers",
    ] = "dcgan"
    latent: Annotated[int, "numbers of noise that a sample is made from"] = 100
    width: Annotated[
        int,
        "the generator's channels: on its largest map (dcgan, stylegan, stylegan2, r3gan), at 32x32 (resnet), a quarter of these (biggan); "
        "units of a layer (mlp)",
    ] = 64
    discriminator_width: Annotated[int, "the same of the discriminator"] = 64
    widest: Annotated[int, "the most channels of a map: they double on each smaller one (stylegan, stylegan2, r3gan)"] = 512
    depth: Annotated[int, "hidden layers (mlp), or layers from noise to styles (stylegan, stylegan2)"] = 1
    activation: Annotated[ActivationName, "what follows a hidden layer (mlp)"] = "leaky_relu"
    waves: Annotated[int, "sines and cosines of the sample that the discriminator sees beside it, for fine detail (mlp)"] = 0
    discriminator_norm: Annotated[Norm, "how the discriminator's layers are normalised"] = "batch"

    def idle(self) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        pair = NETWORKS[self.network]
        taken = {*pair.generator_options, *pair.discriminator_options}
        reasons = {
            "depth": "has as many layers as the images' size asks for",
            **dict.fromkeys(("activation", "waves", "widest"), "has its own"),
        }
        return {option: f"--network {self.network} {reason}" for option, reason in reasons.items() if option not in taken}

    def generator(self, spec: Spec, conditions: Conditions, told: GeneratorCondition) -> nn.Module:
        pair = NETWORKS[self.network]
        own = {option: getattr(self, option) for option in pair.generator_options}
        if self.network == "mlp":
            own["bounded"] = not spec.is_point
        return pair.generator(spec.shape, latent=self.latent, width=self.width, conditions=conditions, told=told, **own)

    def discriminator(self, spec: Spec, conditions: Conditions, told: DiscriminatorCondition) -> nn.Module:
        pair, norm = NETWORKS[self.network], self.discriminator_norm
        own = {option: getattr(self, option) for option in pair.discriminator_options}
        return pair.discriminator(spec.shape, width=self.discriminator_width, norm=norm, conditions=conditions, told=told, **own)

    def check(self, told: Telling | None) -> None:
        """OptionError for a norm, or a way to tell a condition, that these networks have not."""
        pair = NETWORKS[self.network]
        if self.discriminator_norm not in pair.norms:
            lacks = f"--network {self.network} has no discriminator with {self.discriminator_norm} norm"
            raise OptionError(f"{lacks}. Use --discriminator-norm {' or '.join(pair.norms)}.")
        if told is not None and told.generator_condition not in pair.told:
            lacks = f"--network {self.network} cannot be told the condition so"
            raise OptionError(f"{lacks}. Use --generator-condition {' or '.join(pair.told)}.")


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
    augment: Annotated[
        str, "what the discriminator sees is augmented: colour, translation, cutout, joined by +, always; or ada, as much as it needs"
    ] = "none"
    augment_probability: Annotated[float, "the probability of each of ada's transformations at the start"] = 0.0
    augment_target: Annotated[float, "the mean sign of real images' logits at which ada keeps its probability"] = 0.6
    augment_images: Annotated[float, "images in which ada's probability can go from 0 to 1; inf: it stays"] = 500_000.0
    lecam: Annotated[float, "weight of the LeCam penalty, which keeps the discriminator's logits together"] = 0.0
    noise: Annotated[NoiseName, "the noise that samples are made from"] = "normal"

    def check(self) -> None:
        """OptionError for an option that is not to be had."""
        objectives.objective(self.objective, self.label_smoothing)
        self.penalty_on_slopes()
        self.augmentation()
        self.noise_on_samples()
        LeCam(self.lecam)

    def idle(self) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        of_penalty = ("penalty_weight", "penalty_interval", "penalty_end", "penalty_until")
        unused = dict.fromkeys(of_penalty, "there is no penalty") if self.penalty == "none" else {}
        if self.penalty_end == 1:
            unused = {"penalty_until": "the penalty's weight stays what it is"} | unused
        if not self.instance_noise:
            unused |= dict.fromkeys(("instance_noise_until", "instance_noise_fall"), "there is no instance noise")
        if not self.augment.startswith("ada"):
            of_ada = ("augment_probability", "augment_target", "augment_images")
            unused |= dict.fromkeys(of_ada, f"--augment {self.augment} has no probability")
        return unused

    def augmentation(self) -> Augment | None:
        return augmentation(self.augment, self.augment_probability, self.augment_target, self.augment_images)

    def penalty_on_slopes(self) -> Penalty | None:
        return penalties.penalty(self.penalty, self.penalty_weight, self.penalty_interval, self.penalty_end, self.penalty_until)

    def noise_on_samples(self) -> InstanceNoise:
        return InstanceNoise(self.instance_noise, self.instance_noise_until, self.instance_noise_fall)

    def play(
        self,
        spec: Spec,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: int,
        auxiliary: float = 1.0,
        rule: Callable[..., TwoPlayer] = TwoPlayer,
    ) -> TwoPlayer:
        """The game between these networks, by this rule."""
        return rule(
            spec,
            generator,
            discriminator,
            objectives.objective(self.objective, self.label_smoothing),
            latent=latent,
            noise=self.noise,
            discriminator_steps=self.discriminator_steps,
            penalty=self.penalty_on_slopes(),
            remedies=Remedies(
                self.augmentation(),
                self.noise_on_samples(),
                LeCam(self.lecam) if self.lecam else None,
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


def image_recipe(
    spec: Spec,
    networks: Networks,
    game: Game,
    learning: Learning,
    telling: Telling | None = None,
    rule: Callable[..., TwoPlayer] = TwoPlayer,
) -> Recipe:
    """The recipe that the options describe; without `telling` the networks are told nothing. OptionError if they contradict."""
    spec = spec if telling else spec.unconditional()
    conditions = Conditions(spec.num_classes, len(spec.attributes))
    told = (telling or Telling()) if conditions else Telling()

    def build() -> TwoPlayer:
        generator = networks.generator(spec, conditions, told.generator_condition)
        discriminator = networks.discriminator(spec, conditions, told.discriminator_condition)
        return game.play(spec, generator, discriminator, networks.latent, told.auxiliary_weight, rule)

    check(networks, game, spec)
    networks.check(told if conditions else None)
    idle = {**networks.idle(), **game.idle(), **(telling.idle(conditions) if telling else {})}
    return learning.recipe(build, conditional=telling is not None, idle=idle)


def check(networks: Networks, game: Game, spec: Spec) -> None:
    """OptionError for what would only fail, or silently differ from what is meant, when training."""
    game.check()
    if spec.is_point and networks.network != "mlp":
        raise OptionError(
            f"--network {networks.network} makes images, and the data are points. Use --network mlp --discriminator-norm none."
        )
    if spec.is_point and game.augment != "none":
        raise OptionError(f"--augment {game.augment} changes images, and the data are points. Leave it out.")
    if "gradient_penalty" in game.penalty and networks.discriminator_norm == "batch":
        raise OptionError(
            f"--penalty {game.penalty} is on each sample's own gradient, which a discriminator with batch norm does not have. "
            "Use --discriminator-norm none or spectral."
        )
