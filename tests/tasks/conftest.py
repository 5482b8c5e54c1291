"""Two small runs that the commands of exploration are tried on: one of styles, one of noise and classes."""

from __future__ import annotations

import pytest

import elegan


@pytest.fixture(scope="session")
def styled_run(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    small = {"latent": 16, "depth": 2, "width": 4, "discriminator_width": 4, "widest": 8, "batch": 8, "precision": "fp32"}
    return elegan.train("digits", model="stylegan2", labels="none", steps=2, out=str(tmp_path_factory.mktemp("styled")), **small)


@pytest.fixture(scope="session")
def noise_run(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    small = {"width": 8, "batch": 16, "precision": "fp32"}
    return elegan.train("digits", model="cgan", steps=2, save_every=1, out=str(tmp_path_factory.mktemp("noise")), **small)
