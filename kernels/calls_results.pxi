# Where results are written: fresh arrays, large ones in kept buffers (buffers.h), or the caller's out=.

cdef extern from "buffers.h":
    ctypedef struct PyDataMem_Handler:
        pass
    PyDataMem_Handler buffers
    const size_t MOST_KEPT
    size_t kept_now()

cdef extern from "numpy/arrayobject.h":
    object PyDataMem_SetHandler(object)

cdef enum: LARGE = 1 << 20      # bytes from which a result comes from kept buffers

cdef object HANDLER = PyCapsule_New(&buffers, "mem_handler", NULL)
KEPT_BYTES = MOST_KEPT


def kept_bytes():
    """Bytes of the buffers that wait for their next array: at most KEPT_BYTES."""
    return kept_now()


cdef ndarray fresh(int nd, const npy_intp* dims, int type):
    # An array of numbers that are not set.
    cdef npy_intp size = 4 if type == NPY_FLOAT else 8
    cdef int d
    for d in range(nd):
        size *= dims[d]
    if size < LARGE:
        return cnp.PyArray_EMPTY(nd, <npy_intp*> dims, type, 0)
    before = PyDataMem_SetHandler(HANDLER)
    try:
        return cnp.PyArray_EMPTY(nd, <npy_intp*> dims, type, 0)
    finally:
        PyDataMem_SetHandler(before)


cdef ndarray fresh_like(ndarray x):
    return fresh(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x))


def empty(shape, ndarray like):
    """A C-contiguous array of the number type of `like`, its numbers not set."""
    cdef npy_intp dims[64]
    cdef int d, n = <int> len(shape)
    for d in range(n):
        dims[d] = shape[d]
    return fresh(n, dims, cnp.PyArray_TYPE(like))


cdef ndarray place(str name, out, int nd, const npy_intp* dims, ndarray like, tuple inputs, bint in_place=False):
    # An array for a result of the number type of `like`: fresh, or `out` itself where it is C-contiguous and shares no memory
    # with what the kernel reads while it writes (inputs; in_place: it may lie exactly where the first of them does).
    cdef ndarray o
    cdef int d
    cdef bint same
    if out is None:
        return fresh(nd, dims, cnp.PyArray_TYPE(like))
    if not isinstance(out, np.ndarray) or out.dtype != like.dtype:
        raise DtypeError(f"{name}: expected out to be an array of {like.dtype}, got "
                         f"{out.dtype if isinstance(out, np.ndarray) else type(out).__name__}")
    o = out
    for d in range(nd):
        if cnp.PyArray_NDIM(o) != nd or cnp.PyArray_DIM(o, d) != dims[d]:
            raise ShapeError(f"{name}: expected out of shape {tuple([dims[d] for d in range(nd)])}, got {out.shape}")
    if cnp.PyArray_NDIM(o) != nd:
        raise ShapeError(f"{name}: expected out of shape (), got {out.shape}")
    if not cnp.PyArray_CHKFLAGS(o, cnp.NPY_ARRAY_WRITEABLE):
        raise ValueError(f"{name}: expected out to be writable, got a read-only array")
    if not cnp.PyArray_CHKFLAGS(o, cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED):
        return fresh(nd, dims, cnp.PyArray_TYPE(like))
    same = in_place and cnp.PyArray_DATA(o) == cnp.PyArray_DATA(inputs[0])
    for x in inputs[1:] if same else inputs:
        if x is not None and np.may_share_memory(o, x):
            return fresh(nd, dims, cnp.PyArray_TYPE(like))
    return o


cdef object given(out, ndarray y):
    # The result y, moved into `out` where that was asked for and did not take it directly.
    if out is None or out is y:
        return y
    out[...] = y
    return out


cdef class Result:
    """Where a result is written: `array`, C-contiguous; `done()` returns it, or `out` with the numbers moved there.
    like: an array of its number type; inputs: what is read while it is written."""
    cdef readonly ndarray array
    cdef object out

    def __init__(self, str name, out, shape, ndarray like, tuple inputs=()):
        cdef npy_intp dims[64]
        cdef int d, n = <int> len(shape)
        for d in range(n):
            dims[d] = shape[d]
        self.out = out
        self.array = place(name, out, n, dims, like, inputs)

    def done(self):
        """The result."""
        return given(self.out, self.array)
