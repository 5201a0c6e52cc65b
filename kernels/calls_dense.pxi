# Activations, softmax and cross-entropy.

def elementwise(str op, double weight, x, dy=None, double alpha=0.0, out=None, str name=None):
    """The kernel `op` of x (and, a gradient, of dy), number by number; weight: nanoseconds of one; name: the caller's."""
    cdef ndarray a, g, y
    name = name or op
    a = array(name, "x", x)
    g = array_like(name, "dy", dy, "x", a)
    same_shape(name, "dy", g, a)
    a, g = packed_one(a), packed_one(g)
    y = place(name, out, cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), a, (a, g), True)
    kernels_of(a).elementwise(op, a, g, y, cnp.PyArray_SIZE(a), alpha, crew_of(cnp.PyArray_SIZE(a) * weight))
    return given(out, y)


cdef idx product(ndarray x, int first, int stop):
    cdef idx n = 1
    cdef int d
    for d in range(first, stop):
        n *= cnp.PyArray_DIM(x, d)
    return n


def softmax(str name, bint log, x, dy, dim, out=None):
    """softmax (or its logarithm) of x along dim; with dy its gradient from x = y."""
    cdef ndarray a, g = None, y
    cdef int d, n
    if dy is None:
        a = array(name, "x", x)
    else:
        g = array(name, "dy", dy)
        a = array_like(name, "y", x, "dy", g)
    d, n = axis(name, a, dim), cnp.PyArray_NDIM(a)
    if n and cnp.PyArray_DIM(a, d) == 0:
        raise ShapeError(f"{name}: expected at least one number along dim {d}, got shape {shape_of(a)}")
    same_shape(name, "dy", g, a)
    a, g = packed_one(a), packed_one(g)
    y = place(name, out, n, cnp.PyArray_DIMS(a), a, (a, g), True)
    if cnp.PyArray_SIZE(a):
        kernels_of(a).softmax(a, g, y, product(a, 0, d), cnp.PyArray_DIM(a, d) if n else 1, product(a, d + 1, n), log,
                              crew_of(cnp.PyArray_SIZE(a)))
    return given(out, y)


def loss_arrays(str name, x, weight, reduction, double smoothing):
    """x and weight of a loss, checked, and what else both kinds of target share."""
    cdef ndarray a = array(name, "x", x), w = array_like(name, "weight", weight, "x", a)
    cdef int n = cnp.PyArray_NDIM(a)
    if reduction != "mean" and reduction != "sum" and reduction != "none":
        raise ShapeError(f"{name}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}")
    if not 0 <= smoothing <= 1:
        raise ShapeError(f"{name}: expected label_smoothing between 0 and 1, got {smoothing!r}")
    if n == 0 or cnp.PyArray_DIM(a, n > 1) == 0:
        raise ShapeError(f"{name}: expected x of shape (C,) or (N, C, ...) with at least one class, got {shape_of(a)}")
    vector(name, "weight", w, cnp.PyArray_DIM(a, n > 1))
    return a, w


cdef ndarray labels(str name, ndarray x, target):
    # An int64 label for each (N, ...) of x (N, C, ...), or one for x (C,).
    cdef ndarray t = target
    cdef int d, n = cnp.PyArray_NDIM(x), m = cnp.PyArray_NDIM(t)
    cdef bint fits = m == max(0, n - 1)
    for d in range(m if fits else 0):
        fits &= cnp.PyArray_DIM(t, d) == cnp.PyArray_DIM(x, d + (d > 0))
    if not fits:
        expected = (1,) if n == 1 else (shape_of(x)[0], *shape_of(x)[2:])
        raise ShapeError(f"{name}: expected target of shape {expected}, got {(1, *shape_of(t)) if n == 1 else shape_of(t)}")
    if not cnp.PyTypeNum_ISINTEGER(cnp.PyArray_TYPE(t)):
        raise LabelError(f"{name}: expected target of integer labels or of probabilities, got {t.dtype}")
    if t.dtype == np.uint64:
        t = np.asarray(np.minimum(t, np.uint64(2**63 - 1)))         # what int64 cannot hold is out of range too
    if cnp.PyArray_TYPE(t) != NPY_INT64 or not cnp.PyArray_ISNOTSWAPPED(t):
        t = t.astype(np.int64)
    return packed_one(t)


cdef double counted(str name, object k, ndarray x, ndarray w, ndarray t, target, ignore_index, str reduction) except? -1:
    # The weights of the labels that count, summed.
    cdef idx classes = cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) > 1)
    wrong, count = k.count_labels(t, w, cnp.PyArray_SIZE(t), classes, ignore_index)
    if wrong >= 0:
        raise LabelError(f"{name}: expected labels from 0 to {classes - 1}, got {np.asarray(target).reshape(-1)[wrong]}")
    if reduction == "mean" and cnp.PyArray_SIZE(x) == 0:
        raise ShapeError(f"{name}: expected at least one sample to take the mean of, got x of shape "
                         f"{(1, *shape_of(x)) if cnp.PyArray_NDIM(x) == 1 else shape_of(x)}")
    return count


cdef int loss_kernel(ndarray x, ndarray w, ndarray t, ndarray dy, double scale, ndarray out, ignore_index,
                     double smoothing) except -1:
    cdef int n = cnp.PyArray_NDIM(x)
    cdef idx classes = cnp.PyArray_DIM(x, n > 1)
    if cnp.PyArray_SIZE(x):
        kernels_of(x).cross_entropy(x, w, t, dy, scale, out, cnp.PyArray_DIM(x, 0) if n > 1 else 1, classes, product(x, 2, n),
                                    ignore_index, smoothing / classes, crew_of(cnp.PyArray_SIZE(x)))
    return 0


def cross_entropy(x, target, weight, ignore_index, str reduction, double smoothing):
    """ops.cross_entropy of integer labels."""
    cdef str name = "cross_entropy"
    cdef ndarray a, w, t, loss
    cdef double count, total
    a, w = loss_arrays(name, x, weight, reduction, smoothing)
    t = labels(name, a, target)
    k = kernels_of(a)
    count = counted(name, k, a, w, t, target, ignore_index, reduction)
    loss = fresh(cnp.PyArray_NDIM(t), cnp.PyArray_DIMS(t), cnp.PyArray_TYPE(a))
    a, w = packed_one(a), packed_one(w)
    loss_kernel(a, w, t, None, 0, loss, ignore_index, smoothing)
    if reduction == "none":
        return loss if cnp.PyArray_NDIM(loss) else loss[()]
    total = k.total(loss, cnp.PyArray_SIZE(loss))
    if reduction == "mean":
        total = total / count if count else total * float("inf") if total else float("nan")
    return np.float64(total) if cnp.PyArray_TYPE(a) == NPY_DOUBLE else np.float32(total)


def cross_entropy_backward(dy, x, target, weight, ignore_index, str reduction, double smoothing):
    """ops.cross_entropy_backward of integer labels."""
    cdef str name = "cross_entropy_backward"
    cdef ndarray a, w, t, dx, g = None
    cdef double count, scale = 1
    a, w = loss_arrays(name, x, weight, reduction, smoothing)
    t = labels(name, a, target)
    count = counted(name, kernels_of(a), a, w, t, target, ignore_index, reduction)
    if reduction == "none":
        g = packed_one(np.asarray(dy, a.dtype))
        same_shape(name, "dy", g, t)
    else:
        if not isinstance(dy, float):
            shape(name, "dy", np.asarray(dy), ())
        scale = dy
        if reduction == "mean":
            scale = scale / count if count else scale * float("inf") if scale else float("nan")
    a, w = packed_one(a), packed_one(w)
    dx = fresh_like(a)
    loss_kernel(a, w, t, g, scale, dx, ignore_index, smoothing)
    return dx
