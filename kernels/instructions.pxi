# The table of instructions: a new one is a line in Args, in INSTRUCTIONS and in encode.

cdef union Args:
    Conv conv
    Pack pack
    ConvDw conv_dw
    SquareDw square_dw
    ConvDwPool conv_dw_pool
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
    Augmented augmented
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
    "channel_sums": ("channel_sums", <size_t> channel_sums), "conv_dw_pixels": ("conv_dw", <size_t> conv_dw_pixels),
    "conv_dw_square": ("square_dw", <size_t> conv_dw_square),
    "conv_dw_pool": ("conv_dw_pool", <size_t> conv_dw_pool),
    "conv_grad": ("conv_grad", <size_t> conv_grad),
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
    "gather_augmented": ("augmented", <size_t> gather_augmented),
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
    elif kind == "square_dw":
        to.args.square_dw = fields
    elif kind == "conv_dw_pool":
        to.args.conv_dw_pool = fields
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
    elif kind == "augmented":
        to.args.augmented = fields
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
