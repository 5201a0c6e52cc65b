# Normalisation: sums and affine maps of (N, C, S) per channel for batch norm; whole rows for layer norm.

cdef struct Planes:
    const real_t* x             # [n][c][s]
    const real_t* dy
    real_t* y
    idx n, c, s
    const real_t* mean          # [c], or NULL for 0
    const real_t* a             # [c]
    const real_t* b
    const real_t* shift
    double* sums                # [2][c]


cdef void plane_sums(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # Of each channel sum g and sum g (x - mean): g is dy, or without it x - mean. Lanes over one sample, doubles over samples.
    cdef const Planes* p = <const Planes*> job
    cdef const real_t* x
    cdef const real_t* dy
    cdef idx c, n, k, i, m
    cdef lane_t v, g, one, two
    cdef real_t mean
    cdef double total, product
    for c in range(first, last):
        mean = p.mean[c] if p.mean else 0
        total = 0
        product = 0
        for n in range(p.n):
            x = p.x + (n * p.c + c) * p.s
            dy = p.dy + (n * p.c + c) * p.s if p.dy else NULL
            one = lane_set(0)
            two = lane_set(0)
            for k in range(blocks(p.s)):
                i = k * LANES
                m = least(LANES, p.s - i)
                v = lane_load_some(x + i, m, lane_set(mean)) - mean
                g = lane_load_some(dy + i, m, lane_set(0)) if dy else v
                one = one + g
                two = two + g * v
            total += lane_sum(one)
            product += lane_sum(two)
        p.sums[c] = total
        p.sums[p.c + c] = product


cdef void plane_affine(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # y = a dy + b (x - mean) + shift for one plane [s] of channel c; without dy the first term falls away.
    cdef const Planes* p = <const Planes*> job
    cdef const real_t* x
    cdef const real_t* dy
    cdef real_t* y
    cdef idx plane, c, k, i, m
    cdef real_t mean, a, b, shift
    cdef lane_t v
    for plane in range(first, last):
        c = plane % p.c
        x = p.x + plane * p.s
        dy = p.dy + plane * p.s if p.dy else NULL
        y = p.y + plane * p.s
        mean = p.mean[c]
        a = p.a[c] if p.a else 0
        b = p.b[c]
        shift = p.shift[c]
        for k in range(blocks(p.s)):
            i = k * LANES
            m = least(LANES, p.s - i)
            v = (lane_load_some(x + i, m, lane_set(0)) - mean) * b + shift
            if dy:
                v = v + lane_load_some(dy + i, m, lane_set(0)) * a
            lane_store_some(y + i, v, m)


def channel_sums(x, dy, mean, sums, idx n, idx c, idx s, int threads):
    """sums[0][c] = sum g, sums[1][c] = sum g (x - mean[c]), float64; g = dy, or x - mean[c] where dy is None."""
    cdef Planes p
    p.x = <const real_t*> data(x)
    p.dy = <const real_t*> data(dy)
    p.mean = <const real_t*> data(mean)
    p.sums = <double*> data(sums)
    p.n, p.c, p.s = n, c, s
    run(plane_sums, &p, c, threads)


def channel_affine(x, dy, y, mean, a, b, shift, idx n, idx c, idx s, int threads):
    """y = a[c] dy + b[c] (x - mean[c]) + shift[c]; dy and a may be None. y may be x or dy."""
    cdef Planes p
    p.x = <const real_t*> data(x)
    p.dy = <const real_t*> data(dy)
    p.y = <real_t*> data(y)
    p.mean = <const real_t*> data(mean)
    p.a = <const real_t*> data(a)
    p.b = <const real_t*> data(b)
    p.shift = <const real_t*> data(shift)
    p.n, p.c, p.s = n, c, s
    run(plane_affine, &p, n * c, threads)


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


def layer_norm(x, dy, y, weight, bias, sums, idx rows, idx size, double eps, int threads):
    """Rows normalised into y; with dy the gradient in y, and sums[PARTS][2][size] of dy xhat and dy to be added up."""
    cdef Rows p
    p.x = <const real_t*> data(x)
    p.dy = <const real_t*> data(dy)
    p.y = <real_t*> data(y)
    p.weight = <const real_t*> data(weight)
    p.bias = <const real_t*> data(bias)
    p.dweight = <real_t*> data(sums)
    p.rows = rows
    p.size = size
    p.eps = <real_t> eps
    if dy is None:
        run(norm_rows, &p, rows, threads)
    else:
        run(norm_rows_backward, &p, PARTS, threads)


parts = PARTS
