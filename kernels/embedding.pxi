# Rows of a table by index. Indices are int64, bound by the caller and in range; a sample has n0 x n1 of them.
#
# embedding        y[position][d] = table[index[position]][d]
# embedding_stash  a shard's indices, kept with its gradients (stash, dense.pxi.tp) until every shard is done
# embedding_grad   dtable[row] = sum of dy over the positions whose index is `row`, sample by sample; rows are split over the
#                  threads, so that no thread count changes a sum

cdef struct Embedding:
    idx bound, table, dim       # bound array; address of the table; its row length
    idx n0, n1                  # positions of a sample
    idx y, y0, y1, yd           # lanes in the arena; strides of the positions and of a row's numbers
    idx dst, pitch              # stash: reals per sample before this row; row length


cdef void embedding(Context* ctx, const Args* args) noexcept nogil:
    cdef const Embedding* a = &args.embedding
    cdef Bound* b = ctx.bound + a.bound
    cdef const real_t* rows[LANE_MAX]
    cdef lane_t block[LANE_MAX]
    cdef lane_t* y
    cdef idx i, j, d, k, l, n
    for i in range(a.n0):
        for j in range(a.n1):
            y = lanes_at(ctx, a.y) + i * a.y0 + j * a.y1
            for l in range(LANES):
                rows[l] = <const real_t*> a.table + (<const int64_t*> target_row(ctx, b, l))[i * a.n1 + j] * a.dim \
                    if l < ctx.valid else NULL
            d = 0
            while d < a.dim:
                n = least(a.dim - d, LANES)
                for l in range(LANES):
                    block[l] = lane_load_some(rows[l] + d, n, lane_set(0)) if rows[l] else lane_set(0)
                lane_transpose(block)
                for k in range(n):
                    y[(d + k) * a.yd] = block[k]
                d += LANES


cdef void embedding_stash(Context* ctx, const Args* args) noexcept nogil:
    cdef const Embedding* a = &args.embedding
    cdef Bound* b = ctx.bound + a.bound
    cdef const int64_t* row
    cdef bits_t* to
    cdef idx l, i
    for l in range(ctx.valid):
        row = <const int64_t*> target_row(ctx, b, l)
        to = <bits_t*> (ctx.stash + a.dst * ctx.capacity + (ctx.first + l) * a.pitch)
        for i in range(a.n0 * a.n1):
            to[i] = <bits_t> row[i]


cdef struct EmbeddingGrad:
    idx index, index_pitch, dy, dy_pitch    # stash: reals per sample before these rows; row lengths
    idx positions, rows, dim, skip          # skip: the row that gets no gradient, or -1
    idx grad, add


cdef void embedding_grad(Context* ctx, const Args* args) noexcept nogil:
    cdef const EmbeddingGrad* a = &args.embedding_grad
    cdef const bits_t* index
    cdef const real_t* dy
    cdef real_t* g
    cdef idx s, i, d, n, row, first = share(a.rows, ctx.tid, ctx.threads), last = share(a.rows, ctx.tid + 1, ctx.threads)
    if not (ctx.accumulate or a.add):
        memset(<real_t*> a.grad + first * a.dim, 0, (last - first) * a.dim * sizeof(real_t))
    for s in range(ctx.n):
        index = <const bits_t*> (ctx.stash + a.index * ctx.capacity + s * a.index_pitch)
        for i in range(a.positions):
            row = index[i]
            if first <= row < last and row != a.skip:
                dy = ctx.stash + a.dy * ctx.capacity + s * a.dy_pitch + i * a.dim
                g = <real_t*> a.grad + row * a.dim
                d = 0
                while d + LANES <= a.dim:
                    lane_store(g + d, lane_load(g + d) + lane_load(dy + d))
                    d += LANES
                while d < a.dim:
                    g[d] += dy[d]
                    d += 1
