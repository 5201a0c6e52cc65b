# Arithmetic and copies over images with borders. An operand is a start and the strides (in lanes) of three loops.

cdef struct Loops:
    idx n0, n1, n2
    idx y, y0, y1, y2           # written
    idx a, a0, a1, a2           # read
    idx b, b0, b1, b2           # read, where there is a second operand
    idx add                     # add to y instead of writing it
    double alpha, beta          # constants of the operation


cdef inline void put(lane_t* y, lane_t v, idx add) noexcept nogil:
    y[0] = y[0] + v if add else v


# y = a + b
cdef void add(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loops* f = &args.loops
    cdef idx i, j, k
    cdef lane_t* y
    cdef const lane_t* a
    cdef const lane_t* b
    for i in range(f.n0):
        for j in range(f.n1):
            y = ctx.arena + f.y + i * f.y0 + j * f.y1
            a = ctx.arena + f.a + i * f.a0 + j * f.a1
            b = ctx.arena + f.b + i * f.b0 + j * f.b1
            for k in range(f.n2):
                put(y + k * f.y2, a[k * f.a2] + b[k * f.b2], f.add)


# y = a * b; its gradients are the same with dy in place of a factor
cdef void multiply(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loops* f = &args.loops
    cdef idx i, j, k
    cdef lane_t* y
    cdef const lane_t* a
    cdef const lane_t* b
    for i in range(f.n0):
        for j in range(f.n1):
            y = ctx.arena + f.y + i * f.y0 + j * f.y1
            a = ctx.arena + f.a + i * f.a0 + j * f.a1
            b = ctx.arena + f.b + i * f.b0 + j * f.b1
            for k in range(f.n2):
                put(y + k * f.y2, a[k * f.a2] * b[k * f.b2], f.add)


# y = alpha * a + beta: scaling, copying, reordering
cdef void affine(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loops* f = &args.loops
    cdef idx i, j, k
    cdef lane_t* y
    cdef const lane_t* a
    cdef real_t alpha = <real_t> f.alpha, beta = <real_t> f.beta
    for i in range(f.n0):
        for j in range(f.n1):
            y = ctx.arena + f.y + i * f.y0 + j * f.y1
            a = ctx.arena + f.a + i * f.a0 + j * f.a1
            for k in range(f.n2):
                put(y + k * f.y2, a[k * f.a2] * alpha + beta, f.add)


# y = beta
cdef void fill(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loops* f = &args.loops
    cdef idx i, j, k
    for i in range(f.n0):
        for j in range(f.n1):
            for k in range(f.n2):
                ctx.arena[f.y + i * f.y0 + j * f.y1 + k * f.y2] = lane_set(<real_t> f.beta)


# y = max(a, 0); NaN passes
cdef void relu(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loops* f = &args.loops
    cdef idx i, j, k
    cdef lane_t* y
    cdef const lane_t* a
    for i in range(f.n0):
        for j in range(f.n1):
            y = ctx.arena + f.y + i * f.y0 + j * f.y1
            a = ctx.arena + f.a + i * f.a0 + j * f.a1
            for k in range(f.n2):
                put(y + k * f.y2, lane_relu(a[k * f.a2]), f.add)


# dx = dy where the activation (a) is above zero: the gradient at 0 is 0; b is dy
cdef void relu_backward(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loops* f = &args.loops
    cdef idx i, j, k
    cdef lane_t* y
    cdef const lane_t* a
    cdef const lane_t* b
    for i in range(f.n0):
        for j in range(f.n1):
            y = ctx.arena + f.y + i * f.y0 + j * f.y1
            a = ctx.arena + f.a + i * f.a0 + j * f.a1
            b = ctx.arena + f.b + i * f.b0 + j * f.b1
            for k in range(f.n2):
                put(y + k * f.y2, lane_keep(lane_gt(a[k * f.a2], lane_set(0)), b[k * f.b2]), f.add)
