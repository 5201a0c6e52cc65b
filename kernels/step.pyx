# cython: language_level=3, boundscheck=False
"""What every step goes through around its run: inputs as the engine binds them, the plan found again, arrays for its results,
marks of the gradients that are there.

One build serves every ISA level and both number types: nothing here looks at a number."""
cimport numpy as cnp
from cpython.pythread cimport (NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock,
                               PyThread_release_lock, PyThread_type_lock)
from libc.math cimport isfinite
from libc.string cimport memchr, memcpy, memset
from numpy cimport NPY_DOUBLE, NPY_FLOAT, NPY_INT64, NPY_UINT8, ndarray, npy_intp

import numpy as np

from lanewise import _isa, threads
from lanewise.errors import DtypeError, NonFiniteError, RangeError, ShapeError
from lanewise.rng import as_rng

cnp.import_array()

cdef enum: FORWARD = 1, BACKWARD = 2, REDUCE = 4        # the phases of kernels/engine.pyx
cdef enum: DIMS = 32                                    # of an array, at most


cdef class Feed:
    """What is bound to an Input for one call: an array, or rows `index` of one, or such rows to augment: `draws` are the key
    of the random numbers, the position of the first row and the parts of mixtures, or None."""
    cdef readonly object array, index, tensor
    cdef readonly tuple draws
    cdef readonly Py_ssize_t n
    cdef object drawn
    cdef set used                           # nodes that this call has passed through

    def __init__(self, array, index=None, tensor=None, tuple draws=()):
        self.array, self.index, self.tensor, self.draws = array, index, tensor, draws
        self.n = len(array) if index is None else len(index)

    def key(self):
        """The key of this call's random numbers, drawn once: every run of it has the same dropout masks."""
        if self.drawn is None:
            self.drawn = int(as_rng().integers(1 << 63))
        return self.drawn

    def require_below(self, limit):
        """RangeError unless the indices of this call lie in 0 .. limit - 1."""
        x = self.array if self.index is None else self.array[self.index]
        low, high = int(x.min()), int(x.max())
        if low < 0 or high >= limit:
            raise RangeError(f"Embedding expected indices from 0 to {limit - 1}, got {low if low < 0 else high}")


def pass_through(nodes, dict feeds):
    """Whether a call, that of the first of `feeds`, comes to these nodes for the first time; from now on it has been there."""
    cdef Feed f
    for f in feeds.values():
        if f.used is None:
            f.used = set()
        first = f.used.isdisjoint(nodes)
        f.used.update(nodes)
        return first
    return False


cdef str kind_of(ndarray x):
    # "float32", "float64", "uint8" or "int64" of native byte order, or None.
    cdef int kind = cnp.PyArray_TYPE(x)
    if not cnp.PyArray_ISNOTSWAPPED(x):
        return None
    if kind == NPY_FLOAT:
        return "float32"
    if kind == NPY_DOUBLE:
        return "float64"
    if kind == NPY_UINT8:
        return "uint8"
    return "int64" if kind == NPY_INT64 else None


cdef tuple sample_shape(ndarray x):
    return (<object> x).shape[1:]


def not_numbers(dtype):
    """The DtypeError for an input of another number type."""
    return DtypeError(f"expected an input of float32, float64 or uint8 (scaled to 0..1), got {dtype}: "
                      f"convert it with x.astype(np.float32)")


def leaf(x, tensor=None):
    """(signature of the Input, Feed) for what a model is called with: an array, a Tensor or a Batch; `tensor`: whose array it
    is, where its gradient is wanted."""
    cdef ndarray a
    if not cnp.PyArray_CheckExact(x):
        if hasattr(x, "as_leaf"):
            return x.as_leaf()
        x = np.asarray(x)
    a = x
    kind, scale = kind_of(a), None
    if kind is None and x.dtype.kind in "iu":
        a, kind = x.astype(np.int64), "int64"
    if kind is None:
        raise not_numbers(x.dtype)
    if cnp.PyArray_NDIM(a) < (1 if kind == "int64" else 2):
        raise ShapeError(f"expected an input with the batch first, (N, ...), got shape {x.shape}")
    if cnp.PyArray_SIZE(a) == 0:
        raise ShapeError(f"expected at least one sample, got an empty batch of shape {x.shape}")
    if kind == "uint8":
        channels = cnp.PyArray_DIM(a, 1) if cnp.PyArray_NDIM(a) == 4 else 1
        scale = (1 / 255,) * channels + (0.0,) * channels
    if not cnp.PyArray_IS_C_CONTIGUOUS(a):
        a = np.ascontiguousarray(a)
    return (sample_shape(a), kind, scale, tensor is not None), Feed(a, None, tensor)


def batch_leaf(ndarray images, index, scale, augment, tuple draws):
    """leaf() of a Batch of such parts."""
    return (sample_shape(images), kind_of(images) or images.dtype.name, scale, False, augment), Feed(images, index, None, draws)


def plain_labels(y, tuple shape):
    """Whether y is what a loss binds as it is: an int64 array (N, ...), C-contiguous, of labels for scores of a shape
    (N, C, ...)."""
    cdef ndarray a
    cdef Py_ssize_t d
    if not cnp.PyArray_CheckExact(y):
        return False
    a = y
    if cnp.PyArray_TYPE(a) != NPY_INT64 or not cnp.PyArray_ISNOTSWAPPED(a) or not cnp.PyArray_IS_C_CONTIGUOUS(a) \
            or cnp.PyArray_NDIM(a) != len(shape) - 1:
        return False
    for d in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, <int> d) != shape[d + (d > 0)]:
            return False
    return True


def plain_numbers(t, tuple shape):
    """Whether t is what a loss binds as it is: an array of this shape, float32 or float64, C-contiguous."""
    return cnp.PyArray_CheckExact(t) and kind_of(t) in ("float32", "float64") and cnp.PyArray_IS_C_CONTIGUOUS(t) and t.shape == shape


cdef Py_ssize_t version = 0


def storage_version():
    """Grows when a parameter's memory moves: plans hold addresses."""
    return version


def forget_plans():
    """Make every plan stale: memory moved, or a setting changed."""
    global version
    version += 1


cpdef tuple recall(list nodes, local, dict feeds):
    """(what remember() was given, the feeds in its order), or None; local: what it depends on beside the graph."""
    cdef tuple found = (<dict> nodes[0].plans).get((version, local, _isa.isa, _isa.VBMI, *nodes[1:]))
    return None if found is None else (found[0], [feeds[i] for i in <list> found[1]])


def remember(list nodes, local, made, list inputs):
    """Keep what was made for a graph that ends in `nodes` and has these inputs."""
    cdef dict plans = nodes[0].plans
    for key in [key for key in plans if (<tuple> key)[0] != version]:
        del plans[key]
    plans[(version, local, _isa.isa, _isa.VBMI, *nodes[1:])] = made, inputs


def plan_for(list nodes, list losses, bint backward, dict feeds):
    """The plan that computes `nodes`, and the losses [(weight, op)] on them, built or found; and the feeds in its order."""
    local = (backward, *[(weight, op.key()) for weight, op in losses])
    found = recall(nodes, local, feeds)
    if found is None:
        from lanewise.plan import kept, planned
        found = kept(nodes, local, feeds, planned, losses, backward)
    return found


cdef object merge = None                # of lanewise.graph, which needs this module


def compute(list terms, bint backward, bint reduce):
    """(plan, loss, losses, hits) of a Loss's terms: forward and, for training, backward up to the gradient slots, or with `reduce`
    into the gradients, if there is nothing to add them to. The terms' Values then have their numbers."""
    global merge
    cdef list nodes = [], losses = [], targets = [], values = [], outputs, own_losses
    cdef Py_ssize_t i
    for weight, op, v, arrays in terms:
        nodes.append(v.node)
        losses.append((weight, op))
        values.append(v)
        targets.append(arrays)
    feeds, n = v.feeds, v.n
    if len(terms) > 1:
        if merge is None:
            from lanewise.graph import merge
        nodes, feeds, n = merge(values)
    plan, feeds = plan_for(nodes, losses, backward, feeds)
    outputs, own_losses, hits = plan.run(feeds, n or 1, targets, reduce and not plan.marks.any())
    loss = 0
    for i in range(len(terms)):
        weight, op, v, _ = terms[i]
        v._result = outputs[i] if v.n is not None else outputs[i][0]
        loss = loss + weight * op.total(own_losses[i])
    return plan, loss, own_losses, hits


include "marks.pxi"


cdef int fresh(list into, Py_ssize_t n, list shapes, int kind) except -1:
    # Append new arrays (n, *shape) of a number type, their numbers whatever was there.
    cdef npy_intp dims[DIMS]
    cdef tuple shape
    cdef Py_ssize_t i
    dims[0] = n
    for shape in shapes:
        for i in range(len(shape)):
            dims[i + 1] = shape[i]
        into.append(cnp.PyArray_SimpleNew(<int> len(shape) + 1, dims, kind))
    return 0


cdef class Runner:
    """The part of a Plan that every step goes through. The Plan says what its program binds: `results`, the shapes of a
    sample's outputs, losses, number of hits (one or none) and input gradients; `checked`: whether _check() has something to
    look at at every run; `numbers`: for each loss, how many of its arrays must have the run's number type; `buffers`: what a
    run changes beside."""
    cdef public object program, marks, finite
    cdef public bint backward, double, random, checked
    cdef public Py_ssize_t runs, steps
    cdef public list buffers, feeds, dx, numbers
    cdef public tuple results
    cdef bytearray before                   # what the buffers held before the last run
    cdef Py_ssize_t version
    cdef PyThread_type_lock lock

    def __cinit__(self, *args, **kw):
        self.version = version
        self.lock = PyThread_allocate_lock()
        if self.lock is NULL:
            raise MemoryError("a plan could not allocate its lock")

    def __dealloc__(self):
        if self.lock is not NULL:
            PyThread_free_lock(self.lock)

    cdef object once(self, n, list arrays, int phases, bint accumulate, key):
        # The program's run; one thread's at a time.
        if not PyThread_acquire_lock(self.lock, NOWAIT_LOCK):
            with nogil:
                PyThread_acquire_lock(self.lock, WAIT_LOCK)
        try:
            if phases & FORWARD:
                self.keep(False)
            finite = self.program.run(n, arrays, phases, accumulate, threads.get_num_threads(), key)
            if phases & FORWARD:
                self.runs += 1
                self.count()
            return finite
        finally:
            PyThread_release_lock(self.lock)

    cdef bint strange(self, targets, int kind) except -1:
        # Whether targets have another number type than the run.
        cdef Py_ssize_t k, i
        for k in range(len(targets)):
            for i in range(<Py_ssize_t> self.numbers[k]):
                a = targets[k][i]
                if cnp.PyArray_TYPE(a) != kind or not cnp.PyArray_ISNOTSWAPPED(a):
                    return True
        return False

    cdef int keep(self, bint back) except -1:
        # Copy what the buffers hold, or (back) put it there again.
        cdef ndarray a
        cdef Py_ssize_t at = 0, size = 0
        if not self.buffers:
            return 0
        if self.before is None:
            for b in self.buffers:
                size += b._data.nbytes
            self.before = bytearray(size)
        for b in self.buffers:
            a = b._data
            size = cnp.PyArray_NBYTES(a)
            if back:
                memcpy(cnp.PyArray_DATA(a), <char*> self.before + at, size)
            else:
                memcpy(<char*> self.before + at, cnp.PyArray_DATA(a), size)
            at += size
        return 0

    cdef int count(self) except -1:
        # One batch more in the buffers that are counts.
        cdef ndarray a
        for b in self.buffers:
            a = b._data
            if cnp.PyArray_ISINTEGER(a):
                a += 1
        return 0

    def last(self, run):
        """Whether its gradients are still those of the run of this number, and belong where the parameters are."""
        return run == self.runs and self.version == version

    def run(self, list feeds, Py_ssize_t n, targets=(), bint reduce=False):
        """Forward, and backward up to the gradient slots where the plan has one, or (reduce) into the gradients themselves,
        which must be empty: (outputs, losses, hits). `targets`: the arrays that each loss binds."""
        cdef list outputs = [], losses = [], hits = [], dx = [], arrays = []
        cdef int phases = FORWARD, kind = NPY_DOUBLE if self.double else NPY_FLOAT
        cdef Feed f
        if self.checked or self.strange(targets, kind):
            self._check(feeds, n, targets)
        for f in feeds:
            arrays.append(f.array if f.index is None else (f.array, f.index, *f.draws))
        fresh(outputs, n, self.results[0], kind)
        fresh(losses, n, self.results[1], kind)
        fresh(hits, n, self.results[2], kind)
        fresh(dx, n, self.results[3], kind)
        arrays.extend(outputs)
        for bound in targets:
            arrays.extend(bound)
        arrays.extend(losses)
        arrays.extend(hits)
        arrays.extend(dx)
        self.feeds, self.dx = feeds, dx
        if self.backward:
            phases |= BACKWARD | REDUCE if reduce else BACKWARD
        finite = self.once(n, arrays, phases, False, feeds[0].key() if self.random else 0)
        self.finite = finite if reduce else None            # None: the reduction is still to come
        return outputs, losses, hits[0] if hits else None

    def finish(self, double loss):
        """Leave the last run's gradients in `.grad`; NonFiniteError if the loss or a gradient is not a number."""
        step, self.steps = self.steps, self.steps + 1
        if not isfinite(loss):
            self.forget()
            raise NonFiniteError(f"the loss is {loss} at step {step}: its gradients were dropped and the weights are those "
                                 f"before it")
        if not (self.reduce() if self.finite is None else self.finite):
            self.forget()
            raise NonFiniteError(f"a gradient is not finite at step {step} (the loss is {loss}): the gradients were dropped "
                                 f"and the weights are those before it")
        self.marks.set(True)
        if self.dx:
            for tensor, dx in zip([f.tensor for f in self.feeds if f.tensor is not None], self.dx):
                tensor.grad = dx if tensor.grad is None else tensor.grad + dx

    cdef object reduce(self):
        # Add the slots of the last run to the gradients that are there.
        accumulate = self.marks.any()
        if accumulate:
            self.marks.fill()
        return self.once(0, [], REDUCE, accumulate, 0)

    cdef int forget(self) except -1:
        self.marks.set(False)
        return self.keep(True)
