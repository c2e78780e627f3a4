"""The official SAM2.1 checkpoints, and where they lie on this machine."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from VoxelFeatLib.cache import cache_folder
from VoxelFeatLib.errors import Cancelled, WeightsError

# Apache-2.0.
HOME = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
CHECKPOINT_ENDINGS = (".pt", ".pth", ".safetensors")

_BLOCK = 1 << 20


@dataclass(frozen=True)
class OfficialWeights:
    """One official checkpoint.

    Attributes:
        name: Name of its backbone.
        file: File name.
        bytes: Its size.
        sha256: SHA-256 of the file, in hexadecimal.
    """

    name: str
    file: str
    bytes: int
    sha256: str

    @property
    def url(self) -> str:
        """Where its authors publish it."""
        return HOME + self.file

    @property
    def megabytes(self) -> int:
        """Its size as people read it."""
        return round(self.bytes / 1e6)


CATALOGUE: Mapping[str, OfficialWeights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            OfficialWeights(
                "sam2.1-tiny",
                "sam2.1_hiera_tiny.pt",
                156008466,
                "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            ),
            OfficialWeights(
                "sam2.1-small",
                "sam2.1_hiera_small.pt",
                184416285,
                "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            ),
            OfficialWeights(
                "sam2.1-base-plus",
                "sam2.1_hiera_base_plus.pt",
                323606802,
                "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
            ),
            OfficialWeights(
                "sam2.1-large",
                "sam2.1_hiera_large.pt",
                898083611,
                "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
            ),
        )
    }
)


def weights_folder() -> Path:
    """Return the folder of downloaded weights; it need not exist yet."""
    return cache_folder("weights")


def is_checkpoint_path(name: str) -> bool:
    """Tell whether a backbone's name is the path of a checkpoint."""
    return name.lower().endswith(CHECKPOINT_ENDINGS)


def find_weights(weights: OfficialWeights, folder: Path | None = None) -> Path | None:
    """Return the checkpoint's path in a folder, by default the cache's; None if it is not there.

    Only its size is looked at; who reads it compares the hash.

    Raises:
        WeightsError: There is a file of that name and another size.
    """
    path = (folder or weights_folder()) / weights.file
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size != weights.bytes:
        raise WeightsError(
            f"{path} has {size} bytes instead of {weights.bytes}: remove it, and it is downloaded "
            "again, or copy the whole file there."
        )
    return path


def by_hand(weights: OfficialWeights, folder: Path) -> str:
    """Return the sentence that says which file to put where."""
    return f"put {weights.file} ({weights.megabytes} MB, from {weights.url}) into {folder}"


def sha256_of(path: Path, cancelled: Callable[[], bool] | None = None) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        Cancelled: The caller does not want it any more.
        OSError: The file cannot be read.
    """
    if path.is_fifo() or path.is_char_device():  # neither need ever end
        raise OSError(errno.EINVAL, "It is no file", str(path))
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if cancelled is not None and cancelled():
                raise Cancelled
    return digest.hexdigest()
