"""Which network looks at the images of an evaluation: chosen, trained where it has to be, and kept in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from elegan.errors import OptionError, nearest

if TYPE_CHECKING:
    from torch import nn

    from elegan.data import ImageData
    from elegan.engine.loop import Listener
    from elegan.metrics.classifier import DataClassifier
    from elegan.metrics.extractors import Extractor

FeaturesName = Literal["auto", "inception", "inception_bf16", "dinov2", "clip", "classifier", "self_supervised"]

VERSION = 1
"""Of how the judging networks are made and trained: one that was kept is used only by the code that would make it again."""


def choose(features: str, weights: str | None, learned: ImageData) -> str:
    """Inception where its weights are named, else the classifier where there are classes, else what learns without labels."""
    if features not in (names := get_args(FeaturesName)):
        raise OptionError(f"--features: got {features!r}. {nearest(features, names)}")
    if weights and features in ("classifier", "self_supervised"):
        raise OptionError(f"--weights are of a published network, and --features {features} has none to load. Leave one of them out.")
    if weights and features == "auto" and Path(weights).is_dir():
        raise OptionError(
            f"--weights: {weights} is a folder, as DINOv2 and CLIP have it. Say which, by --features dinov2 or --features clip."
        )
    if features == "classifier" and learned.spec.num_classes < 2:
        raise OptionError("--features classifier needs real images of at least two classes. Use --features self_supervised.")
    if features != "auto":
        return features
    if weights:
        return "inception"
    return "classifier" if learned.spec.num_classes > 1 else "self_supervised"


def extractor_for(kind: str, learned: ImageData, weights: str | None, download: bool, device: str, listener: Listener) -> Extractor:
    """The network of this kind; `learned`: the real images that it learns from, if it has to."""
    if kind.startswith("inception"):
        return inception_extractor(kind, weights, download, device, listener)
    if kind in ("dinov2", "clip"):
        from elegan.metrics.foundation import foundation_extractor
        from elegan.tasks.job import find_device

        folder = None if weights is None else Path(weights)
        return foundation_extractor(kind, folder, download=download, device=str(find_device(device)), announce=listener.message)
    if kind == "classifier":
        from elegan.metrics.classifier import classifier_extractor

        return classifier_extractor(classifier_of(learned, listener))
    from elegan.metrics.contrastive import Encoder, encoder_extractor, train_encoder

    spec = learned.spec
    empty = Encoder((spec.channels, spec.height, spec.width))

    def train() -> Encoder:
        listener.message(f"The judging network learns from {len(learned):,} real images, without labels, once.")
        return train_encoder(learned.images, progress=listener.measuring)

    found = kept("self-supervised", learned, empty, train)
    assert isinstance(found, Encoder)
    return encoder_extractor(found)


def classifier_of(learned: ImageData, listener: Listener) -> DataClassifier:
    """The classifier of these real images, trained once and kept."""
    from elegan.metrics.classifier import DataClassifier, train_classifier

    spec, labels = learned.spec, learned.labels
    assert labels is not None
    empty = DataClassifier((spec.channels, spec.height, spec.width), spec.num_classes)

    def train() -> DataClassifier:
        listener.message(f"The judging classifier learns from {len(learned):,} real images, once.")
        return train_classifier(learned.images, labels, spec.num_classes, progress=listener.measuring)

    found = kept("classifier", learned, empty, train)
    assert isinstance(found, DataClassifier)
    return found


def inception_extractor(kind: str, weights: str | None, download: bool, device: str, listener: Listener) -> Extractor:
    """The published network, exact, or in bfloat16 for a progress score that is no FID."""
    import torch

    from elegan.data import cache
    from elegan.metrics.extractors import Extractor, Features
    from elegan.metrics.inception import Inception, inception_shapes
    from elegan.metrics.weights import load_weights
    from elegan.pictures import Pixels
    from elegan.tasks.job import find_device

    file = None if weights is None else Path(weights)
    folder = cache.networks_folder() / "inception"
    loaded = load_weights("inception", inception_shapes(), folder, file=file, download=download, announce=listener.message)
    dtype = torch.bfloat16 if kind.endswith("bf16") else torch.float32
    network = Inception(loaded.tensors, dtype).to(find_device(device))

    def compute(pixels: Pixels) -> Features:
        found = network.outputs(pixels)
        return Features(found.features.cpu(), found.logits.cpu())

    name = kind if loaded.published else loaded.label + (", bf16" if dtype is torch.bfloat16 else "")
    return Extractor(name, loaded.sha256[:16], "bilinear to 299 x 299 as TensorFlow 1 does", compute)


def kept(kind: str, learned: ImageData, empty: nn.Module, train: Callable[[], nn.Module]) -> nn.Module:
    """`empty` with the weights that a network of this kind once learned from these images; else what `train` makes, kept."""
    from safetensors.torch import save_file

    from elegan.data.cache import WEIGHTS, networks_folder, new_entry

    target = networks_folder() / f"{kind}-{VERSION}-{learned.fingerprint}"
    if fill(empty, target / WEIGHTS):
        return empty.eval()
    trained = train()
    tensors = {name: value.contiguous() for name, value in trained.state_dict().items()}
    with new_entry(target, sum(value.nbytes for value in tensors.values()), lambda entry: fill(empty, entry / WEIGHTS)) as folder:
        save_file(tensors, folder / WEIGHTS)
    return trained


def fill(network: nn.Module, path: Path) -> bool:
    """Whether the file's weights are whole and those of such a network, which then has them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True
