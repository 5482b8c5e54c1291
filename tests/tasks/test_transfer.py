"""Beginning with another run's weights, with a part of the discriminator frozen; and options that are worked out."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import elegan
from elegan.engine.loop import Training
from elegan.errors import OptionError, RunError
from elegan.game import Spec
from elegan.gans import stylegan2
from elegan.networks.attention import SelfAttention
from elegan.networks.biggan import BigGANDiscriminator
from elegan.networks.dcgan import DCGANDiscriminator
from elegan.networks.resnet import DownBlock
from elegan.tasks import job
from elegan.tasks.transfer import blocks_of

SMALL = {"model": "cgan", "width": 8, "discriminator_width": 8, "batch": 16, "precision": "fp32", "preset": "none"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    return elegan.train("digits", out=str(tmp_path_factory.mktemp("source")), steps=4, **SMALL)


def weights(run: elegan.Run, step: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.path / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def messages(listener: list[str]) -> elegan.Listener:
    return elegan.Listener(message=listener.append)


def test_a_run_begins_with_the_weights_of_another_and_resumes_without_it(source: elegan.Run, tmp_path: Path) -> None:
    said: list[str] = []
    slow = {**SMALL, "lr": 1e-12, "discriminator_lr": 1e-12, "init_from": str(source.path)}
    run = elegan.train("digits", out=str(tmp_path), steps=1, listener=messages(said), **slow)
    assert any("Begins with the weights of" in line and "step 4: 100.0%" in line for line in said)
    begun, given = weights(run, 1), weights(source, 4)
    for name in ("gan.generator.project.weight", "gan.discriminator.head.weight"):
        torch.testing.assert_close(begun[name], given[name], rtol=0, atol=1e-6)
    moved = source.path.rename(source.path.with_name("elsewhere"))
    try:
        assert elegan.train("digits", out=str(tmp_path), steps=2, **slow).step == 2
    finally:
        moved.rename(source.path)


def test_what_does_not_fit_is_new_and_named(source: elegan.Run, tmp_path: Path) -> None:
    said: list[str] = []
    elegan.train("digits", out=str(tmp_path), steps=1, init_from=str(source.path), listener=messages(said), **{**SMALL, "latent": 50})
    (line,) = [line for line in said if "Begins with" in line]
    assert "New are generator.embedding.weight, generator.project.weight." in line
    assert "100.0%" not in line


def test_frozen_blocks_stay_what_they_were(source: elegan.Run, tmp_path: Path) -> None:
    run = elegan.train("digits", out=str(tmp_path), steps=3, init_from=str(source.path), freeze=1, **SMALL)
    begun, given = weights(run, 3), weights(source, 4)
    assert torch.equal(begun["gan.discriminator.blocks.0.weight"], given["gan.discriminator.blocks.0.weight"])
    assert not torch.equal(begun["gan.discriminator.blocks.2.weight"], given["gan.discriminator.blocks.2.weight"])


def test_a_block_is_a_convolution_with_what_follows_it() -> None:
    blocks = DCGANDiscriminator((1, 32, 32), width=4).blocks
    found = blocks_of(blocks)
    assert [sum(isinstance(layer, nn.Conv2d) for layer in block) for block in found] == [1, 1, 1]
    assert [sum(isinstance(layer, nn.BatchNorm2d) for layer in block) for block in found] == [0, 1, 1]
    attended = BigGANDiscriminator((3, 64, 64), width=4).blocks
    assert sum(isinstance(layer, SelfAttention) for layer in attended) == 1
    assert len(blocks_of(attended)) == sum(isinstance(layer, DownBlock) for layer in attended) == 5


def test_grown_networks_stay_grown(tmp_path: Path) -> None:
    small = {**SMALL, "model": "stylegan", "widest": 8, "latent": 8, "depth": 1, "out": str(tmp_path)}
    grown = elegan.train("digits", steps=2, **small)
    assert float(weights(grown, 2)["gan.generator.synthesis.growth"]) == 2.0
    begun = weights(elegan.train("digits", steps=4, save_every=1, keep=9, init_from=str(grown.path), **small), 1)
    growths = {name: float(value) for name, value in begun.items() if name.endswith("growth")}
    assert all(growth == pytest.approx(2.0, abs=0.01) for growth in growths.values())  # the average's follows slowly
    new = elegan.train("digits", steps=4, save_every=1, keep=9, **small)
    assert {float(weights(new, 1)[name]) for name in growths} == {0.0}
    half = elegan.train("digits", steps=1, grow_until=1.0, save_every=1, **small)
    assert float(weights(half, 1)["gan.generator.synthesis.growth"]) < 2.0
    whole = weights(elegan.train("digits", steps=1, grow_until=0, init_from=str(half.path), **small), 1)
    assert {float(whole[name]) for name in growths} == {2.0}  # where networks do not grow they are grown


def test_networks_of_a_smaller_size_are_grown_no_further_than_they_can(tmp_path: Path) -> None:
    small = {**SMALL, "model": "stylegan", "widest": 8, "latent": 8, "depth": 1, "out": str(tmp_path)}
    large = elegan.train("digits", size="32", steps=2, **small)
    assert float(weights(large, 2)["gan.generator.synthesis.growth"]) == 3.0
    asked = {"steps": 2, "init_from": str(large.path), **small}
    assert elegan.plan("digits", **asked).steps == 2
    begun = weights(elegan.train("digits", **asked), 2)
    assert float(begun["gan.generator.synthesis.growth"]) == 2.0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"init_from": "nowhere"}, OptionError, "--init-from: no run 'nowhere'"),
        ({"init_from": "SOURCE", "freeze": 9}, OptionError, r"--freeze: got 9, and the discriminator has 2 blocks; at least one has to"),
        ({"freeze": -1}, OptionError, "--freeze: got -1"),
        ({"freeze": 1}, OptionError, r"--freeze 1 keeps what a discriminator has learned.*--init-from"),
        (
            {"model": "stylegan", "init_from": "SOURCE", "freeze": 1},
            OptionError,
            r"this discriminator has no blocks in a row \(StyleGAN's grows\). Leave it out",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_line_and_leaves_no_run(
    options: dict[str, object], error: type[Exception], said: str, source: elegan.Run, tmp_path: Path
) -> None:
    asked = {**SMALL, **{name: str(source.path) if value == "SOURCE" else value for name, value in options.items()}}
    with pytest.raises(error, match=said):
        elegan.train("digits", out=str(tmp_path), steps=1, **asked)
    assert elegan.runs(str(tmp_path)) == []


def test_a_dry_run_finds_the_source_too(source: elegan.Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--init-from: no run 'nowhere'"):
        elegan.plan("digits", out=str(tmp_path), steps=1, init_from="nowhere", **SMALL)
    assert any("Begins with the weights of" in note for note in elegan.plan("digits", init_from=str(source.path), **SMALL).notes)
    other = {**SMALL, "model": "stylegan2", "widest": 8, "latent": 8}
    with pytest.raises(OptionError, match="of this model's weights by name and shape"):
        elegan.plan("digits", out=str(tmp_path), steps=1, init_from=str(source.path), **other)
    with pytest.raises(OptionError, match="of this model's weights by name and shape"):
        elegan.train("digits", out=str(tmp_path), steps=1, init_from=str(source.path), **other)
    assert list(tmp_path.iterdir()) == []  # nothing is left of what was refused


def test_what_a_run_begins_with_is_saved_at_once(source: elegan.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its first round, it goes on from the source's weights, the average included, and not from random ones."""

    def killed(training: Training, steps: int) -> str | None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Training, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            elegan.train("digits", out=str(tmp_path), steps=2, init_from=str(source.path), **SMALL)
    (record,) = tmp_path.glob("*/record.json")
    begun, given = weights(elegan.Run(record.parent), 0), weights(source, 4)
    floats = [name for name, value in given.items() if value.is_floating_point() and "running" not in name]
    assert [name for name in floats if not torch.equal(begun[name], given[name])] == []


def test_the_average_that_came_over_is_kept(source: elegan.Run, tmp_path: Path) -> None:
    """It is of useful weights, so it has no warm-up: of 16 images a thousandth comes in."""
    slow = {**SMALL, "lr": 1e-12, "discriminator_lr": 1e-12, "init_from": str(source.path)}
    run = elegan.train("digits", out=str(tmp_path), steps=1, **slow)
    name = "average.networks.generator.project.weight"
    begun, given, raw = weights(run, 1)[name], weights(source, 4)[name], weights(source, 4)["gan.generator.project.weight"]
    share = 1 - 0.5 ** (16 / 10_000)
    torch.testing.assert_close(begun, torch.lerp(given, raw, share), rtol=1e-4, atol=1e-5)


def test_what_a_game_steers_by_does_not_come_over(tmp_path: Path) -> None:
    ada = {**SMALL, "augment": "ada", "augment_images": 1e9}
    many = elegan.train("digits", out=str(tmp_path), steps=1, augment_probability=0.7, **ada)
    few = elegan.train("digits", out=str(tmp_path), steps=1, augment_probability=0.2, init_from=str(many.path), **ada)
    assert float(weights(few, 1)["gan.augment.p"]) == pytest.approx(0.2)


def test_another_model_has_no_weights_to_begin_with(source: elegan.Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"has only 0\.\d% of this model's weights by name and shape"):
        elegan.train("digits", out=str(tmp_path), steps=1, init_from=str(source.path), **{**SMALL, "model": "gan"})


def test_too_little_memory_is_told_before_training_with_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import elegan.engine.memory as memory

    free = 2**21
    monkeypatch.setattr(memory, "memory_free", lambda device: free)
    monkeypatch.setattr(memory, "memory_needed", lambda gan, optimizers, settings, batches: 2**23 // settings.accumulate)
    with pytest.raises(
        RunError, match=r"takes about 8 MiB of memory, and 2 MiB are free.*--accumulate 4 \(the same batch in 4 parts\), a smaller --batch"
    ):
        elegan.train("digits", out=str(tmp_path), steps=1, **SMALL)
    free = 1
    with pytest.raises(RunError, match=r"Try a smaller --batch, --width or --size"):
        elegan.train("digits", out=str(tmp_path), steps=1, **SMALL)


def test_options_are_worked_out_from_the_images_and_the_device() -> None:
    """Those of the follow-up's table for GPUs: batch, channels, gamma and the average's half-life."""
    large = stylegan2.automatic(Spec(3, 1024, 1024), 70_000, "cuda")
    assert (large["batch"], large["width"], large["widest"], large["lr"]) == (4, 32, 512, 2e-3)
    middle = stylegan2.automatic(Spec(3, 256, 256), 200_000, "cuda")
    assert (middle["batch"], middle["width"], middle["penalty_weight"]) == (16, 64, pytest.approx(0.0002 * 256**2 / 16, abs=1e-4))
    assert "augment" not in middle
    given = stylegan2.automatic(Spec(3, 256, 256), 200_000, "cuda", 64)  # and what follows from the batch, from the given one
    assert (given["batch"], given["penalty_weight"]) == (64, pytest.approx(0.0002 * 256**2 / 64, abs=1e-4))
    assert (given["average_half_life"], given["steps"]) == (20_000, 5_000_000 // 64)
    small = stylegan2.automatic(Spec(3, 48, 80), 60, "cpu")
    assert (small["augment"], small["batch"]) == ("ada", 16)
    assert int(str(small["width"])) < 64  # type: ignore[call-overload]


def test_worked_out_options_are_said_and_can_be_given_otherwise(tmp_path: Path) -> None:
    said: list[str] = []
    asked = {"data": "digits", "size": "16", "model": "stylegan2", "batch": 8, "steps": 1}
    made = job.make_job(asked, strict=False, listener=messages(said))
    assert made.options.preset == "automatic"
    assert (made.recipe_options["batch"], made.recipe_options["widest"]) == (8, 128)
    assert made.recipe_options["average_half_life"] == 2500
    (line,) = [line for line in said if line.startswith("Chosen for stylegan2 and 1,437 images of 16x16 on")]
    assert "--augment ada" in line
    again = job.make_job(dict(made.config), strict=False, listener=elegan.Listener())
    assert again.config == made.config
    assert again.name == made.name
    plain = job.make_job({**asked, "preset": "none"}, strict=False, listener=elegan.Listener())
    assert plain.recipe_options["widest"] == 512
    with pytest.raises(OptionError, match="stylegan2 has no preset 'automatc'"):
        job.make_job({**asked, "preset": "automatc"}, strict=False, listener=elegan.Listener())
