# A parameter as a value, the same number in every lane, and its gradient; three loops over its shape.
#
# constant        y = p
# constant_grad   slot += dy, lane by lane; lane_grad sums the lanes once a step

cdef struct Constant:
    idx n0, n1, n2
    idx y, y0, y1, y2           # value or gradient, in lanes
    idx p, p0, p1, p2           # address of the numbers, or bytes in the slot; strides in numbers


cdef void constant(Context* ctx, const Args* args) noexcept nogil:
    cdef const Constant* f = &args.constant
    cdef const real_t* p = <const real_t*> f.p
    cdef idx i, j, k
    for i in range(f.n0):
        for j in range(f.n1):
            for k in range(f.n2):
                lanes_at(ctx, f.y)[i * f.y0 + j * f.y1 + k * f.y2] = lane_set(p[i * f.p0 + j * f.p1 + k * f.p2])


cdef void constant_grad(Context* ctx, const Args* args) noexcept nogil:
    cdef const Constant* f = &args.constant
    cdef lane_t* slot = <lane_t*> (<char*> ctx.slot + f.p)
    cdef idx i, j, k
    for i in range(f.n0):
        for j in range(f.n1):
            for k in range(f.n2):
                put(slot + i * f.p0 + j * f.p1 + k * f.p2, lanes_at(ctx, f.y)[i * f.y0 + j * f.y1 + k * f.y2], not ctx.fresh)
