# A loss that is a value of one number a sample: loss = x;  dx = weight (divided by n for a mean). Without a target.

cdef struct TotalLoss:
    idx x, dx                   # lanes in the arena, dx < 0: not wanted
    idx out, add, mean          # out: bound array
    double weight


cdef void total_loss(Context* ctx, const Args* args) noexcept nogil:
    cdef const TotalLoss* f = &args.total_loss
    cdef real_t line[LANE_MAX]
    cdef real_t w = <real_t> (f.weight / (ctx.n if f.mean else 1))
    cdef real_t* out = <real_t*> ctx.bound[f.out].data + ctx.first
    cdef idx l
    lane_store(line, lanes_at(ctx, f.x)[0])
    for l in range(ctx.valid):
        out[l] = line[l]
    if f.dx >= 0:
        for l in range(LANES):
            line[l] = w if l < ctx.valid else 0
        put(lanes_at(ctx, f.dx), lane_load(line), f.add)
