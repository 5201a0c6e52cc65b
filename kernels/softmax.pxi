# Softmax over classes, and the two losses. 

cdef struct Softmax:
    idx x, y, dy, dx            # lanes in the arena
    idx rows, cols              # independent softmaxes
    idx classes, x_step, y_step, dy_step, dx_step       # lanes between two classes
    idx x_row, x_col, y_row, y_col, dy_row, dy_col, dx_row, dx_col
    idx add


# y = exp(x - max x) / sum exp(x - max x)
cdef void softmax(Context* ctx, const Args* args) noexcept nogil:
    cdef const Softmax* f = &args.softmax
    cdef idx i, j, c
    cdef const lane_t* x
    cdef lane_t* y
    cdef lane_t top, sum
    for i in range(f.rows):
        for j in range(f.cols):
            x = ctx.arena + f.x + i * f.x_row + j * f.x_col
            y = ctx.arena + f.y + i * f.y_row + j * f.y_col
            top = x[0]
            for c in range(1, f.classes):
                top = lane_select(lane_gt(x[c * f.x_step], top), x[c * f.x_step], top)
            sum = lane_set(0)
            for c in range(f.classes):
                y[c * f.y_step] = lane_exp(x[c * f.x_step] - top)
                sum = sum + y[c * f.y_step]
            sum = lane_set(1) / sum
            for c in range(f.classes):
                y[c * f.y_step] = y[c * f.y_step] * sum


# dx = y * (dy - sum_c dy y)
cdef void softmax_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const Softmax* f = &args.softmax
    cdef idx i, j, c
    cdef const lane_t* y
    cdef const lane_t* dy
    cdef lane_t* dx
    cdef lane_t dot
    for i in range(f.rows):
        for j in range(f.cols):
            y = ctx.arena + f.y + i * f.y_row + j * f.y_col
            dy = ctx.arena + f.dy + i * f.dy_row + j * f.dy_col
            dx = ctx.arena + f.dx + i * f.dx_row + j * f.dx_col
            dot = lane_set(0)
            for c in range(f.classes):
                dot = dot + dy[c * f.dy_step] * y[c * f.y_step]
            for c in range(f.classes):
                put(dx + c * f.dx_step, y[c * f.y_step] * (dy[c * f.dy_step] - dot), f.add)


# y = x - max x - log sum exp(x - max x)
cdef void log_softmax(Context* ctx, const Args* args) noexcept nogil:
    cdef const Softmax* f = &args.softmax
    cdef idx i, j, c
    cdef const lane_t* x
    cdef lane_t* y
    cdef lane_t top, sum
    for i in range(f.rows):
        for j in range(f.cols):
            x = ctx.arena + f.x + i * f.x_row + j * f.x_col
            y = ctx.arena + f.y + i * f.y_row + j * f.y_col
            top = x[0]
            for c in range(1, f.classes):
                top = lane_select(lane_gt(x[c * f.x_step], top), x[c * f.x_step], top)
            sum = lane_set(0)
            for c in range(f.classes):
                sum = sum + lane_exp(x[c * f.x_step] - top)
            sum = lane_log(sum)
            for c in range(f.classes):
                y[c * f.y_step] = (x[c * f.x_step] - top) - sum


# dx = dy - exp(y) sum_c dy
cdef void log_softmax_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const Softmax* f = &args.softmax
    cdef idx i, j, c
    cdef const lane_t* y
    cdef const lane_t* dy
    cdef lane_t* dx
    cdef lane_t sum
    for i in range(f.rows):
        for j in range(f.cols):
            y = ctx.arena + f.y + i * f.y_row + j * f.y_col
            dy = ctx.arena + f.dy + i * f.dy_row + j * f.dy_col
            dx = ctx.arena + f.dx + i * f.dx_row + j * f.dx_col
            sum = lane_set(0)
            for c in range(f.classes):
                sum = sum + dy[c * f.dy_step]
            for c in range(f.classes):
                put(dx + c * f.dx_step, dy[c * f.dy_step] - lane_exp(y[c * f.y_step]) * sum, f.add)


# A loss writes one number a sample and, where dx >= 0, its gradient times weight (divided by n for a mean). Lanes
# beyond the batch get a gradient of exactly zero.
cdef struct Loss:
    idx x, dx, size             # lanes in the arena, dx < 0: not wanted
    idx target, out, hits       # bound arrays; hits < 0: not wanted
    idx add, mean
    double weight


cdef inline lane_t lane_weight(Context* ctx, const Loss* f, double scale) noexcept nogil:
    cdef real_t w[LANE_MAX]
    cdef idx l
    for l in range(LANES):
        w[l] = <real_t> (f.weight * scale / (ctx.n if f.mean else 1)) if l < ctx.valid else 0
    return lane_load(w)


cdef inline const char* target_row(Context* ctx, Bound* t, idx l) noexcept nogil:
    cdef idx n = ctx.first + l
    return t.data + (t.index[n] if t.index else n) * t.row_bytes


# loss = log sum_c exp(x_c - max) + max - x_label;  dx = weight * (softmax(x) - onehot(label))
cdef void cross_entropy(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loss* f = &args.loss
    cdef Bound* t = ctx.bound + f.target
    cdef const lane_t* x = ctx.arena + f.x
    cdef lane_t* dx
    cdef bits_t labels[LANE_MAX]
    cdef real_t loss[LANE_MAX]
    cdef real_t hit[LANE_MAX]
    cdef real_t* out
    cdef mask_t label, is_label
    cdef lane_t top, at, sum, e, w
    cdef idx c, l
    for l in range(LANES):
        labels[l] = <bits_t> (<const int64_t*> target_row(ctx, t, l))[0] if l < ctx.valid else 0
    memcpy(&label, labels, sizeof(label))
    top = x[0]
    at = lane_set(0)
    for c in range(f.size):
        top = lane_select(mask_or(lane_gt(x[c], top), lane_nan(x[c])), x[c], top)
        at = lane_select(mask_eq(label, mask_set(<bits_t> c)), x[c], at)
    sum = lane_set(0)
    for c in range(f.size):
        sum = sum + lane_exp(x[c] - top)
    lane_store(loss, lane_log(sum) + (top - at))
    out = <real_t*> ctx.bound[f.out].data + ctx.first
    for l in range(ctx.valid):
        out[l] = loss[l]
    if f.hits >= 0:
        # right: the label's score is the greatest, and no class before it ties (argmax takes the first)
        e = lane_set(1)
        for c in range(f.size):
            is_label = mask_eq(label, mask_set(<bits_t> c))
            e = lane_select(is_label, e, lane_select(lane_lt(x[c], at), e, lane_keep(lane_gt(
                lane_set(<real_t> c), lane_label(labels)), lane_select(lane_gt(x[c], at), lane_set(0), e))))
        lane_store(hit, e)
        out = <real_t*> ctx.bound[f.hits].data + ctx.first
        for l in range(ctx.valid):
            out[l] = hit[l]
    if f.dx >= 0:
        w = lane_weight(ctx, f, 1)
        sum = w / sum
        dx = ctx.arena + f.dx
        for c in range(f.size):
            is_label = mask_eq(label, mask_set(<bits_t> c))
            put(dx + c, lane_exp(x[c] - top) * sum - lane_keep(is_label, w), f.add)


cdef inline lane_t lane_label(const bits_t* labels) noexcept nogil:
    cdef real_t r[LANE_MAX]
    cdef idx l
    for l in range(LANES):
        r[l] = <real_t> labels[l]
    return lane_load(r)


# loss = mean over a sample's numbers of (x - target)^2 (their sum where mean is 0);  dx = weight * 2 (x - target)
cdef void mse(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loss* f = &args.loss
    cdef Bound* t = ctx.bound + f.target
    cdef const lane_t* x = ctx.arena + f.x
    cdef real_t line[LANE_MAX]
    cdef real_t* out
    cdef lane_t d, sum = lane_set(0), w = lane_weight(ctx, f, 2.0 / (f.size if f.mean else 1))
    cdef idx i, l
    for i in range(f.size):
        for l in range(LANES):
            line[l] = (<const real_t*> target_row(ctx, t, l))[i] if l < ctx.valid else 0
        d = x[i] - lane_load(line)
        sum = sum + d * d
        if f.dx >= 0:
            put(ctx.arena + f.dx + i, d * w, f.add)
    lane_store(line, sum * <real_t> (1.0 / (f.size if f.mean else 1)))
    out = <real_t*> ctx.bound[f.out].data + ctx.first
    for l in range(ctx.valid):
        out[l] = line[l]
