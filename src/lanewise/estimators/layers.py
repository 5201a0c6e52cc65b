"""Networks from a list of names and sizes: a value that scikit-learn can copy, print and search over."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import nn
from ..errors import ShapeError
from ..graph import as_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._types import Shape, Size
    from ..nn.module import Module

CONVNET = (("conv", 16), "relu", ("pool", 2), ("conv", 32), "relu", ("pool", 2), ("linear", 64), "relu")
ACTIVATIONS = dict(relu=nn.ReLU, tanh=nn.Tanh, logistic=nn.Sigmoid, leaky_relu=nn.LeakyReLU, elu=nn.ELU, gelu=nn.GELU,
                   silu=nn.SiLU, identity=nn.Identity)


def _conv(shape: Any, channels: int, kernel: Any = 3, stride: Size = 1) -> Any:
    return nn.Conv2d(shape[0], channels, kernel, stride, "same" if stride == 1 else kernel // 2)


def _window(shape: Any, size: Any) -> Any:
    return tuple(min(size, side) for side in shape[1:])


def _linear(shape: Any, width: Any) -> Any:
    linear = nn.Linear(int(np.prod(shape)), width)
    return nn.Sequential(nn.Flatten(), linear) if len(shape) > 1 else linear


# name: (shape of a sample, *sizes) -> Module
LAYERS: dict[str, Any] = dict(
    conv=_conv,
    pool=lambda shape, size=2: nn.MaxPool2d(_window(shape, size)),
    avg_pool=lambda shape, size=2: nn.AvgPool2d(_window(shape, size)),
    global_pool=lambda shape: nn.AdaptiveAvgPool2d(1),
    batch_norm=lambda shape: (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0]),
    dropout=lambda shape, p=0.5: nn.Dropout(p),
    flatten=lambda shape: nn.Flatten(),
    linear=_linear,
    **{name: lambda shape, layer=layer: layer() for name, layer in ACTIVATIONS.items()})


def network(layers: Sequence[Any], shape: Shape, outputs: int, owner: str) -> Module:
    """A Sequential for samples of `shape`, (C, H, W) or (F,), that ends in a dense layer of `outputs` after `layers`.

    A layer is a name, (name, *sizes) or a Module: ("conv", channels, kernel=3, stride=1), padded to keep the size at stride
    1; ("pool", size=2) and ("avg_pool", size=2), windows no larger than the image; "global_pool", "batch_norm",
    ("dropout", p=0.5), "flatten", ("linear", width), which flattens; an activation of ACTIVATIONS.
    ValueError naming the entry for another name or sizes that do not fit; `owner` begins the sentence."""
    modules = []
    x = as_value(np.zeros((1, *shape), np.float32))
    for i, entry in enumerate((*layers, ("linear", outputs))):
        module = entry
        try:
            if not isinstance(entry, nn.Module):
                name, *sizes = (entry,) if isinstance(entry, str) else entry
                module = LAYERS[name](x.shape[1:], *sizes)
            x = module(x)
        except (KeyError, TypeError):
            raise ValueError(f"{owner}: expected layer {i} to be a Module, a name or (name, *sizes) with a name of "
                             f"{', '.join(LAYERS)}, got {entry!r}") from None
        except (ValueError, IndexError) as error:
            raise ShapeError(f"{owner}: layer {i}, {entry!r}, does not fit a sample of shape {x.shape[1:]}: {error}") from None
        modules.append(module)
    return nn.Sequential(*modules)
