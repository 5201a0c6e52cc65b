# A convolution whose rows are pooled as they come.

cdef struct ConvPool:
    Conv conv                   # its y is a buffer of `band` rows, the thread's own
    Pool pool


cdef void conv_max_pool(Context* ctx, const Args* args) noexcept nogil:
    # A band of convolution rows at a time, pooled while it is in L1, or along rows of points from registers: the image
    # before the pool is never stored.
    cdef const ConvPool* a = &args.conv_pool
    cdef idx oy = 0, rows, most_rows = (a.conv.band - a.pool.kh) // a.pool.sh + 1
    cdef lane_t* y
    cdef mask_t* where
    while oy < a.pool.rows:
        rows = least(most_rows, a.pool.rows - oy)
        y = lanes_at(ctx, a.pool.y) + oy * a.pool.y_row
        where = NULL if a.pool.where < 0 else <mask_t*> lanes_at(ctx, a.pool.where) + oy * a.pool.cols * a.pool.channels
        if is_2x2(&a.pool) and 0 < a.conv.points < SQUARE:
            winograd_rows_pooled(&a.conv, &a.pool, ctx, y, where, oy * 2, rows)
        else:
            conv_rows(&a.conv, ctx, ctx.own + a.conv.y, oy * a.pool.sh, (rows - 1) * a.pool.sh + a.pool.kh)
            (max_pool_2x2 if is_2x2(&a.pool) else max_pool_rows)(&a.pool, ctx.own + a.conv.y, y, where, 0, rows)
        oy += rows
