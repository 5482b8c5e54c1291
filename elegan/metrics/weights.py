"""Published weights of the networks that metrics are defined on: found, downloaded when that is allowed, checked, read as tensors only."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from elegan.downloading import BLOCK, download
from elegan.errors import DataError, OptionError, nearest

Announce = Callable[[str], None]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Published:
    """A file of weights: the name it is kept by, where it is, about how many bytes it has, its SHA-256, and its licence."""

    file: str
    address: str
    size: int
    sha256: str
    licence: str

    @property
    def what(self) -> str:
        return f"{self.address} (about {self.size / 1e6:.2g} MB; licence: {self.licence})"


_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"
_TORCHVISION = "https://download.pytorch.org/models"

PUBLISHED = {
    "inception": Published(
        "weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        95_628_359,
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "Apache-2.0",
    ),
    "vgg16": Published(
        "vgg16-397923af.pth",
        f"{_TORCHVISION}/vgg16-397923af.pth",
        553_000_000,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "BSD-3-Clause",
    ),
    "alexnet": Published(
        "alexnet-owt-7be5be79.pth",
        f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
        244_000_000,
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "BSD-3-Clause",
    ),
    "lpips_vgg": Published(
        "lpips-v0.1-vgg.pth",
        f"{_LPIPS}/vgg.pth",
        7_000,
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "BSD-2-Clause",
    ),
    "lpips_alex": Published(
        "lpips-v0.1-alex.pth",
        f"{_LPIPS}/alex.pth",
        6_000,
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "BSD-2-Clause",
    ),
}


@dataclass(frozen=True)
class Weights:
    """tensors: float32, by name. sha256: of the file. published: whether it is the published file itself."""

    name: str
    tensors: dict[str, Tensor]
    sha256: str
    published: bool

    @property
    def label(self) -> str:
        """What a metric's name says of its extractor: numbers by other weights are not comparable with published ones."""
        return self.name if self.published else f"{self.name} with weights {self.sha256[:12]}, not the published ones"


def load_weights(
    name: str, shapes: Shapes, folder: Path, *, file: Path | None = None, download: bool = False, announce: Announce = lambda line: None
) -> Weights:
    """The weights of one of the `PUBLISHED` networks: from `file`, else from `folder`, else downloaded there if that is allowed.

    shapes: what is taken of them; other tensors are left aside. A file that a person names may have any hash, one in the folder
    only the published. announce is told of what is downloaded. Raises OptionError for an unknown name, and DataError if there are
    no weights, or not these.
    """
    published = of_name(name)
    path = folder / published.file if file is None else file
    if file is None and not path.is_file():
        if not download:
            raise DataError(missing(name, published, path))
        fetch(name, folder, announce)
    found = sha256_of(path)
    if file is None and found != published.sha256:
        raise DataError(
            f"{path} is not the published weights of {name}, but of SHA-256 {found[:12]}..., expected {published.sha256[:12]}...: "
            "delete it, or name it with --weights FILE to judge by it all the same."
        )
    tensors = checked(read_tensors(path), shapes, f"{path} are not the weights of {name}")
    return Weights(name, tensors, found, found == published.sha256)


def of_name(name: str) -> Published:
    if name not in PUBLISHED:
        raise OptionError(f"There are no published weights by the name {name!r}. {nearest(name, PUBLISHED)}")
    return PUBLISHED[name]


def missing(name: str, published: Published, file: Path) -> str:
    return (
        f"The weights of {name} are not here: put {published.what} at {file}, or name a copy with --weights FILE, "
        "or allow it to be downloaded with --download (download=True in Python)."
    )


def fetch(name: str, folder: Path, announce: Announce = lambda line: None) -> Path:
    """Download the weights of one of the `PUBLISHED` into `folder`, check them, and give their path.

    They are written beside their place and moved there when they are whole and right. Raises DataError if the network fails, if
    something else comes, or if the folder cannot be written to.
    """
    published = of_name(name)
    target = folder / published.file
    announce(f"Downloading the weights of {name} from {published.what} to {target}.")
    with new_file(target) as making:
        limit = 2 * published.size + BLOCK
        download(published.address, making, limit, f"{limit} bytes", partial(failure, name, published))
        if (found := sha256_of(making)) != published.sha256:
            raise DataError(
                failure(name, published, f"something else came: its SHA-256 is {found[:12]}..., not {published.sha256[:12]}...")
            )
    announce(f"The weights of {name} are here, and are what they should be.")
    return target


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A file to write, which becomes `target` when the block ends well and vanishes when it does not."""
    making: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Its suffix lets what a killed download leaves be known as ours, and cleared with the cache.
        handle, path = tempfile.mkstemp(prefix=".making-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        making = Path(path)
        yield making
        making.chmod(0o644)
        making.replace(target)
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error.strerror or error}): name a folder with room.") from error
    finally:
        if making is not None:
            making.unlink(missing_ok=True)


def failure(name: str, published: Published, reason: str) -> str:
    return (
        f"The weights of {name} could not be downloaded from {published.address} ({' '.join(reason.split())}): "
        "try again later, or download that file elsewhere and name it with --weights FILE."
    )


def sha256_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"The weights {file} cannot be read ({error.strerror or error}): name a file with --weights FILE.") from error


def read_tensors(file: Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth file, of which nothing is run.

    Raises DataError for other kinds of files, and if the file is damaged or holds anything but named tensors.
    """
    if file.suffix == ".safetensors":
        with readable(file):
            return load_file(file)
    if zipfile.is_zipfile(file):
        with readable(file):
            check_archive(file)
    with readable(file):
        found = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise DataError(f"{file} holds a {type(found).__name__}, not tensors by their names: a state dict is expected.")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """DataError where a file cannot be read as tensors, for whatever reason."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # A damaged file makes libraries raise nearly anything.
        wanted = re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(error))
        why = f"it wants {wanted[1]} to be run" if wanted else "it is damaged, or of another kind"
        raise DataError(f"{file} cannot be read as tensors: {why}. Name a .pth or .safetensors file with --weights FILE.") from error


def check_archive(file: Path) -> None:
    """DataError for an archive that is a program, or that would unpack to more than it is."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise DataError(
            f"{file} is a TorchScript archive, so a program, which is not run: name a file of tensors alone (.pth, .safetensors) "
            "with --weights FILE."
        )
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise DataError(f"{file} is compressed, as no file of weights is: it is not unpacked. Name another with --weights FILE.")


def checked(tensors: Mapping[str, Tensor], shapes: Shapes, fault: str) -> dict[str, Tensor]:
    """Those of these names, in float32. Raises DataError, which begins with `fault`, if one is missing, of another shape, or no number."""
    absent = [name for name in shapes if name not in tensors]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise DataError(f"{fault}: they lack {absent[0]}{more} of {len(shapes)} tensors.")
    for name, shape in shapes.items():
        found = tensors[name]
        if tuple(found.shape) != shape:
            raise DataError(f"{fault}: {name} has the shape {tuple(found.shape)}, expected {shape}.")
        if not found.is_floating_point() or found.layout != torch.strided or not found.isfinite().all():
            raise DataError(f"{fault}: {name} has to be finite numbers, not {found.dtype} with NaN, infinities or gaps.")
    return {name: tensors[name].to(torch.float32).contiguous() for name in shapes}
