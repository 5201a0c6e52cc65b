"""A set in two: one part to train on, one to validate with."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, ShapeError, in_line
from ..rng import as_rng
from .dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Array, Seed


def split(data: Dataset | Sequence[ArrayLike], fraction: float = 0.2, seed: Seed = None,
          stratify: bool = True) -> tuple[Any, Any]:
    """(training, validation): the rows of a Dataset, or of arrays (x, y, ...), in two parts at random; the order stays.

    fraction: of the N rows that go to the second part, ceil(fraction N) of them, or how many (an integer), as scikit-learn's
    test_size. stratify: each class keeps its share in both parts to within one image, the rest going to the classes with
    the greatest remainder; the labels are those of the Dataset, or y, integers or strings. seed: an integer or Generator; None
    draws from lanewise's own. Parts of a Dataset are views (Dataset.subset), the second without its augmentation; parts of
    arrays are tuples of copies. ValueError for a fraction that leaves a part empty, or fewer rows in a part than classes;
    DataError for a class of one image, or targets that are not classes; ShapeError for arrays of different lengths, TypeError
    for arrays that are arguments of their own."""
    whole = data if isinstance(data, Dataset) else None
    if whole is None and not isinstance(data, (tuple, list)) or isinstance(fraction, (np.ndarray, list, tuple)):
        raise TypeError(f"split expected a Dataset or arrays (x, y, ...), which are one argument, split((x, y), 0.2), got "
                        f"{type(data).__name__} and {type(fraction).__name__}")
    arrays = () if isinstance(data, Dataset) else tuple(np.asarray(a) for a in data)
    if whole is None and (not arrays or any(a.ndim == 0 or len(a) != len(arrays[0]) for a in arrays)):
        raise ShapeError(f"split expected a Dataset or arrays of one length, got shapes {[a.shape for a in arrays]}")
    n = len(arrays[0]) if whole is None else len(whole)
    second = _count(fraction, n)
    rng = as_rng(seed)
    if stratify:
        chosen = _stratified(whole.labels if whole is not None else arrays[1] if len(arrays) > 1 else None, n, second, rng)
    else:
        chosen = rng.permutation(n)[:second]
    mask = np.zeros(n, bool)
    mask[chosen] = True
    if whole is not None:
        return whole.subset(~mask), whole.subset(mask).augmented(None)
    return tuple(a[~mask] for a in arrays), tuple(a[mask] for a in arrays)


def _count(fraction: Any, n: int) -> int:
    if isinstance(fraction, (int, np.integer)) and not isinstance(fraction, bool):
        count = int(fraction)
    elif isinstance(fraction, (float, np.floating)) and 0 < fraction < 1:
        count = math.ceil(fraction * n)
    else:
        raise ValueError(f"split expected a fraction between 0 and 1, or a number of rows, got {fraction!r}")
    if not 0 < count < n:
        raise ValueError(f"split expected at least one of {n} rows in each part, got {count} and {n - count}")
    return count


def _stratified(labels: Any, n: int, second: int, rng: np.random.Generator) -> Array:
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iuUO":
        what = "none" if labels is None else f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"split expected class labels (N,) to stratify by, got {what}: pass stratify=False")
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise DataError(f"split expected at least two of each class to stratify by, got one of "
                        f"{in_line(names[counts.argmin()])}: pass stratify=False")
    if min(second, n - second) < len(names):
        raise ValueError(f"split expected at least {len(names)} rows in each part, one for each class, got {n - second} and "
                         f"{second}: pass stratify=False")
    shares = counts * (second / n)
    take = np.floor(shares).astype(np.int64)
    order = np.lexsort((rng.random(len(names)), take - shares))         # the greatest remainder first, equal ones by lot
    take[order[:second - take.sum()]] += 1
    return np.concatenate([rng.permutation(np.flatnonzero(codes == c))[:k] for c, k in enumerate(take)])
