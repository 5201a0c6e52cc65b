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
