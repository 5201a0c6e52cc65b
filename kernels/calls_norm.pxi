# Batch and layer normalisation.

cdef class Channels:
    # x (N, C, ...) as C-contiguous [n][c][s]; (N, C) is turned to [1][C][N], so that a channel is contiguous.
    cdef ndarray x, running_mean, running_var, weight
    cdef npy_intp n, c, s
    cdef bint flat

    cdef ndarray turned(self, ndarray x):
        return packed_one(x.T if self.flat else x)

    cdef ndarray back(self, ndarray y):
        return packed_one(y.T) if self.flat else y


cdef Channels channels(str name, ndarray x, running_mean, running_var, weight, bint training):
    cdef Channels c = Channels()
    cdef int n = cnp.PyArray_NDIM(x)
    c.running_mean = array_like(name, "running_mean", running_mean, "x", x)
    c.running_var = array_like(name, "running_var", running_var, "x", x)
    c.weight = array_like(name, "weight", weight, "x", x)
    if n < 2:
        raise ShapeError(f"{name}: expected x of 2 or more dimensions (N, C, ...), got shape {shape_of(x)}")
    c.flat, c.c = n == 2, cnp.PyArray_DIM(x, 1)
    c.n = 1 if c.flat else cnp.PyArray_DIM(x, 0)
    c.s = cnp.PyArray_DIM(x, 0) if c.flat else product(x, 2, n)
    vector(name, "running_mean", c.running_mean, c.c)
    vector(name, "running_var", c.running_var, c.c)
    vector(name, "weight", c.weight, c.c)
    if training:
        if c.n * c.s < 2:
            raise ShapeError(f"{name}: expected more than one value per channel in training, got shape {shape_of(x)}")
    elif running_mean is None or running_var is None:
        raise ShapeError(f"{name}: expected running_mean and running_var outside training, got None")
    c.weight = packed_one(c.weight)
    c.x = c.turned(x)
    return c


cdef ndarray writable(ndarray x):
    # x, or a copy where the kernel cannot write there.
    cdef int needed = cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_WRITEABLE
    return x if x is None or cnp.PyArray_CHKFLAGS(x, needed) else cnp.PyArray_NewCopy(x, cnp.NPY_CORDER)


def batch_norm(x, running_mean, running_var, weight, bias, bint training, double momentum, double eps, out):
    """ops.batch_norm."""
    cdef str name = "batch_norm"
    cdef ndarray a = array(name, "x", x), b, y, z, mean, var
    cdef Channels c = channels(name, a, running_mean, running_var, weight, training)
    b = array_like(name, "bias", bias, "x", a)
    vector(name, "bias", b, c.c)
    b = packed_one(b)
    mean, var = (writable(c.running_mean), writable(c.running_var)) if training else (
        packed_one(c.running_mean), packed_one(c.running_var))
    y = place(name, out, cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), a, (c.x, c.weight, b, mean, var), not c.flat)
    z = fresh_like(c.x) if c.flat else y
    kernels_of(a).batch_norm(c.x, None, z, c.weight, b, mean, var, None, None, c.n, c.c, c.s, training, momentum, eps,
                             crew_of(cnp.PyArray_SIZE(a) // 4))
    if c.flat:
        y[...] = z.T
    if training:
        given(c.running_mean, mean)
        given(c.running_var, var)
    return given(out, y)


def batch_norm_backward(dy, x, running_mean, running_var, weight, bint training, double eps):
    """ops.batch_norm_backward."""
    cdef str name = "batch_norm_backward"
    cdef ndarray g = array(name, "dy", dy), a = array_like(name, "x", x, "dy", g), dx, dw, db
    same_shape(name, "dy", g, a)
    cdef Channels c = channels(name, a, running_mean, running_var, weight, training)
    dx = fresh_like(c.x)
    dw = fresh(1, &c.c, cnp.PyArray_TYPE(a))
    db = fresh(1, &c.c, cnp.PyArray_TYPE(a))
    kernels_of(a).batch_norm(c.x, c.turned(g), dx, c.weight, None, packed_one(c.running_mean), packed_one(c.running_var), dw,
                             db, c.n, c.c, c.s, training, 0, eps, crew_of(cnp.PyArray_SIZE(a) // 4))
    return c.back(dx), dw, db


cdef idx row_size(str name, ndarray x, normalized_shape, ndarray weight, ndarray bias) except -1:
    # How many numbers a row has: the last dimensions, normalized_shape.
    cdef int d, n = cnp.PyArray_NDIM(x), m
    cdef idx size = 1
    cdef tuple last
    if isinstance(normalized_shape, (int, np.integer)):
        last = (normalized_shape,)
    else:
        last = tuple(normalized_shape)
    m = <int> len(last)
    cdef bint fits = 0 < m <= n
    for d in range(m if fits else 0):
        fits &= last[d] == cnp.PyArray_DIM(x, n - m + d)
    if not fits:
        raise ShapeError(f"{name}: expected x whose last dimensions are {last}, got shape {shape_of(x)}")
    if m > 1:
        shape(name, "weight", weight, last)
        shape(name, "bias", bias, last)
    else:
        vector(name, "weight", weight, cnp.PyArray_DIM(x, n - 1))
        vector(name, "bias", bias, cnp.PyArray_DIM(x, n - 1))
    size = product(x, n - m, n)
    if size == 0:
        raise ShapeError(f"{name}: expected at least one number in a row, got shape {shape_of(x)}")
    return size


def layer_norm(x, normalized_shape, weight, bias, double eps, out):
    """ops.layer_norm."""
    cdef str name = "layer_norm"
    cdef ndarray a = array(name, "x", x), w = array_like(name, "weight", weight, "x", a)
    cdef ndarray b = array_like(name, "bias", bias, "x", a), y
    cdef idx size = row_size(name, a, normalized_shape, w, b)
    a, w, b = packed_one(a), packed_one(w), packed_one(b)
    y = place(name, out, cnp.PyArray_NDIM(a), cnp.PyArray_DIMS(a), a, (a, w, b), True)
    kernels_of(a).layer_norm(a, None, y, w, b, None, None, cnp.PyArray_SIZE(a) // size, size, eps,
                             crew_of(cnp.PyArray_SIZE(a) // 2))
    return given(out, y)


def layer_norm_backward(dy, x, normalized_shape, weight, double eps):
    """ops.layer_norm_backward."""
    cdef str name = "layer_norm_backward"
    cdef ndarray g = array(name, "dy", dy), a = array_like(name, "x", x, "dy", g)
    cdef ndarray w = array_like(name, "weight", weight, "dy", g), dx, dw, db
    cdef int n = cnp.PyArray_NDIM(a), m
    same_shape(name, "dy", g, a)
    cdef idx size = row_size(name, a, normalized_shape, w, None)
    m = 1 if isinstance(normalized_shape, (int, np.integer)) else <int> len(normalized_shape)
    g, a, w = packed_one(g), packed_one(a), packed_one(w)
    dx = fresh_like(a)
    dw = fresh(m, cnp.PyArray_DIMS(a) + n - m, cnp.PyArray_TYPE(a))
    db = fresh(m, cnp.PyArray_DIMS(a) + n - m, cnp.PyArray_TYPE(a))
    kernels_of(a).layer_norm(a, g, dx, w, None, dw, db, cnp.PyArray_SIZE(a) // size, size, eps, crew_of(cnp.PyArray_SIZE(a)))
    return dx, dw, db
