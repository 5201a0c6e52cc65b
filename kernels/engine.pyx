# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The engine: runs a plan's instructions over the shards of a batch, one compiled call a step."""
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cython.parallel cimport parallel, prange
cimport openmp
cimport numpy as cnp
from numpy cimport ndarray, npy_intp

from lanewise.errors import LabelError

cnp.import_array()

include "lanes.pxi"

cdef inline char* bytes_of(ndarray x, bint writable) except NULL:
    # Where an array's numbers start, if the engine can take it.
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):
        raise ValueError("ndarray is not C-contiguous")
    if writable and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError("an array that the engine writes to is read-only")
    return <char*> cnp.PyArray_DATA(x)


cdef union Args
ctypedef void (*run_t)(Context*, const Args*) noexcept nogil

include "pool.pxi"
include "conv.pxi"
include "winograd.pxi"
include "dense.pxi"
include "conv_dw.pxi"
include "winograd_square.pxi"
include "conv_dw_pool.pxi"
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
include "augment.pxi"
include "resample.pxi"
include "layer_norm.pxi"
include "embedding.pxi"
include "conv_pool.pxi"
include "instructions.pxi"


cdef struct Span:
    const real_t* data
    idx size


cdef enum: QUEUES = 16          # of slots, for so many threads; further ones share them


# What every shard does before the next look across shards: a piece of forward, then one of backward.
cdef struct Segment:
    idx forward, forward_stop, backward, backward_stop
    Code join                   # once all shards are there: split over threads
    ptrdiff_t taken[QUEUES]     # slots of each queue that a thread has: slot s waits in queue s % min(threads, QUEUES)


# One run: what every thread of the team reads.
cdef struct Team:
    Code packs, forward, backward, reduce
    Segment* segments
    Context ctx
    lane_t** owns               # one a thread
    lane_t** arenas             # one a thread; with several segments one a shard, which must find its values again
    Span* grads
    idx n_grads, shards, phases, n_segments
    barrier_t barrier
    int cpus[TEAM_SEEN]         # where the threads run
    int finite

cdef enum: FORWARD = 1, BACKWARD = 2, REDUCE = 4
cdef enum: MOST_SLOTS = 16      # gradient slots: fixed, so that no thread count changes a sum


cdef void execute(Code* block, Context* ctx, idx start, idx stop) noexcept nogil:
    cdef idx i
    for i in range(start, stop):
        block.code[i].run(ctx, &block.code[i].args)
        if ctx.ahead:
            ask_ahead(ctx)


cdef inline idx take_slot(Segment* segment, Context* ctx) noexcept nogil:
    # The next slot of the thread's own queue, whose numbers of earlier segments are in its cache; then of the others'.
    cdef idx queues = least(ctx.threads, QUEUES), k, q, slot
    for k in range(queues):
        q = (ctx.tid + k) % queues
        slot = q + queues * take_next(&segment.taken[q])
        if slot < ctx.n_slots:
            return slot
    return ctx.n_slots


cdef void run_segment(Team* team, Segment* segment, Context* ctx) noexcept nogil:
    # Whole slots, shard by shard.
    cdef idx shard, stop, after, slot = take_slot(segment, ctx)
    while slot < ctx.n_slots:
        ctx.slot = <real_t*> (ctx.slots + slot * ctx.slot_bytes)
        ctx.fresh = 1
        stop = share(team.shards, slot + 1, ctx.n_slots)
        after = slot + least(ctx.threads, QUEUES)
        for shard in range(share(team.shards, slot, ctx.n_slots), stop):
            ctx.next = least((shard + 1 if shard + 1 < stop else share(team.shards, after, ctx.n_slots)) * LANES, ctx.n)
            ctx.ahead = NULL
            ctx.first = shard * LANES
            ctx.valid = least(LANES, ctx.n - ctx.first)
            ctx.arena = team.arenas[shard if team.n_segments > 1 else ctx.tid]
            execute(&team.forward, ctx, segment.forward, segment.forward_stop)
            if team.phases & BACKWARD:
                execute(&team.backward, ctx, segment.backward, segment.backward_stop)
            ctx.fresh = 0
        slot = take_slot(segment, ctx)


cdef void take_part(Team* team, int tid, int threads) noexcept nogil:
    # One thread's share of a step: pack weights; the segments; reduce.
    cdef Context ctx = team.ctx
    cdef idx i
    cdef unsigned int mode = float_mode_flush()
    cdef Span* g
    cdef Segment* segment
    ctx.tid = tid
    ctx.own = team.owns[tid]
    ctx.threads = threads
    ctx.barrier = &team.barrier
    if team.phases & FORWARD:
        if tid < TEAM_SEEN:
            team.cpus[tid] = this_cpu()
        execute(&team.packs, &ctx, 0, team.packs.size)
        team_barrier(&team.barrier, threads)
        if 0 < tid < TEAM_SEEN:
            keep_apart(team.cpus, tid, threads)
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
    cdef void* p = pages_take(size)
    if p == NULL:
        raise MemoryError(f"the engine could not allocate {size} bytes")
    memset(p, 0, size)
    return p


cdef int more_blocks(lane_t*** blocks, idx* n, idx wanted, idx size) except -1:
    # Blocks of `size` bytes, so many as wanted; those that are there stay.
    cdef lane_t** more = <lane_t**> aligned(wanted * sizeof(lane_t*))
    memcpy(more, blocks[0], n[0] * sizeof(lane_t*))
    free(blocks[0])
    blocks[0] = more
    while n[0] < wanted:
        more[n[0]] = <lane_t*> aligned(size)
        n[0] += 1
    return 0


cdef struct Row:
    idx size                    # numbers of a sample
    bint writable


cdef inline void* column(ndarray x, idx n, str short) except NULL:
    # Where n numbers of 8 bytes start, or one sentence on what is too short.
    if cnp.PyArray_ITEMSIZE(x) != 8 or cnp.PyArray_SIZE(x) < n:
        raise ValueError(short)
    return bytes_of(x, False)


cdef class Program:
    """A plan, encoded: instruction lists, arenas, packed weights, gradient slots, stash."""
    cdef Team team
    cdef idx arena_bytes, own_bytes, stash_rows, n_arenas, n_owns, n_bound, stat_shards
    cdef Row* rows
    cdef list keep

    def __init__(self, dict lists, list segments, idx arena, idx own, idx packed, idx slot_bytes, idx stash_row, idx stat_row,
                 list rows, list grads, keep):
        """`segments`: (forward, stop, backward, stop, joins); `rows`: (numbers of a sample, writable) for each bound array;
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
        self.own_bytes = max(1, own) * sizeof(lane_t)
        self.stash_rows = stash_row
        self.team.ctx.slot_bytes = (slot_bytes + 63) // 64 * 64
        self.team.ctx.packed = <real_t*> aligned((packed + LANES) * sizeof(real_t))
        self.rows = <Row*> aligned(len(rows) * sizeof(Row))
        for i in range(len(rows)):
            self.rows[i].size, self.rows[i].writable = rows[i]
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
        for i in range(self.n_owns):
            free(self.team.owns[i])
        free(self.team.owns)
        free(self.team.ctx.packed)
        free(self.team.ctx.bound)
        free(self.rows)
        free(self.team.ctx.slots)
        free(self.team.ctx.stash)
        free(self.team.grads)

    cdef int reserve(self, idx n, int threads, idx phases) except -1:
        # Memory for n samples and so many threads; nothing is allocated when an earlier run was as large.
        cdef idx i, rows = (n + LANES - 1) // LANES * LANES, wanted = rows // LANES if self.team.n_segments > 1 else threads
        if wanted > self.n_arenas:
            more_blocks(&self.team.arenas, &self.n_arenas, wanted, self.arena_bytes)
        if threads > self.n_owns:
            more_blocks(&self.team.owns, &self.n_owns, threads, self.own_bytes)
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
            self.team.ctx.slots = <char*> aligned(
                min(rows // LANES, MOST_SLOTS) * self.team.ctx.slot_bytes + 64 * sizeof(lane_t))
            self.team.ctx.stash = <real_t*> aligned((rows * self.stash_rows + 64 * LANES) * sizeof(real_t))
            self.team.ctx.capacity = rows
        return 0

    def run(self, idx n, list arrays, idx phases, bint accumulate, int threads, uint64_t key=0):
        """Run `phases` (1 forward, 2 backward, 4 reduce) on n samples; `arrays`: one for each bound array, or
        (array, int64 index of the rows), or (array, index, key, position, mix) of samples to augment; `key`: of the random
        numbers. The reduction alone is that of the last run. True unless a gradient is not finite."""
        cdef idx i, need
        cdef Bound* b
        cdef ndarray array
        cdef tuple rows
        self.reserve(n, threads, phases)
        self.team.phases = phases
        self.team.finite = 1
        self.team.ctx.key = key
        for i in range(self.team.n_segments):
            memset(self.team.segments[i].taken, 0, sizeof(self.team.segments[i].taken))
        if phases & FORWARD:
            self.team.shards = (n + LANES - 1) // LANES
            self.team.ctx.n = n
            self.team.ctx.n_slots = min(self.team.shards, MOST_SLOTS) if phases & BACKWARD else self.team.shards
        self.team.ctx.accumulate = accumulate
        self.team.ctx.whole = phases == (FORWARD | BACKWARD | REDUCE)
        for i in range(self.n_bound if phases & FORWARD else 0):
            b = self.team.ctx.bound + i
            b.index = NULL
            need = n
            if isinstance(arrays[i], tuple):
                rows = arrays[i]
                array = rows[0]
                b.index = <const int64_t*> column(rows[1], n, "a batch's index is too short")
                if len(rows) > 2:
                    b.key, b.position, b.mix = rows[2], rows[3], NULL
                    if rows[4] is not None:
                        b.mix = <const double*> column(rows[4], n, "a batch's parts of mixtures are too few")
                need = 1
            else:
                array = arrays[i]
            b.data = bytes_of(array, self.rows[i].writable)
            b.is_u8 = cnp.PyArray_ITEMSIZE(array) == 1
            b.row_bytes = self.rows[i].size * cnp.PyArray_ITEMSIZE(array)
            if cnp.PyArray_NBYTES(array) < need * b.row_bytes:
                raise ValueError("an array bound to the engine is too short")
        with nogil:
            if threads == 1:
                take_part(&self.team, 0, 1)
            else:
                with parallel(num_threads=threads):
                    take_part(&self.team, openmp.omp_get_thread_num(), openmp.omp_get_num_threads())
        return self.team.finite == 1

    def repeat(self, str name, idx which, idx times):
        """Run one instruction of "pack", "forward", "backward", "reduce" or "join" (between segments, numbered throughout) so
        many times, on one thread and the first arena: for measurements."""
        cdef Code* block = NULL
        cdef Context ctx = self.team.ctx
        cdef idx i
        cdef unsigned int mode
        if name == "pack":
            block = &self.team.packs
        elif name == "forward":
            block = &self.team.forward
        elif name == "backward":
            block = &self.team.backward
        elif name == "reduce":
            block = &self.team.reduce
        else:
            for i in range(self.team.n_segments):
                block = &self.team.segments[i].join
                if which < block.size:
                    break
                which -= block.size
        if self.n_arenas == 0 or not 0 <= which < block.size:
            raise ValueError("run the program once before an instruction of it is repeated")
        ctx.tid, ctx.threads, ctx.barrier = 0, 1, &self.team.barrier
        ctx.arena = self.team.arenas[0]
        ctx.own = self.team.owns[0]
        ctx.slot = <real_t*> ctx.slots
        ctx.first = 0
        ctx.valid = ctx.n if ctx.n < LANES else LANES
        with nogil:
            mode = float_mode_flush()
            for i in range(times):
                block.code[which].run(&ctx, &block.code[which].args)
            float_mode_set(mode)


def max_threads():
    """What OpenMP would use now: threadpoolctl and OMP_NUM_THREADS act on it."""
    return openmp.omp_get_max_threads()


def set_max_threads(int n):
    """Tell OpenMP."""
    openmp.omp_set_num_threads(n)


lanes = LANES
real_bytes = sizeof(real_t)
tiles = bool(TILES)             # whether it has the kernels of lanes_tiles.h, for processors with AVX-512 VBMI
dense_widest = DENSE_CT
conv_widest = CONV_CT
winograd_pixels = WINOGRAD_PIXELS
square_outs = SQUARE_OUTS
square_tiles = SQUARE_TILES
