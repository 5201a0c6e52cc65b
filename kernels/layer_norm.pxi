# Normalisation over the numbers of one sample: layer and group normalisation. Lanes are samples, so every statistic is a lane.
#
# y = (x - mean) / sqrt(var + eps) * w + b over the n0 x n1 x n2 numbers of each of o0 x o1 groups; var is the mean square
# distance from the mean. A walk is a start and the strides of the five loops: lanes, or numbers of w and b.

cdef struct Walk:
    idx at, o0, o1, i0, i1, i2

cdef struct LayerNorm:
    idx o0, o1, n0, n1, n2
    Walk x, y, p                # y: dy in the backward pass; p: the place of w and b, its start 0
    Walk dx
    idx stats                   # lanes: mean, then 1 / sqrt(var + eps), for each group
    idx weight, bias            # addresses or 0
    idx d, wants                # backward: bytes in the slot of dw then db, `params` lanes each; which are wanted: 1 dw or db, 2 dx
    idx params, add
    double eps


cdef inline idx walk(const Walk* w, idx g, idx h, idx i, idx j) noexcept nogil:
    return w.at + g * w.o0 + h * w.o1 + i * w.i0 + j * w.i1


cdef inline lane_t lane_rsqrt(lane_t a) noexcept nogil:
    cdef real_t line[LANE_MAX]
    cdef idx l
    lane_store(line, a)
    for l in range(LANES):
        line[l] = 1 / real_sqrt(line[l])
    return lane_load(line)


cdef void layer_norm(Context* ctx, const Args* args) noexcept nogil:
    cdef const LayerNorm* a = &args.layer_norm
    cdef const real_t* weight = <const real_t*> a.weight
    cdef const real_t* bias = <const real_t*> a.bias
    cdef const lane_t* x
    cdef lane_t* y
    cdef lane_t* stats = lanes_at(ctx, a.stats)
    cdef lane_t mean, var, scale, v
    cdef real_t share_of = <real_t> (1.0 / (a.n0 * a.n1 * a.n2))
    cdef idx g, h, i, j, k, p
    for g in range(a.o0):
        for h in range(a.o1):
            mean = lane_set(0)
            for i in range(a.n0):
                for j in range(a.n1):
                    x = lanes_at(ctx, walk(&a.x, g, h, i, j))
                    for k in range(a.n2):
                        mean = mean + x[k * a.x.i2]
            mean = mean * share_of
            var = lane_set(0)
            for i in range(a.n0):
                for j in range(a.n1):
                    x = lanes_at(ctx, walk(&a.x, g, h, i, j))
                    for k in range(a.n2):
                        v = x[k * a.x.i2] - mean
                        var = var + v * v
            scale = lane_rsqrt(var * share_of + lane_set(<real_t> a.eps))
            stats[0] = mean
            stats[1] = scale
            stats += 2
            for i in range(a.n0):
                for j in range(a.n1):
                    x = lanes_at(ctx, walk(&a.x, g, h, i, j))
                    y = lanes_at(ctx, walk(&a.y, g, h, i, j))
                    p = walk(&a.p, g, h, i, j)
                    for k in range(a.n2):
                        v = (x[k * a.x.i2] - mean) * scale
                        if weight:
                            v = v * weight[p + k * a.p.i2]
                        y[k * a.y.i2] = v + lane_set(bias[p + k * a.p.i2]) if bias else v


# dw += dy x', db += dy, dx = (dy w - mean(dy w) - x' mean(dy w x')) / sqrt(var + eps), with x' the normalised x.
cdef void layer_norm_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const LayerNorm* a = &args.layer_norm
    cdef const real_t* weight = <const real_t*> a.weight
    cdef const lane_t* x
    cdef const lane_t* dy
    cdef lane_t* dx
    cdef lane_t* dw = <lane_t*> (<char*> ctx.slot + a.d)
    cdef lane_t* db = dw + a.params
    cdef const lane_t* stats = lanes_at(ctx, a.stats)
    cdef lane_t mean, scale, v, d, sum, dot
    cdef real_t share_of = <real_t> (1.0 / (a.n0 * a.n1 * a.n2))
    cdef idx g, h, i, j, k, p
    if a.wants & 1 and ctx.fresh:
        memset(dw, 0, 2 * a.params * sizeof(lane_t))
    for g in range(a.o0):
        for h in range(a.o1):
            mean = stats[0]
            scale = stats[1]
            stats += 2
            sum = lane_set(0)
            dot = lane_set(0)
            for i in range(a.n0):
                for j in range(a.n1):
                    x = lanes_at(ctx, walk(&a.x, g, h, i, j))
                    dy = lanes_at(ctx, walk(&a.y, g, h, i, j))
                    p = walk(&a.p, g, h, i, j)
                    for k in range(a.n2):
                        d = dy[k * a.y.i2]
                        v = (x[k * a.x.i2] - mean) * scale
                        if a.wants & 1:
                            dw[p + k * a.p.i2] = dw[p + k * a.p.i2] + d * v
                            db[p + k * a.p.i2] = db[p + k * a.p.i2] + d
                        if weight:
                            d = d * weight[p + k * a.p.i2]
                        sum = sum + d
                        dot = dot + d * v
            if not a.wants & 2:
                continue
            sum = sum * share_of
            dot = dot * share_of
            for i in range(a.n0):
                for j in range(a.n1):
                    x = lanes_at(ctx, walk(&a.x, g, h, i, j))
                    dy = lanes_at(ctx, walk(&a.y, g, h, i, j))
                    dx = lanes_at(ctx, walk(&a.dx, g, h, i, j))
                    p = walk(&a.p, g, h, i, j)
                    for k in range(a.n2):
                        d = dy[k * a.y.i2]
                        if weight:
                            d = d * weight[p + k * a.p.i2]
                        put(dx + k * a.dx.i2, (d - sum - (x[k * a.x.i2] - mean) * scale * dot) * scale, a.add)
