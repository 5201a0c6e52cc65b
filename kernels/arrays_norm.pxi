# Normalisation: channels of (N, C, S) for batch norm, rows for layer norm.

cdef struct Planes:
    const real_t* x             # [n][c][s]
    const real_t* dy            # NULL: forward
    real_t* y                   # y, or dx; forward it may be x
    idx n, c, s
    const real_t* weight        # [c], or NULL for 1
    const real_t* bias          # [c], or NULL for 0
    real_t* running_mean        # [c], or NULL
    real_t* running_var
    real_t* dweight             # [c]
    real_t* dbias
    int training
    double momentum, eps


cdef void channel_sums(const Planes* p, idx c, real_t mean, const real_t* dys, double* total, double* product) noexcept nogil:
    # sum g and sum g (x - mean): g is dy, or without it x - mean. Lanes over one sample, doubles over samples.
    cdef const real_t* x
    cdef const real_t* dy = NULL
    cdef idx n, i, whole = p.s // LANES * LANES, m = p.s - whole
    cdef lane_t v, one, two
    total[0] = 0
    product[0] = 0
    for n in range(p.n):
        x = p.x + (n * p.c + c) * p.s
        one = lane_set(0)
        two = lane_set(0)
        i = 0
        if dys:
            dy = dys + (n * p.c + c) * p.s
            while i < whole:
                v = lane_load(dy + i)
                one = one + v
                two = two + v * (lane_load(x + i) - mean)
                i += LANES
            if m:
                v = lane_load_some(dy + i, m, lane_set(0))
                one = one + v
                two = two + v * (lane_load_some(x + i, m, lane_set(mean)) - mean)
        else:
            while i < whole:
                v = lane_load(x + i) - mean
                one = one + v
                two = two + v * v
                i += LANES
            if m:
                v = lane_load_some(x + i, m, lane_set(mean)) - mean
                one = one + v
                two = two + v * v
        total[0] += lane_sum(one)
        product[0] += lane_sum(two)


cdef void channel_affine(const Planes* p, idx c, real_t mean, real_t a, real_t b, real_t shift) noexcept nogil:
    # y = a dy + b (x - mean) + shift; without dy the first term falls away.
    cdef const real_t* x
    cdef const real_t* dy = NULL
    cdef real_t* y
    cdef idx n, i, at, whole = p.s // LANES * LANES, m = p.s - whole
    for n in range(p.n):
        at = (n * p.c + c) * p.s
        x = p.x + at
        y = p.y + at
        i = 0
        if p.dy:
            dy = p.dy + at
            while i < whole:
                lane_store(y + i, (lane_load(x + i) - mean) * b + shift + lane_load(dy + i) * a)
                i += LANES
            if m:
                lane_store_some(y + i, (lane_load_some(x + i, m, lane_set(0)) - mean) * b + shift
                                + lane_load_some(dy + i, m, lane_set(0)) * a, m)
        else:
            while i < whole:
                lane_store(y + i, (lane_load(x + i) - mean) * b + shift)
                i += LANES
            if m:
                lane_store_some(y + i, (lane_load_some(x + i, m, lane_set(0)) - mean) * b + shift, m)


cdef void norm_channels(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # A channel at a time, statistics and all, while its planes are in the caches. The mean is taken twice, the second time of
    # what is left over: sums of squares around a far mean would cancel.
    cdef const Planes* p = <const Planes*> job
    cdef double mean, var, one, two, scale, w, count = p.n * p.s, total, product
    cdef real_t near
    cdef idx c
    for c in range(first, last):
        if p.training:
            channel_sums(p, c, 0, NULL, &one, &two)
            near = <real_t> (one / count)
            channel_sums(p, c, near, NULL, &one, &two)
            mean = near + one / count
            var = two / count - (one / count) * (one / count)
        else:
            mean = p.running_mean[c]
            var = p.running_var[c]
        near = <real_t> mean
        scale = 1 / double_sqrt(var + p.eps)
        w = scale * (p.weight[c] if p.weight else 1)
        if p.dy:
            channel_sums(p, c, near, p.dy, &total, &product)
            product = (product + (near - mean) * total) * scale
            p.dweight[c] = <real_t> product
            p.dbias[c] = <real_t> total
            if p.training:
                one = -w * scale * product / count
                channel_affine(p, c, near, <real_t> w, <real_t> one, <real_t> (-w * total / count + one * (near - mean)))
            else:
                channel_affine(p, c, near, <real_t> w, 0, 0)
            continue
        channel_affine(p, c, near, 0, <real_t> w, <real_t> ((near - mean) * w + (p.bias[c] if p.bias else 0)))
        if p.training and p.running_mean:
            p.running_mean[c] = <real_t> ((1 - p.momentum) * p.running_mean[c] + p.momentum * mean)
        if p.training and p.running_var:
            p.running_var[c] = <real_t> ((1 - p.momentum) * p.running_var[c] + p.momentum * var * (count / (count - 1)))


def batch_norm(x, dy, y, weight, bias, running_mean, running_var, dweight, dbias, idx n, idx c, idx s, bint training,
               double momentum, double eps, int threads):
    """y from x (N, C, S) and the running statistics moved on; with dy dx in y, and dweight and dbias. y may be x."""
    cdef Planes p
    p.x = <const real_t*> data(x)
    p.dy = <const real_t*> data(dy)
    p.y = <real_t*> data(y)
    p.weight = <const real_t*> data(weight)
    p.bias = <const real_t*> data(bias)
    p.running_mean = <real_t*> data(running_mean)
    p.running_var = <real_t*> data(running_var)
    p.dweight = <real_t*> data(dweight)
    p.dbias = <real_t*> data(dbias)
    p.n, p.c, p.s, p.training, p.momentum, p.eps = n, c, s, training, momentum, eps
    run(norm_channels, &p, c, threads)


cdef struct Rows:
    const real_t* x             # [rows][size]
    const real_t* dy
    real_t* y                   # y, or dx
    const real_t* weight        # [size] or NULL
    const real_t* bias
    real_t* dweight             # [PARTS][2][size]: sum dy xhat and sum dy of a part of the rows
    idx rows, size
    real_t eps

cdef enum: PARTS = 16           # of the rows, fixed: no thread count changes a sum


cdef void row_moments(const real_t* x, idx n, real_t eps, real_t* mean, real_t* scale) noexcept nogil:
    # Mean, and 1 / sqrt(variance + eps), in two passes.
    cdef lane_t total = lane_set(0), v
    cdef idx k
    for k in range(blocks(n)):
        total = total + lane_load_some(x + k * LANES, least(LANES, n - k * LANES), lane_set(0))
    mean[0] = lane_sum(total) / n
    total = lane_set(0)
    for k in range(blocks(n)):
        v = lane_load_some(x + k * LANES, least(LANES, n - k * LANES), lane_set(mean[0])) - mean[0]
        total = total + v * v
    scale[0] = 1 / real_sqrt(lane_sum(total) / n + eps)


cdef void norm_rows(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # y = (x - mean) / sqrt(variance + eps) * weight + bias
    cdef const Rows* p = <const Rows*> job
    cdef const real_t* x
    cdef idx r, k, i, m
    cdef real_t mean, scale
    cdef lane_t v
    for r in range(first, last):
        x = p.x + r * p.size
        row_moments(x, p.size, p.eps, &mean, &scale)
        for k in range(blocks(p.size)):
            i = k * LANES
            m = least(LANES, p.size - i)
            v = (lane_load_some(x + i, m, lane_set(0)) - mean) * scale
            if p.weight:
                v = v * lane_load_some(p.weight + i, m, lane_set(0))
            if p.bias:
                v = v + lane_load_some(p.bias + i, m, lane_set(0))
            lane_store_some(p.y + r * p.size + i, v, m)


cdef void norm_rows_backward(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # g = dy weight, dx = scale (g - mean g - xhat mean(g xhat)); a unit is one of PARTS parts of the rows.
    cdef const Rows* p = <const Rows*> job
    cdef const real_t* x
    cdef const real_t* dy
    cdef real_t* dw
    cdef real_t* db
    cdef idx part, r, k, i, m
    cdef real_t mean, scale, sum_g, sum_gx
    cdef lane_t h, g, one, two
    for part in range(first, last):
        dw = p.dweight + part * 2 * p.size
        db = dw + p.size
        memset(dw, 0, 2 * p.size * sizeof(real_t))
        for r in range(share(p.rows, part, PARTS), share(p.rows, part + 1, PARTS)):
            x = p.x + r * p.size
            dy = p.dy + r * p.size
            row_moments(x, p.size, p.eps, &mean, &scale)
            one = lane_set(0)
            two = lane_set(0)
            for k in range(blocks(p.size)):
                i = k * LANES
                m = least(LANES, p.size - i)
                h = (lane_load_some(x + i, m, lane_set(mean)) - mean) * scale
                g = lane_load_some(dy + i, m, lane_set(0))
                lane_store_some(dw + i, lane_load_some(dw + i, m, lane_set(0)) + g * h, m)
                lane_store_some(db + i, lane_load_some(db + i, m, lane_set(0)) + g, m)
                if p.weight:
                    g = g * lane_load_some(p.weight + i, m, lane_set(0))
                one = one + g
                two = two + g * h
            sum_g = lane_sum(one) / p.size
            sum_gx = lane_sum(two) / p.size
            for k in range(blocks(p.size)):
                i = k * LANES
                m = least(LANES, p.size - i)
                h = (lane_load_some(x + i, m, lane_set(mean)) - mean) * scale
                g = lane_load_some(dy + i, m, lane_set(0))
                if p.weight:
                    g = g * lane_load_some(p.weight + i, m, lane_set(0))
                lane_store_some(p.y + r * p.size + i, (g - sum_g - h * sum_gx) * scale, m)


def layer_norm(x, dy, y, weight, bias, dweight, dbias, idx rows, idx size, double eps, int threads):
    """Rows normalised into y; with dy dx in y, and dweight and dbias."""
    cdef Rows p
    cdef real_t* w = <real_t*> data(dweight)
    cdef real_t* b = <real_t*> data(dbias)
    cdef idx part, i
    p.x = <const real_t*> data(x)
    p.dy = <const real_t*> data(dy)
    p.y = <real_t*> data(y)
    p.weight = <const real_t*> data(weight)
    p.bias = <const real_t*> data(bias)
    p.rows = rows
    p.size = size
    p.eps = <real_t> eps
    if dy is None:
        run(norm_rows, &p, rows, threads)
        return
    p.dweight = <real_t*> PyMem_Malloc(PARTS * 2 * size * sizeof(real_t))
    if p.dweight == NULL:
        raise MemoryError()
    try:
        run(norm_rows_backward, &p, PARTS, threads)
        memcpy(w, p.dweight, size * sizeof(real_t))
        memcpy(b, p.dweight + size, size * sizeof(real_t))
        for part in range(1, PARTS):
            for i in range(size):
                w[i] += p.dweight[2 * part * size + i]
            for i in range(size):
                b[i] += p.dweight[(2 * part + 1) * size + i]
    finally:
        PyMem_Free(p.dweight)
