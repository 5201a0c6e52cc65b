# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The engine: runs a plan's instructions over the shards of a batch, one compiled call a step."""
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cython.parallel cimport parallel, prange
cimport openmp

include "lanes.pxi"

cdef union Args
ctypedef void (*run_t)(Context*, const Args*) noexcept nogil

include "conv.pxi"
include "winograd.pxi"
include "dense.pxi"
include "conv_dw.pxi"
include "pool.pxi"
include "elementwise.pxi"
include "matmul.pxi"
include "constant.pxi"
include "own.pxi"
include "depthwise.pxi"
include "softmax.pxi"
include "loss.pxi"
include "total.pxi"
include "gather.pxi"
include "optimizer.pxi"
include "peak.pxi"
include "scan.pxi"
include "batchnorm.pxi"
include "dropout.pxi"
include "resample.pxi"
include "layer_norm.pxi"
include "embedding.pxi"

cdef struct ConvPool:
    Conv conv                   # its y is a buffer of `band` rows
    Pool pool


cdef void conv_max_pool(Context* ctx, const Args* args) noexcept nogil:
    # A band of convolution rows at a time, pooled while it is in L1: the image before the pool is never stored.
    cdef const ConvPool* a = &args.conv_pool
    cdef idx oy = 0, rows, most_rows = (a.conv.band - a.pool.kh) // a.pool.sh + 1
    while oy < a.pool.rows:
        rows = least(most_rows, a.pool.rows - oy)
        conv_rows(&a.conv, ctx, ctx.arena + a.conv.y, oy * a.pool.sh, (rows - 1) * a.pool.sh + a.pool.kh)
        (max_pool_2x2 if is_2x2(&a.pool) else max_pool_rows)(
            &a.pool, ctx.arena + a.conv.y, ctx.arena + a.pool.y + oy * a.pool.y_row,
            <mask_t*> (ctx.arena + a.pool.where) + oy * a.pool.cols * a.pool.channels, 0, rows)
        oy += rows


cdef union Args:
    Conv conv
    Pack pack
    ConvDw conv_dw
    ChannelSums channel_sums
    Depthwise depthwise
    ConvGrad conv_grad
    Dense dense
    Stash stash
    DenseGrad dense_grad
    LaneGrad lane_grad
    Pool pool
    ConvPool conv_pool
    Loops loops
    Matmul matmul
    Constant constant
    Own own
    Softmax softmax
    ClassLoss class_loss
    PointLoss point_loss
    TotalLoss total_loss
    Gather gather
    BatchNorm batch_norm
    Dropout dropout
    Resample resample
    LayerNorm layer_norm
    Embedding embedding
    EmbeddingGrad embedding_grad

cdef struct Instruction:
    run_t run
    Args args


# Another instruction writes the same gradient next, and shares it out in another way.
cdef void wait(Context* ctx, const Args* args) noexcept nogil:
    team_barrier(ctx.barrier, ctx.threads)


# name: (the field of Args that holds its arguments, the function)
cdef dict INSTRUCTIONS = {
    "conv": ("conv", <size_t> conv), "conv_max_pool": ("conv_pool", <size_t> conv_max_pool),
    "pack": ("pack", <size_t> pack), "conv_dw_lanes": ("conv_dw", <size_t> conv_dw_lanes),
    "channel_sums": ("channel_sums", <size_t> channel_sums), "conv_dw_pixels": ("conv_dw", <size_t> conv_dw_pixels), "conv_grad": ("conv_grad", <size_t> conv_grad),
    "lane_grad": ("lane_grad", <size_t> lane_grad), "dense": ("dense", <size_t> dense),
    "stash": ("stash", <size_t> stash), "dense_grad": ("dense_grad", <size_t> dense_grad),
    "max_pool": ("pool", <size_t> max_pool), "max_pool_backward": ("pool", <size_t> max_pool_backward),
    "avg_pool": ("pool", <size_t> avg_pool), "avg_pool_backward": ("pool", <size_t> avg_pool_backward),
    "wait": ("nothing", <size_t> wait), "matmul": ("matmul", <size_t> matmul), "own": ("own", <size_t> own),
    "constant": ("constant", <size_t> constant), "constant_grad": ("constant", <size_t> constant_grad),
    "softmax": ("softmax", <size_t> softmax), "softmax_backward": ("softmax", <size_t> softmax_backward),
    "log_softmax": ("softmax", <size_t> log_softmax), "log_softmax_backward": ("softmax", <size_t> log_softmax_backward),
    "total": ("total_loss", <size_t> total_loss), **ELEMENTWISE,
    "cross_entropy": ("class_loss", <size_t> cross_entropy), "nll": ("class_loss", <size_t> nll),
    "cross_entropy_soft": ("class_loss", <size_t> cross_entropy_soft), "multi_margin": ("class_loss", <size_t> multi_margin),
    "mse": ("point_loss", <size_t> mse), "l1": ("point_loss", <size_t> l1), "huber": ("point_loss", <size_t> huber),
    "smooth_l1": ("point_loss", <size_t> smooth_l1), "bce": ("point_loss", <size_t> bce),
    "bce_logits": ("point_loss", <size_t> bce_logits), "kl_div": ("point_loss", <size_t> kl_div),
    "kl_div_log": ("point_loss", <size_t> kl_div_log), "hinge": ("point_loss", <size_t> hinge),
    "gather": ("gather", <size_t> gather), "scatter": ("gather", <size_t> scatter),
    "dropout_mask": ("dropout", <size_t> dropout_mask), "batch_norm_partial": ("batch_norm", <size_t> batch_norm_partial),
    "batch_norm_join": ("batch_norm", <size_t> batch_norm_join), "batch_norm_apply": ("batch_norm", <size_t> batch_norm_apply),
    "batch_norm_running": ("batch_norm", <size_t> batch_norm_running),
    "batch_norm_partial_backward": ("batch_norm", <size_t> batch_norm_partial_backward),
    "batch_norm_join_backward": ("batch_norm", <size_t> batch_norm_join_backward),
    "batch_norm_backward": ("batch_norm", <size_t> batch_norm_backward),
    "batch_norm_grad": ("batch_norm", <size_t> batch_norm_grad),
    "depthwise": ("depthwise", <size_t> depthwise), "depthwise_dw": ("depthwise", <size_t> depthwise_dw),
    "depthwise_dx_2": ("depthwise", <size_t> depthwise_dx_2),
    "resample": ("resample", <size_t> resample), "layer_norm": ("layer_norm", <size_t> layer_norm),
    "layer_norm_backward": ("layer_norm", <size_t> layer_norm_backward), "embedding": ("embedding", <size_t> embedding),
    "embedding_stash": ("embedding", <size_t> embedding_stash), "embedding_grad": ("embedding_grad", <size_t> embedding_grad),
}


cdef int encode(Instruction* to, str name, dict fields) except -1:
    # Cython turns a dict into a struct, and refuses one that lacks a field.
    kind, function = INSTRUCTIONS[name]
    to.run = <run_t> <size_t> function
    if kind == "conv":
        to.args.conv = fields
    elif kind == "conv_pool":
        to.args.conv_pool = fields
    elif kind == "pack":
        to.args.pack = fields
    elif kind == "conv_dw":
        to.args.conv_dw = fields
    elif kind == "channel_sums":
        to.args.channel_sums = fields
    elif kind == "depthwise":
        to.args.depthwise = fields
    elif kind == "conv_grad":
        to.args.conv_grad = fields
    elif kind == "lane_grad":
        to.args.lane_grad = fields
    elif kind == "dense":
        to.args.dense = fields
    elif kind == "stash":
        to.args.stash = fields
    elif kind == "dense_grad":
        to.args.dense_grad = fields
    elif kind == "pool":
        to.args.pool = fields
    elif kind == "loops":
        to.args.loops = fields
    elif kind == "nothing":
        pass
    elif kind == "matmul":
        to.args.matmul = fields
    elif kind == "constant":
        to.args.constant = fields
    elif kind == "own":
        to.args.own = fields
    elif kind == "softmax":
        to.args.softmax = fields
    elif kind == "batch_norm":
        to.args.batch_norm = fields
    elif kind == "dropout":
        to.args.dropout = fields
    elif kind == "class_loss":
        to.args.class_loss = fields
    elif kind == "point_loss":
        to.args.point_loss = fields
    elif kind == "total_loss":
        to.args.total_loss = fields
    elif kind == "resample":
        to.args.resample = fields
    elif kind == "layer_norm":
        to.args.layer_norm = fields
    elif kind == "embedding":
        to.args.embedding = fields
    elif kind == "embedding_grad":
        to.args.embedding_grad = fields
    else:
        to.args.gather = fields
    return 0


cdef struct Code:
    Instruction* code
    idx size


cdef int encode_all(Code* block, list instructions) except -1:
    cdef idx i
    block.size = len(instructions)
    block.code = <Instruction*> PyMem_Malloc(max(1, block.size) * sizeof(Instruction))
    if block.code == NULL:
        raise MemoryError()
    memset(block.code, 0, max(1, block.size) * sizeof(Instruction))
    for i in range(block.size):
        name, fields = instructions[i]
        encode(block.code + i, name, fields)
    return 0


cdef struct Span:
    const real_t* data
    idx size


# What every shard does before the next look across shards: a piece of forward, then one of backward.
cdef struct Segment:
    idx forward, forward_stop, backward, backward_stop
    Code join                   # once all shards are there: split over threads
    ptrdiff_t next_slot


# One run: what every thread of the team reads.
cdef struct Team:
    Code packs, forward, backward, reduce
    Segment* segments
    Context ctx
    lane_t** arenas             # one a thread; with several segments one a shard, which must find its values again
    Span* grads
    idx n_grads, shards, phases, n_segments
    barrier_t barrier
    int finite

cdef enum: FORWARD = 1, BACKWARD = 2, REDUCE = 4
cdef enum: MOST_SLOTS = 16      # gradient slots: fixed, so that no thread count changes a sum


cdef void execute(Code* block, Context* ctx, idx start, idx stop) noexcept nogil:
    cdef idx i
    for i in range(start, stop):
        block.code[i].run(ctx, &block.code[i].args)


cdef void run_segment(Team* team, Segment* segment, Context* ctx) noexcept nogil:
    # Whole slots, shard by shard.
    cdef idx shard, slot = take_next(&segment.next_slot)
    while slot < ctx.n_slots:
        ctx.slot = <real_t*> (ctx.slots + slot * ctx.slot_bytes)
        ctx.fresh = 1
        for shard in range(share(team.shards, slot, ctx.n_slots), share(team.shards, slot + 1, ctx.n_slots)):
            ctx.first = shard * LANES
            ctx.valid = least(LANES, ctx.n - ctx.first)
            ctx.arena = team.arenas[shard if team.n_segments > 1 else ctx.tid]
            execute(&team.forward, ctx, segment.forward, segment.forward_stop)
            if team.phases & BACKWARD:
                execute(&team.backward, ctx, segment.backward, segment.backward_stop)
            ctx.fresh = 0
        slot = take_next(&segment.next_slot)


cdef int all_finite(const real_t* g, idx n) noexcept nogil:
    # x - x is 0, or NaN where x is not finite.
    cdef lane_t bad = lane_set(0), v
    cdef real_t line[LANE_MAX]
    cdef real_t rest = 0
    cdef idx i
    for i in range(n // LANES):
        v = lane_load(g + i * LANES)
        bad = bad + (v - v)
    for i in range(n - n % LANES, n):
        rest += g[i] - g[i]
    lane_store(line, bad)
    for i in range(LANES):
        rest += line[i]
    return rest == 0


cdef void take_part(Team* team, int tid, int threads) noexcept nogil:
    # One thread's share of a step: pack weights; the segments; reduce.
    cdef Context ctx = team.ctx
    cdef idx i
    cdef unsigned int mode = float_mode_flush()
    cdef Span* g
    cdef Segment* segment
    ctx.tid = tid
    ctx.threads = threads
    ctx.barrier = &team.barrier
    if team.phases & FORWARD:
        execute(&team.packs, &ctx, 0, team.packs.size)
        team_barrier(&team.barrier, threads)
        for i in range(team.n_segments):
            segment = team.segments + i
            if segment.forward == segment.forward_stop and not team.phases & BACKWARD:
                break
            run_segment(team, segment, &ctx)
            team_barrier(&team.barrier, threads)
            if segment.join.size:
                execute(&segment.join, &ctx, 0, segment.join.size)
                team_barrier(&team.barrier, threads)
    if team.phases & REDUCE:
        execute(&team.reduce, &ctx, 0, team.reduce.size)
        team_barrier(&team.barrier, threads)
        for i in range(team.n_grads):
            g = team.grads + i
            if not all_finite(g.data + share(g.size, tid, threads),
                              share(g.size, tid + 1, threads) - share(g.size, tid, threads)):
                team.finite = 0
    float_mode_set(mode)


cdef void* aligned(size_t size) except NULL:
    # Zeroed, and starting on a cache line.
    cdef void* p = NULL
    if posix_memalign(&p, 64, size if size else 64):
        raise MemoryError(f"the engine could not allocate {size} bytes")
    memset(p, 0, size)
    return p


cdef class Program:
    """A plan, encoded: instruction lists, arenas, packed weights, gradient slots, stash."""
    cdef Team team
    cdef idx arena_bytes, stash_rows, n_arenas, n_bound, stat_shards
    cdef list rows, keep

    def __init__(self, dict lists, list segments, idx arena, idx packed, idx slot_bytes, idx stash_row, idx stat_row, list rows,
                 list grads, keep):
        """`segments`: (forward, stop, backward, stop, joins); `rows`: (bytes of a sample, writable) for each bound array;
        `grads`: (address, size) to check; `keep`: owners."""
        cdef idx i
        cdef Segment* segment
        self.team.segments = <Segment*> aligned(len(segments) * sizeof(Segment))
        for i in range(len(segments)):
            segment = self.team.segments + i
            segment.forward, segment.forward_stop, segment.backward, segment.backward_stop = segments[i][:4]
            encode_all(&segment.join, segments[i][4])
            self.team.n_segments = i + 1
        self.team.ctx.stat_row = stat_row
        self.team.ctx.joint = <real_t*> aligned(stat_row * sizeof(real_t))
        encode_all(&self.team.packs, lists["pack"])
        encode_all(&self.team.forward, lists["forward"])
        encode_all(&self.team.backward, lists["backward"])
        encode_all(&self.team.reduce, lists["reduce"])
        self.arena_bytes = max(1, arena) * sizeof(lane_t)
        self.stash_rows = stash_row
        self.team.ctx.slot_bytes = (slot_bytes + 63) // 64 * 64
        self.team.ctx.packed = <real_t*> aligned((packed + LANES) * sizeof(real_t))
        self.rows = rows
        self.keep = list(keep)
        self.n_bound = len(rows)
        self.team.ctx.bound = <Bound*> aligned(max(1, self.n_bound) * sizeof(Bound))
        self.team.grads = <Span*> aligned(max(1, len(grads)) * sizeof(Span))
        self.team.n_grads = len(grads)
        for i in range(self.team.n_grads):
            self.team.grads[i].data = <const real_t*> <size_t> grads[i][0]
            self.team.grads[i].size = grads[i][1]

    def __dealloc__(self):
        cdef idx i
        PyMem_Free(self.team.packs.code)
        PyMem_Free(self.team.forward.code)
        PyMem_Free(self.team.backward.code)
        PyMem_Free(self.team.reduce.code)
        for i in range(self.team.n_segments):
            PyMem_Free(self.team.segments[i].join.code)
        free(self.team.segments)
        free(self.team.ctx.partials)
        free(self.team.ctx.joint)
        for i in range(self.n_arenas):
            free(self.team.arenas[i])
        free(self.team.arenas)
        free(self.team.ctx.packed)
        free(self.team.ctx.bound)
        free(self.team.ctx.slots)
        free(self.team.ctx.stash)
        free(self.team.grads)

    cdef int reserve(self, idx n, int threads, idx phases) except -1:
        # Memory for n samples and so many threads; nothing is allocated when an earlier run was as large.
        cdef lane_t** arenas
        cdef idx i, rows = (n + LANES - 1) // LANES * LANES, wanted = rows // LANES if self.team.n_segments > 1 else threads
        if wanted > self.n_arenas:
            arenas = <lane_t**> aligned(wanted * sizeof(lane_t*))
            for i in range(self.n_arenas):
                arenas[i] = self.team.arenas[i]
            free(self.team.arenas)
            self.team.arenas = arenas
            while self.n_arenas < wanted:
                arenas[self.n_arenas] = <lane_t*> aligned(self.arena_bytes)
                self.n_arenas += 1
        if self.team.ctx.stat_row and rows // LANES > self.stat_shards:
            free(self.team.ctx.partials)
            self.team.ctx.partials = NULL
            self.stat_shards = 0
            self.team.ctx.partials = <real_t*> aligned(rows // LANES * self.team.ctx.stat_row * sizeof(real_t))
            self.stat_shards = rows // LANES
        if phases & BACKWARD and rows > self.team.ctx.capacity:
            free(self.team.ctx.slots)
            free(self.team.ctx.stash)
            self.team.ctx.slots = NULL
            self.team.ctx.stash = NULL
            self.team.ctx.capacity = 0
            self.team.ctx.slots = <char*> aligned(min(rows // LANES, MOST_SLOTS) * self.team.ctx.slot_bytes + 64 * sizeof(lane_t))
            self.team.ctx.stash = <real_t*> aligned((rows * self.stash_rows + 64 * LANES) * sizeof(real_t))
            self.team.ctx.capacity = rows
        return 0

    def run(self, idx n, tuple arrays, idx phases, bint accumulate, int threads, uint64_t key=0):
        """Run `phases` (1 forward, 2 backward, 4 reduce) on n samples; `arrays`: one for each bound array, or a pair
        (array, int64 index of the rows); `key`: of the random numbers. The reduction alone is that of the last run. True unless
        a gradient is not finite."""
        cdef Py_buffer views[64]
        cdef idx i, held = 0, row, need
        cdef Bound* b
        self.reserve(n, threads, phases)
        self.team.phases = phases
        self.team.finite = 1
        self.team.ctx.key = key
        for i in range(self.team.n_segments):
            self.team.segments[i].next_slot = 0
        if phases & FORWARD:
            self.team.shards = (n + LANES - 1) // LANES
            self.team.ctx.n = n
            self.team.ctx.n_slots = min(self.team.shards, MOST_SLOTS) if phases & BACKWARD else self.team.shards
        self.team.ctx.accumulate = accumulate
        try:
            for i in range(self.n_bound if phases & FORWARD else 0):
                b = self.team.ctx.bound + i
                row, writable = self.rows[i]
                array = arrays[i]
                b.index = NULL
                need = n
                if isinstance(array, tuple):
                    PyObject_GetBuffer(array[1], &views[held], PyBUF_C_CONTIGUOUS)
                    held += 1
                    if views[held - 1].itemsize != 8 or views[held - 1].len < n * 8:
                        raise ValueError("a batch's index is too short")
                    b.index = <const int64_t*> views[held - 1].buf
                    array = array[0]
                    need = 1
                PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
                held += 1
                b.data = <char*> views[held - 1].buf
                b.is_u8 = views[held - 1].itemsize == 1
                b.row_bytes = row * views[held - 1].itemsize
                if views[held - 1].len < need * b.row_bytes:
                    raise ValueError("an array bound to the engine is too short")
            with nogil:
                if threads == 1:
                    take_part(&self.team, 0, 1)
                else:
                    with parallel(num_threads=threads):
                        take_part(&self.team, openmp.omp_get_thread_num(), openmp.omp_get_num_threads())
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
        return self.team.finite == 1

    def repeat(self, str name, idx which, idx times):
        """Run one instruction of "forward" or "backward" so many times on the first arena: for benchmarks."""
        cdef Code* block = &self.team.forward if name == "forward" else &self.team.backward
        cdef Context ctx = self.team.ctx
        cdef idx i
        if self.n_arenas == 0 or not 0 <= which < block.size:
            raise ValueError("run the program once before an instruction of it is repeated")
        ctx.arena = self.team.arenas[0]
        ctx.slot = <real_t*> ctx.slots
        ctx.first = 0
        ctx.valid = ctx.n if ctx.n < LANES else LANES
        with nogil:
            for i in range(times):
                block.code[which].run(&ctx, &block.code[which].args)


def max_threads():
    """What OpenMP would use now: threadpoolctl and OMP_NUM_THREADS act on it."""
    return openmp.omp_get_max_threads()


def set_max_threads(int n):
    """Tell OpenMP."""
    openmp.omp_set_num_threads(n)


lanes = LANES
real_bytes = sizeof(real_t)
dense_widest = DENSE_CT
conv_widest = CONV_CT
