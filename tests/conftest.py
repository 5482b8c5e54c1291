"""What all tests share: one thread, a cache of their own, and random batches made here, each from a seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from elegan.game import Batch, Spec
from elegan.randomness import BatchRandomness, key

Batches = Callable[[int], Batch]


torch.set_num_threads(1)  # here, before fixtures of any scope train: another number would round otherwise
os.environ["OMP_NUM_THREADS"] = "1"  # in processes that tests start: on busy cores several threads wait for one another


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELEGAN_CACHE", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture
def data_folder() -> Path:
    """The folder with real data sets."""
    if "ELEGAN_DATA" not in os.environ:
        pytest.skip("set ELEGAN_DATA to the folder with real data sets")
    return Path(os.environ["ELEGAN_DATA"])


@pytest.fixture
def batches_of() -> Callable[..., Batches]:
    """batches_of(spec, size, seed)(step): uniform noise in [-1, 1] as "real" images, with random classes or attributes if spec has them."""

    def make(spec: Spec, size: int = 4, seed: int = 0) -> Batches:
        def at(step: int) -> Batch:
            generator = torch.Generator().manual_seed(key(seed, "real", step))
            real = torch.rand(size, *spec.shape, generator=generator) * 2 - 1
            condition = torch.randint(spec.num_classes, (size,), generator=generator) if spec.classes else None
            if spec.attributes:
                condition = torch.rand(size, len(spec.attributes), generator=generator) * 2 - 1
            return Batch(real.to(memory_format=torch.channels_last), condition, BatchRandomness(seed, step, 0, size, size))

        return at

    return make
