"""A trained generator that makes samples, whole or by way of their latents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, nearest
from elegan.tasks.options import convert
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    import numpy as np
    import torch

    from elegan.game import GAN, LatentGAN, Spec

    Samples = np.ndarray[tuple[int, ...], np.dtype[Any]]

SHOWN_CLASSES = 20

CHUNK = 64
"""Samples are made so many at a time, always: the same numbers then go through the same arithmetic for each seed."""


@dataclass(frozen=True)
class Model:
    """A trained generator, ready to make samples. notes: what a person should know of how it was found."""

    gan: GAN
    step: int
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> Spec:
        return self.gan.spec

    def sample(
        self,
        seeds: str | int | Iterable[int],
        class_: str | int | None = None,
        attributes: Mapping[str, float] | None = None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> Samples:
        """uint8 (n, h, w, c): one picture for each seed ("0-35", "1,2,5-10", a number, or numbers; an array or a tensor too).
        Of a model of points float64 (n, d), in the units of the data.

        Seed i is always the same picture. Without `class_` seed i is of class i modulo the number of classes; attributes
        that are not named are those of one of the training images, another for each of the first seeds. truncation, cutoff:
        as for `latents`. Raises OptionError for seeds, a class, attributes or a truncation that cannot be understood.
        """
        import numpy as np

        numbers = parse_seeds(seeds)
        conditions = self.conditions_of(numbers, class_, attributes)
        if truncation != 1 or cutoff is not None:
            return self.render(self.latents(numbers, class_, attributes, truncation=truncation, cutoff=cutoff), conditions)
        return np.concatenate([self.chunk(part, told) for part, told in in_chunks(numbers, conditions)])

    def latents(
        self,
        seeds: str | int | Iterable[int],
        class_: str | int | None = None,
        attributes: Mapping[str, float] | None = None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> torch.Tensor:
        """(n, layers, size), on the model's device: what the samples of these seeds follow from, to be changed and given to `render`.

        truncation: 1 leaves latents where they are; less, down to 0, moves styles towards their mean and keeps noise near 0, for
        likelier and more alike samples. cutoff: only in the first so many layers. Raises OptionError for a model without latents,
        a truncation outside 0 to 1, and a cutoff where there is nothing to cut.
        """
        import torch

        from elegan.randomness import SeedRandomness

        gan, numbers = self.walkable, parse_seeds(seeds)
        check_truncation(truncation)
        conditions = self.conditions_of(numbers, class_, attributes)
        found = []
        for part, told in in_chunks(numbers, conditions):
            with self.sampling(part) as device:
                random = SeedRandomness((*part, *[0] * (CHUNK - len(part))), device)
                found.append(gan.latents(random, None if told is None else told.to(device))[: len(part)])
        return self.truncated(torch.cat(found), conditions, truncation, cutoff)

    def truncated(
        self, latents: torch.Tensor, conditions: torch.Tensor | None, truncation: float, cutoff: int | None = None
    ) -> torch.Tensor:
        """Latents (n, layers, size) as `latents` has them with this truncation and cutoff."""
        import torch

        layers = latents.shape[1]
        if cutoff is not None:
            check_cutoff(cutoff, layers, truncation)
        if truncation == 1:
            return latents
        with self.sampling((0,)) as device:
            moved = self.walkable.truncated(latents, None if conditions is None else conditions.to(device), truncation)
        return moved if cutoff is None else torch.cat([moved[:, :cutoff], latents[:, cutoff:]], dim=1)

    def render(self, latents: torch.Tensor, conditions: torch.Tensor | None) -> Samples:
        """What `sample` gives, of latents (n, layers, size) and their conditions, as `conditions_of` has them."""
        import numpy as np

        gan, found = self.walkable, []
        for part, told in in_chunks(latents, conditions):
            with self.sampling((0,)) as device:
                samples = gan.render(padded(part).to(device), None if told is None else told.to(device))
                found.append(self.shown(samples[: len(part)]))
        return np.concatenate(found)

    @property
    def walkable(self) -> LatentGAN:
        """The model, if its samples follow from latents; else OptionError."""
        from elegan.game import LatentGAN

        if not isinstance(self.gan, LatentGAN):
            raise OptionError(
                "this model's samples follow from no latents that elegan knows: its GAN is no LatentGAN. "
                "Give it `latents`, `render` and `truncated` (see elegan/game.py), or only sample it, without --truncation."
            )
        return self.gan

    def conditions_of(
        self, seeds: tuple[int, ...], class_: str | int | None = None, attributes: Mapping[str, float] | None = None
    ) -> torch.Tensor | None:
        """What each seed is asked to be: class numbers (n,), attributes as the networks see them (n, k), or None."""
        import torch

        chosen = self.spec.conditions_of(seeds)
        if class_ is not None:
            return torch.full((len(seeds),), self.class_number(class_))
        for name, value in (attributes or {}).items():
            position = self.attribute_number(name)
            assert chosen is not None
            number = convert("attributes", value, float)
            row = [number if i == position else attribute.low for i, attribute in enumerate(self.spec.attributes)]
            chosen[:, position] = self.spec.scaled(torch.tensor([row], dtype=torch.float64))[0, position]
            if not bool(chosen.isfinite().all()):
                raise OptionError(f"--attributes: got {name}={value}, expected a number near those of the data.")
        return chosen

    def attribute_number(self, name: str) -> int:
        names = [attribute.name for attribute in self.spec.attributes]
        if not names:
            raise OptionError(f"--attributes {name}: this model knows no attributes; it was trained without --attributes.")
        if name not in names:
            raise OptionError(f"--attributes: there is no attribute {name!r}. {nearest(name, names)}")
        return names.index(name)

    def classes_of(self, seeds: tuple[int, ...], class_: str | int | None = None) -> tuple[int, ...]:
        """The class number of each seed; all 0 without classes."""
        if not self.spec.classes and class_ is None:
            return (0,) * len(seeds)
        conditions = self.conditions_of(seeds, class_)
        assert conditions is not None
        return tuple(conditions.tolist())

    def class_number(self, class_: str | int) -> int:
        """The class of this name. A number is a position too, where no class has a number for its name."""
        names, asked = self.spec.classes, str(class_)
        if not names:
            raise OptionError(f"--class {class_}: this model is told no classes. Leave it out, or train one that is, such as cgan.")
        if asked in names:
            return names.index(asked)
        if not re.fullmatch("[0-9]{1,9}", asked):
            raise OptionError(f"--class: there is no class {class_!r}. {nearest(asked, names)}")
        if any(name.isdecimal() for name in names):
            there = ", ".join(names[:SHOWN_CLASSES]) + (", ..." if len(names) > SHOWN_CLASSES else "")
            raise OptionError(f"--class: there is no class named {asked}; with numbers for names, only names count: {there}.")
        if int(asked) >= len(names):
            raise OptionError(f"--class: there is no class {class_!r}, expected a name, or a position from 0 to {len(names) - 1}.")
        return int(asked)

    def chunk(self, seeds: tuple[int, ...], told: torch.Tensor | None) -> Samples:
        """The samples of one of `in_chunks`."""
        from elegan.randomness import SeedRandomness

        with self.sampling(seeds) as device:
            random = SeedRandomness((*seeds, *[0] * (CHUNK - len(seeds))), device)
            samples = self.gan.sample(random, None if told is None else told.to(device))
        return self.shown(samples[: len(seeds)])

    @contextmanager
    def sampling(self, seeds: tuple[int, ...]) -> Iterator[torch.device]:
        """The device of the model, which is in here as samples are made; layers that draw numbers draw those of `seeds`."""
        from elegan.engine.average import sampling
        from elegan.randomness import key, layer_randomness

        device = next(self.gan.parameters()).device
        with sampling(self.gan), layer_randomness(key(*seeds, "layers"), device):
            yield device

    def shown(self, samples: torch.Tensor) -> Samples:
        from elegan.pictures import to_pixels

        return self.spec.points_of(samples).numpy() if self.spec.is_point else to_pixels(samples)


def in_chunks(values: Any, conditions: torch.Tensor | None) -> Iterator[tuple[Any, torch.Tensor | None]]:
    """At most CHUNK of the values at a time, and their conditions, with zeros up to CHUNK."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK], None if conditions is None else padded(conditions[start : start + CHUNK])


def padded(rows: torch.Tensor) -> torch.Tensor:
    """(n, ...) -> (CHUNK, ...), with zeros."""
    import torch.nn.functional as F

    return F.pad(rows, [0, 0] * (rows.dim() - 1) + [0, CHUNK - len(rows)])


def check_truncation(truncation: float) -> None:
    if not 0 <= truncation <= 1:
        raise OptionError(f"--truncation: got {truncation}, expected a number from 0 (the mean alone) to 1 (all there is).")


def check_cutoff(cutoff: int, layers: int, truncation: float) -> None:
    """OptionError unless the first `cutoff` of so many layers can be truncated alone."""
    if layers == 1:
        raise OptionError("--truncation-cutoff: this model's latents have one layer, so there are no first ones. Leave it out.")
    if not 1 <= cutoff <= layers:
        raise OptionError(f"--truncation-cutoff: got {cutoff}, expected from 1 to {layers}, the layers of this model.")
    if truncation == 1:
        raise OptionError("--truncation-cutoff makes no difference without a --truncation below 1.")
