"""elegan: generative adversarial networks, whole. `elegan.train("digits")` trains one; see the README.

The names below are the public surface. They are imported when first used, so that `import elegan` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elegan.data import ImageData as ImageData
    from elegan.data import open_data as open_data
    from elegan.data import prepare as prepare
    from elegan.engine.loop import Listener as Listener
    from elegan.engine.loop import Progress as Progress
    from elegan.engine.run import Run as Run
    from elegan.errors import DataError as DataError
    from elegan.errors import EleganError as EleganError
    from elegan.errors import NotFiniteError as NotFiniteError
    from elegan.errors import OptionError as OptionError
    from elegan.errors import RunError as RunError
    from elegan.game import GAN as GAN
    from elegan.game import Attribute as Attribute
    from elegan.game import Batch as Batch
    from elegan.game import Move as Move
    from elegan.game import Preset as Preset
    from elegan.game import Recipe as Recipe
    from elegan.game import Spec as Spec
    from elegan.metrics.report import Evaluation as Evaluation
    from elegan.metrics.report import Score as Score
    from elegan.optimizers import SGD as SGD
    from elegan.optimizers import Adam as Adam
    from elegan.optimizers import RMSprop as RMSprop
    from elegan.tasks.compare import Comparison as Comparison
    from elegan.tasks.compare import compare as compare
    from elegan.tasks.demonstrate import demonstrate as demonstrate
    from elegan.tasks.demonstrate import demonstrations as demonstrations
    from elegan.tasks.directions import directions as directions
    from elegan.tasks.evaluate import evaluate as evaluate
    from elegan.tasks.film import film as film
    from elegan.tasks.inspection import inspect_data as inspect_data
    from elegan.tasks.interpolate import interpolate as interpolate
    from elegan.tasks.loading import load as load
    from elegan.tasks.mix import mix as mix
    from elegan.tasks.model import Model as Model
    from elegan.tasks.plan import Plan as Plan
    from elegan.tasks.plan import plan as plan
    from elegan.tasks.project import project as project
    from elegan.tasks.recipes import recipes as recipes
    from elegan.tasks.runs import runs as runs
    from elegan.tasks.sample import sample as sample
    from elegan.tasks.train import train as train
    from elegan.theory.demonstration import Demonstration as Demonstration

__version__ = "0.1.0"

PUBLIC = {
    "elegan.data": ("ImageData", "open_data", "prepare"),
    "elegan.engine.loop": ("Listener", "Progress"),
    "elegan.engine.run": ("Run",),
    "elegan.errors": ("DataError", "EleganError", "NotFiniteError", "OptionError", "RunError"),
    "elegan.game": ("Attribute", "Batch", "GAN", "Move", "Preset", "Recipe", "Spec"),
    "elegan.metrics.report": ("Evaluation", "Score"),
    "elegan.optimizers": ("Adam", "RMSprop", "SGD"),
    "elegan.tasks.compare": ("Comparison", "compare"),
    "elegan.tasks.demonstrate": ("demonstrate", "demonstrations"),
    "elegan.tasks.directions": ("directions",),
    "elegan.tasks.evaluate": ("evaluate",),
    "elegan.tasks.film": ("film",),
    "elegan.tasks.inspection": ("inspect_data",),
    "elegan.tasks.interpolate": ("interpolate",),
    "elegan.tasks.loading": ("load",),
    "elegan.tasks.mix": ("mix",),
    "elegan.tasks.model": ("Model",),
    "elegan.tasks.plan": ("Plan", "plan"),
    "elegan.tasks.project": ("project",),
    "elegan.tasks.recipes": ("recipes",),
    "elegan.tasks.runs": ("runs",),
    "elegan.tasks.sample": ("sample",),
    "elegan.tasks.train": ("train",),
    "elegan.theory.demonstration": ("Demonstration",),
}
MODULES = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted(MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module 'elegan' has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
