# softmax and log_softmax over the middle axis of (outer, size, inner), and their gradients.
#
#   softmax     y = exp(x - max x) / sum exp(x - max x)           dx = y (dy - sum(dy y))
#   log_softmax y = x - max x - log sum exp(x - max x)            dx = dy - exp(y) sum dy
#
# long rows   (inner 1, size above SHORT): vectors along the row
# lanes       otherwise LANES problems side by side, in scratch [size][LANES]: short rows are transposed on the way, columns
#             are loaded as they lie

cdef struct Axis:
    const real_t* a             # x, or y for a gradient
    const real_t* dy            # NULL: forward
    real_t* out
    idx outer, size, inner
    int log

cdef enum: SHORT = 48           # measured, AVX-512 float32: at 32 numbers transposed rows take 0.78 of the time, at 64 1.1


cdef void long_row(const real_t* x, real_t* y, idx n, int log) noexcept nogil:
    cdef real_t low = -INFINITY
    cdef lane_t best = lane_set(low), total = lane_set(0), v
    cdef real_t line[LANE_MAX]
    cdef real_t m, s
    cdef idx i, k
    for k in range(blocks(n)):
        i = k * LANES
        v = lane_load(x + i) if i + LANES <= n else lane_load_some(x + i, n - i, lane_set(low))
        best = lane_max(v, best)
    m = lane_most(best)
    for k in range(blocks(n)):
        i = k * LANES
        if i + LANES <= n:
            v = lane_exp_down(lane_load(x + i) - m)
            if not log:
                lane_store(y + i, v)
        else:
            v = lane_exp_down(lane_load_some(x + i, n - i, lane_set(low)) - m)
            if not log:
                lane_store_some(y + i, v, n - i)
        total = total + v
    s = lane_sum(total)
    if log:
        lane_store(line, lane_log(lane_set(s)))
        s = line[0]
        for k in range(blocks(n)):
            i = k * LANES
            if i + LANES <= n:
                lane_store(y + i, (lane_load(x + i) - m) - s)
            else:
                lane_store_some(y + i, (lane_load_some(x + i, n - i, lane_set(0)) - m) - s, n - i)
    else:
        s = 1 / s
        for k in range(blocks(n)):
            i = k * LANES
            if i + LANES <= n:
                lane_store(y + i, lane_load(y + i) * s)
            else:
                lane_store_some(y + i, lane_load_some(y + i, n - i, lane_set(0)) * s, n - i)


cdef void row_log_sum(const real_t* x, idx n, real_t* most, real_t* log_sum) noexcept nogil:
    # The maximum, and log sum exp(x - maximum).
    cdef real_t low = -INFINITY
    cdef lane_t best = lane_set(low), total = lane_set(0)
    cdef real_t line[LANE_MAX]
    cdef idx k
    for k in range(n // LANES):
        best = lane_max(lane_load(x + k * LANES), best)
    if n % LANES:
        best = lane_max(lane_load_some(x + n // LANES * LANES, n % LANES, lane_set(low)), best)
    most[0] = lane_most(best)
    for k in range(n // LANES):
        total = total + lane_exp_down(lane_load(x + k * LANES) - most[0])
    if n % LANES:
        total = total + lane_exp_down(lane_load_some(x + n // LANES * LANES, n % LANES, lane_set(low)) - most[0])
    lane_store(line, lane_log(lane_set(lane_sum(total))))
    log_sum[0] = line[0]


cdef void long_row_backward(const real_t* y, const real_t* dy, real_t* dx, idx n, int log) noexcept nogil:
    cdef lane_t total = lane_set(0), v, g
    cdef real_t s
    cdef idx i, k, m
    for k in range(blocks(n)):
        i = k * LANES
        m = least(LANES, n - i)
        g = lane_load_some(dy + i, m, lane_set(0))
        total = total + (g if log else g * lane_load_some(y + i, m, lane_set(0)))
    s = lane_sum(total)
    for k in range(blocks(n)):
        i = k * LANES
        m = least(LANES, n - i)
        v = lane_load_some(y + i, m, lane_set(0))
        g = lane_load_some(dy + i, m, lane_set(0))
        if log:
            g = g - lane_exp(v) * s
        else:
            g = v * (g - s)
        lane_store_some(dx + i, g, m)


cdef void lanes_in(const Axis* a, const real_t* x, idx at, idx n, lane_t* s) noexcept nogil:
    # n problems from the one at x + at: rows (inner 1) or neighbours in a row of `inner`.
    cdef lane_t block[LANE_MAX]
    cdef idx c, i, k, m
    if a.inner > 1:
        for c in range(a.size):
            s[c] = lane_load_some(x + at + c * a.inner, n, lane_set(0))
        return
    for k in range(blocks(a.size)):
        c = k * LANES
        m = least(LANES, a.size - c)
        for i in range(LANES):
            block[i] = lane_load_some(x + at + i * a.size + c, m, lane_set(0)) if i < n else lane_set(0)
        lane_transpose(block)
        for i in range(m):
            s[c + i] = block[i]


cdef void lanes_out(const Axis* a, const lane_t* s, real_t* y, idx at, idx n) noexcept nogil:
    cdef lane_t block[LANE_MAX]
    cdef idx c, i, k, m
    if a.inner > 1:
        for c in range(a.size):
            lane_store_some(y + at + c * a.inner, s[c], n)
        return
    for k in range(blocks(a.size)):
        c = k * LANES
        m = least(LANES, a.size - c)
        for i in range(LANES):
            block[i] = s[c + i] if i < m else lane_set(0)
        lane_transpose(block)
        for i in range(n):
            lane_store_some(y + at + i * a.size + c, block[i], m)


cdef void softmax_lanes(lane_t* s, idx n, int log) noexcept nogil:
    cdef lane_t best = s[0], total = lane_set(0), v
    cdef idx c
    for c in range(1, n):
        best = lane_max(s[c], best)
    for c in range(n):
        v = s[c] - best
        s[c] = v if log else lane_exp_down(v)
        total = total + (lane_exp_down(v) if log else s[c])
    v = lane_log(total) if log else lane_set(1) / total
    for c in range(n):
        s[c] = s[c] - v if log else s[c] * v


cdef void softmax_lanes_backward(const lane_t* y, lane_t* g, idx n, int log) noexcept nogil:
    cdef lane_t total = lane_set(0)
    cdef idx c
    for c in range(n):
        total = total + (g[c] if log else g[c] * y[c])
    for c in range(n):
        g[c] = g[c] - lane_exp(y[c]) * total if log else y[c] * (g[c] - total)


cdef void softmax_rows(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const Axis* a = <const Axis*> job
    cdef idx r
    for r in range(first, last):
        if a.dy == NULL:
            long_row(a.a + r * a.size, a.out + r * a.size, a.size, a.log)
        else:
            long_row_backward(a.a + r * a.size, a.dy + r * a.size, a.out + r * a.size, a.size, a.log)


cdef inline idx block_start(const Axis* a, idx b, idx* n, idx* problem) noexcept nogil:
    # Where block b starts, how many problems it has, and the first of them: LANES rows, or LANES neighbours (fewer at the end)
    # of one outer index.
    cdef idx per_outer, o, i
    if a.inner == 1:
        n[0] = least(LANES, a.outer - b * LANES)
        problem[0] = b * LANES
        return b * LANES * a.size
    per_outer = (a.inner + LANES - 1) // LANES
    o = b // per_outer
    i = (b - o * per_outer) * LANES
    n[0] = least(LANES, a.inner - i)
    problem[0] = o * a.inner + i
    return o * a.size * a.inner + i


cdef void softmax_blocks(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const Axis* a = <const Axis*> job
    cdef lane_t* s = <lane_t*> scratch
    cdef lane_t* g = s + a.size
    cdef idx b, at, n, problem
    for b in range(first, last):
        at = block_start(a, b, &n, &problem)
        lanes_in(a, a.a, at, n, s)
        if a.dy == NULL:
            softmax_lanes(s, a.size, a.log)
            lanes_out(a, s, a.out, at, n)
        else:
            lanes_in(a, a.dy, at, n, g)
            softmax_lanes_backward(s, g, a.size, a.log)
            lanes_out(a, g, a.out, at, n)


cdef task_t softmax_task(const Axis* a, idx* units, idx* scratch) except NULL:
    # The task, its units, and the numbers of scratch that it needs.
    if a.inner == 1 and a.size > SHORT:
        units[0] = a.outer
        scratch[0] = 0
        return softmax_rows
    units[0] = a.outer * blocks(a.inner) if a.inner > 1 else blocks(a.outer)
    scratch[0] = 2 * a.size * LANES
    return softmax_blocks


def softmax(a, dy, out, idx outer, idx size, idx inner, bint log, int threads):
    """softmax (or its logarithm) of a = x; with dy its gradient from a = y. out may be a or dy."""
    cdef Axis axis
    cdef idx units, scratch
    cdef task_t task
    axis.a = <const real_t*> data(a)
    axis.dy = <const real_t*> data(dy)
    axis.out = <real_t*> data(out)
    axis.outer = outer
    axis.size = size
    axis.inner = inner
    axis.log = log
    task = softmax_task(&axis, &units, &scratch)
    run(task, &axis, units, threads, scratch)
