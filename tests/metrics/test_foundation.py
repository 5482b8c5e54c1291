"""DINOv2 and CLIP with random weights, by the package itself and by what is said of how images come to them."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import elegan
from elegan.errors import DataError, OptionError
from elegan.metrics import classifier, foundation
from elegan.metrics.extractors import Extractor
from elegan.metrics.foundation import FOUNDATIONS, foundation_extractor, prepared
from elegan.pictures import Pixels
from elegan.tasks.judges import choose

needs_package = pytest.mark.skipif(find_spec("transformers") is None, reason="needs transformers: pip install 'elegan[foundation]'")
SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SEEING = SMALL | {"intermediate_size": 64, "projection_dim": 16, "image_size": 32, "patch_size": 8}
KINDS = ("dinov2", "clip", "whole_clip")
"""clip: the half of CLIP that sees, in a file of its own; whole_clip: as it is published."""


def images(n: int, height: int = 20, width: int = 20, channels: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def network(kind: str) -> Any:
    import transformers

    torch.manual_seed(0)
    if kind == "dinov2":
        return transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, image_size=56, patch_size=14)).eval()
    if kind == "clip":
        return transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**SEEING)).eval()
    reading = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50000}
    config = transformers.CLIPConfig(vision_config=SEEING | {"projection_dim": 512}, text_config=reading, projection_dim=16)
    return transformers.CLIPModel(config).eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small networks, as the package saves them."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in made.items():
        network(kind).save_pretrained(folder)
    return made


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(folders[kind], tmp_path / kind))


def by_pillow(pixels: Pixels, side: int, mean: list[float], std: list[float]) -> Tensor:
    """What the package is given, image by image and in float64."""
    made = []
    for image in pixels:
        coloured = Image.fromarray(np.repeat(image, 4 - image.shape[2], 2) if image.shape[2] == 1 else image)
        square = np.asarray(coloured.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
        made.append(((square / 255 - np.array(mean)) / np.array(std)).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(made)).float()


@needs_package
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_packages_own(kind: str, channels: int, folders: dict[str, Path]) -> None:
    pixels = images(17, channels=channels)  # more than go through at one time
    found = foundation_extractor(kind.removeprefix("whole_"), folders[kind]).features(pixels)
    with torch.no_grad():
        if kind == "dinov2":
            given = by_pillow(pixels, 224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
            expected = network(kind)(given).last_hidden_state[:, 0]
        else:
            given = by_pillow(pixels, 32, [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
            expected = network("clip")(given).image_embeds if kind == "clip" else of_whole(network(kind), given)
    assert found.values.shape == (17, 32 if kind == "dinov2" else 16)
    assert found.values.std() > 0.01
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-5)
    assert found.logits is None


def of_whole(whole: Any, given: Tensor) -> Tensor:
    projected: Tensor = whole.visual_projection(whole.vision_model(pixel_values=given).pooler_output)
    return projected


def test_images_come_to_their_size_as_pillow_resizes() -> None:
    one = FOUNDATIONS["dinov2"]
    mean, std = torch.tensor(one.mean).view(3, 1, 1), torch.tensor(one.std).view(3, 1, 1)
    same = images(2, 24, 24)
    colours = prepared(one, same, 24) * std + mean
    torch.testing.assert_close(colours * 255, torch.from_numpy(same).permute(0, 3, 1, 2).float(), rtol=0, atol=1e-4)
    grey = prepared(one, np.full((1, 5, 9, 1), 51, np.uint8), 14) * std + mean  # not square, and of one colour
    torch.testing.assert_close(grey, torch.full((1, 3, 14, 14), 0.2), rtol=0, atol=1e-6)
    lines = np.zeros((1, 256, 256, 1), np.uint8)
    lines[:, ::2] = 200
    averaged = (prepared(one, lines, 32) * std + mean) * 255
    assert (averaged[:, :, 1:-1] - 100).abs().max() < 1e-3  # a filter that skips rows would see 0 or 200


@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_other_channels_are_refused(channels: int) -> None:
    with pytest.raises(DataError, match=rf"CLIP judges images with 1 or 3 channels, got \(2, 20, 20, {channels}\)"):
        prepared(FOUNDATIONS["clip"], images(2, channels=channels), 32)


@needs_package
def test_the_name_and_the_digest_say_which_weights(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied("clip")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    first = foundation_extractor("clip", folder)
    assert first.name == f"CLIP with weights {sha256[:12]}, not the published ones"
    assert first.digest.startswith(f"{sha256[:16]}-")
    assert first.resize == "bicubic to 32 x 32 by Pillow, antialiased, in 8 bits"
    monkeypatch.setitem(FOUNDATIONS, "clip", replace(FOUNDATIONS["clip"], sha256=sha256))
    again = foundation_extractor("clip", folder)
    assert (again.name, again.digest) == ("CLIP", first.digest)
    change(folder, num_attention_heads=2)  # fits the same weights, and makes other features of them
    other = foundation_extractor("clip", folder)
    assert other.digest != first.digest
    assert not torch.allclose(other.features(images(2)).values, first.features(images(2)).values, atol=1e-4)


@needs_package
def test_nothing_else_of_the_config_is_taken(copied: Callable[[str], Path]) -> None:
    folder = copied("dinov2")
    expected = foundation_extractor("dinov2", folder).features(images(2)).values
    asks = {"auto_map": {"AutoModel": "evil.Model"}, "attn_implementation": "somebody/kernel", "quantization_config": {"quant_method": "x"}}
    change(folder, **asks, torch_dtype="float16", _attn_implementation="somebody/kernel")
    assert torch.equal(foundation_extractor("dinov2", folder).features(images(2)).values, expected)


@needs_package
def test_weights_of_half_precision_are_used_in_float32(copied: Callable[[str], Path]) -> None:
    folder, rounded, pixels = copied("clip"), network("clip").half(), images(2)
    rounded.save_pretrained(folder)
    found = foundation_extractor("clip", folder).features(pixels).values
    one = FOUNDATIONS["clip"]
    with torch.no_grad():
        expected = rounded.float()(by_pillow(pixels, 32, list(one.mean), list(one.std))).image_embeds
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def without_tensors(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def edited(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@needs_package
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (shutil.rmtree, "is no folder"),
        (lambda folder: (folder / "config.json").unlink(), r"has no config\.json\."),
        (without_tensors, r"has no model\.safetensors\."),
        (pickled, "its weights as a pickle alone, which could run code and is not read"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json describes no network"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json describes no network"),
        (lambda folder: change(folder, model_type="clip"), r"describes no network .*vision_config"),
        (lambda folder: change(folder, model_type="vit"), r"of the type 'vit', expected dinov2\. Name"),
        (lambda folder: change(folder, image_size=[56, 56]), "image_size is not one whole number"),
        (lambda folder: change(folder, hidden_size="wide"), "no DINOv2 that can be read .*hidden_size"),
        (lambda folder: change(folder, hidden_act="evil"), "no DINOv2 that can be read .*evil"),
        (lambda folder: change(folder, patch_size=0), "no DINOv2 that can be read .*ZeroDivision"),
        (lambda folder: change(folder, hidden_size=64), "is missing or of another shape, one of 4"),
        (lambda folder: change(folder, num_hidden_layers=3), r"encoder\.layer\.2\.\S+ is missing or of another shape, one of 18"),
        (lambda folder: edited(folder, lambda tensors: tensors.pop("layernorm.bias")), "layernorm.bias is missing .* one of 1"),
        (lambda folder: edited(folder, lambda tensors: tensors["layernorm.bias"].fill_(float("nan"))), "NaN or infinities"),
        (cut, "no DINOv2 that can be read .*SafetensorError"),
    ],
)
def test_what_is_wrong_with_a_folder(damage: Callable[[Path], object], match: str, copied: Callable[[str], Path], capfd: Any) -> None:
    folder = copied("dinov2")
    capfd.readouterr()
    damage(folder)
    with pytest.raises(DataError, match=match) as caught:
        foundation_extractor("dinov2", folder)
    assert str(folder) in str(caught.value)
    assert str(caught.value).endswith("Name a folder with facebook/dinov2-large's config.json and model.safetensors with --weights FOLDER.")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the package has tables and bars of its own


@needs_package
def test_the_networks_are_not_taken_for_one_another(folders: dict[str, Path]) -> None:
    for kind, other in (("dinov2", "whole_clip"), ("clip", "dinov2")):
        with pytest.raises(DataError, match="expected"):
            foundation_extractor(kind, folders[other])
    with pytest.raises(DataError, match="is no folder"):
        foundation_extractor("clip", folders["clip"] / "model.safetensors")


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_without_the_package_it_says_what_to_install(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OptionError, match=rf"--features {kind} needs the package transformers: pip install 'elegan\[foundation\]'"):
        foundation_extractor(kind, None)


@pytest.fixture
def hub(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A hub on this machine that publishes the small DINOv2: files by their addresses. The client is the real one."""
    from huggingface_hub import constants

    one = FOUNDATIONS["dinov2"]
    names = ("config.json", "model.safetensors")
    files = {f"/{one.repository}/resolve/{one.revision}/{name}": (folders["dinov2"] / name).read_bytes() for name in names}
    sha256 = hashlib.sha256((folders["dinov2"] / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setitem(FOUNDATIONS, "dinov2", replace(one, sha256=sha256))

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path)
            self.send_response(200 if data else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("X-Repo-Commit", one.revision)
            self.send_header("ETag", f'"{hashlib.sha256(data or b"").hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data or b"")

        do_HEAD = do_GET  # noqa: N815  # the name that the server looks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{serving.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        try:
            yield files
        finally:
            serving.shutdown()
            thread.join()


def from_hub(download: bool) -> tuple[Extractor, list[str]]:
    lines: list[str] = []
    return foundation_extractor("dinov2", None, download=download, announce=lines.append), lines


@needs_package
def test_the_published_are_downloaded_once_and_only_when_allowed(hub: dict[str, bytes], folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"weights of DINOv2 are not here\. .*--weights FOLDER\. Or allow 1,218 MB .* --download"):
        from_hub(download=False)
    found, lines = from_hub(download=True)
    assert lines == ["Downloading DINOv2 from facebook/dinov2-large (1,218 MB; licence: Apache-2.0)."]
    assert found.name == "DINOv2"
    assert torch.equal(found.features(images(2)).values, foundation_extractor("dinov2", folders["dinov2"]).features(images(2)).values)
    hub.clear()
    for download in (False, True):
        again, lines = from_hub(download)
        assert (again.digest, lines) == (found.digest, [])


@needs_package
def test_a_download_that_fails_is_a_line(hub: dict[str, bytes]) -> None:
    hub.clear()
    with pytest.raises(DataError, match=r"DINOv2 could not be downloaded from facebook/dinov2-large \(.*--weights FOLDER") as caught:
        from_hub(download=True)
    assert "\n" not in str(caught.value)


@needs_package
def test_other_weights_at_the_address_are_refused(hub: dict[str, bytes], tmp_path: Path) -> None:
    address = next(name for name in hub if name.endswith(".safetensors"))
    right, hub[address] = hub[address], hub[address][:-4] + b"rest"
    for _ in range(2):
        with pytest.raises(DataError, match=r"is damaged: its SHA-256 is \w{12}\.\.\., expected \w{12}\.{4} Delete \S+-large\.$") as caught:
            from_hub(download=True)
    hub[address] = right
    shutil.rmtree(Path(str(caught.value).split("Delete ")[1].removesuffix(".")))
    assert from_hub(download=True)[0].name == "DINOv2"


def test_what_is_published_is_pinned() -> None:
    for one in FOUNDATIONS.values():
        assert len(one.revision) == 40
        assert len(one.sha256) == 64
        assert one.licence


def test_a_folder_of_weights_wants_its_network_named(tmp_path: Path) -> None:
    learned: Any = None  # nothing is learned from
    for kind in ("dinov2", "clip"):
        assert choose(kind, None, learned) == choose(kind, str(tmp_path), learned) == kind
    with pytest.raises(OptionError, match=r"is a folder, as DINOv2 and CLIP have it\. Say which, by --features dinov2 or --features clip"):
        choose("auto", str(tmp_path), learned)


@needs_package
def test_an_evaluation_names_its_judge(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 1)  # it counts classes, and does not judge here
    monkeypatch.setitem(
        FOUNDATIONS, "clip", replace(FOUNDATIONS["clip"], sha256=foundation.sha256_of(folders["clip"] / "model.safetensors"))
    )
    for i, image in enumerate(images(40, 8, 8, 1)):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    found = elegan.evaluate(str(tmp_path), against="digits", features="clip", weights=str(folders["clip"]), device="cpu")
    assert found.score("Fréchet distance (CLIP)").value > 0
    assert found.score("kernel distance (CLIP)").value > 0
    assert found.protocol["extractor"]["name"] == "CLIP"
    assert found.protocol["extractor"]["resize"].startswith("bicubic to 32 x 32")
