# One pass over an array of the caller's: what a step asks of a batch's labels and losses, without NumPy's cost per call.

def total(const real_t[::1] x):
    """The sum, in order, in double precision."""
    cdef double s = 0
    cdef idx i
    for i in range(x.shape[0]):
        s += x[i]
    return s


def label_range(const int64_t[::1] y):
    """(least, greatest) of at least one label."""
    cdef int64_t low = y[0], high = y[0]
    cdef idx i
    for i in range(1, y.shape[0]):
        low = y[i] if y[i] < low else low
        high = y[i] if y[i] > high else high
    return low, high


def value_range(const real_t[::1] x):
    """(least, greatest) of at least one number; NaNs are passed over."""
    cdef real_t low = INFINITY, high = -INFINITY
    cdef lane_t v, lows = lane_set(low), highs = lane_set(high)
    cdef idx i, n = x.shape[0] // LANES * LANES
    for i in range(0, n, LANES):
        v = lane_load(&x[i])
        lows = lane_select(lane_lt(v, lows), v, lows)
        highs = lane_select(lane_gt(v, highs), v, highs)
    low, high = -lane_most(-lows), lane_most(highs)
    for i in range(n, x.shape[0]):
        low = x[i] if x[i] < low else low
        high = x[i] if x[i] > high else high
    return low, high
