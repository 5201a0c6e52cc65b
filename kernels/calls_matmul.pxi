# Matrix products.

SMALL = 512 ** 3        # M K N of an item up to which two items or more run on our tiles, an item on one thread: against one
                        # thread of NumPy's OpenBLAS they take 1.3 of its time at 64, 0.9 from 96 to 512 (float32, AVX-512),
                        # and two threads halve it, where BLAS starts its threads anew for every item


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
        kernels_of(x).matmul(one, other, y, tuple([sizes[d] for d in range(dims)]), m, n, k, steps(one, dims), steps(other, dims),
                             crew_of(items * (m * k * n // 16 + m * n // 4 + 4)))
    return given(out, y)


def thin_matmul(ndarray a, ndarray b):
    """a b for 2-D arrays of few columns and rows: our tiles, as BLAS packs what is read only once."""
    cdef npy_intp dims[2]
    cdef ndarray y
    dims[0], dims[1] = cnp.PyArray_DIM(a, 0), cnp.PyArray_DIM(b, 1)
    y = fresh(2, dims, cnp.PyArray_TYPE(a))
    kernels_of(a).matmul(a, b, y, (1,), dims[0], dims[1], cnp.PyArray_DIM(b, 0), steps(a, 1), steps(b, 1), 1)
    return y
