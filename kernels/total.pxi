# A loss that is a value of one number a sample: loss = x;  dx = weight (divided by n for a mean). Without a target.

cdef void total_loss(Context* ctx, const Args* args) noexcept nogil:
    cdef const Loss* f = &args.loss
    cdef real_t line[LANE_MAX]
    cdef real_t* out = <real_t*> ctx.bound[f.out].data + ctx.first
    cdef idx l
    lane_store(line, ctx.arena[f.x])
    for l in range(ctx.valid):
        out[l] = line[l]
    if f.dx >= 0:
        put(ctx.arena + f.dx, lane_weight(ctx, f, 1), f.add)
