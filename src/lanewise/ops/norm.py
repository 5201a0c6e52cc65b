"""Batch and layer normalisation, and their gradients. Statistics are summed in float64 over samples."""
from .._kernels import calls


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight + bias per channel: (N, C, ...) and (C,) -> (N, C, ...).

    In training mean and (biased) var are those of x, and running = (1 - momentum) running + momentum * (mean, unbiased var)
    is written into running_mean and running_var where given; otherwise they are used."""
    return calls.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps, out)


def batch_norm_backward(dy, x, running_mean, running_var, weight=None, training=False, eps=1e-5):
    """(dx, dweight, dbias) of batch_norm; xhat = (x - mean) / sqrt(var + eps), recomputed.

    dbias = sum dy, dweight = sum dy xhat, dx = weight / sqrt(var + eps) * (dy - (dbias + xhat dweight) / count) in
    training, without the bracket's second term otherwise."""
    return calls.batch_norm_backward(dy, x, running_mean, running_var, weight, training, eps)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5, *, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimensions, which are normalized_shape, as are weight
    and bias; var is biased."""
    return calls.layer_norm(x, normalized_shape, weight, bias, eps, out)


def layer_norm_backward(dy, x, normalized_shape, weight=None, eps=1e-5):
    """(dx, dweight, dbias) of layer_norm; with g = dy weight, dx = (g - mean g - xhat mean(g xhat)) / sqrt(var + eps)."""
    return calls.layer_norm_backward(dy, x, normalized_shape, weight, eps)
