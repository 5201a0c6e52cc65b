"""Names for annotations alone: no module of the package imports them when it runs."""
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .data.dataset import Batch, Dataset
from .graph import Tensor, Value
from .parameter import Parameter

Array = NDArray[Any]
Shape = tuple[int, ...]
Size = Union[int, tuple[int, ...], list[int]]           # one number for all dimensions of an image, or one each
Seed = Union[None, int, np.random.Generator]
File = Union[str, PathLike[str]]
Operand = Union[Value, Parameter, Tensor, Batch, ArrayLike]
Params = Union[Iterable[Parameter], Iterable[Mapping[str, Any]]]
Data = Union[Dataset, tuple[Any, Any], Iterable[Any]]    # Iterable: batches (x, y), or a list of x and y
LossFn = Callable[..., Any]                              # of (output, target[, sample_weight]), gives a Loss
Metric = Union[str, Callable[[Any, Any], Any]]
