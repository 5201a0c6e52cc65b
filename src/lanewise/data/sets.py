"""The sets that have a name: one inside the package, three that are looked for on disk or downloaded."""
from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from .dataset import Dataset
from .readers import read_cifar10, read_idx

if TYPE_CHECKING:
    from typing import Any

    from .._types import Array

FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
DIGITS = [str(i) for i in range(10)]
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
IDX = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
BATCHES = [f"cifar-10-batches-bin/{b}.bin" for b in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]

SETS: dict[str, dict[str, Any]] = {
    "fashion-mnist-mini": dict(classes=FASHION, mean=0.2860, std=0.3530),
    "fashion-mnist": dict(classes=FASHION, mean=0.2860, std=0.3530,
                          url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                          md5=["8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
                               "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310"]),
    "mnist": dict(classes=DIGITS, mean=0.1307, std=0.3081, url="https://ossci-datasets.s3.amazonaws.com/mnist/",
                  md5=["f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432",
                       "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"]),
    "cifar-10": dict(classes=CIFAR, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616),
                     url="https://www.cs.toronto.edu/~kriz/", md5=["c32a1d4ab5d03f1284b67883e8d87530"]),
}
"""The sets by name: names of the classes, mean and std of the training pixels (0..1), and where the whole archives are published
with their MD5 sums, as the sets' own pages give them."""


def home() -> Path:
    """Where full sets are: $LANEWISE_DATA, or ~/.cache/lanewise."""
    return Path(os.environ.get("LANEWISE_DATA") or "~/.cache/lanewise").expanduser()


def _download(name: str, folder: Path, missing: list[str]) -> None:
    state = f"the data set '{name}' is not whole in {folder} (no {missing[0]})"
    try:
        import pooch
    except ImportError:
        raise DataError(f"{state}: put its published files there (or set LANEWISE_DATA), or install lanewise[data], which "
                        f"downloads it") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        what = "written" if folder.is_dir() else "made"
        raise DataError(f"{state} and could not be downloaded to it, which cannot be {what} ({error.strerror}): set "
                        f"LANEWISE_DATA to a folder that can") from None
    spec = SETS[name]
    files = ["cifar-10-binary.tar.gz"] if name == "cifar-10" else [f + ".gz" for f in IDX]
    try:
        for file, md5 in zip(files, spec["md5"]):
            pooch.retrieve(spec["url"] + file, "md5:" + md5, fname=file, path=folder,
                           processor=pooch.Untar(extract_dir=".") if file.endswith(".tar.gz") else None)
    except Exception as error:                          # whatever the network raises becomes one sentence
        raise DataError(f"{state} and could not be downloaded from {spec['url']} ({type(error).__name__}): put its published "
                        f"files there, or set LANEWISE_DATA") from None


def _find(name: str, folder: Path) -> tuple[list[Any], list[str]]:
    """(paths, names of those that are not there); an IDX file may be raw or gzip."""
    names, endings = (BATCHES, [""]) if name == "cifar-10" else (IDX, ["", ".gz"])
    found = [next((p for e in endings if (p := folder / (f + e)).is_file()), None) for f in names]
    return found, [f for f, p in zip(names, found) if p is None]


def where(name: str) -> str | None:
    """"in the package", "here", or None for a set that load() would have to download."""
    return "in the package" if name == "fashion-mnist-mini" else None if _find(name, home() / name)[1] else "here"


def load(name: str) -> tuple[Dataset, Dataset]:
    """(training Dataset, test Dataset) of "fashion-mnist-mini" (in the package), "mnist", "fashion-mnist" or "cifar-10".

    Full sets are read from home()/NAME, in the formats that they are published in, and downloaded there with pooch (extra
    [data]) when they are missing. DataError for an unknown name, or files missing, truncated or of another format."""
    if name not in SETS:
        raise DataError(f"unknown data set '{name}': expected one of {', '.join(SETS)}")
    spec = SETS[name]
    folder = Path(__file__).parent / name if name == "fashion-mnist-mini" else home() / name
    files, missing = _find(name, folder)
    if missing:
        _download(name, folder, missing)
        files, missing = _find(name, folder)
        if missing:
            raise DataError(f"the data set '{name}' is not whole in {folder} (no {missing[0]}) after its download")
    if name == "cifar-10":
        parts = [read_cifar10(files[:5]), read_cifar10(files[5:])]
    else:
        parts = [_images(*files[:2]), _images(*files[2:])]
    first, second = (Dataset(x, y, spec["mean"], spec["std"], spec["classes"]) for x, y in parts)
    return first, second


def _images(images: Any, labels: Any) -> tuple[Array, Array]:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or x.dtype != np.uint8 or y.shape != x.shape[:1]:
        raise DataError(f"{images}: expected uint8 images (N, H, W) with a label each, got {x.dtype} {x.shape} and "
                        f"{y.shape} labels")
    return x[:, None], y.astype(np.int64)
