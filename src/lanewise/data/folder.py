"""Images in folders, one folder a class. Pillow reads them."""
from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, in_line
from .dataset import Dataset
from .pixels import statistics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._types import File, Size

ELSEWHERE = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}     # Pillow knows them, but other programs decode them
PARTS = {"test", "testing", "train", "training", "val", "valid", "validation"}
GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112            # the EXIF tag: 5 to 8 exchange height and width


@functools.lru_cache(None)
def endings() -> tuple[str, ...]:
    """The endings, in lower case, of files whose pixels Pillow reads by itself, as it is installed."""
    from PIL import Image
    known = Image.registered_extensions()
    return tuple(sorted(e.lower() for e, kind in known.items() if kind in Image.OPEN and kind not in ELSEWHERE))


def from_folder(path: File, size: Size | None = None, channels: int | None = None,
                classes: Sequence[str] | None = None) -> Dataset:
    """A Dataset of the images below path/CLASS/, one sub-folder a class, (N, C, H, W) uint8; mean and std are those of its
    own pixels.

    classes: the names in the order of their numbers, of which some may have no sub-folder or an empty one here, and others that
    all have one may be a choice; by default all sub-folders, sorted. size (H, W): resizes every image (bilinear, whatever its
    proportions); without it all must be of one size. channels 1 (gray) or 3 (RGB): by default 1 where every file is gray.
    Files are taken from deeper folders too, sorted; hidden ones and those whose ending is not that of an image format which
    Pillow reads, as it is installed, are passed over. EXIF orientation is honoured, transparency dropped, of several frames the
    first taken, and of gray pixels of 16 bits the upper 8.

    Parts that lie in folders of their own are loaded one by one, the others with the numbers of the first:
        training = from_folder("set/train")
        test = from_folder("set/test", classes=training.classes).normalised(training.mean, training.std)
    DataError for a folder that is not there or has no image; without `classes` for an empty sub-folder, with some that have
    none for a sub-folder of another name; for a file that cannot be read, or differing sizes."""
    path = Path(path)
    if channels not in (None, 1, 3):
        raise ValueError(f"from_folder expected channels 1 (gray) or 3 (RGB), got {channels!r}")
    if size is not None and not (isinstance(size, (tuple, list)) and len(size) == 2 and all(
            isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in size)):
        raise ValueError(f"from_folder expected size (height, width), got {size!r}")
    there, given = sub_folders(path), classes is not None
    classes = _classes(path, there, classes)
    files, labels = [], []
    for number, name in enumerate(classes):
        if name not in there:
            continue
        found = sorted(f for f in (path / name).rglob("*") if f.suffix.lower() in endings() and f.is_file()
                       and not any(part.startswith(".") for part in f.relative_to(path).parts))
        if not found and not given:
            raise DataError(f"{in_line(path / name)}: expected images (png, jpg or another format that Pillow opens), got none")
        files += found
        labels += [number] * len(found)
    if not files:
        raise DataError(f"{path}: expected images (png, jpg or another format that Pillow opens) in sub-folders of the classes "
                        f"{', '.join(map(in_line, classes))}, got none")
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor() as pool:                  # Pillow decodes without the GIL
        if size is None or channels is None:
            heads = list(pool.map(_head, files))
            if channels is None:
                channels = 1 if all(gray for gray, _ in heads) else 3
            if size is None:
                size = heads[0][1]
                other = next((i for i, (_, s) in enumerate(heads) if s != size), None)
                if other is not None:
                    raise DataError(f"{in_line(files[other])}: expected {size[0]}x{size[1]} pixels as in "
                                    f"{in_line(files[0].name)}, got {'x'.join(map(str, heads[other][1]))}: pass "
                                    f"size=(height, width)")
        images = np.empty((len(files), channels, *size), np.uint8)
        for _ in pool.map(lambda image, file: _read(image, file, tuple(size)), images, files):
            pass
    mean, std = statistics(images)
    return Dataset(images, np.array(labels), mean, np.where(std > 0, std, 1), classes)


def sub_folders(path: Path) -> list[str]:
    """The names of a folder's own folders but for hidden ones, sorted. DataError for what is no folder."""
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing there"
        raise DataError(f"{path}: expected a folder with one sub-folder a class, got {what}")
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def check_known(path: Path, there: Sequence[str], classes: Sequence[str]) -> None:
    """DataError for a sub-folder that is of none of the classes."""
    strange = next((name for name in there if name not in classes), None)
    if strange is not None:
        raise DataError(f"{path}: expected sub-folders of the classes {', '.join(map(in_line, classes))}, got "
                        f"'{in_line(strange)}'")


def _classes(path: Path, there: Sequence[str], classes: Sequence[str] | None) -> Sequence[str]:
    if classes is not None:
        classes = list(classes)
        twice = next((name for i, name in enumerate(classes) if name in classes[:i]), None)
        if twice is not None:
            raise DataError(f"{path}: expected classes of different names, got '{in_line(twice)}' twice")
        if not classes:
            raise DataError(f"{path}: expected the names of one class or more, got none")
        if not set(classes).issubset(there):            # a folder of another name may be one of theirs, written otherwise
            check_known(path, there, classes)
        return classes
    if not there:
        raise DataError(f"{path}: expected one sub-folder a class, got none")
    if len(there) > 1 and PARTS.issuperset(name.lower() for name in there):
        raise DataError(f"{path}: expected one sub-folder a class, got the parts {', '.join(there)}: load each, as "
                        f"from_folder('{path / there[0]}')")
    return there


def _open(file: Any, read: Any) -> Any:
    from PIL import Image
    try:
        with Image.open(file) as image:
            return read(image)
    except DataError:
        raise
    except Exception as error:                          # whatever a decoder raises becomes one sentence
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{in_line(file)}: cannot be read as an image ({reason})") from None


def _head(file: Any) -> Any:
    """(whether it is gray, (height, width) as it is to be seen) from the file's head."""
    def read(image: Any) -> Any:
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return image.mode in GRAY, image.size if turned else image.size[::-1]
    return _open(file, read)


def _read(to: Any, file: Any, size: Any) -> None:
    """Fill (C, H, W) uint8 with an image's pixels."""
    def read(image: Any) -> None:
        from PIL import Image, ImageOps
        image = ImageOps.exif_transpose(image)
        if image.mode[0] == "I":                        # 16 bits, which convert() would cut off at 255
            image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
        elif image.mode == "F":
            raise DataError(f"{in_line(file)}: expected pixels of 8 or 16 bits, got floating-point numbers")
        image = image.convert("L" if len(to) == 1 else "RGB")
        if image.size != size[::-1]:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        to[...] = np.asarray(image).reshape(*size, len(to)).transpose(2, 0, 1)
    _open(file, read)
