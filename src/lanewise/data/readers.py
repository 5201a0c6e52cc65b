"""File formats: IDX (MNIST, Fashion-MNIST), the CIFAR-10 binary version, .npz."""
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._types import Array, File

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _bytes(path: File) -> bytes:
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if raw[:2] == b"\x1f\x8b":
        import gzip                     # here: with zipfile, a sixth of importing lanewise
        import zlib
        try:
            return gzip.decompress(raw)
        except (OSError, EOFError, zlib.error):
            raise DataError(f"{path}: expected a whole gzip file, got a truncated or damaged one") from None
    return raw


def read_idx(path: File) -> Array:
    """The array of an IDX file, raw or gzip: two zero bytes, a type byte, the rank, big-endian sizes, the numbers.

    DataError for a file that is missing, of another format, or not of the length that its header says.
    Source: the description of the format with the MNIST set (LeCun, Cortes, Burges)."""
    raw = _bytes(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or not raw[3]:
        raise DataError(f"{path}: expected an IDX file, got one that starts with {raw[:4].hex(' ') or 'nothing'}")
    rank, dtype = raw[3], np.dtype(_IDX_TYPES[raw[2]])
    head = 4 + 4 * rank
    shape = tuple(int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(rank))
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(raw) != head + size:
        raise DataError(f"{path}: expected {head + size} bytes for shape {shape}, got {len(raw)}: truncated or damaged")
    return np.frombuffer(raw, dtype, offset=head).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_cifar10(paths: File | Iterable[File]) -> tuple[Array, Array]:
    """(images (N, 3, 32, 32) uint8, labels (N,) int64) of CIFAR-10's binary files: a label byte, then 3072 pixels, red,
    green, blue planes. DataError for a file that is not whole records, or has a label above 9.
    Source: Krizhevsky 2009, the description with the data set."""
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    images, labels = [], []
    for path in paths:
        raw = np.frombuffer(_bytes(path), np.uint8)
        if not raw.size or raw.size % 3073:
            raise DataError(f"{path}: expected CIFAR-10 records of 3073 bytes, got {raw.size} bytes: truncated or another "
                            f"format")
        raw = raw.reshape(-1, 3073)
        if raw[:, 0].max() > 9:
            raise DataError(f"{path}: expected CIFAR-10 labels from 0 to 9, got {raw[:, 0].max()}: another format")
        images.append(raw[:, 1:].reshape(-1, 3, 32, 32))
        labels.append(raw[:, 0].astype(np.int64))
    return np.concatenate(images), np.concatenate(labels)


def read_npz(path: File) -> dict[str, Array]:
    """{name: array} of a NumPy .npz file. Pickled objects are refused. DataError for a file that is not one, or damaged."""
    import zipfile
    import zlib
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:     # NumPy leaves its own open when it fails
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or 'not a NumPy file'})") from None
    except (ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, MemoryError, zipfile.BadZipFile,
            zlib.error):        # RuntimeError: an encrypted member, or another compression; MemoryError: a false shape
        raise DataError(f"{path}: expected an .npz file of plain arrays, got a damaged or pickled one") from None
