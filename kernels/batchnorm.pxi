# Batch normalisation: y = (x - mean) / sqrt(var + eps) * w + b per channel, over the samples and pixels of the batch.
#
# The batch's statistics look across shards, so the plan is cut at them:
#   shard: partial sums -> join: all shards' sums to one, split over threads by channel -> shard: apply
# forward  partial [mean][M2] of the shard; joint [mean][rstd][scale][shift]; y = x * scale + shift
# backward partial [sum dy][sum dy x^]; joint [k1][k2][k3]; dx = k1 dy - k2 x - k3
# y = act(x * scale + shift + r) where a value is added before the ReLU; its gradient is dy as ReLU lets it through.
# With running statistics (eval) there is nothing to join: the joint numbers come from them before the shards.

cdef struct BatchNorm:
    idx x, x0, x1, x2           # lanes in the arena; strides of rows, pixels, channels
    idx y, y0, y1, y2
    idx dy, d0, d1, d2          # with relu it counts where x * scale + shift is above zero
    idx dx, g0, g1, g2, add
    idx r, r0, r1, r2, add_r    # what is added, or its gradient; r < 0: nothing, or not wanted
    idx plus, masked            # something is added; with ReLU dy is masked in place, as its gradient is not kept or not its own
    idx rows, cols, channels
    idx all_rows, part, sums    # of the image; what these rows are of it; 3 C lanes of the thread's own for its sums
    idx stat, back              # reals in a shard's partial numbers and in the joint ones: forward's 4 C, backward's 3 C
    idx weight, bias            # addresses, or 0
    idx mean, var, count        # addresses of the running statistics, or 0; count: batches seen
    idx grad_weight, grad_bias, add_weight, add_bias
    double momentum, eps        # momentum < 0: the mean of all batches
    idx relu

cdef enum: BN_BLOCK = 64        # channels whose sums lie in L1 while the pixels pass, in their order in memory
cdef enum: BN_PIXELS = 4        # at a time: the sums are loaded and stored once for so many
cdef enum: BN_BEGIN = 1, BN_END = 2     # parts of an image, as nodes/batchnorm.py has them: its first rows, its last ones


cdef inline real_t* partial(Context* ctx, idx at) noexcept nogil:
    return ctx.partials + ctx.first // LANES * ctx.stat_row + at


cdef inline void add_squares(const BatchNorm* a, const lane_t* x, idx pixels, idx channels, const real_t* pivot, lane_t* s1,
                             lane_t* s2) noexcept nogil:
    # s1 += x - pivot, s2 += (x - pivot)^2 of some pixels.
    cdef lane_t v, t1, t2
    cdef idx k, p
    for k in range(channels):
        t1 = s1[k]
        t2 = s2[k]
        for p in range(pixels):
            v = x[p * a.x1 + k * a.x2] - pivot[k]
            t1 = t1 + v
            t2 = t2 + v * v
        s1[k] = t1
        s2[k] = t2


cdef inline double lane_total(lane_t v, idx valid) noexcept nogil:
    cdef real_t line[LANE_MAX]
    cdef double total = 0
    cdef idx l
    lane_store(line, v)
    for l in range(valid):
        total += line[l]
    return total


cdef void batch_norm_partial(Context* ctx, const Args* args) noexcept nogil:
    # Mean and sum of squares about it, by sums about a pivot near the mean: the first valid samples' middle pixel of the first
    # rows.
    cdef const BatchNorm* a = &args.batch_norm
    cdef real_t* out = partial(ctx, a.stat)
    cdef lane_t* s1 = ctx.own + a.sums
    cdef lane_t* s2 = s1 + a.channels
    cdef real_t* pivot = <real_t*> (s2 + a.channels)
    cdef const lane_t* x
    cdef double t1, t2, n = <double> (ctx.valid * a.all_rows * a.cols)
    cdef idx c = 0, i, j, k, m
    while c < a.channels:
        m = least(BN_BLOCK, a.channels - c)
        x = lanes_at(ctx, a.x) + a.rows // 2 * a.x0 + a.cols // 2 * a.x1 + c * a.x2
        for k in range(m if a.part & BN_BEGIN else 0):
            pivot[k] = <real_t> (lane_total(x[k * a.x2], ctx.valid) / ctx.valid)
            s1[k] = s2[k] = lane_set(0)
        for i in range(a.rows):
            x = lanes_at(ctx, a.x) + i * a.x0 + c * a.x2
            j = 0
            while j + BN_PIXELS <= a.cols:
                add_squares(a, x + j * a.x1, BN_PIXELS, m, pivot, s1, s2)
                j += BN_PIXELS
            while j < a.cols:
                add_squares(a, x + j * a.x1, 1, m, pivot, s1, s2)
                j += 1
        for k in range(m if a.part & BN_END else 0):
            t1 = lane_total(s1[k], ctx.valid)
            t2 = lane_total(s2[k], ctx.valid)
            out[c + k] = <real_t> (pivot[k] + t1 / n)
            out[a.channels + c + k] = <real_t> (t2 - t1 * t1 / n)
        c += m
        s1 += m
        s2 += m
        pivot += m


cdef void set_scale(const BatchNorm* a, real_t* joint, idx c, double mean, double var) noexcept nogil:
    cdef double rstd = 1 / double_sqrt(var + a.eps), scale = rstd * ((<const real_t*> a.weight)[c] if a.weight else 1)
    joint[c] = <real_t> mean
    joint[a.channels + c] = <real_t> rstd
    joint[2 * a.channels + c] = <real_t> scale
    joint[3 * a.channels + c] = <real_t> (((<const real_t*> a.bias)[c] if a.bias else 0) - mean * scale)


cdef void batch_norm_join(Context* ctx, const Args* args) noexcept nogil:
    # All shards' means and squares, in order (Chan, Golub and LeVeque 1983); the running statistics move on.
    cdef const BatchNorm* a = &args.batch_norm
    cdef double mean, m2, n, nb, delta, step
    cdef const real_t* p
    cdef real_t* running
    cdef idx c, s, first
    for c in range(share(a.channels, ctx.tid, ctx.threads), share(a.channels, ctx.tid + 1, ctx.threads)):
        mean = m2 = n = 0
        for s in range((ctx.n + LANES - 1) // LANES):
            first = s * LANES
            p = ctx.partials + s * ctx.stat_row + a.stat
            nb = <double> (least(LANES, ctx.n - first) * a.rows * a.cols)
            delta = p[c] - mean
            mean += delta * nb / (n + nb)
            m2 += p[a.channels + c] + delta * delta * n * nb / (n + nb)
            n += nb
        m2 = m2 if m2 > 0 or m2 != m2 else 0
        set_scale(a, ctx.joint + a.stat, c, mean, m2 / n)
        if a.mean:
            step = a.momentum if a.momentum >= 0 else 1.0 / <double> ((<const int64_t*> a.count)[0] + 1)
            running = <real_t*> a.mean + c
            running[0] = <real_t> ((1 - step) * running[0] + step * mean)
            running = <real_t*> a.var + c
            running[0] = <real_t> ((1 - step) * running[0] + step * m2 / (n - 1))


cdef void batch_norm_running(Context* ctx, const Args* args) noexcept nogil:
    # Before the shards: scale and shift from the running statistics.
    cdef const BatchNorm* a = &args.batch_norm
    cdef idx c
    for c in range(share(a.channels, ctx.tid, ctx.threads), share(a.channels, ctx.tid + 1, ctx.threads)):
        set_scale(a, ctx.joint + a.stat, c, (<const real_t*> a.mean)[c], (<const real_t*> a.var)[c])
        ctx.joint[a.back + c] = ctx.joint[a.stat + 2 * a.channels + c]
        ctx.joint[a.back + a.channels + c] = 0
        ctx.joint[a.back + 2 * a.channels + c] = 0


cdef void batch_norm_apply(Context* ctx, const Args* args) noexcept nogil:
    cdef const BatchNorm* a = &args.batch_norm
    cdef const real_t* scale = ctx.joint + a.stat + 2 * a.channels
    cdef const real_t* shift = scale + a.channels
    cdef const lane_t* x
    cdef const lane_t* r
    cdef lane_t* y
    cdef lane_t v
    cdef idx i, j, c
    for i in range(a.rows):
        for j in range(a.cols):
            x = lanes_at(ctx, a.x) + i * a.x0 + j * a.x1
            y = lanes_at(ctx, a.y) + i * a.y0 + j * a.y1
            r = lanes_at(ctx, a.r) + i * a.r0 + j * a.r1
            for c in range(a.channels):
                v = x[c * a.x2] * scale[c] + shift[c]
                if a.plus:
                    v = v + r[c * a.r2]
                y[c * a.y2] = lane_relu(v) if a.relu else v


cdef inline lane_t gradient(lane_t dy, lane_t x, real_t scale, real_t shift, int relu) noexcept nogil:
    # dy where y was above zero: y = x * scale + shift is computed as batch_norm_apply did.
    return lane_keep(lane_gt(x * scale + shift, lane_set(0)), dy) if relu else dy


cdef inline void add_products(const BatchNorm* a, const lane_t* x, const lane_t* dy, idx d1, idx d2, idx pixels, idx channels,
                              const real_t* mean, int relu, lane_t* s1, lane_t* s2) noexcept nogil:
    # s1 += g, s2 += g (x - mean) of some pixels; mean, rstd, scale and shift lie a.channels apart.
    cdef lane_t g, v, t1, t2
    cdef idx k, p
    for k in range(channels):
        t1 = s1[k]
        t2 = s2[k]
        for p in range(pixels):
            v = x[p * a.x1 + k * a.x2]
            g = gradient(dy[p * d1 + k * d2], v, mean[2 * a.channels + k], mean[3 * a.channels + k], relu)
            t1 = t1 + g
            t2 = t2 + g * (v - mean[k])
        s1[k] = t1
        s2[k] = t2


cdef inline void pass_on(const BatchNorm* a, const lane_t* y, lane_t* dy, lane_t* r, idx pixels, idx channels) noexcept nogil:
    # Some pixels' gradient to what was added.
    cdef lane_t g
    cdef idx k, p
    for p in range(pixels):
        for k in range(channels):
            g = dy[p * a.d1 + k * a.d2]
            if a.relu:
                g = lane_keep(lane_gt(y[p * a.y1 + k * a.y2], lane_set(0)), g)
            if a.masked:
                dy[p * a.d1 + k * a.d2] = g
            if a.r >= 0:
                put(r + p * a.r1 + k * a.r2, g, a.add_r)


cdef void batch_norm_partial_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const BatchNorm* a = &args.batch_norm
    cdef real_t* out = partial(ctx, a.back)
    cdef const real_t* mean = ctx.joint + a.stat
    cdef lane_t* s1 = ctx.own + a.sums
    cdef lane_t* s2 = s1 + a.channels
    cdef const lane_t* x
    cdef lane_t* dy
    cdef lane_t* r
    cdef const lane_t* y
    cdef const lane_t* g
    cdef idx c = 0, i, j, k, m, pixels
    cdef int relu = a.relu and not a.plus, from_r = a.relu and a.plus and not a.masked
    cdef idx d1 = a.r1 if from_r else a.d1, d2 = a.r2 if from_r else a.d2
    while c < a.channels:
        m = least(BN_BLOCK, a.channels - c)
        for k in range(m if a.part & BN_BEGIN else 0):
            s1[k] = s2[k] = lane_set(0)
        for i in range(a.rows):
            x = lanes_at(ctx, a.x) + i * a.x0 + c * a.x2
            dy = lanes_at(ctx, a.dy) + i * a.d0 + c * a.d2
            y = lanes_at(ctx, a.y) + i * a.y0 + c * a.y2
            r = lanes_at(ctx, a.r) + i * a.r0 + c * a.r2
            j = 0
            while j < a.cols:
                pixels = BN_PIXELS if j + BN_PIXELS <= a.cols else 1
                if a.plus:
                    pass_on(a, y + j * a.y1, dy + j * a.d1, r + j * a.r1, pixels, m)
                g = (r if from_r else dy) + j * d1
                if pixels == 1:
                    add_products(a, x + j * a.x1, g, d1, d2, 1, m, mean + c, relu, s1, s2)
                elif relu:
                    add_products(a, x + j * a.x1, g, d1, d2, BN_PIXELS, m, mean + c, 1, s1, s2)
                else:
                    add_products(a, x + j * a.x1, g, d1, d2, BN_PIXELS, m, mean + c, 0, s1, s2)
                j += pixels
        for k in range(m if a.part & BN_END else 0):        # lanes beyond the batch have a gradient of zero
            out[c + k] = <real_t> lane_total(s1[k], ctx.valid)
            out[a.channels + c + k] = <real_t> (lane_total(s2[k], ctx.valid) * mean[a.channels + c + k])
        c += m
        s1 += m
        s2 += m


cdef double shard_total(Context* ctx, idx at) noexcept nogil:
    cdef double s = 0
    cdef idx i
    for i in range((ctx.n + LANES - 1) // LANES):
        s += ctx.partials[i * ctx.stat_row + at]
    return s


cdef void batch_norm_join_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const BatchNorm* a = &args.batch_norm
    cdef const real_t* joint = ctx.joint + a.stat
    cdef real_t* k = ctx.joint + a.back
    cdef double m1, m2, scale, n = <double> (ctx.n * a.rows * a.cols)
    cdef idx c
    for c in range(share(a.channels, ctx.tid, ctx.threads), share(a.channels, ctx.tid + 1, ctx.threads)):
        m1 = shard_total(ctx, a.back + c) / n
        m2 = shard_total(ctx, a.back + a.channels + c) / n * joint[a.channels + c]
        scale = joint[2 * a.channels + c]
        k[c] = <real_t> scale
        k[a.channels + c] = <real_t> (scale * m2)
        k[2 * a.channels + c] = <real_t> (scale * (m1 - joint[c] * m2))


cdef void batch_norm_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const BatchNorm* a = &args.batch_norm
    cdef const real_t* k = ctx.joint + a.back
    cdef const real_t* scale = ctx.joint + a.stat + 2 * a.channels
    cdef const lane_t* x
    cdef const lane_t* dy
    cdef lane_t* dx
    cdef real_t line[LANE_MAX]
    cdef lane_t g, exist
    cdef idx i, j, c, l
    for l in range(LANES):
        line[l] = 1 if l < ctx.valid else 0
    exist = lane_load(line)
    for i in range(a.rows):
        for j in range(a.cols):
            x = lanes_at(ctx, a.x) + i * a.x0 + j * a.x1
            dy = lanes_at(ctx, a.dy) + i * a.d0 + j * a.d1
            dx = lanes_at(ctx, a.dx) + i * a.g0 + j * a.g1
            for c in range(a.channels):
                g = gradient(dy[c * a.d2], x[c * a.x2], scale[c], scale[a.channels + c], a.relu)
                g = (g * k[c] - x[c * a.x2] * k[a.channels + c] - k[2 * a.channels + c]) * exist
                put(dx + c * a.g2, g, a.add)


cdef void batch_norm_grad(Context* ctx, const Args* args) noexcept nogil:
    # dw = sum dy x^, db = sum dy over all shards.
    cdef const BatchNorm* a = &args.batch_norm
    cdef real_t* g
    cdef real_t s
    cdef idx c
    for c in range(share(a.channels, ctx.tid, ctx.threads), share(a.channels, ctx.tid + 1, ctx.threads)):
        if a.grad_weight:
            g = <real_t*> a.grad_weight + c
            s = <real_t> shard_total(ctx, a.back + a.channels + c)
            g[0] = g[0] + s if ctx.accumulate or a.add_weight else s
        if a.grad_bias:
            g = <real_t*> a.grad_bias + c
            s = <real_t> shard_total(ctx, a.back + c)
            g[0] = g[0] + s if ctx.accumulate or a.add_bias else s
