# The program of a forward pass: memory, and tasks in their order. lanewise.small puts it together.

cdef class Pass:
    """The forward pass of n samples: values (N, ...) at places in a memory of so many numbers, each followed by 2 LANES that
    may be read and written; tasks, added in their order; run() for the numbers bound to its inputs. Places of what there is
    none of are -1, arrays None; what an array holds is read at every run."""
    cdef real_t* memory
    cdef char* own              # scratch of `owns` threads
    cdef int owns
    cdef SmallStep* steps
    cdef SmallInput inputs[SMALL_INPUTS]
    cdef idx n_steps, room, scratch, n_inputs, result, size
    cdef list keep

    def __cinit__(self, idx memory, idx result, idx size):
        """result, size: which numbers run() gives."""
        self.keep = []
        self.result, self.size = result, size
        if posix_memalign(<void**> &self.memory, 64, (memory + LANES) * sizeof(real_t)):
            self.memory = NULL
            raise MemoryError(f"a forward pass could not allocate {memory * sizeof(real_t)} bytes")
        memset(self.memory, 0, (memory + LANES) * sizeof(real_t))

    def __dealloc__(self):
        free(self.memory)
        free(self.own)
        PyMem_Free(self.steps)

    cdef real_t* at(self, idx place) noexcept:
        return NULL if place < 0 else self.memory + place

    cdef const real_t* of(self, array):
        self.keep.append(array)
        return <const real_t*> data(array)

    cdef SmallStep* step(self, task_t task, idx units, idx scratch=0) except NULL:
        # A new step; scratch: numbers. The pointer is good until the next.
        cdef SmallStep* s
        if self.n_steps == self.room:
            s = <SmallStep*> PyMem_Realloc(self.steps, (2 * self.room + 16) * sizeof(SmallStep))
            if s == NULL:
                raise MemoryError()
            self.steps, self.room = s, 2 * self.room + 16
        s = self.steps + self.n_steps
        memset(s, 0, sizeof(SmallStep))
        self.n_steps += 1
        self.scratch = most(self.scratch, scratch)
        s.task, s.units = task, units
        return s

    def input(self, idx y, idx size, scale, idx channels, idx plane):
        """The next array that run() is given, `size` numbers; scale: of bytes, channels times, then as many shifts."""
        cdef SmallInput* a = self.inputs + self.n_inputs
        a.y, a.scale, a.size, a.channels, a.plane = self.at(y), self.of(scale), size, channels, plane
        self.n_inputs += 1

    def conv(self, idx x, idx staged, idx y, weight, bias, idx scale, idx shift, idx added, tuple geometry, idx n, idx groups,
             bint relu, idx weights, idx products):
        """A convolution, weight (O, C / groups, KH, KW); geometry: as im2col has it. staged: as many numbers as staged() says
        for every channel of n samples; with weights and products it goes by points: as many numbers as points() says."""
        cdef SmallPoints p
        cdef SmallConv* a = &p.conv
        memset(&p, 0, sizeof(p))
        a.w = window(geometry)
        a.x, a.y, a.staged = self.at(x), self.at(y), self.at(staged)
        a.weight, a.bias = self.of(weight), self.of(bias)
        a.scale, a.shift, a.added = self.at(scale), self.at(shift), self.at(added)
        a.n, a.groups, a.ins, a.outs, a.relu = n, groups, weight.shape[1], weight.shape[0] // groups, relu
        if products >= 0:
            p.weights, p.products = self.at(weights), self.at(products)
            self.step(small_point_weights, blocks(a.outs * a.ins * a.w.kh)).job.points = p
            self.step(small_point_stage, n * a.ins, small_point_room(&p)).job.points = p
            self.tiles(small_products(&p))
            self.step(small_point_result, n * a.outs).job.points = p
            return
        if small_layout(a, False):
            self.step(small_stage, n * groups * a.ins).job.conv = a[0]
        else:
            a.staged = self.at(x)
        self.tiles(a[0])

    cdef int tiles(self, SmallConv a) except -1:
        self.step(small_conv, small_units(&a), small_offsets(&a.w)).job.conv = a
        return 0

    def dense(self, idx x, idx y, weight, bias, idx n, bint relu):
        """A dense layer on n rows, weight (O, I)."""
        cdef SmallStep* s
        cdef idx outs = weight.shape[0]
        s = self.step(small_dense, blocks(outs), n * most(LANES, DOTS) * LANES)
        s.job.dense.x, s.job.dense.y = self.at(x), self.at(y)
        s.job.dense.weight, s.job.dense.bias = self.of(weight), self.of(bias)
        s.job.dense.n, s.job.dense.ins, s.job.dense.outs, s.job.dense.relu = n, weight.shape[1], outs, relu

    def product(self, idx x, idx y, weight, bias, idx n, bint relu):
        """The same for weight (I, O)."""
        cdef Matmul m
        cdef SmallStep* s
        memset(&m, 0, sizeof(m))
        m.a, m.b, m.c = self.at(x), self.of(weight), self.at(y)
        m.m, m.k, m.n = n, weight.shape[0], weight.shape[1]
        m.a_row, m.a_step, m.b_row, m.b_step = m.k, 1, m.n, 1
        self.step(mm_items, 1, m.k * blocks(m.n) * LANES).job.matmul = m
        if bias is not None or relu:
            s = self.step(small_rows, n)
            s.job.rows.y, s.job.rows.bias, s.job.rows.outs, s.job.rows.relu = self.at(y), self.of(bias), m.n, relu

    def scale(self, idx scale, idx shift, mean, var, weight, bias, double eps, idx channels):
        """scale = weight / sqrt(var + eps), shift = bias - mean scale."""
        cdef SmallStep* s = self.step(small_scale, channels)
        s.job.scale.scale, s.job.scale.shift, s.job.scale.eps = self.at(scale), self.at(shift), eps
        s.job.scale.mean, s.job.scale.var = self.of(mean), self.of(var)
        s.job.scale.weight, s.job.scale.bias = self.of(weight), self.of(bias)

    def norm(self, idx x, idx y, mean, var, weight, bias, double eps, idx n, idx channels, idx plane):
        """Batch normalisation by running statistics."""
        cdef SmallStep* s = self.step(norm_channels, channels)
        cdef Planes* p = &s.job.planes
        p.x, p.y, p.n, p.c, p.s, p.eps = self.at(x), self.at(y), n, channels, plane, eps
        p.running_mean, p.running_var = <real_t*> self.of(mean), <real_t*> self.of(var)
        p.weight, p.bias = self.of(weight), self.of(bias)

    def affine(self, idx x, idx b, idx y, idx size, double alpha, double beta):
        """y = alpha x + beta; with b y = x + b."""
        cdef SmallStep* s = self.step(small_affine, (size + SPAN - 1) // SPAN)
        s.job.affine.x, s.job.affine.b, s.job.affine.y, s.job.affine.size = self.at(x), self.at(b), self.at(y), size
        s.job.affine.alpha, s.job.affine.beta = <real_t> alpha, <real_t> beta

    def elementwise(self, str name, idx x, idx y, idx size):
        """y = f(x), f of elementwise()."""
        cdef SmallStep* s = self.step(spans, (size + SPAN - 1) // SPAN)
        s.job.spans.a = s.job.spans.b = self.at(x)
        s.job.spans.y, s.job.spans.size, s.job.spans.span = self.at(y), size, <span_t> <size_t> SPANS[name]

    def pool(self, str name, idx x, idx y, idx planes, tuple geometry, bint count_pad):
        """"max", "avg" or "adaptive" pooling, as pool() has it."""
        cdef Pooling p
        cdef idx scratch
        cdef task_t task
        memset(&p, 0, sizeof(p))
        p.w, p.x, p.y, p.count_pad = window(geometry), self.at(x), self.at(y), count_pad
        task = pool_task(name, &p, &scratch)
        self.step(task, planes, scratch).job.pool = p

    def softmax(self, idx x, idx y, idx outer, idx size, idx inner, bint log):
        """softmax, or its logarithm, over the middle axis."""
        cdef Axis a
        cdef idx units, scratch
        cdef task_t task
        memset(&a, 0, sizeof(a))
        a.a, a.out, a.outer, a.size, a.inner, a.log = self.at(x), self.at(y), outer, size, inner, log
        task = softmax_task(&a, &units, &scratch)
        self.step(task, units, scratch).job.axis = a

    def copy(self, idx x, idx y, idx rows, idx row, idx pitch):
        """Rows of x into rows of y, pitch numbers apart."""
        cdef SmallStep* s = self.step(small_copy, rows)
        s.job.copy.x, s.job.copy.y, s.job.copy.row, s.job.copy.pitch = self.at(x), self.at(y), row, pitch

    cdef char* room_of(self, int threads) except NULL:
        # Scratch for so many threads, all_scratch() bytes each.
        if threads > self.owns:
            free(self.own)
            self.own, self.owns = NULL, 0
            if posix_memalign(<void**> &self.own, 64, threads * self.all_scratch()):
                raise MemoryError(f"a forward pass could not allocate {threads * self.all_scratch()} bytes")
            self.owns = threads
        return self.own

    cdef idx all_scratch(self) noexcept:
        return (self.scratch * sizeof(real_t) + 127) // 64 * 64

    def run(self, list arrays, out, int threads):
        """Write the result to `out`, an array of the kernels' number type, for C-contiguous arrays bound to the inputs; its
        bits are the same for any number of threads. One call at a time."""
        cdef Py_buffer views[SMALL_INPUTS]
        cdef barrier_t barrier
        cdef idx i, held = 0, size = self.all_scratch()
        cdef char* own = self.room_of(threads)
        cdef SmallInput* a
        memset(&barrier, 0, sizeof(barrier))
        try:
            for i in range(self.n_inputs):
                a = self.inputs + i
                PyObject_GetBuffer(arrays[i], &views[i], PyBUF_C_CONTIGUOUS)
                held += 1
                if views[i].len < a.size * (<idx> sizeof(real_t) if a.scale == NULL else 1):
                    raise ValueError("an array bound to a forward pass is too short")
            with nogil:
                for i in range(self.n_inputs):
                    small_input(self.inputs + i, <const char*> views[i].buf)
                if threads == 1:
                    small_steps(self.steps, self.n_steps, own, size, &barrier, 0, 1)
                else:
                    with parallel(num_threads=threads):
                        small_steps(self.steps, self.n_steps, own, size, &barrier, openmp.omp_get_thread_num(),
                                    openmp.omp_get_num_threads())
            memcpy(data(out), self.memory + self.result, self.size * sizeof(real_t))
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])


pass_inputs = SMALL_INPUTS


def points(tuple geometry, idx ins, idx outs):
    """Numbers that a convolution of 3 columns of taps by points needs: for each sample's image, for the weights, and for each
    sample's products."""
    cdef SmallPoints p
    cdef SmallConv a
    memset(&p, 0, sizeof(p))
    p.conv.w, p.conv.ins, p.conv.outs = window(geometry), ins, outs
    a = small_products(&p)
    return SMALL_POINTS * ins * a.plane, SMALL_POINTS * outs * ins * a.w.kh, SMALL_POINTS * outs * a.w.oh * a.w.ow
