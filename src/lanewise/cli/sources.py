"""--data: labelled images by a set's name, in a folder or an .npz file, in up to three parts."""
import os
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from .. import data
from ..data.folder import PARTS, check_known, sub_folders
from ..errors import DataError, ShapeError
from .options import NameOrPath, dims

TYPE = NameOrPath(data.SETS)
ORDER = ("training", "validation", "test")
# what a part's folder may be called, and its arrays in an .npz file, {} being those of a part; the last row has no parts
FOLDERS = {"training": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
ARRAYS = (("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("x", "y"))
HELP = f"""A name ({', '.join(data.SETS)}); a folder with a sub-folder of images for each class, or with train/ and val/ or
test/ of such; an .npz file of x, y, or of x_train, y_train and x_val, y_val or x_test, y_test (or train_images, train_labels
and so on), and classes, their names."""


class Expected(NamedTuple):
    """What a model expects of images: mean and std are None for one that was trained on floating-point numbers."""
    channels: int
    size: tuple                         # (height, width)
    classes: Optional[list]
    mean: Optional[tuple]
    std: Optional[tuple]


def load(where, size=None, like=None, only=None):
    """{part: Dataset} in the order training, validation, test; what has no parts is "training".

    like: an Expected, which all parts are made to meet; by default the first part decides. only: parts, of which the first that
    is there is loaded, and no other. DataError for what is not there, or does not fit."""
    if size is not None and not os.path.isdir(where):
        raise DataError(f"--size expected a folder of images, whose sizes it changes, got --data {where}")
    if where in data.SETS:
        parts = {part: (lambda i=i: data.load(where)[i]) for part, i in (("training", 0), ("test", 1))}
        read = (lambda part, like: part()) if only else _both(where)
    elif where.lower().endswith(".npz"):
        parts, classes = _arrays(where)
        read = (lambda part, like: _dataset(where, part, classes, like and like.classes))
    elif os.path.exists(where):
        parts = _folders(Path(where))
        read = (lambda part, like: _from_folder(part, size or like and like.size, like))
    else:
        raise DataError(f"--data {where}: expected one of {', '.join(data.SETS)}, a folder or an .npz file, got a name "
                        "that is none of them")
    chosen = [part for part in only or ORDER if part in parts]
    if not chosen:
        raise DataError(f"--data {where}: expected a part for {' or '.join(only)}, got {', '.join(parts)}")
    found = {}
    for part in chosen[:1] if only else chosen:
        found[part] = _meet(read(parts[part], like), like, where, part)
        like = like or expected(found[part])
    return found


def _both(where):
    # A named set is read once for its two parts.
    sets = []

    def read(part, like):
        sets[:] = sets or data.load(where)
        return sets.pop(0)
    return read


def expected(dataset):
    """The Expected of a Dataset."""
    if len(dataset.shape) != 3:
        raise ShapeError(f"expected images (N, C, H, W), got (N, {', '.join(map(str, dataset.shape))})")
    normal = (dataset.mean, dataset.std) if dataset.scale else (None, None)
    return Expected(dataset.shape[0], dataset.shape[1:], dataset.classes, *normal)


def classes(dataset, where):
    """How many classes a network for these images tells apart. DataError where some have no image, and no names say that they
    are there."""
    empty = dataset._without_images()
    if empty:
        raise DataError(f"--data {where}: {empty}: renumber the labels, or put the names of all classes into an array 'classes'")
    return dataset.n_classes


def _meet(found, like, where, part):
    if like is None:
        return found
    shape = (like.channels, *like.size)
    if found.shape != shape:
        hint = ": give --size" if found.shape[0] == like.channels and os.path.isdir(where) else ""
        raise ShapeError(f"--data {where}: expected {dims(shape)} images in its {part} part, got {dims(found.shape)}{hint}")
    if bool(found.scale) is not (like.mean is not None):
        kinds = ("floating-point", "uint8")
        raise DataError(f"--data {where}: expected {kinds[like.mean is not None]} images, as in training, got "
                        f"{kinds[bool(found.scale)]} ones in its {part} part")
    if found.classes and like.classes and found.classes != like.classes:
        raise DataError(f"--data {where}: expected the classes {', '.join(like.classes)} in its {part} part, got "
                        f"{', '.join(found.classes)}")
    return found.normalised(like.mean, like.std) if found.scale else found


def _folders(path):
    if not path.is_dir():
        raise DataError(f"--data {path}: expected a folder or an .npz file, got another file")
    there = {p.name.lower(): p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")}
    if len(there) < 2 or not PARTS.issuperset(there):
        return {"training": path}
    return {part: next(there[n] for n in names if n in there) for part, names in FOLDERS.items() if there.keys() & set(names)}


def _from_folder(path, size, like):
    if like is not None and like.classes:
        check_known(path, sub_folders(path), like.classes)
    try:
        return data.from_folder(path, size, like and like.channels, like and like.classes)
    except DataError as error:
        raise DataError(str(error).replace("pass size=(height, width)", "give --size HxW")) from None


def _arrays(where):
    found = data.read_npz(where)
    names = {"training": "train", "validation": "val", "test": "test"}
    for pair in ARRAYS:
        parts = {part: [found[n.format(name)] for n in pair] for part, name in names.items()
                 if all(n.format(name) in found for n in pair)}
        if parts:
            parts = parts if "{}" in pair[0] else {"training": parts["training"]}
            return parts, [str(name) for name in found["classes"].ravel()] if "classes" in found else None
    raise DataError(f"{where}: expected arrays x and y, x_train and y_train, or train_images and train_labels, got "
                    f"{', '.join(found) or 'none'}")


def _dataset(where, pair, classes, known):
    x, y = pair
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):             # channels last
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4:
        raise ShapeError(f"{where}: expected images (N, H, W), (N, C, H, W) or (N, H, W, C), got shape {x.shape}")
    y = y[:, 0] if y.shape == (len(x), 1) else y
    classes = known if classes is None and y.dtype.kind == "U" else classes         # names get the numbers that they have
    try:
        found = data.Dataset(x.astype(np.float32) if x.dtype == np.float64 else x, y, classes=classes)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}") from None
    if found.labels.min() < 0 or classes is not None and found.labels.max() >= len(classes):
        raise DataError(f"{where}: expected labels from 0 to the number of classes less 1, got {found.labels.min()} to "
                        f"{found.labels.max()}")
    if not found.scale and not np.isfinite(found.images).all():
        raise DataError(f"{where}: expected finite images, got NaN or infinity")
    return found.normalised() if found.scale else found
