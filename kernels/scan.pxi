# One pass over an array: what a step asks of a batch's labels, losses and gradients, without NumPy's cost per call.

cdef inline void* vector(ndarray x, bint right, idx size) except NULL:
    # Where the numbers of an array (n,) start, `right` of kind and of `size` bytes each.
    if not right or cnp.PyArray_ITEMSIZE(x) != size or not cnp.PyArray_ISNOTSWAPPED(x) or cnp.PyArray_NDIM(x) != 1:
        raise ValueError(f"expected a vector of {size} bytes a number, got {(<object> x).dtype} of shape {(<object> x).shape}")
    return bytes_of(x, False)


def total(ndarray losses):
    """The sum, in order, in double precision."""
    cdef const real_t* x = <const real_t*> vector(losses, cnp.PyArray_ISFLOAT(losses), sizeof(real_t))
    cdef double s = 0
    cdef idx i
    for i in range(cnp.PyArray_SIZE(losses)):
        s += x[i]
    return s


def label_range(ndarray labels):
    """(least, greatest) of at least one label."""
    cdef const int64_t* y = <const int64_t*> vector(labels, cnp.PyArray_ISSIGNED(labels), sizeof(int64_t))
    cdef int64_t low = y[0], high = y[0]
    cdef idx i
    for i in range(1, cnp.PyArray_SIZE(labels)):
        low = y[i] if y[i] < low else low
        high = y[i] if y[i] > high else high
    return low, high


def mix_labels(ndarray labels, ndarray index, ndarray parts, idx at, npy_intp classes):
    """(n, classes) probabilities of the rows `index` (n,): parts[at + i] at the label of the i-th and 1 - parts[at + i] at
    that of number i ^ 1, or 1 where they are one or a last row has no other."""
    cdef const int64_t* label = <const int64_t*> vector(labels, cnp.PyArray_ISSIGNED(labels), sizeof(int64_t))
    cdef const int64_t* row = <const int64_t*> vector(index, cnp.PyArray_ISSIGNED(index), sizeof(int64_t))
    cdef const double* part = <const double*> vector(parts, cnp.PyArray_ISFLOAT(parts), sizeof(double)) + at
    cdef npy_intp[2] shape = [cnp.PyArray_SIZE(index), classes]
    cdef ndarray mixed = cnp.PyArray_ZEROS(2, shape, cnp.NPY_DOUBLE if sizeof(real_t) == 8 else cnp.NPY_FLOAT, 0)
    cdef real_t* y = <real_t*> cnp.PyArray_DATA(mixed)
    cdef idx n = shape[0], i
    cdef int64_t own, other
    if at + n > cnp.PyArray_SIZE(parts):
        raise ValueError("mix_labels: expected a part for each row")
    for i in range(n):
        own, other = label[row[i]], label[row[least(i ^ 1, n - 1)]]
        if not 0 <= own < classes or not 0 <= other < classes:
            raise LabelError(f"expected labels from 0 to {classes - 1} to mix, got {own if not 0 <= own < classes else other}")
        y[other] = <real_t> (1 - part[i])
        y[own] = 1 if other == own else <real_t> part[i]
        y += classes
    return mixed


def value_range(ndarray numbers):
    """(least, greatest) of at least one number of a C-contiguous array; NaNs are passed over."""
    cdef const real_t* x = <const real_t*> bytes_of(numbers, False)
    cdef real_t low = INFINITY, high = -INFINITY
    cdef lane_t v, lows = lane_set(low), highs = lane_set(high)
    cdef idx i, size = cnp.PyArray_SIZE(numbers), n = size // LANES * LANES
    for i in range(0, n, LANES):
        v = lane_load(x + i)
        lows = lane_select(lane_lt(v, lows), v, lows)
        highs = lane_select(lane_gt(v, highs), v, highs)
    low, high = -lane_most(-lows), lane_most(highs)
    for i in range(n, size):
        low = x[i] if x[i] < low else low
        high = x[i] if x[i] > high else high
    return low, high


cdef int all_finite(const real_t* g, idx n) noexcept nogil:
    # x - x is 0, or NaN where x is not finite.
    cdef lane_t bad = lane_set(0), v
    cdef real_t line[LANE_MAX]
    cdef real_t rest = 0
    cdef idx i
    for i in range(n // LANES):
        v = lane_load(g + i * LANES)
        bad = bad + (v - v)
    for i in range(n - n % LANES, n):
        rest += g[i] - g[i]
    lane_store(line, bad)
    for i in range(LANES):
        rest += line[i]
    return rest == 0
