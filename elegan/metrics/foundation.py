"""DINOv2 and CLIP as extractors: networks that learned from hundreds of millions of images, by the optional package transformers.

DINOv2's features are its class token after the last layer norm, as Stein et al. (2023) take them; CLIP's are its image embedding after
the projection. Neither is normalised. Of a model's folder the sizes in config.json and the tensors in model.safetensors are read, and
nothing in it is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics.extractors import Extractor, Features
from elegan.metrics.pairs import check_pixels
from elegan.metrics.weights import Weights, sha256_of
from elegan.pictures import Pixels

CONFIG, TENSORS = FILES = ("config.json", "model.safetensors")
BATCH = 16
"""Images that go through the network at one time."""

SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size", "layer_norm_eps", "hidden_act"),
    *("mlp_ratio", "qkv_bias", "use_swiglu_ffn", "use_mask_token"),  # DINOv2's
    *("intermediate_size", "projection_dim"),  # CLIP's
)
"""What is taken of config.json. Other entries may ask transformers for code from elsewhere."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Foundation:
    """A network: the published one, on the hub at a commit, with the size in bytes and the SHA-256 of its tensors, and its licence.

    types: what config.json may call it. config, model, output: its names in transformers. side: of the images it sees, the one it
    learned at if None. mean, std: images are (x / 255 - mean) / std.
    """

    name: str
    repository: str
    revision: str
    size: int
    sha256: str
    licence: str
    types: tuple[str, ...]
    config: str
    model: str
    output: str
    side: int | None
    mean: Colour
    std: Colour


FOUNDATIONS = {
    "dinov2": Foundation(
        "DINOv2",
        "facebook/dinov2-large",
        "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
        1_217_522_888,
        "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
        "Apache-2.0",
        ("dinov2",),
        "Dinov2Config",
        "Dinov2Model",
        "pooler_output",
        224,  # it learned at 518, and is compared at 224 (Stein et al., 2023)
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
    "clip": Foundation(
        "CLIP",
        "openai/clip-vit-large-patch14",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        1_710_540_580,
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        "MIT",
        ("clip", "clip_vision_model"),
        "CLIPVisionConfig",
        "CLIPVisionModelWithProjection",
        "image_embeds",
        None,
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
}
"""ViT-L/14 of each (Oquab et al., 2023; Radford et al., 2021)."""


def foundation_extractor(
    kind: str, folder: Path | None, *, download: bool = False, device: str = "cpu", announce: Callable[[str], None] = lambda line: None
) -> Extractor:
    """One of the `FOUNDATIONS`: images uint8 (n, h, w, c) with 1 or 3 channels -> float32 (n, d), on the CPU.

    folder: with config.json and model.safetensors; without it the published ones, from the cache of huggingface_hub, else downloaded
    there if that is allowed, which announce is told. The digest is of the tensors' file and of the sizes. Raises OptionError if
    transformers is not installed, and DataError if there are no weights, or not these.
    """
    one = FOUNDATIONS[kind]
    transformers = library(kind)
    found = from_hub(one, download, announce) if folder is None else with_files(one, folder)
    sha256 = sha256_of(found / TENSORS)
    if folder is None and sha256 != one.sha256:
        raise DataError(
            f"{found / TENSORS} is damaged: its SHA-256 is {sha256[:12]}..., expected {one.sha256[:12]}.... Delete {found.parents[1]}."
        )
    sizes = sizes_of(one, found)
    network = load(one, transformers, found, sizes).to(device)
    side = one.side or network.config.image_size
    of_sizes = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()

    @torch.inference_mode()
    def compute(pixels: Pixels) -> Features:
        parts = (prepared(one, pixels[start : start + BATCH], side).to(device) for start in range(0, len(pixels), BATCH))
        # CUDA's convolutions otherwise round to the 10 bits of TF32.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return Features(torch.cat([getattr(network(pixel_values=part), one.output).float().cpu() for part in parts]))

    label = Weights(one.name, {}, sha256, sha256 == one.sha256).label
    return Extractor(label, f"{sha256[:16]}-{of_sizes[:8]}", f"bicubic to {side} x {side} by Pillow, antialiased, in 8 bits", compute)


def prepared(one: Foundation, pixels: Pixels, side: int) -> Tensor:
    """uint8 (n, h, w, c) -> float32 (n, 3, side, side), as the network takes them; grey is repeated. DataError for other channels."""
    check_pixels(pixels)
    if pixels.shape[3] not in (1, 3):
        raise DataError(f"{one.name} judges images with 1 or 3 channels, got {pixels.shape}; leave out the others.")
    coloured = [Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("RGB") for image in pixels]
    squares = np.stack([np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) for image in coloured])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (one.mean, one.std))
    return (torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255 - mean) / std


def library(kind: str) -> ModuleType:
    try:
        return import_module("transformers")
    except (ImportError, RuntimeError) as error:
        raise OptionError(f"--features {kind} needs the package transformers: pip install 'elegan[foundation]'") from error


def from_hub(one: Foundation, download: bool, announce: Callable[[str], None]) -> Path:
    """The folder of the published files in the cache of huggingface_hub, which comes with transformers."""
    hub = import_module("huggingface_hub")

    def folder(here: bool) -> Path:
        found = [hub.hf_hub_download(one.repository, file, revision=one.revision, local_files_only=here) for file in FILES]
        return Path(found[0]).parent

    try:
        return folder(here=True)
    except Exception as error:  # not there, and what else its file system raises
        if not download:
            raise DataError(missing(one)) from error
        announce(f"Downloading {one.name} from {one.repository} ({one.size / 1e6:,.0f} MB; licence: {one.licence}).")
        try:
            return folder(here=False)
        except Exception as failed:  # errors of HTTP, of the disk, of its own
            raise DataError(f"{one.name} could not be downloaded from {one.repository} ({reason(failed)}). {instead(one)}") from failed


def missing(one: Foundation) -> str:
    allowed = f"allow {one.size / 1e6:,.0f} MB to be downloaded with --download (download=True in Python)."
    return f"The weights of {one.name} are not here. {instead(one)} Or {allowed}"


def instead(one: Foundation) -> str:
    return f"Name a folder with {one.repository}'s {CONFIG} and {TENSORS} with --weights FOLDER."


def with_files(one: Foundation, folder: Path) -> Path:
    """The folder, if it has what is read of it."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder. {instead(one)}")
    absent = [file for file in FILES if not (folder / file).is_file()]
    if TENSORS in absent and (folder / "pytorch_model.bin").is_file():
        raise DataError(f"{folder} has its weights as a pickle alone, which could run code and is not read. {instead(one)}")
    if absent:
        raise DataError(f"{folder} has no {' and no '.join(absent)}. {instead(one)}")
    return folder


def sizes_of(one: Foundation, folder: Path) -> dict[str, Any]:
    """What the folder's config.json says of the network's sizes; of a whole CLIP, of the half that sees."""
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kind = found["model_type"]
        if kind == "clip":
            found = found["vision_config"] | {name: found[name] for name in ("projection_dim",) if name in found}
        sizes = {name: found[name] for name in SIZES if name in found}
        if not isinstance(sizes.get("image_size", 0), int):
            raise TypeError("its image_size is not one whole number")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} describes no network ({reason(error)}). {instead(one)}") from error
    if kind not in one.types:
        raise DataError(f"{path} is of a network of the type {kind!r}, expected {' or '.join(one.types)}. {instead(one)}")
    return sizes


def load(one: Foundation, transformers: ModuleType, folder: Path, sizes: dict[str, Any]) -> Any:
    """The network of these sizes with the folder's weights, in float32."""
    try:
        config, tensors = getattr(transformers, one.config)(**sizes), load_file(folder / TENSORS)
        with silence():
            network, report = getattr(transformers, one.model).from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # A damaged file, or a size that cannot be, makes libraries raise nearly anything.
        raise DataError(f"{folder} has no {one.name} that can be read ({reason(error)}). {instead(one)}") from error
    wrong = sorted([*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])])
    if wrong:
        raise DataError(
            f"{folder / TENSORS} has not the weights that {CONFIG} describes: {wrong[0]} is missing or of another shape, "
            f"one of {len(wrong)}. {instead(one)}"
        )
    if not all(value.isfinite().all() for value in network.parameters()):
        raise DataError(f"{folder / TENSORS} has NaN or infinities among its weights. {instead(one)}")
    return network.eval()


@contextmanager
def silence() -> Iterator[None]:
    """Without the package's own progress bar and table of what did not fit."""
    logging = import_module("transformers.utils.logging")
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def reason(error: Exception) -> str:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return said if len(said) <= 200 else f"{said[:197]}..."
