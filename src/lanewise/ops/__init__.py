"""Array functions: NumPy in, NumPy out, with torch.nn.functional's names, argument order and NCHW shapes.

float32 or float64, any strides, any batch size; compiled and threaded, with the same result to the last bit for any number
of threads. Every function has its gradient, `*_backward`."""
from .activation import (elu, elu_backward, gelu, gelu_backward, leaky_relu, leaky_relu_backward, relu, relu_backward, sigmoid,
                         sigmoid_backward, tanh, tanh_backward)
from .columns import col2im, col2im_backward, im2col, im2col_backward
from .conv import conv2d, conv2d_backward, conv_transpose2d, conv_transpose2d_backward
from .matmul import linear, linear_backward, matmul, matmul_backward
from .norm import batch_norm, batch_norm_backward, layer_norm, layer_norm_backward
from .pool import (adaptive_avg_pool2d, adaptive_avg_pool2d_backward, avg_pool2d, avg_pool2d_backward, max_pool2d,
                   max_pool2d_backward)
from .softmax import (cross_entropy, cross_entropy_backward, log_softmax, log_softmax_backward, softmax, softmax_backward)

__all__ = ["adaptive_avg_pool2d", "adaptive_avg_pool2d_backward", "avg_pool2d", "avg_pool2d_backward", "batch_norm",
           "batch_norm_backward", "col2im", "col2im_backward", "conv2d", "conv2d_backward", "conv_transpose2d",
           "conv_transpose2d_backward", "cross_entropy", "cross_entropy_backward", "elu", "elu_backward", "gelu",
           "gelu_backward", "im2col", "im2col_backward", "layer_norm", "layer_norm_backward", "leaky_relu",
           "leaky_relu_backward", "linear", "linear_backward", "log_softmax", "log_softmax_backward", "matmul",
           "matmul_backward", "max_pool2d", "max_pool2d_backward", "relu", "relu_backward", "sigmoid", "sigmoid_backward",
           "softmax", "softmax_backward", "tanh", "tanh_backward"]
PUBLIC_OPS = tuple(name for name in __all__ if not name.endswith("_backward"))
