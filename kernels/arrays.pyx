# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The array functions' kernels: C-contiguous arrays of one number type, checked by the caller (lanewise.ops); tasks over
threads. Which numbers a task takes never changes what it computes: the results are the same for any number of threads."""
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport PyObject
from cython.parallel cimport parallel
cimport openmp

include "lanes.pxi"

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArrayObject:
        pass
    void* PyArray_DATA(PyArrayObject*)

cdef enum: NEAR = 16384         # bytes of scratch that a call keeps on its stack

cdef int cpus[TEAM_SEEN]            # where each thread ran last

# Part [first, last) of a job; scratch is the thread's own.
ctypedef void (*task_t)(const void* job, real_t* scratch, idx first, idx last) noexcept nogil


cdef void take_part(task_t task, const void* job, void* room, idx size, idx n, barrier_t* barrier, int t,
                    int threads) noexcept nogil:
    # One thread's part. They leave together: one that slept in OpenMP's own barrier is woken on the CPU of the other.
    if t < TEAM_SEEN:
        cpus[t] = this_cpu()
    if 0 < t < TEAM_SEEN:
        keep_apart(cpus, t, threads)
    task(job, <real_t*> (<char*> room + t * size), share(n, t, threads), share(n, t + 1, threads))
    team_barrier(barrier, threads)


cdef int run(task_t task, const void* job, idx n, int threads, idx scratch=0) except -1:
    """n units of a job in `threads` equal parts, with `scratch` numbers each. One thread: no OpenMP, as in a forked child."""
    cdef idx size = (scratch * sizeof(real_t) + 127) // 64 * 64
    cdef char near[NEAR + 64]
    cdef void* room = NULL
    cdef barrier_t barrier
    if n <= 0:
        return 0
    if threads > n:
        threads = <int> n
    if threads == 1 and size <= NEAR:
        with nogil:
            task(job, <real_t*> (near + (64 - <size_t> near % 64)), 0, n)
        return 0
    if posix_memalign(&room, 64, size * threads):
        raise MemoryError(f"an array function could not allocate {size * threads} bytes")
    memset(&barrier, 0, sizeof(barrier))
    with nogil:
        if threads == 1:
            task(job, <real_t*> room, 0, n)
        else:
            with parallel(num_threads=threads):
                take_part(task, job, room, size, n, &barrier, openmp.omp_get_thread_num(), openmp.omp_get_num_threads())
    free(room)
    return 0


cdef inline void* data(array) noexcept:
    # Where an array's numbers start; NULL for None. The caller keeps the array.
    return NULL if array is None else PyArray_DATA(<PyArrayObject*> <PyObject*> array)


cdef inline idx least(idx a, idx b) noexcept nogil:
    return a if a < b else b


cdef inline idx most(idx a, idx b) noexcept nogil:
    return a if a > b else b


cdef inline idx blocks(idx n) noexcept nogil:
    # Lane vectors that n numbers take.
    return (n + LANES - 1) // LANES


include "arrays_elementwise.pxi"
include "arrays_softmax.pxi"
include "arrays_loss.pxi"
include "arrays_norm.pxi"
include "arrays_matmul.pxi"
include "arrays_columns.pxi"
include "arrays_pool.pxi"
include "small_conv.pxi"
include "small_winograd.pxi"
include "small.pxi"
include "small_pass.pxi"

lanes = LANES
