# Matrix products.

SMALL = 512 ** 3        # M K N of an item up to which two items or more run on our tiles, an item on one thread: against one
                        # thread of NumPy's OpenBLAS they take 1.3 of its time at 64, 0.9 from 96 to 512 (float32, AVX-512),
                        # and two threads halve it, where BLAS starts its threads anew for every item

THIN = 16               # rows up to which a layer's backward pass runs on our tiles: of one row, 256 -> 120, BLAS takes ten
                        # times as long for the weight gradient


cdef inline bint regular(ndarray x):
    # Whether the strides of x are whole numbers of items.
    cdef int d
    if not cnp.PyArray_CHKFLAGS(x, cnp.NPY_ARRAY_ALIGNED):
        return False
    for d in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_STRIDE(x, d) % cnp.PyArray_ITEMSIZE(x):
            return False
    return True


cdef tuple steps(ndarray x, int dims):
    # The strides of x along `dims` broadcast dimensions, and along its own last two, in numbers.
    cdef int d, n = cnp.PyArray_NDIM(x), own = n - 2
    cdef idx size = cnp.PyArray_ITEMSIZE(x)
    cdef list along = [0] * (dims - own)
    for d in range(own):
        along.append(0 if cnp.PyArray_DIM(x, d) == 1 else cnp.PyArray_STRIDE(x, d) // size)
    return tuple(along), cnp.PyArray_STRIDE(x, n - 2) // size, cnp.PyArray_STRIDE(x, n - 1) // size


cdef int broadcast(ndarray a, ndarray b, npy_intp* batch) except -2:
    # The batch dimensions of a and b together, their number returned; -1 where they do not broadcast.
    cdef int d, na = cnp.PyArray_NDIM(a) - 2, nb = cnp.PyArray_NDIM(b) - 2, n = max(na, nb)
    cdef npy_intp one, other
    for d in range(n):
        one = cnp.PyArray_DIM(a, d - (n - na)) if d >= n - na else 1
        other = cnp.PyArray_DIM(b, d - (n - nb)) if d >= n - nb else 1
        if one != other and one != 1 and other != 1:
            return -1
        batch[d] = other if one == 1 else one
    return n


def batch(ndarray a, ndarray b):
    """The broadcast batch dimensions, None where they do not broadcast."""
    cdef npy_intp sizes[64]
    cdef int d, n = broadcast(a, b, sizes)
    return None if n < 0 else tuple([sizes[d] for d in range(n)])


def matmul(a, b, out=None):
    """ops.matmul."""
    cdef str name = "matmul"
    cdef ndarray x = array(name, "a", a), z = array_like(name, "b", b, "a", x), y, one = x, other = z
    cdef npy_intp sizes[64]
    cdef npy_intp shown[64]
    cdef npy_intp m, n, k, items = 1
    cdef int d, dims, nd, row = cnp.PyArray_NDIM(x) == 1, column = cnp.PyArray_NDIM(z) == 1
    if cnp.PyArray_NDIM(x) == 0 or cnp.PyArray_NDIM(z) == 0:
        raise ShapeError(f"matmul: expected arrays of at least one dimension, got shapes {shape_of(x)} and {shape_of(z)}")
    if row:
        one = x[None]
    if column:
        other = z[:, None]
    m, k = cnp.PyArray_DIM(one, cnp.PyArray_NDIM(one) - 2), cnp.PyArray_DIM(one, cnp.PyArray_NDIM(one) - 1)
    n = cnp.PyArray_DIM(other, cnp.PyArray_NDIM(other) - 1)
    dims = broadcast(one, other, sizes)
    if dims < 0 or cnp.PyArray_DIM(other, cnp.PyArray_NDIM(other) - 2) != k:
        raise ShapeError(f"matmul: expected (..., M, K) and (..., K, N) whose batches broadcast, got {shape_of(x)} and "
                         f"{shape_of(z)}")
    nd = dims
    for d in range(dims):
        shown[d] = sizes[d]
        items *= sizes[d]
    if not row:
        shown[nd] = m
        nd += 1
    if not column:
        shown[nd] = n
        nd += 1
    y = place(name, out, nd, shown, x, (x, z))
    if items < 2 or m * k * n > SMALL or m * k * n == 0 or not (regular(one) and regular(other)):
        np.matmul(x, z, out=y)
    else:
        kernels_of(x).matmul(one, other, y, tuple([sizes[d] for d in range(dims)]), m, n, k, steps(one, dims),
                             steps(other, dims), crew_of(items * (m * k * n // 16 + m * n // 4 + 4)))
    return given(out, y)


cdef ndarray product_2d(ndarray a, ndarray b, bint thin):
    # a b. Thin, that is of few rows or of a sum over few: our tiles, where BLAS packs what is read only once.
    cdef npy_intp dims[2]
    cdef ndarray y
    dims[0], dims[1] = cnp.PyArray_DIM(a, 0), cnp.PyArray_DIM(b, 1)
    y = fresh(2, dims, cnp.PyArray_TYPE(a))
    if thin and cnp.PyArray_SIZE(a) and cnp.PyArray_SIZE(b) and regular(a) and regular(b):
        kernels_of(a).matmul(a, b, y, (1,), dims[0], dims[1], cnp.PyArray_DIM(b, 0), steps(a, 1), steps(b, 1), 1)
    else:
        np.matmul(a, b, out=y)
    return y


cdef int check_linear(str name, ndarray x, ndarray weight) except -1:
    cdef int n = cnp.PyArray_NDIM(x)
    if cnp.PyArray_NDIM(weight) != 2 or n == 0 or cnp.PyArray_DIM(x, n - 1) != cnp.PyArray_DIM(weight, 1):
        raise ShapeError(f"{name}: expected x (..., I) and weight (O, I), got {shape_of(x)} and {shape_of(weight)}")
    return 0


cdef ndarray flat_rows(ndarray x, npy_intp rows, npy_intp size):
    # x (..., size) as (rows, size).
    return x if cnp.PyArray_NDIM(x) == 2 else (<object> x).reshape(rows, size)


def linear(x, weight, bias, out):
    """ops.linear."""
    cdef str name = "linear"
    cdef ndarray a = array(name, "x", x), w = array_like(name, "weight", weight, "x", a), y, rows
    cdef ndarray b = array_like(name, "bias", bias, "x", a)
    cdef npy_intp dims[64]
    cdef npy_intp n = 1
    cdef int d, nd = cnp.PyArray_NDIM(a)
    check_linear(name, a, w)
    vector(name, "bias", b, cnp.PyArray_DIM(w, 0))
    for d in range(nd - 1):
        dims[d] = cnp.PyArray_DIM(a, d)
        n *= dims[d]
    dims[nd - 1] = cnp.PyArray_DIM(w, 0)
    y = place(name, out, nd, dims, a, (a, w, b))
    rows = flat_rows(y, n, dims[nd - 1])
    np.matmul(flat_rows(a, n, cnp.PyArray_DIM(w, 1)), w.T, out=rows)
    if b is not None:
        np.add(rows, b, out=rows)
    return given(out, y)


def linear_backward(dy, x, weight):
    """ops.linear_backward."""
    cdef str name = "linear_backward"
    cdef ndarray g = array(name, "dy", dy), a = array_like(name, "x", x, "dy", g), db
    cdef ndarray w = array_like(name, "weight", weight, "dy", g)
    cdef npy_intp outs, ins, rows = 1
    cdef int d, nd = cnp.PyArray_NDIM(a)
    cdef bint fits = cnp.PyArray_NDIM(g) == nd
    check_linear(name, a, w)
    outs, ins = cnp.PyArray_DIM(w, 0), cnp.PyArray_DIM(w, 1)
    for d in range(nd - 1):
        rows *= cnp.PyArray_DIM(a, d)
        fits = fits and cnp.PyArray_DIM(g, d) == cnp.PyArray_DIM(a, d)
    if not fits or cnp.PyArray_DIM(g, nd - 1) != outs:
        raise ShapeError(f"{name}: expected dy of shape {(*shape_of(a)[:nd - 1], outs)}, got {shape_of(g)}")
    g, a = packed_one(flat_rows(g, rows, outs)), flat_rows(a, rows, ins)
    db = fresh(1, &outs, cnp.PyArray_TYPE(g))
    kernels_of(g).column_sums(g, db, rows, outs)
    dx = product_2d(g, w, rows <= THIN)
    return dx if nd == 2 else dx.reshape(np.shape(x)), product_2d(g.T, a, rows <= THIN), db
