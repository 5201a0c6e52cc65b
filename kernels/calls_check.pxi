# Arrays and numbers as they must be, each with its sentence where they are not.

FEW = 16384     # units of work (about a nanosecond each) below which one thread does it: waking a second takes 1 to 13 us

cdef list FOUND = [{}, {}]      # the kernels of float32 and float64, by ISA level


cdef object kernels_of(ndarray x):
    cdef bint double = cnp.PyArray_TYPE(x) == NPY_DOUBLE
    cdef dict found = FOUND[double]
    k = found.get(_isa.isa)
    if k is None:
        k = found[_isa.isa] = _isa.kernels("arrays", "float64" if double else "float32")
    return k


def kernels(ndarray x):
    """The compiled array functions for an array's number type."""
    return kernels_of(x)


cdef object crew_of(double work):
    return 1 if work < FEW else threads.get_num_threads()


def crew(double work):
    """How many threads so many units of work are worth."""
    return crew_of(work)


cdef inline bint reals(ndarray x):
    return (cnp.PyArray_TYPE(x) == NPY_FLOAT or cnp.PyArray_TYPE(x) == NPY_DOUBLE) and cnp.PyArray_ISNOTSWAPPED(x)


cdef ndarray array(str name, str key, x):
    # x as an array of float32 or float64.
    cdef ndarray a = x if cnp.PyArray_CheckExact(x) else np.asarray(x)
    if not reals(a):
        raise DtypeError(f"{name}: expected {key} of float32 or float64, got {a.dtype}")
    return a


cdef ndarray array_like(str name, str key, x, str first, ndarray like):
    # x as an array of the number type of `like`, which is called `first`; None stays.
    if x is None:
        return None
    cdef ndarray a = array(name, key, x)
    if cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(like):
        raise DtypeError(f"{name}: expected {key} of {like.dtype}, as {first} is, got {a.dtype}")
    return a


def arrays(str name, **given):
    """The arrays in given order (None stays None), all float32 or all float64; DtypeError otherwise."""
    cdef list found = []
    cdef ndarray like = None
    cdef str first = None
    for key, x in given.items():
        if x is not None:
            x = array(name, key, x) if like is None else array_like(name, key, x, first, like)
            if like is None:
                like, first = x, key
        found.append(x)
    return found if len(found) > 1 else found[0]


cdef inline ndarray packed_one(ndarray x):
    if x is None or cnp.PyArray_CHKFLAGS(x, cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED):
        return x
    return cnp.PyArray_NewCopy(x, cnp.NPY_CORDER)


def packed(*xs):
    """C-contiguous and aligned, copied only where they are not."""
    found = [packed_one(x) for x in xs]
    return found if len(found) > 1 else found[0]


cdef tuple shape_of(ndarray x):
    return (<object> x).shape


cdef inline int same_shape(str name, str key, ndarray x, ndarray like) except -1:
    # ShapeError unless x (or None) has the shape of `like`.
    cdef int d, n
    if x is None:
        return 0
    n = cnp.PyArray_NDIM(like)
    if cnp.PyArray_NDIM(x) == n:
        for d in range(n):
            if cnp.PyArray_DIM(x, d) != cnp.PyArray_DIM(like, d):
                break
        else:
            return 0
    raise ShapeError(f"{name}: expected {key} of shape {shape_of(like)}, got {shape_of(x)}")


cdef inline int vector(str name, str key, ndarray x, idx size) except -1:
    # ShapeError unless x (or None) is `size` numbers long.
    if x is not None and (cnp.PyArray_NDIM(x) != 1 or cnp.PyArray_DIM(x, 0) != size):
        raise ShapeError(f"{name}: expected {key} of shape {(size,)}, got {shape_of(x)}")
    return 0


def ndim(str name, str key, ndarray x, int n, str letters):
    """ShapeError unless x has n dimensions."""
    if cnp.PyArray_NDIM(x) != n:
        raise ShapeError(f"{name}: expected {key} of {n} dimensions ({letters}), got shape {shape_of(x)}")


def shape(str name, str key, x, expected):
    """ShapeError unless x (or None) has the expected shape."""
    if x is not None and x.shape != tuple(expected):
        raise ShapeError(f"{name}: expected {key} of shape {tuple(expected)}, got {x.shape}")


def image(str name, str key, ndarray x):
    """x as (N, C, H, W), and whether it came without its N, (C, H, W)."""
    if cnp.PyArray_NDIM(x) == 3:
        return x[None], True
    ndim(name, key, x, 4, "N, C, H, W")
    return x, False


cdef inline bint whole(value, idx least, idx* v) except -1:
    # An int that is no bool, `least` or more.
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
        return False
    if value < least:
        return False
    v[0] = value
    return True


cdef int two(str name, str key, value, idx least, idx* v) except -1:
    # An int or a pair of ints, each `least` or more, into v[0], v[1].
    if whole(value, least, v):
        v[1] = v[0]
        return 0
    if isinstance(value, (tuple, list)) and len(value) == 2 and whole(value[0], least, v) and whole(value[1], least, v + 1):
        return 0
    raise ShapeError(f"{name}: expected {key} to be an integer of {least} or more or a pair of them, got {value!r}")


def pair(str name, str key, value, idx least=1):
    """An int or a pair of ints, each `least` or more: a pair."""
    cdef idx v[2]
    two(name, key, value, least, v)
    return v[0], v[1]


cdef int axis(str name, ndarray x, dim) except -1:
    # A dimension of x counted from the front.
    cdef int n = max(1, cnp.PyArray_NDIM(x))
    if not isinstance(dim, (int, np.integer)) or not -n <= dim < n:
        raise ShapeError(f"{name}: expected dim to name one of {cnp.PyArray_NDIM(x)} dimensions, got {dim!r}")
    return <int> dim % n
