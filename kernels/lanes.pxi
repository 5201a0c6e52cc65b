# What lanes.h declares. Cython sees lanes as scalars; only the functions below look inside one.
from libc.stddef cimport ptrdiff_t
from libc.math cimport sqrt as double_sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset, memcpy
from libc.stdlib cimport free
from libc.math cimport INFINITY, NAN

ctypedef Py_ssize_t idx

cdef extern from "lanes.h" nogil:
    ctypedef float real_t
    ctypedef int bits_t
    ctypedef float lane_t
    ctypedef int mask_t
    enum: LANES, LANE_MAX, WIDE_TILES
    ctypedef void apart_t "__attribute__((noinline)) void"      # of a function that must have its registers to itself
    lane_t lane_set(real_t)
    mask_t mask_set(bits_t)
    lane_t lane_load(const real_t*)
    void lane_store(real_t*, lane_t)
    void lane_stream(real_t*, lane_t)
    void stream_end()
    lane_t lane_load_u8(const uint8_t*)
    mask_t lane_gt(lane_t, lane_t)
    mask_t lane_lt(lane_t, lane_t)
    mask_t lane_le(lane_t, lane_t)
    mask_t lane_eq(lane_t, lane_t)
    mask_t lane_nan(lane_t)
    mask_t mask_eq(mask_t, mask_t)
    mask_t mask_or(mask_t, mask_t)
    mask_t mask_and(mask_t, mask_t)
    lane_t lane_keep(mask_t, lane_t)
    lane_t lane_select(mask_t, lane_t, lane_t)
    mask_t mask_select(mask_t, mask_t, mask_t)
    lane_t lane_relu(lane_t)
    void lane_transpose(lane_t*)
    lane_t lane_abs(lane_t)
    lane_t lane_sqrt(lane_t)
    lane_t lane_exp(lane_t)
    lane_t lane_log(lane_t)
    lane_t lane_abs(lane_t)
    lane_t lane_clip(lane_t, real_t, real_t)
    lane_t lane_expm1(lane_t)
    lane_t lane_tanh(lane_t)
    lane_t lane_sigmoid(lane_t)
    lane_t lane_gauss(lane_t, real_t)
    lane_t lane_normal_cdf(lane_t)
    lane_t lane_load_some(const real_t*, ptrdiff_t, lane_t)
    void lane_store_some(real_t*, lane_t, ptrdiff_t)
    lane_t lane_exp_down(lane_t)
    lane_t lane_max(lane_t, lane_t)
    real_t lane_sum(lane_t)
    real_t lane_most(lane_t)
    mask_t mask_iota()
    mask_t mask_plus(mask_t, bits_t)
    mask_t mask_times(mask_t, bits_t)
    ctypedef int choice_t
    choice_t choice_bit(mask_t, int)
    choice_t choice_above(lane_t, lane_t)
    mask_t mask_choose(choice_t, mask_t, mask_t)
    lane_t lane_hold(lane_t)
    lane_t lane_choose(choice_t, lane_t, lane_t)
    void mask_store(bits_t*, mask_t)
    lane_t lane_swap(lane_t)
    void lane_unzip(lane_t, lane_t, lane_t*, lane_t*)
    void lane_zip(lane_t, lane_t, lane_t*, lane_t*)
    void lane_unzip3(lane_t, lane_t, lane_t, lane_t*)
    enum: PART_BITS
    mask_t mask_load(const bits_t*)
    ctypedef struct spots_t:
        int64_t row[LANE_MAX]
        int64_t col[LANE_MAX]
    void spots_move(spots_t*, const spots_t*)
    ctypedef struct places_t:
        mask_t at
        lane_t row
        lane_t col
    void spots_split(const spots_t*, bits_t, mask_t, places_t*)
    places_t places_add(const places_t*, const places_t*, bits_t)
    void rows_between_bytes(const uint8_t*, idx, places_t*, idx, idx, spots_t*, const spots_t*, const places_t*, mask_t,
                            lane_t, lane_t, lane_t*, idx, idx)
    void rows_between(const real_t*, idx, places_t*, idx, idx, spots_t*, const spots_t*, const places_t*, mask_t,
                      lane_t, lane_t, lane_t*, idx, idx)
    void bytes_zip(const uint8_t*, const uint8_t*, uint8_t*, ptrdiff_t)
    void bytes_copy(const uint8_t*, uint8_t*, ptrdiff_t, uint8_t)
    void bytes_sides(uint8_t*, idx, idx, idx, idx, int)
    void angles_split(const double*, double*, double*)
    enum: TILES
    ctypedef struct tiles_t:
        pass
    void frame_zeros(const uint8_t*, uint8_t*, idx, idx, idx, idx, idx)
    void tiles_begin(const spots_t*, const spots_t*, const spots_t*, tiles_t*)
    void tiles_between(const uint8_t*, idx, const bits_t*, const tiles_t*, const spots_t*, const spots_t*, idx, idx, lane_t,
                       lane_t, lane_t*, idx, idx)
    uint64_t bytes_sum(const uint8_t*, ptrdiff_t)
    void bytes_reverse(const uint8_t*, uint8_t*, ptrdiff_t)
    real_t real_sqrt(real_t)
    unsigned int float_mode_flush()
    void float_mode_set(unsigned int)
    ctypedef struct barrier_t:
        pass
    void team_barrier(barrier_t*, int)
    enum: TEAM_SEEN
    int this_cpu()
    void keep_apart(const int*, int, int)
    ptrdiff_t take_next(ptrdiff_t*)
    void line_prefetch(const void*)
    void line_take(real_t*)
    void line_own(const void*)
    const real_t* own_pointer(const real_t*)
    const ptrdiff_t OWN

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void**, size_t, size_t)

cdef extern from "pages.h" nogil:
    void* pages_take(size_t)


# An array that the caller binds to a run: input, target, output, per-sample loss.
cdef struct Bound:
    char* data
    const int64_t* index        # row of `data` for each sample of the batch, or NULL
    idx row_bytes
    int is_u8
    uint64_t key                # of the augmentation's random numbers
    idx position                # of the batch's first sample among those that the key is for
    const double* mix           # what each sample's own part of a mixture is, or NULL


# What an instruction sees.
cdef struct Context:
    lane_t* arena               # this thread's, or this shard's
    lane_t* own                 # this thread's: what lives no longer than a segment
    real_t* packed              # weights in the kernels' order
    real_t* slot                # this shard's gradient slot
    real_t* stash               # sample-major rows that wait for the deferred products
    char* slots                 # all slots, for the reduction
    real_t* partials            # every shard's numbers on the batch, stat_row apart
    real_t* joint               # the batch's own
    uint64_t key                # of this run's random numbers
    Bound* bound
    idx slot_bytes, n_slots, stat_row
    idx capacity                # rows of the stash
    idx n, first, valid         # samples: of the batch, before this shard, in this shard
    idx next                    # first sample of the thread's next shard; n: there is none
    Bound* ahead                # whose rows of that shard are asked for, one after each instruction: ahead_row is the next
    idx ahead_row
    int fresh                   # first shard of its slot: write, do not add
    int accumulate              # add to the parameters' gradients
    int whole                   # the run goes from a batch to the gradients
    int tid, threads
    barrier_t* barrier          # of the team


# Where the lanes at an address of a plan lie: in the arena, or, from OWN on, in the thread's own memory.
cdef inline lane_t* lanes_at(const Context* ctx, idx at) noexcept nogil:
    return ctx.own + (at - OWN) if at >= OWN // 2 else ctx.arena + at


# The part of [0, n) that belongs to thread tid.
cdef inline idx share(idx n, idx tid, idx threads) noexcept nogil:
    return n * tid // threads


# Balanced tiles: n split into ceil(n / widest) pieces that differ by at most one; the first pieces are the larger.
cdef inline idx tile_count(idx n, idx widest) noexcept nogil:
    return (n + widest - 1) // widest


cdef inline idx tile_start(idx n, idx tiles, idx t) noexcept nogil:
    cdef idx r = n % tiles
    return t * (n // tiles) + (t if t < r else r)
