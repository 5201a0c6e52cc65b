# What the expressions of expressions.py call beyond lanes.h.

cdef inline lane_t gelu_tanh_u(lane_t x) noexcept nogil:
    # Twice the argument of the tanh: 0.5 (1 + tanh(u)) = sigmoid(2u).
    return x * (x * x * <real_t> 0.07135481627260024877 + <real_t> 1.5957691216057308)


cdef inline lane_t gelu_tanh_slope(lane_t x) noexcept nogil:
    cdef lane_t s = lane_sigmoid(gelu_tanh_u(x))
    return s + x * s * (lane_set(1) - s) * (x * x * <real_t> 0.21406444881780074632 + <real_t> 1.5957691216057308)


cdef inline lane_t gelu_slope(lane_t x) noexcept nogil:
    return lane_normal_cdf(x) + x * <real_t> 0.39894228040143267794 * lane_gauss(x, <real_t> -0.5)


cdef inline lane_t silu_slope(lane_t x) noexcept nogil:
    cdef lane_t s = lane_sigmoid(x)
    return s + x * s * (lane_set(1) - s)


cdef inline lane_t log_of_any(lane_t x) noexcept nogil:
    # -inf at 0, NaN below, inf at inf.
    cdef lane_t y = lane_select(lane_lt(x, lane_set(INFINITY)), lane_log(x), x)
    return lane_select(lane_gt(x, lane_set(0)), y, lane_select(lane_lt(x, lane_set(0)), lane_set(NAN), x - INFINITY))


cdef inline lane_t softplus_of(lane_t x) noexcept nogil:
    # log(1 + exp(x)) = max(x, 0) + log(1 + u), u = exp(-|x|); 1 + u is rounded, and u / ((1 + u) - 1) takes that back.
    cdef lane_t u = lane_exp_down(-lane_abs(x)), v = u + lane_set(1), d = v - lane_set(1)
    return lane_relu(x) + lane_select(lane_gt(d, lane_set(0)), lane_log(v) * (u / d), u)


cdef inline lane_t power_of(lane_t x, real_t p) noexcept nogil:
    # Whole exponents by squaring; others exp(p log x), NaN for x < 0.
    cdef lane_t y = lane_set(1), square = x
    cdef real_t size = -p if p < 0 else p
    cdef idx n
    if size <= 64 and size == <real_t> (<idx> size):
        n = <idx> size
        while n:
            if n & 1:
                y = y * square
            square = square * square
            n >>= 1
        return lane_set(1) / y if p < 0 else y
    return lane_exp(log_of_any(x) * p)
