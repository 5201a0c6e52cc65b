# Cross-entropy of integer labels over the middle axis of (outer, size, inner), and its gradient: with p = softmax(x), w the
# weight of the label t (0 of one that does not count) and s the smoothing of each class,
#
#   loss = -(k w log p[t] + s sum_c weight[c] log p[c])           k = 1 - s size
#   dx   = dy (p (k w + s sum weight) - s weight - k w at t)

cdef struct Labels:
    Axis axis                   # its dy: NULL, or the gradient of each loss
    const int64_t* target       # [outer][inner]
    const real_t* weight        # [size], or NULL for 1
    int64_t ignore
    double smooth, weights      # s; the sum of the weights
    int backward
    real_t scale                # of the gradient where dy is NULL


cdef inline real_t weight_of(const Labels* p, int64_t t) noexcept nogil:
    return 0 if t == p.ignore else p.weight[t] if p.weight else 1


cdef inline real_t gradient_of(const Labels* p, idx i) noexcept nogil:
    return p.axis.dy[i] if p.axis.dy else p.scale


cdef inline real_t smoothed(const Labels* p, const real_t* x, idx step, real_t most, real_t log_sum) noexcept nogil:
    # sum_c weight[c] log p[c] of the numbers that lie `step` apart.
    cdef double sum = 0
    cdef idx c
    for c in range(p.axis.size):
        sum += (p.weight[c] if p.weight else 1) * ((x[c * step] - most) - log_sum)
    return <real_t> sum


cdef inline real_t loss_of(const Labels* p, const real_t* x, idx step, int64_t t, real_t most, real_t log_sum) noexcept nogil:
    if t == p.ignore:
        return 0
    cdef real_t hit = weight_of(p, t) * ((x[t * step] - most) - log_sum)
    if p.smooth == 0:
        return -hit
    return -<real_t> ((1 - p.smooth * p.axis.size) * hit + p.smooth * smoothed(p, x, step, most, log_sum))


cdef void loss_rows(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const Labels* p = <const Labels*> job
    cdef const real_t* x
    cdef real_t* y
    cdef real_t most, log_sum, g, up, down
    cdef real_t keep = <real_t> (1 - p.smooth * p.axis.size)
    cdef int64_t t
    cdef idx r, c, n = p.axis.size
    for r in range(first, last):
        x = p.axis.a + r * n
        t = p.target[r]
        if not p.backward:
            row_log_sum(x, n, &most, &log_sum)
            p.axis.out[r] = loss_of(p, x, 1, t, most, log_sum)
            continue
        y = p.axis.out + r * n
        if t == p.ignore:
            g = gradient_of(p, r) * 0
            for c in range(n):
                y[c] = g
            continue
        long_row(x, y, n, 0)
        g = gradient_of(p, r)
        up = <real_t> (keep * weight_of(p, t) + p.smooth * p.weights) * g
        down = <real_t> p.smooth * g
        for c in range(n):
            y[c] = y[c] * up - down * (p.weight[c] if p.weight else 1)
        y[t] -= keep * weight_of(p, t) * g


cdef void loss_blocks(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # LANES problems side by side, as softmax_blocks has them.
    cdef const Labels* p = <const Labels*> job
    cdef const Axis* a = &p.axis
    cdef lane_t* s = <lane_t*> scratch
    cdef real_t* numbers = scratch
    cdef lane_t best, total, v
    cdef real_t most[LANE_MAX]
    cdef real_t log_sum[LANE_MAX]
    cdef real_t up[LANE_MAX]
    cdef real_t down[LANE_MAX]
    cdef real_t keep = <real_t> (1 - p.smooth * a.size), w, g
    cdef int64_t t
    cdef idx b, c, at, n, problem, l
    memset(up, 0, sizeof(up))
    memset(down, 0, sizeof(down))
    for b in range(first, last):
        at = block_start(a, b, &n, &problem)
        lanes_in(a, a.a, at, n, s)
        best = s[0]
        for c in range(1, a.size):
            best = lane_max(s[c], best)
        total = lane_set(0)
        for c in range(a.size):
            v = lane_exp_down(s[c] - best)
            if p.backward:
                s[c] = v
            total = total + v
        if not p.backward:
            lane_store(most, best)
            lane_store(log_sum, lane_log(total))
            for l in range(n):
                a.out[problem + l] = loss_of(p, numbers + l, LANES, p.target[problem + l], most[l], log_sum[l])
            continue
        for l in range(n):
            t = p.target[problem + l]
            g = gradient_of(p, problem + l)
            w = weight_of(p, t)
            up[l] = g * <real_t> (keep * w + (0 if t == p.ignore else p.smooth * p.weights))
            down[l] = 0 if t == p.ignore else <real_t> p.smooth * g
        v = lane_load(up) / total
        if p.smooth == 0:
            for c in range(a.size):
                s[c] = s[c] * v
        else:
            for c in range(a.size):
                s[c] = s[c] * v - lane_load(down) * (p.weight[c] if p.weight else 1)
        for l in range(n):
            t = p.target[problem + l]
            if t == p.ignore:
                for c in range(a.size):
                    numbers[c * LANES + l] = up[l]
            else:
                numbers[t * LANES + l] -= keep * weight_of(p, t) * gradient_of(p, problem + l)
        lanes_out(a, s, a.out, at, n)


def count_labels(target, weight, idx n, idx classes, int64_t ignore):
    """(the first label that is neither of the classes nor ignored, or -1; the sum of the others' weights)."""
    cdef const int64_t* t = <const int64_t*> data(target)
    cdef const real_t* w = <const real_t*> data(weight)
    cdef idx i, wrong = 0, some = 0
    cdef double sum = 0
    for i in range(n):
        some += t[i] != ignore
        wrong += (<uint64_t> t[i] >= <uint64_t> classes) & (t[i] != ignore)
    if wrong:
        for i in range(n):
            if <uint64_t> t[i] >= <uint64_t> classes and t[i] != ignore:
                return i, 0.0
    if w == NULL:
        return -1, <double> some
    for i in range(n):
        if t[i] != ignore:
            sum += w[t[i]]
    return -1, sum


def total(x, idx n):
    """The sum of n numbers, in float64: eight sums side by side."""
    cdef const real_t* v = <const real_t*> data(x)
    cdef double sums[8]
    cdef double rest = 0
    cdef idx i, k
    memset(sums, 0, sizeof(sums))
    for i in range(n // 8):
        for k in range(8):
            sums[k] += v[8 * i + k]
    for i in range(n // 8 * 8, n):
        rest += v[i]
    for k in range(8):
        rest += sums[k]
    return rest


def cross_entropy(x, weight, target, dy, double scale, out, idx outer, idx size, idx inner, int64_t ignore, double smooth,
                  int threads):
    """out: the loss of each (outer, inner); or, as large as x, the gradient for dy of each loss or `scale` of all."""
    cdef Labels p
    cdef idx c, blocks_ = (inner + LANES - 1) // LANES * outer if inner > 1 else blocks(outer)
    p.axis.a = <const real_t*> data(x)
    p.axis.dy = <const real_t*> data(dy)
    p.axis.out = <real_t*> data(out)
    p.axis.outer, p.axis.size, p.axis.inner = outer, size, inner
    p.weight = <const real_t*> data(weight)
    p.target = <const int64_t*> data(target)
    p.ignore, p.smooth, p.scale = ignore, smooth, <real_t> scale
    p.backward = out.ndim == x.ndim
    p.weights = size
    if p.weight:
        p.weights = 0
        for c in range(size):
            p.weights += p.weight[c]
    if inner == 1 and size > SHORT:
        run(loss_rows, &p, outer, threads)
    else:
        run(loss_blocks, &p, blocks_, threads, size * LANES)
