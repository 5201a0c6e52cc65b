"""Functions on traced values (or arrays), with PyTorch's names and argument order: what the modules call.

Values (N, ...), the batch first. Weights are Parameters. Errors: ShapeError for shapes, ValueError for arguments out of range,
TypeError for weights that are no Parameters."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..arithmetic import is_number, pad, relu
from ..errors import ShapeError
from ..graph import apply, as_value, constant
from ..nodes import batchnorm, conv_transpose, dense, depthwise, elementwise, pool
from ..nodes import embedding as embeddings
from ..nodes import layer_norm as norms
from ..nodes import softmax as softmaxes
from ..parameter import Buffer
from . import loss
from ._check import count, other_dim, pair, weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Operand, Size
    from ..graph import Value
    from ..loss import Loss
    from ..parameter import Parameter

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits",
           "conv2d", "conv_transpose2d", "cross_entropy", "dropout", "dropout2d", "elu", "embedding", "flatten", "gelu",
           "gram_matrix", "group_norm", "hinge_loss", "huber_loss", "interpolate", "kl_div", "l1_loss", "layer_norm",
           "leaky_relu", "linear", "log_softmax", "max_pool2d", "mse_loss", "multi_margin_loss", "nll_loss", "pad", "prelu",
           "relu", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softplus", "tanh"]


def _number(owner: str, what: str, value: Any, above: float | None = None) -> float:
    if not is_number(value) or (above is not None and not value > above):
        raise ValueError(f"{owner}: expected {what} to be a number{'' if above is None else f' above {above}'}, got {value!r}")
    return float(value)


def _unary(name: str, input: Operand, alpha: float = 0.0, beta: float = 0.0) -> Value:
    return apply(elementwise.Unary(name, alpha, beta), input)


# -- activations: any shape ----------------------------------------------------------------------------------------------

def leaky_relu(input: Operand, negative_slope: float = 0.01) -> Value:
    """x where x > 0, else negative_slope x; the gradient at 0 is negative_slope."""
    return _unary("leaky_relu", input, _number("leaky_relu", "negative_slope", negative_slope))


def prelu(input: Operand, weight: Parameter) -> Value:
    """x where x > 0, else w x, w one number or one for each channel (dimension 1)."""
    x, (weight, _) = as_value(input), weights("prelu", 1, weight)
    if weight.shape[0] not in (1, x.node.shape[0]):
        raise ShapeError(f"prelu: expected a weight of 1 or {x.node.shape[0]} numbers, got {weight.shape[0]}")
    return apply(elementwise.PReLU(), x, constant(weight, (*weight.shape, *[1] * (len(x.node.shape) - 1))))


def elu(input: Operand, alpha: float = 1.0) -> Value:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016)."""
    return _unary("elu", input, _number("elu", "alpha", alpha))


def gelu(input: Operand, approximate: str = "none") -> Value:
    """x P(x), P the normal distribution; "tanh": x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 (Hendrycks, Gimpel 2016)."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: expected approximate to be 'none' or 'tanh', got {approximate!r}")
    return _unary("gelu" if approximate == "none" else "gelu_tanh", input)


def silu(input: Operand) -> Value:
    """x / (1 + exp(-x)) (Elfwing et al. 2018)."""
    return _unary("silu", input)


def softplus(input: Operand, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """log(1 + exp(beta x)) / beta; x where beta x > threshold."""
    return _unary("softplus", input, _number("softplus", "beta", beta, 0), _number("softplus", "threshold", threshold))


def sigmoid(input: Operand) -> Value:
    """1 / (1 + exp(-x))."""
    return _unary("sigmoid", input)


def tanh(input: Operand) -> Value:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return _unary("tanh", input)


def softmax(input: Operand, dim: int = 1) -> Value:
    """exp(x) / sum exp(x) along `dim`, with the maximum subtracted first."""
    x = as_value(input)
    return apply(softmaxes.Softmax(other_dim(dim, x.ndim)), x)


def log_softmax(input: Operand, dim: int = 1) -> Value:
    """x - log sum exp(x) along `dim`, with the maximum subtracted first."""
    x = as_value(input)
    return apply(softmaxes.LogSoftmax(other_dim(dim, x.ndim)), x)


# -- layers ----------------------------------------------------------------------------------------------------------------

def linear(input: Operand, weight: Parameter, bias: Parameter | None = None) -> Value:
    """y = x W^T + b, (N, I) -> (N, O) or (N, T, I) -> (N, T, O); W (O, I)."""
    return apply(dense.Linear(*weights("linear", 2, weight, bias)), input)


def conv2d(input: Operand, weight: Parameter, bias: Parameter | None = None, stride: Size = 1, padding: Size | str = 0,
           dilation: Size = 1, groups: int = 1) -> Value:
    """Cross-correlation, (N, C, H, W) -> (N, O, H', W'); W (O, C / groups, KH, KW); see nn.Conv2d."""
    weight, bias = weights("conv2d", 4, weight, bias)
    stride, dilation, groups = pair(stride, "stride", 1), pair(dilation, "dilation", 1), count(groups, "groups")
    if weight.shape[0] % groups:
        raise ValueError(f"groups: expected a divisor of {weight.shape[0]} channels, got {groups}")
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding 'same' expected stride 1, got {stride}")
        h, w = (d * (k - 1) for d, k in zip(dilation, weight.shape[2:]))
        border = (h // 2, w // 2, h - h // 2, w - w // 2)
    else:
        border = pair(0 if padding == "valid" else padding, "padding", 0) * 2
    return apply(depthwise.conv2d(weight, bias, stride, border, dilation, groups), input)


def _window(kernel_size: Size, stride: Size | None, padding: Size) -> tuple[Any, Any, Any]:
    kernel_size, padding = pair(kernel_size, "kernel_size", 1), pair(padding, "padding", 0)
    if any(2 * p > k for p, k in zip(padding, kernel_size)):
        raise ValueError(f"padding: expected at most half of the window {kernel_size}, got {padding}")
    return kernel_size, kernel_size if stride is None else pair(stride, "stride", 1), padding


def max_pool2d(input: Operand, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *,
               ceil_mode: bool = False) -> Value:
    """The greatest of each window, (N, C, H, W) -> (N, C, H', W'); see nn.MaxPool2d."""
    return apply(pool.MaxPool2d(*_window(kernel_size, stride, padding), bool(ceil_mode)), input)


def avg_pool2d(input: Operand, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Value:
    """The mean of each window, (N, C, H, W) -> (N, C, H', W'); see nn.AvgPool2d."""
    return apply(pool.AvgPool2d(*_window(kernel_size, stride, padding), bool(ceil_mode), bool(count_include_pad)), input)


def conv_transpose2d(input: Operand, weight: Parameter, bias: Parameter | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Value:
    """The gradient of conv2d as a layer, (N, C, H, W) -> (N, O, H', W'); W (C, O / groups, KH, KW); see nn.ConvTranspose2d."""
    weight, groups = weights("conv_transpose2d", 4, weight)[0], count(groups, "groups")
    if bias is not None and weights("conv_transpose2d", 1, bias)[0].shape[0] != weight.shape[1] * groups:
        raise ShapeError(f"conv_transpose2d: expected a bias of {weight.shape[1] * groups} numbers, got {bias.shape}")
    if weight.shape[0] % groups:
        raise ValueError(f"groups: expected a divisor of {weight.shape[0]} channels, got {groups}")
    stride, padding, dilation = pair(stride, "stride", 1), pair(padding, "padding", 0), pair(dilation, "dilation", 1)
    output_padding = pair(output_padding, "output_padding", 0)
    return apply(conv_transpose.ConvTranspose2d(weight, bias, stride, padding, output_padding, dilation, groups), input)


def adaptive_avg_pool2d(input: Operand, output_size: int | Sequence[int | None] | None) -> Value:
    """Means over windows that leave output_size pixels; see nn.AdaptiveAvgPool2d."""
    from .resample import AdaptiveAvgPool2d
    return AdaptiveAvgPool2d(output_size)(as_value(input))


def interpolate(input: Operand, size: Size | None = None, scale_factor: float | Sequence[float] | None = None,
                mode: str = "nearest", align_corners: bool | None = None) -> Value:
    """The image at another size; see nn.Upsample."""
    from .resample import Upsample
    return Upsample(size, scale_factor, mode, align_corners)(as_value(input))


def embedding(input: Operand, weight: Parameter, padding_idx: int | None = None) -> Value:
    """Rows of W (num, dim) by integers, (N, ...) -> (N, ..., dim); see nn.Embedding."""
    rows = weights("embedding", 2, weight)[0].shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx: expected a row of {rows}, got {padding_idx!r}")
    return apply(embeddings.Embedding(weight, None if padding_idx is None else padding_idx % rows), input)


def layer_norm(input: Operand, normalized_shape: Size, weight: Parameter | None = None, bias: Parameter | None = None,
               eps: float = 1e-5) -> Value:
    """Mean 0 and variance 1 over the last dimensions of a sample; see nn.LayerNorm."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return apply(norms.LayerNorm(shape, weight, bias, eps), input)


def group_norm(input: Operand, num_groups: int, weight: Parameter | None = None, bias: Parameter | None = None,
               eps: float = 1e-5) -> Value:
    """Mean 0 and variance 1 over groups of a sample's channels; see nn.GroupNorm."""
    x = as_value(input)
    return apply(norms.GroupNorm(num_groups, x.shape[1], weight, bias, eps), x)


def batch_norm(input: Operand, running_mean: Buffer | None, running_var: Buffer | None, weight: Parameter | None = None,
               bias: Parameter | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Value:
    """Mean 0 and variance 1 over batch and pixels; the running statistics are Buffers, both or none; see nn.BatchNorm2d."""
    if (running_mean is None) != (running_var is None) or (running_mean is None and not training):
        raise ValueError("batch_norm: expected running_mean and running_var, or neither in training")
    for name, b in (("running_mean", running_mean), ("running_var", running_var)):
        if b is not None and not isinstance(b, Buffer):
            raise TypeError(f"batch_norm: expected {name} to be a Buffer, got {type(b).__name__}")
    x = as_value(input)
    size = next((p.shape[0] for p in (running_mean, weight, bias) if p is not None), x.shape[1])
    batchnorm.check_channels(x.node.shape, size, (2, 3, 4))
    running = None if running_mean is None else (running_mean, running_var)
    return apply(batchnorm.BatchNorm(weight, bias, running, float(momentum), float(eps), bool(training)), x)


def dropout(input: Operand, p: float = 0.5, training: bool = True) -> Value:
    """Numbers become 0 with probability p, else x / (1 - p); see nn.Dropout."""
    from .batchnorm import Dropout
    return Dropout(p).train(training)(as_value(input))


def dropout2d(input: Operand, p: float = 0.5, training: bool = True) -> Value:
    """Dropout of whole channels; see nn.Dropout2d."""
    from .batchnorm import Dropout2d
    return Dropout2d(p).train(training)(as_value(input))


def flatten(input: Operand, start_dim: int = 1, end_dim: int = -1) -> Value:
    """Join dimensions start_dim to end_dim, in PyTorch's order (C, H, W)."""
    return as_value(input).flatten(start_dim, end_dim)


def gram_matrix(input: Operand) -> Value:
    """G[n] = F F^T / (C H W), F the channels of a sample as rows (C, H W): (N, C, H, W) -> (N, C, C) (Gatys et al. 2016)."""
    x = as_value(input)
    rows = x.flatten(2)
    return rows @ rows.transpose(1, 2) / (rows.shape[1] * rows.shape[2])


# -- losses: a Loss handle ---------------------------------------------------------------------------------------------------

def cross_entropy(input: Operand, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Loss:
    """See nn.CrossEntropyLoss."""
    return loss.CrossEntropyLoss(weight, ignore_index, reduction, label_smoothing)(input, target)


def nll_loss(input: Operand, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
             reduction: str = "mean") -> Loss:
    """See nn.NLLLoss."""
    return loss.NLLLoss(weight, ignore_index, reduction)(input, target)


def multi_margin_loss(input: Operand, target: ArrayLike, p: int = 1, margin: float = 1.0, weight: ArrayLike | None = None,
                      reduction: str = "mean") -> Loss:
    """See nn.MultiMarginLoss."""
    return loss.MultiMarginLoss(p, margin, weight, reduction)(input, target)


def mse_loss(input: Operand, target: ArrayLike, reduction: str = "mean") -> Loss:
    """See nn.MSELoss."""
    return loss.MSELoss(reduction)(input, target)


def l1_loss(input: Operand, target: ArrayLike, reduction: str = "mean") -> Loss:
    """See nn.L1Loss."""
    return loss.L1Loss(reduction)(input, target)


def smooth_l1_loss(input: Operand, target: ArrayLike, reduction: str = "mean", beta: float = 1.0) -> Loss:
    """See nn.SmoothL1Loss."""
    return loss.SmoothL1Loss(reduction, beta)(input, target)


def huber_loss(input: Operand, target: ArrayLike, reduction: str = "mean", delta: float = 1.0) -> Loss:
    """See nn.HuberLoss."""
    return loss.HuberLoss(reduction, delta)(input, target)


def binary_cross_entropy(input: Operand, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean") -> Loss:
    """See nn.BCELoss."""
    return loss.BCELoss(weight, reduction)(input, target)


def binary_cross_entropy_with_logits(input: Operand, target: ArrayLike, weight: ArrayLike | None = None,
                                     reduction: str = "mean", pos_weight: ArrayLike | None = None) -> Loss:
    """See nn.BCEWithLogitsLoss."""
    return loss.BCEWithLogitsLoss(weight, reduction, pos_weight)(input, target)


def kl_div(input: Operand, target: ArrayLike, reduction: str = "mean", log_target: bool = False) -> Loss:
    """See nn.KLDivLoss."""
    return loss.KLDivLoss(reduction, log_target)(input, target)


def hinge_loss(input: Operand, target: ArrayLike, reduction: str = "mean") -> Loss:
    """See nn.HingeLoss."""
    return loss.HingeLoss(reduction)(input, target)
