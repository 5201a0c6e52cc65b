# Where the windows of convolutions, columns and pools lie, and the pools.

cdef class Geometry:
    """Where the windows of a convolution lie: sizes in pairs (rows, columns), padding (top, left, bottom, right).
    `outs`: fewer windows than would fit. `numbers`: what the kernels read of it."""
    cdef readonly tuple size, kernel, stride, padding, dilation, outs, numbers
    cdef readonly idx taps, pixels
    cdef readonly bint plain        # whether the columns are the image itself: 1x1, stride 1, no padding

    def __init__(self, str name, tuple size, tuple kernel, tuple stride, tuple padding, tuple dilation, tuple outs=None):
        cdef idx h, w, kh, kw, sh, sw, dh, dw, top, left, bottom, right, oh, ow
        if len(padding) == 2:
            padding = padding * 2
        (h, w), (kh, kw), (sh, sw), (dh, dw), (top, left, bottom, right) = size, kernel, stride, dilation, padding
        if outs is None:
            oh, ow = (h + top + bottom - dh * (kh - 1) - 1) // sh + 1, (w + left + right - dw * (kw - 1) - 1) // sw + 1
            outs = oh, ow
        else:
            oh, ow = outs
        self.size, self.kernel, self.stride, self.dilation = size, kernel, stride, dilation
        self.padding, self.outs = padding, outs
        if oh < 1 or ow < 1:
            raise ShapeError(f"{name}: expected an image of at least the kernel's size, got {h}x{w} with padding {top}, {left} "
                             f"for a kernel of {kh}x{kw}")
        self.taps, self.pixels = kh * kw, oh * ow
        self.plain = self.taps == 1 and sh == sw == 1 and not (top or left or bottom or right)
        self.numbers = (h, w, oh, ow, kh, kw, sh, sw, dh, dw, top, left)

    def move(self, ndarray x, ndarray cols, bint back=False):
        """cols (N, C*KH*KW, L) from C-contiguous x (N, C, H, W), or (back) x from cols, overlaps added up."""
        if back and not cnp.PyArray_SIZE(cols):
            x[...] = 0
        elif cnp.PyArray_SIZE(cols):
            kernels_of(x).im2col(x, cols, cnp.PyArray_DIM(x, 0) * cnp.PyArray_DIM(x, 1), self.numbers, back,
                                 crew_of(max(cnp.PyArray_SIZE(x), cnp.PyArray_SIZE(cols)) // 4))


cdef struct Windows:
    npy_intp full[4]            # N, C, H, W
    npy_intp outs[4]            # N, C, H', W'
    idx kernel[2]
    idx stride[2]
    idx padding[2]
    idx dilation[2]
    int alone                   # 1 where the image came without its N: the arrays are the last three dimensions


cdef int image_shape(str name, str key, ndarray x, npy_intp* full) except -1:
    # The (N, C, H, W) of x, and whether x is (C, H, W).
    cdef int d, alone = cnp.PyArray_NDIM(x) == 3
    if not alone:
        ndim(name, key, x, 4, "N, C, H, W")
    full[0] = 1
    for d in range(alone, 4):
        full[d] = cnp.PyArray_DIM(x, d - alone)
    return alone


cdef int given_shape(str name, input_shape, Windows* w) except -1:
    # w.full from the shape that the gradient shall have.
    cdef int d
    cdef tuple full = tuple(input_shape)
    if len(full) != 4 - w.alone:
        raise ShapeError(f"{name}: expected input_shape of {4 - w.alone} dimensions, as dy has, got {full}")
    w.full[0] = 1
    for d in range(w.alone, 4):
        w.full[d] = full[d - w.alone]
    return 0


cdef int count_windows(str name, Windows* w, kernel_size, stride, padding, dilation, bint ceil_mode) except -1:
    # w.outs and what lies between: how many windows fit; with ceil_mode also one that starts inside and ends beyond.
    cdef int a
    cdef idx size, kernel, step, pad, far, room, outs
    two(name, "kernel_size", kernel_size, 1, w.kernel)
    two(name, "stride", (w.kernel[0], w.kernel[1]) if stride is None else stride, 1, w.stride)
    two(name, "padding", padding, 0, w.padding)
    two(name, "dilation", dilation, 1, w.dilation)
    w.outs[0], w.outs[1] = w.full[0], w.full[1]
    for a in range(2):
        size, kernel, step, pad, far = w.full[2 + a], w.kernel[a], w.stride[a], w.padding[a], w.dilation[a]
        if pad > kernel // 2:
            raise ShapeError(f"{name}: expected padding of at most half the kernel's {kernel}, got {pad}")
        room = size + 2 * pad - far * (kernel - 1) - 1
        outs = (room + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (outs - 1) * step >= size + pad:
            outs -= 1
        if outs < 1 or size == 0:
            raise ShapeError(f"{name}: expected an image of at least the kernel's size {far * (kernel - 1) + 1}, got {size} "
                             f"and padding {pad}")
        w.outs[2 + a] = outs
    return 0


cdef int cells(str name, Windows* w, idx rows, idx columns) except -1:
    # The windows of adaptive pooling: row o is rows floor(o H / H') to ceil((o + 1) H / H').
    cdef int a
    w.outs[0], w.outs[1], w.outs[2], w.outs[3] = w.full[0], w.full[1], rows, columns
    for a in range(2):
        w.kernel[a] = w.stride[a] = w.dilation[a] = 1
        w.padding[a] = 0
    if not w.full[2] * w.full[3] and rows * columns:
        raise ShapeError(f"{name}: expected an image to take the mean of, got shape {tuple([w.full[d] for d in range(4)])}")
    return 0


cdef int same_outs(str name, ndarray dy, Windows* w) except -1:
    cdef int d
    for d in range(w.alone, 4):
        if cnp.PyArray_DIM(dy, d - w.alone) != w.outs[d]:
            raise ShapeError(f"{name}: expected dy of shape {tuple([w.outs[d] for d in range(4)])}, got "
                             f"{(1, *shape_of(dy)) if w.alone else shape_of(dy)}")
    return 0


cdef int pool(str op, Windows* w, ndarray x, ndarray y, ndarray where, bint count_pad, idx divisor) except -1:
    cdef idx planes = w.full[0] * w.full[1]
    if planes:
        kernels_of(x).pool(op, x, y, where, planes, (
            w.full[2], w.full[3], w.outs[2], w.outs[3], w.kernel[0], w.kernel[1], w.stride[0], w.stride[1], w.dilation[0],
            w.dilation[1], w.padding[0], w.padding[1]), count_pad, divisor,
            crew_of(planes * (w.full[2] * w.full[3] + w.outs[2] * w.outs[3]) // 4))
    return 0


def max_pool2d(x, kernel_size, stride, padding, dilation, bint ceil_mode, bint return_indices, out):
    """ops.max_pool2d."""
    cdef str name = "max_pool2d"
    cdef ndarray a = array(name, "x", x), y, where = None
    cdef Windows w
    w.alone = image_shape(name, "x", a, w.full)
    count_windows(name, &w, kernel_size, stride, padding, dilation, ceil_mode)
    a = packed_one(a)
    y = place(name, out, 4 - w.alone, w.outs + w.alone, a, (a,))
    if return_indices:
        where = fresh(4 - w.alone, w.outs + w.alone, NPY_INT64)
    pool("max", &w, a, y, where, False, 0)
    return (given(out, y), where) if return_indices else given(out, y)


def max_pool2d_backward(dy, indices, input_shape):
    """ops.max_pool2d_backward."""
    cdef str name = "max_pool2d_backward"
    cdef ndarray g = array(name, "dy", dy), dx, where = np.asarray(indices)
    cdef Windows w
    cdef tuple full = tuple(input_shape)
    cdef bint fits
    w.alone = image_shape(name, "dy", g, w.outs)
    if not cnp.PyTypeNum_ISINTEGER(cnp.PyArray_TYPE(where)):
        raise DtypeError(f"{name}: expected indices of integers, got {where.dtype}")
    fits = len(full) == 4 - w.alone
    if fits:
        given_shape(name, full, &w)
    if not fits or w.full[0] != w.outs[0] or w.full[1] != w.outs[1]:
        raise ShapeError(f"{name}: expected input_shape with the N and C of dy {shape_of(g)}, got {full}")
    same_shape(name, "indices", where, g)
    if cnp.PyArray_TYPE(where) != NPY_INT64 or not cnp.PyArray_ISNOTSWAPPED(where):
        where = where.astype(np.int64)
    g, where = packed_one(g), packed_one(where)
    low, high = kernels_of(g).limits(where, cnp.PyArray_SIZE(where))
    if low < 0 or high >= w.full[2] * w.full[3]:
        raise ShapeError(f"{name}: expected indices from 0 to {w.full[2] * w.full[3] - 1}, got {low} to {high}")
    dx = fresh(4 - w.alone, w.full + w.alone, cnp.PyArray_TYPE(g))
    w.kernel[0] = w.kernel[1] = w.stride[0] = w.stride[1] = w.dilation[0] = w.dilation[1] = 1
    w.padding[0] = w.padding[1] = 0
    pool("max_backward", &w, g, dx, where, False, 0)
    return dx


cdef idx divisor(str name, value) except -1:
    # What every sum is divided by; 0: the window's size.
    cdef idx v = 0
    if value is not None and not whole(value, 1, &v):
        raise ShapeError(f"{name}: expected divisor_override to be an integer of 1 or more, got {value!r}")
    return v


def avg_pool2d(x, kernel_size, stride, padding, bint ceil_mode, bint count_include_pad, divisor_override, out):
    """ops.avg_pool2d."""
    cdef str name = "avg_pool2d"
    cdef ndarray a = array(name, "x", x), y
    cdef Windows w
    cdef idx over
    w.alone = image_shape(name, "x", a, w.full)
    count_windows(name, &w, kernel_size, stride, padding, 1, ceil_mode)
    over = divisor(name, divisor_override)
    a = packed_one(a)
    y = place(name, out, 4 - w.alone, w.outs + w.alone, a, (a,))
    pool("avg", &w, a, y, None, count_include_pad, over)
    return given(out, y)


def avg_pool2d_backward(dy, input_shape, kernel_size, stride, padding, bint ceil_mode, bint count_include_pad,
                        divisor_override):
    """ops.avg_pool2d_backward."""
    cdef str name = "avg_pool2d_backward"
    cdef ndarray g = array(name, "dy", dy), dx
    cdef Windows w
    w.alone = image_shape(name, "dy", g, w.outs)
    given_shape(name, input_shape, &w)
    count_windows(name, &w, kernel_size, stride, padding, 1, ceil_mode)
    same_outs(name, g, &w)
    g = packed_one(g)
    dx = fresh(4 - w.alone, w.full + w.alone, cnp.PyArray_TYPE(g))
    pool("avg_backward", &w, g, dx, None, count_include_pad, divisor(name, divisor_override))
    return dx


def adaptive_avg_pool2d(x, output_size, out):
    """ops.adaptive_avg_pool2d."""
    cdef str name = "adaptive_avg_pool2d"
    cdef ndarray a = array(name, "x", x), y
    cdef Windows w
    cdef idx outs[2]
    w.alone = image_shape(name, "x", a, w.full)
    if isinstance(output_size, (tuple, list)):
        output_size = tuple([w.full[2 + i] if v is None and i < 2 else v for i, v in enumerate(output_size)])
    elif output_size is None:
        output_size = w.full[2], w.full[3]
    two(name, "output_size", output_size, 0, outs)
    cells(name, &w, outs[0], outs[1])
    a = packed_one(a)
    y = place(name, out, 4 - w.alone, w.outs + w.alone, a, (a,))
    if cnp.PyArray_SIZE(y):
        pool("adaptive", &w, a, y, None, False, 0)
    return given(out, y)


def adaptive_avg_pool2d_backward(dy, input_shape):
    """ops.adaptive_avg_pool2d_backward."""
    cdef str name = "adaptive_avg_pool2d_backward"
    cdef ndarray g = array(name, "dy", dy), dx
    cdef Windows w
    cdef npy_intp outs[4]
    w.alone = image_shape(name, "dy", g, outs)
    given_shape(name, input_shape, &w)
    cells(name, &w, outs[2], outs[3])
    same_outs(name, g, &w)
    g = packed_one(g)
    dx = fresh(4 - w.alone, w.full + w.alone, cnp.PyArray_TYPE(g))
    pool("adaptive_backward", &w, g, dx, None, False, 0)
    return dx
