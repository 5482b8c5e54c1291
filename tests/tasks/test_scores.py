"""The parts of an evaluation, on images made by hand: what is looked at, variety, copies, and paths between samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist  # type: ignore[import-untyped]
from torch import Tensor, nn

import elegan
from elegan.data import ImageData
from elegan.errors import DataError
from elegan.game import GAN, Spec
from elegan.metrics import perceptual as networks
from elegan.metrics import weights
from elegan.metrics.extractors import Extractor, Features
from elegan.metrics.pairs import ms_ssim
from elegan.metrics.perceptual import LPIPS, linear_shapes, stack_shapes, trimmed_mean
from elegan.pictures import Pixels
from elegan.randomness import Randomness, SeedRandomness
from elegan.tasks import copying, diversity, perceptual, scores
from elegan.tasks.material import Made, Material
from elegan.tasks.model import Model
from elegan.tasks.perceptual import Perceptual, path_length, perceptual_network
from elegan.tasks.scores import Seen, look

SIDE = 12


def images(count: int, seed: int, side: int = SIDE) -> Pixels:
    """Smooth ones, so that some are more alike than others."""
    found: Pixels = np.random.default_rng(seed).integers(0, 256, (count, side // 4, side // 4, 1), np.uint8).repeat(4, 1).repeat(4, 2)
    return found


def data(pixels: Pixels, labels: np.ndarray[Any, Any] | None, name: str) -> ImageData:
    spec = Spec(1, *pixels.shape[1:3], classes=() if labels is None else ("a", "b", "c"))
    return ImageData(spec, pixels, labels, name, name, fingerprint=name, cache=Path())


def material(labels: bool = True, side: int = SIDE, samples: int = 60) -> Material:
    classes = np.arange(200) % 3 if labels else None
    reference, training = (data(images(n, i, side), None if classes is None else classes[:n], f"data {i}") for i, n in ((1, 90), (2, 120)))
    ours = None if classes is None else classes[:samples]
    return Material(images(samples, 0, side), ours, {}, reference, training, training, "test")


def eye(name: str = "classifier", calls: list[int] | None = None) -> Extractor:
    """It sees the pixels themselves."""

    def compute(pixels: Pixels) -> Features:
        if calls is not None:
            calls.append(len(pixels))
        return Features(torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32)))

    return Extractor(name, "digest", "none", compute)


def seen(of: Material, extractor: Extractor) -> Seen:
    return look(of, extractor, 0, elegan.Listener(), {})


def test_a_judge_that_finds_no_copies_looks_at_as_many_training_images_as_there_are_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(material(), eye())
    assert found.training is not None
    assert found.training_rows is not None
    assert len(found.training) == 60
    whole = material().training
    assert whole is not None
    assert torch.equal(found.training, eye().features(whole.images[found.training_rows.numpy()]).values)
    assert seen(material(), eye("inception")).training_rows is not None
    assert seen(material(), eye("inception")).training.shape[0] == 120  # type: ignore[union-attr]
    monkeypatch.setattr(scores, "MOST_TRAINING", 70)
    assert seen(material(), eye("inception")).training.shape[0] == 70  # type: ignore[union-attr]


def test_real_images_are_looked_at_once_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    whole = seen(material(), eye())
    monkeypatch.setattr(scores, "READ", 40)
    known: scores.Known = {}
    parts = look(material(), eye(calls=calls), 0, elegan.Listener(), known)
    assert calls == [60, 40, 40, 10, 40, 20]  # samples, reference, training
    assert torch.equal(parts.reference, whole.reference)
    assert whole.training is not None
    assert parts.training is not None
    assert torch.equal(parts.training, whole.training)
    look(material(), eye(calls=calls), 0, elegan.Listener(), known)
    assert calls[6:] == [60]
    look(material(), replace(eye(calls=calls), digest="another"), 0, elegan.Listener(), known)
    assert calls[7:] == [60, 40, 40, 10, 40, 20]


def spread(of: Material, seed: int = 0) -> elegan.Score:
    found = seen(of, eye())
    (score,) = diversity.distance_ratio(of, found, eye(), diversity.groups(of, seed), seed)
    return score


def mean_distance(pixels: Pixels, labels: np.ndarray[Any, Any]) -> float:
    rows = pixels.reshape(len(pixels), -1).astype(np.float64)
    return float(np.mean([pdist(rows[labels == label]).mean() for label in np.unique(labels)]))


def test_the_distance_ratio_is_that_within_classes_or_among_all() -> None:
    made = material()
    assert made.labels is not None
    assert made.reference.labels is not None
    expected = mean_distance(made.samples, made.labels) / mean_distance(made.reference.images, made.reference.labels)
    found = spread(made)
    assert found.name == "intra-class distance ratio (classifier)"
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    assert found.real == pytest.approx(1, abs=0.1)
    assert found.better == "one"
    alone = material(labels=False)
    found, zeros = spread(alone), np.zeros(200)
    assert found.name == "distance ratio (classifier)"
    expected = mean_distance(alone.samples, zeros[:60]) / mean_distance(alone.reference.images, zeros[:90])
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert spread(replace(alone, samples=alone.samples // 2)).high < 0.6  # type: ignore[operator]
    assert spread(replace(alone, training=None)).real is None


def test_classes_of_few_images_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    few = material()
    labels = np.array([0] * 30 + [1] * 21 + [2] * 9)
    few = replace(few, labels=labels)
    chosen = diversity.groups(few, 0)
    assert chosen.classes == (0, 1)
    assert chosen.samples.tolist() == list(range(51))
    assert chosen.pairs == 500
    assert "2 of 3 classes" in few.notes[0]
    assert few.reference.labels is not None
    assert spread(few).value == pytest.approx(
        mean_distance(few.samples[:51], labels[:51])
        / mean_distance(few.reference.images[few.reference.labels < 2], few.reference.labels[few.reference.labels < 2])
    )
    monkeypatch.setattr(diversity, "MOST_OF_CLASS", 12)
    chosen = diversity.groups(few, 0)
    assert np.bincount(chosen.sample_labels).tolist() == [12, 12]
    assert np.array_equal(chosen.sample_labels, labels[chosen.samples])
    assert np.array_equal(chosen.samples, diversity.groups(few, 0).samples)
    assert not np.array_equal(chosen.samples, diversity.groups(few, 1).samples)
    with pytest.raises(DataError, match="takes 10 samples and 10 real images"):
        diversity.groups(replace(few, labels=np.array([0, 1, 2] * 3), samples=few.samples[:9]), 0)


@pytest.mark.parametrize(("side", "scales"), [(12, "(1 scale)"), (24, "(2 scales)"), (88, "(4 scales)")])
def test_ms_ssim_takes_as_many_scales_as_fit(side: int, scales: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "PAIRS", 66)  # all of 12 images
    made = material(labels=False, side=side, samples=12)
    (found,) = diversity.ms_ssim(made, diversity.groups(made, 0), 0)
    assert found.name == f"MS-SSIM diversity {scales}"
    i, j = np.triu_indices(12, 1)
    assert found.value == pytest.approx(float(ms_ssim(made.samples[i], made.samples[j], scales=int(scales[1])).mean()), rel=1e-9)
    assert found.real is not None
    one = replace(made, samples=made.samples[:1].repeat(12, 0))
    assert diversity.ms_ssim(one, diversity.groups(one, 0), 0)[0].value == pytest.approx(1)


def test_five_scales_are_the_published_number_and_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "PAIRS", 2)
    large = material(labels=False, side=176, samples=10)
    large = replace(large, reference=data(large.reference.images[:10], None, "few"))
    (found,) = diversity.ms_ssim(large, diversity.groups(large, 0), 0)
    assert found.name == "MS-SSIM diversity"
    small = material(side=8)
    with pytest.raises(DataError, match="at least 11 x 11, got 8 x 8"):
        diversity.ms_ssim(small, diversity.groups(small, 0), 0)


@pytest.mark.parametrize("name", ["classifier", "inception"])
def test_training_images_stand_beside_the_samples_they_are_nearest_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (scores, copying):
        monkeypatch.setattr(part, "MOST_TRAINING", 100)
    monkeypatch.setattr(copying, "MOST_NEIGHBOURS", 50)
    made = material()
    assert made.training is not None
    space = copying.space_of(made, seen(made, eye(name)), eye(name), 0)
    assert space is not None
    assert space.training.max() == (255 if name == "inception" else 1)  # features, or pixels
    picture = np.asarray(copying.nearest_training_images(made, space))
    scale = picture.shape[1] // (7 * (SIDE + 1) - 1)
    cells = picture[::scale, ::scale]
    assert cells.shape == (16 * (SIDE + 1) - 1, 7 * (SIDE + 1) - 1)
    step = SIDE + 1
    rows = [cells[step * i : step * i + SIDE] for i in range(16)]
    chosen = space.sample_rows[torch.linspace(0, 49, 16).long()].tolist()
    assert len(space.training_rows) == 100
    for row, i in zip(rows, chosen, strict=True):
        assert np.array_equal(row[:, :SIDE], made.samples[i, :, :, 0])
        assert (row[:, step : 2 * step - 1] == 96).all()
        beside = [row[:, step * k : step * k + SIDE].astype(float) for k in range(2, 7)]
        distances = [float(np.square(one - made.samples[i, :, :, 0]).sum()) for one in beside]
        every = np.square(made.training.images[space.training_rows.numpy()].astype(float) - made.samples[i]).sum((1, 2, 3))
        assert distances == pytest.approx(np.sort(every)[:5].tolist())


def test_few_samples_and_training_images_make_a_small_picture() -> None:
    made = material(samples=3)
    assert made.training is not None
    few = replace(made, training=data(made.training.images[:2], None, "two"))
    space = copying.space_of(few, seen(few, eye()), eye(), 0)
    assert space is not None
    width, height = copying.nearest_training_images(few, space).size
    assert width / height == pytest.approx((4 * 13 - 1) / (3 * 13 - 1))
    assert copying.space_of(replace(few, training=None), seen(few, eye()), eye(), 0) is None


class Linear(GAN):
    """Images that are their latent, with what is asked for, other noise, and noise of layers added: these must not change on a path."""

    def __init__(self, kind: str = "normal") -> None:
        super().__init__(Spec(1, 8, 8, ("a", "b")))
        self.generator, self.kind = nn.Identity(), kind
        self.held = nn.Parameter(torch.zeros(1))

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        assert condition is not None
        latent = getattr(random, self.kind)("latent", 64)
        added = random.normal("layer", 64) + condition[:, None] + torch.rand(len(latent), 1)
        return (latent / 100 + added / 20).view(-1, 1, 8, 8)


def made_by(gan: GAN, count: int = 40) -> Made:
    return Made(Model(gan, 1), tuple(range(100, 100 + count)), torch.arange(count) % 2)


def squared(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().sum((1, 2, 3))


def test_a_path_keeps_all_but_the_latent_and_is_not_quantised() -> None:
    """The length of a step on an arc by its derivative, in float64; 8 bits, or another condition, would be off by powers of ten."""
    network = Perceptual(cast(LPIPS, squared), "squares", "")
    said: list[tuple[int, int]] = []
    listener = elegan.Listener(measuring=lambda done, total: said.append((done, total)))
    (found,) = path_length(made_by(Linear()), network, 0, listener)
    assert found.name == "perceptual path length (squares)"
    assert said[-1] == (40, 40)
    lengths = []
    for seed in range(100, 140):
        random = SeedRandomness((seed,))
        start, end = (random.normal(name, 64).double().numpy()[0] for name in ("latent", "end of path"))
        share = float(random.uniform("share of path", 1))
        angle = np.arccos(start @ end / np.linalg.norm(start) / np.linalg.norm(end))
        speed = angle / np.sin(angle) * (np.cos(share * angle) * end - np.cos((1 - share) * angle) * start)
        lengths.append(np.square(speed / 100).sum())
    assert found.value == pytest.approx(trimmed_mean(torch.tensor(lengths)), rel=1e-2)
    assert found.low is not None
    assert found.high is not None
    assert 0.5 * found.value < found.low < found.value < found.high < 2 * found.value


def test_paths_are_some_of_the_samples_and_of_normal_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Perceptual(cast(LPIPS, squared), "squares", "")
    with pytest.raises(DataError, match="arcs in normal noise"):
        path_length(made_by(Linear("uniform")), network, 0, elegan.Listener())
    monkeypatch.setattr(perceptual, "PATHS", 10)
    some = path_length(made_by(Linear()), network, 0, elegan.Listener())
    assert some == path_length(made_by(Linear(), 10), network, 0, elegan.Listener())


SLIM = tuple(replace(layer, inputs=3 if layer.number == 0 else 4, outputs=4) for layer in networks.STACKS["vgg"])
"""VGG16 with few channels: its names, depths and steps are the same."""


def write_weights(folder: Path) -> None:
    """Random ones, in files of the published names."""
    random = torch.Generator().manual_seed(0)
    folder.mkdir(exist_ok=True)
    for name, shapes in (("vgg16", stack_shapes("vgg")), ("lpips_vgg", linear_shapes("vgg"))):
        tensors = {key: torch.randn(shape, generator=random) * (2 / max(1, np.prod(shape[1:]))) ** 0.5 for key, shape in shapes.items()}
        torch.save({key: value.abs() if "lin" in key else value for key, value in tensors.items()}, folder / weights.PUBLISHED[name].file)


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.STACKS, "vgg", SLIM)


def test_weights_of_another_hash_are_named_by_it(slim: None, tmp_path: Path) -> None:
    write_weights(tmp_path)
    found = perceptual_network(str(tmp_path), False, "cpu", elegan.Listener())
    hashes = [hashlib.sha256((tmp_path / weights.PUBLISHED[name].file).read_bytes()).hexdigest() for name in ("vgg16", "lpips_vgg")]
    assert found.name == f"VGG16 with weights {hashes[0][:12]} and {hashes[1][:12]}, not the published ones"
    assert found.weights == f"{hashes[0][:16]} and {hashes[1][:16]}"


def test_what_is_not_in_the_folder_is_downloaded_only_when_that_is_allowed(
    slim: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_weights(tmp_path / "there")
    for name in ("vgg16", "lpips_vgg"):
        file = tmp_path / "there" / weights.PUBLISHED[name].file
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        published = replace(weights.PUBLISHED[name], address=file.as_uri(), size=file.stat().st_size, sha256=digest)
        monkeypatch.setitem(weights.PUBLISHED, name, published)
    folder = tmp_path / "here"
    with pytest.raises(
        DataError, match=r"vgg16 are not here: put .*there.* at .*here/vgg16-397923af.pth, .*--perceptual FOLDER.*--download"
    ):
        perceptual_network(str(folder), False, "cpu", elegan.Listener())
    said: list[str] = []
    found = perceptual_network(str(folder), True, "cpu", elegan.Listener(message=said.append))
    assert found.name == "VGG16"
    assert sum(line.startswith("Downloading") for line in said) == 2
    assert perceptual_network(str(folder), False, "cpu", elegan.Listener()).weights == found.weights
    (tmp_path / "there" / weights.PUBLISHED["lpips_vgg"].file).write_bytes(b"something else")
    (folder / weights.PUBLISHED["lpips_vgg"].file).unlink()
    with pytest.raises(DataError, match="something else came"):
        perceptual_network(str(folder), True, "cpu", elegan.Listener())


def swapped(folder: Path) -> None:
    first, second = (folder / weights.PUBLISHED[name].file for name in ("vgg16", "lpips_vgg"))
    first.write_bytes(second.read_bytes())


def damaged(folder: Path) -> None:
    (folder / weights.PUBLISHED["lpips_vgg"].file).write_bytes(b"no weights")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swapped, "vgg16-397923af.pth are not the weights of vgg16: they lack features.0.weight"),
        (damaged, "lpips-v0.1-vgg.pth .*--perceptual"),
    ],
)
def test_wrong_files_are_named(damage: Callable[[Path], None], message: str, slim: None, tmp_path: Path) -> None:
    write_weights(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        perceptual_network(str(tmp_path), False, "cpu", elegan.Listener())
    assert "\n" not in str(error.value)
    assert "--weights" not in str(error.value)


def test_lpips_diversity_is_0_for_samples_that_are_one(slim: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "PAIRS", 60)
    write_weights(tmp_path)
    network = perceptual_network(str(tmp_path), False, "cpu", elegan.Listener())
    made = material(side=16)
    said: list[tuple[int, int]] = []
    listener = elegan.Listener(measuring=lambda done, total: said.append((done, total)))
    (found,) = perceptual.lpips(made, network, diversity.groups(made, 0), 0, listener)
    assert found.name == f"LPIPS diversity ({network.name})"
    assert found.real is not None
    assert found.value == pytest.approx(found.real, rel=0.2)
    assert said[-1] == (60, 60)
    made.samples[:] = made.samples[:1]
    assert perceptual.lpips(made, network, diversity.groups(made, 0), 0, listener)[0].value == 0
    small = material(side=12)
    with pytest.raises(DataError, match="at least 16 x 16, got 12 x 12"):
        perceptual.lpips(small, network, diversity.groups(small, 0), 0, listener)
