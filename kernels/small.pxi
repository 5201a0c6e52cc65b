# The forward pass of a few samples as one call: tasks over values (N, ...) in a memory of its own. What follows is what the
# array functions have no kernel for.

# Dense layers: y[n][o] = act(bias[o] + sum over i of w[o][i] x[n][i]).
cdef struct SmallDense:
    const real_t* x
    const real_t* weight        # (O, I)
    const real_t* bias          # or NULL
    real_t* y
    idx n, ins, outs
    int relu

cdef enum: DOTS = 4             # rows of weights at once: of more, lines fall out of L1 where rows lie a multiple of 4 KB apart


cdef inline void small_dots(const real_t* x, const real_t* w0, const real_t* w1, const real_t* w2, const real_t* w3, idx n,
                            lane_t* sums) noexcept nogil:
    # Four rows times x, each in two sums: chains of additions that do not wait for each other.
    cdef lane_t a0 = lane_set(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0, u, v
    cdef idx i = 0, m
    while i + 2 * LANES <= n:
        u = lane_load(x + i)
        v = lane_load(x + i + LANES)
        a0 = a0 + u * lane_load(w0 + i)
        a1 = a1 + u * lane_load(w1 + i)
        a2 = a2 + u * lane_load(w2 + i)
        a3 = a3 + u * lane_load(w3 + i)
        b0 = b0 + v * lane_load(w0 + i + LANES)
        b1 = b1 + v * lane_load(w1 + i + LANES)
        b2 = b2 + v * lane_load(w2 + i + LANES)
        b3 = b3 + v * lane_load(w3 + i + LANES)
        i += 2 * LANES
    while i < n:
        m = least(LANES, n - i)
        u = lane_set(0)
        v = lane_load_some(x + i, m, u)
        a0 = a0 + v * lane_load_some(w0 + i, m, u)
        a1 = a1 + v * lane_load_some(w1 + i, m, u)
        a2 = a2 + v * lane_load_some(w2 + i, m, u)
        a3 = a3 + v * lane_load_some(w3 + i, m, u)
        i += LANES
    sums[0] = a0 + b0
    sums[1] = a1 + b1
    sums[2] = a2 + b2
    sums[3] = a3 + b3


cdef inline const real_t* small_weights(const SmallDense* a, idx o) noexcept nogil:
    return a.weight + least(o, a.outs - 1) * a.ins


cdef void small_dense(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # Units: LANES outputs, whose sums are transposed and added up. scratch: [n][LANES] lanes of sums.
    cdef const SmallDense* a = <const SmallDense*> job
    cdef lane_t* sums = <lane_t*> scratch
    cdef lane_t* own
    cdef lane_t v
    cdef idx b, o, r, s, i, half, count
    for b in range(first, last):
        o = b * LANES
        count = least(LANES, a.outs - o)
        r = 0
        while r < LANES:
            for s in range(a.n):
                own = sums + s * most(LANES, DOTS) + r
                if r < count:
                    small_dots(a.x + s * a.ins, small_weights(a, o + r), small_weights(a, o + r + 1),
                               small_weights(a, o + r + 2), small_weights(a, o + r + 3), a.ins, own)
                else:
                    for i in range(DOTS):
                        own[i] = lane_set(0)
            r += DOTS
        for s in range(a.n):
            own = sums + s * most(LANES, DOTS)
            lane_transpose(own)
            half = LANES // 2
            while half:
                for i in range(half):
                    own[i] = own[i] + own[i + half]
                half //= 2
            v = own[0]
            if a.bias:
                v = v + lane_load_some(a.bias + o, count, v)
            lane_store_some(a.y + s * a.outs + o, lane_relu(v) if a.relu else v, count)


# What follows a product x W of weights (I, O): y[n][o] = act(y[n][o] + bias[o]).
cdef struct SmallRows:
    real_t* y
    const real_t* bias          # or NULL
    idx outs
    int relu


cdef void small_rows(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # Units: rows.
    cdef const SmallRows* a = <const SmallRows*> job
    cdef lane_t v
    cdef idx r, o, m
    for r in range(first, last):
        o = 0
        while o < a.outs:
            m = least(LANES, a.outs - o)
            v = lane_load_some(a.y + r * a.outs + o, m, lane_set(0))
            if a.bias:
                v = v + lane_load_some(a.bias + o, m, v)
            lane_store_some(a.y + r * a.outs + o, lane_relu(v) if a.relu else v, m)
            o += LANES


# Batch normalisation by running statistics, as what follows a convolution: y scale + shift.
cdef struct SmallScale:
    const real_t* weight        # or NULL for 1
    const real_t* bias          # or NULL for 0
    const real_t* mean
    const real_t* var
    real_t* scale
    real_t* shift
    double eps


cdef void small_scale(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # Units: channels.
    cdef const SmallScale* a = <const SmallScale*> job
    cdef double scale
    cdef idx c
    for c in range(first, last):
        scale = 1 / double_sqrt(a.var[c] + a.eps) * (a.weight[c] if a.weight else 1)
        a.scale[c] = <real_t> scale
        a.shift[c] = <real_t> ((a.bias[c] if a.bias else 0) - a.mean[c] * scale)


# y = alpha x + beta, or with b y = x + b: a unit is SPAN numbers.
cdef struct SmallAffine:
    const real_t* x
    const real_t* b             # or NULL
    real_t* y
    idx size
    real_t alpha, beta


cdef void small_affine(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    cdef const SmallAffine* a = <const SmallAffine*> job
    cdef lane_t v
    cdef idx i = first * SPAN, stop = least(last * SPAN, a.size), m
    while i < stop:
        m = least(LANES, a.size - i)
        v = lane_load_some(a.x + i, m, lane_set(0))
        v = v + lane_load_some(a.b + i, m, v) if a.b else v * a.alpha + a.beta
        lane_store_some(a.y + i, v, m)
        i += LANES


# Rows of one array into longer rows of another.
cdef struct SmallCopy:
    const real_t* x
    real_t* y
    idx row, pitch              # numbers of a row; y's rows apart


cdef void small_copy(const void* job, real_t* scratch, idx first, idx last) noexcept nogil:
    # Units: rows.
    cdef const SmallCopy* a = <const SmallCopy*> job
    cdef idx r
    for r in range(first, last):
        memcpy(a.y + r * a.pitch, a.x + r * a.row, a.row * sizeof(real_t))


# What is bound to an input: numbers as they are, or bytes times scale[c] plus scale[channels + c].
cdef struct SmallInput:
    real_t* y
    const real_t* scale         # NULL: numbers
    idx size, channels, plane   # numbers altogether; of a sample's channels; of a channel


cdef void small_input(const SmallInput* a, const char* x) noexcept nogil:
    cdef const uint8_t* bytes = <const uint8_t*> x
    cdef real_t scale, shift
    cdef idx p, i
    if a.scale == NULL:
        memcpy(a.y, x, a.size * sizeof(real_t))
        return
    for p in range(a.size // a.plane):
        scale, shift = a.scale[p % a.channels], a.scale[a.channels + p % a.channels]
        i = p * a.plane
        while i + LANES <= (p + 1) * a.plane:
            lane_store(a.y + i, lane_load_u8(bytes + i) * scale + shift)
            i += LANES
        while i < (p + 1) * a.plane:
            a.y[i] = bytes[i] * scale + shift
            i += 1


cdef union SmallJob:
    SmallConv conv
    SmallPoints points
    SmallDense dense
    SmallRows rows
    SmallScale scale
    SmallAffine affine
    SmallCopy copy
    Pooling pool
    Planes planes
    Spans spans
    Axis axis
    Matmul matmul

cdef struct SmallStep:
    task_t task
    idx units
    SmallJob job

cdef enum: SMALL_INPUTS = 16


cdef void small_steps(const SmallStep* steps, idx n, char* own, idx size, barrier_t* barrier, int t,
                      int threads) noexcept nogil:
    # One thread's part of n steps, with `size` bytes of scratch a thread: in each of a step's units, then all wait.
    cdef const SmallStep* s
    cdef idx i
    cdef unsigned int mode = float_mode_flush()
    if t < TEAM_SEEN:
        cpus[t] = this_cpu()
    if 0 < t < TEAM_SEEN:
        keep_apart(cpus, t, threads)
    for i in range(n):
        s = steps + i
        s.task(&s.job, <real_t*> (own + t * size), share(s.units, t, threads), share(s.units, t + 1, threads))
        if threads > 1:
            team_barrier(barrier, threads)
    float_mode_set(mode)
