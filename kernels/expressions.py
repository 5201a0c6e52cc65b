"""The functions of one number at a time, as Cython on lanes, for elementwise.pxi.tp and arrays_elementwise.pxi.tp.

x, g, w: the first, second and third operand; alpha, beta: constants. A gradient reads in x what its formula is cheapest in,
the input or the output, and in g the gradient dy of the output."""

# name: (expression, operands)
ACTIVATIONS = {
    "relu": ("lane_relu(x)", 1),
    "relu_backward": ("lane_select(lane_le(x, lane_set(0)), lane_set(0), g)", 2),          # x: input or output
    "leaky_relu": ("lane_select(lane_gt(x, lane_set(0)), x, x * alpha)", 1),
    "leaky_relu_backward": ("lane_select(lane_gt(x, lane_set(0)), g, g * alpha)", 2),      # x: input
    "elu": ("lane_select(lane_gt(x, lane_set(0)), x, lane_expm1(x) * alpha)", 1),
    "elu_backward": ("lane_select(lane_gt(x, lane_set(0)), g, g * lane_exp(x) * alpha)", 2),       # x: input
    "sigmoid": ("lane_sigmoid(x)", 1),
    "sigmoid_backward": ("g * x * (lane_set(1) - x)", 2),                                  # x: output
    "tanh": ("lane_tanh(x)", 1),
    "tanh_backward": ("g * (lane_set(1) - x * x)", 2),                                     # x: output
    "gelu": ("x * lane_normal_cdf(x)", 1),
    "gelu_backward": ("g * gelu_slope(x)", 2),                                             # x: input
    "gelu_tanh": ("x * lane_sigmoid(gelu_tanh_u(x))", 1),
    "gelu_tanh_backward": ("g * gelu_tanh_slope(x)", 2),                                   # x: input
}

ARITHMETIC = {
    "add": ("x + g", 2),
    "subtract": ("x - g", 2),
    "multiply": ("x * g", 2),
    "divide": ("x / g", 2),
    "divide_backward": ("-(x * g / w)", 3),             # of the divisor w: x dy, g the quotient
    "affine": ("x * alpha + beta", 1),                  # scaling, copying, reordering, sums
    "fill": ("lane_set(beta)", 0),
    "exp": ("lane_exp(x)", 1),
    "exp_backward": ("g * x", 2),                       # x: output
    "log": ("log_of_any(x)", 1),
    "log_backward": ("g / x", 2),                       # x: input
    "sqrt": ("lane_sqrt(x)", 1),
    "sqrt_backward": ("g * <real_t> 0.5 / x", 2),       # x: output
    "abs": ("lane_abs(x)", 1),
    # x: input; 0 at 0
    "abs_backward": ("lane_select(lane_gt(x, lane_set(0)), g, lane_select(lane_lt(x, lane_set(0)), -g, x * g))", 2),
    "square": ("x * x", 1),
    "square_backward": ("g * x * 2", 2),                # x: input
    "power": ("power_of(x, alpha)", 1),
    "power_backward": ("g * power_of(x, alpha - 1) * alpha", 2),                           # x: input
    "silu": ("x * lane_sigmoid(x)", 1),
    "silu_backward": ("g * silu_slope(x)", 2),                                             # x: input
    "softplus": ("lane_select(lane_gt(x * alpha, lane_set(beta)), x, softplus_of(x * alpha) / lane_set(alpha))", 1),
    "softplus_backward": ("lane_select(lane_gt(x * alpha, lane_set(beta)), g, g * lane_sigmoid(x * alpha))", 2),
    "prelu": ("lane_select(lane_gt(x, lane_set(0)), x, x * g)", 2),                        # g: slope
    "prelu_backward": ("lane_select(lane_gt(x, lane_set(0)), g, g * w)", 3),               # w: slope
    "prelu_slope": ("lane_select(lane_gt(x, lane_set(0)), lane_set(0), g * x)", 2),
}
