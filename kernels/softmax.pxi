# Softmax over classes.

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
            x = lanes_at(ctx, f.x) + i * f.x_row + j * f.x_col
            y = lanes_at(ctx, f.y) + i * f.y_row + j * f.y_col
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
            y = lanes_at(ctx, f.y) + i * f.y_row + j * f.y_col
            dy = lanes_at(ctx, f.dy) + i * f.dy_row + j * f.dy_col
            dx = lanes_at(ctx, f.dx) + i * f.dx_row + j * f.dx_col
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
            x = lanes_at(ctx, f.x) + i * f.x_row + j * f.x_col
            y = lanes_at(ctx, f.y) + i * f.y_row + j * f.y_col
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
            y = lanes_at(ctx, f.y) + i * f.y_row + j * f.y_col
            dy = lanes_at(ctx, f.dy) + i * f.dy_row + j * f.dy_col
            dx = lanes_at(ctx, f.dx) + i * f.dx_row + j * f.dx_col
            sum = lane_set(0)
            for c in range(f.classes):
                sum = sum + dy[c * f.dy_step]
            for c in range(f.classes):
                put(dx + c * f.dx_step, dy[c * f.dy_step] - lane_exp(y[c * f.y_step]) * sum, f.add)

