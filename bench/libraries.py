"""The networks of networks.py in every library: training steps, and scores in evaluation.

A function of LIBRARIES takes the number of threads, imports its library, and gives (version, works): works["train"] and
works["infer"], for those that it has, make from (name of a network, x, y) the pair (function of one step, number of
parameters). A step of "train" is zero_grad, forward, cross-entropy, backward, Adam, and gives the loss; BatchNorm uses the
batch's statistics and moves the running ones. A step of "infer" gives the scores of x as an array, in evaluation mode. Weights
are networks.weights(name); the batch lies in memory as the library likes it best.
"""
import os
import tempfile
from contextlib import nullcontext
from functools import partial

import networks
import numpy as np

ADAM, MOMENTUM, EPS = 1e-3, 0.1, 1e-5           # BatchNorm's as PyTorch means them


def _count(arrays):
    return sum(int(np.prod(a.shape)) for a in arrays)


def _own(name):
    from lanewise import nn
    model = networks.build(nn, networks.NETWORKS[name][0])
    model.load_state_dict(networks.state(model, name), strict=False)
    return model


def lanewise(threads):
    """The plain loop on NumPy arrays; model(x).numpy()."""
    import lanewise as lw
    from lanewise import nn, optim
    lw.set_num_threads(threads)

    def train(name, x, y):
        model, loss_fn = _own(name), nn.CrossEntropyLoss()
        opt = optim.Adam(model.parameters(), lr=ADAM)

        def step():
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            return loss.item()
        return step, _count(model.parameters())

    def infer(name, x, y):
        model = _own(name).eval()
        return lambda: model(x).numpy(), _count(model.parameters())
    return lw.__version__, dict(train=train, infer=infer)


def torch(threads, bf16=False, form="eager"):
    """channels_last, fused Adam, inference_mode; float32 or bfloat16 autocast; eager, torch.compile, or frozen and optimised
    by torch.jit."""
    import torch
    torch.set_num_threads(threads)
    precision = partial(torch.autocast, "cpu", torch.bfloat16) if bf16 else nullcontext

    def build(name, x):
        model = networks.build(torch.nn, networks.NETWORKS[name][0])
        model.load_state_dict({k: torch.from_numpy(w) for k, w in networks.state(model, name).items()}, strict=False)
        return model.to(memory_format=torch.channels_last), torch.from_numpy(x).contiguous(memory_format=torch.channels_last)

    def train(name, x, y):
        model, x = build(name, x)
        y, loss_fn = torch.from_numpy(y), torch.nn.CrossEntropyLoss()
        opt = torch.optim.Adam(model.parameters(), ADAM, fused=True)
        call = torch.compile(model) if form == "compile" else model

        def step():
            opt.zero_grad()
            with precision():
                loss = loss_fn(call(x), y)
            loss.backward()
            opt.step()
            return loss.item()
        return step, _count(model.parameters())

    @torch.inference_mode()
    def infer(name, x, y):
        model, x = build(name, x)
        parameters, model = _count(model.parameters()), model.eval()
        if form == "jit":
            model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
        elif form == "compile":
            model = torch.compile(model)

        @torch.inference_mode()
        def step():
            with precision():
                return model(x).float().numpy()
        return step, parameters
    return torch.__version__, dict(infer=infer) if form == "jit" else dict(train=train, infer=infer)


def tensorflow(threads):
    """A tf.function over a Keras model, channels last."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras = tf.keras
    layers = keras.layers

    class BatchNorm(layers.BatchNormalization):
        """Keras' own, by the fused kernel."""

        def call(self, x, training=False):
            y, mean, var, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x, scale=self.gamma, offset=self.beta, mean=self.moving_mean, variance=self.moving_variance,
                epsilon=EPS, exponential_avg_factor=MOMENTUM, is_training=training)
            if training:
                self.moving_mean.assign(mean)
                self.moving_variance.assign(var)
            return y

    def build(name):
        net, (c, h, w), _ = networks.NETWORKS[name]
        arrays = iter(networks.weights(name, channels_last=True))

        def take(shape, dtype=None):            # layers are built in the order of their calls, weights before biases
            return tf.reshape(tf.constant(next(arrays)), shape)

        def conv(*args):
            c = networks.Conv(*args)
            pad = c.pad if c.stride > 1 else 0  # there "same" would begin a pixel later
            own = dict(strides=c.stride, padding="same" if c.pad > pad else "valid", use_bias=c.bias, bias_initializer=take)
            layer = (layers.Conv2D(c.outs, c.k, kernel_initializer=take, **own) if c.groups == 1 else
                     layers.DepthwiseConv2D(c.k, depthwise_initializer=take, **own))
            return keras.Sequential([layers.ZeroPadding2D(pad), layer]) if pad else layer
        make = dict(conv=conv, batchnorm=lambda c: BatchNorm(gamma_initializer=take, beta_initializer=take),
                    pool=layers.MaxPool2D, relu=layers.ReLU, flatten=layers.Flatten,
                    mean=lambda: layers.GlobalAveragePooling2D(keepdims=True),
                    linear=lambda i, o: layers.Dense(o, kernel_initializer=take, bias_initializer=take))
        x = layers.Input((h, w, c))
        return keras.Model(x, networks.through(net, x, make))

    def train(name, x, y):
        model, x, y = build(name), tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(y)
        opt, loss_fn = keras.optimizers.Adam(ADAM), keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            opt.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
            return loss
        return lambda: float(run()), _count(model.trainable_variables)

    def infer(name, x, y):
        model, x = build(name), tf.constant(x.transpose(0, 2, 3, 1))
        run = tf.function(lambda: model(x, training=False))
        return lambda: run().numpy(), _count(model.trainable_variables)
    return tf.__version__, dict(train=train, infer=infer)


def jax(threads):
    """One jitted function, channels last; Optax's Adam, and what a step changes is donated."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import optax
    from jax import lax
    from jax import numpy as jnp

    def forward(net, params, stats, x, training):
        """(scores, new running statistics)."""
        params, stats, moved = iter(params), iter(stats), []

        def conv(*args):
            c = networks.Conv(*args)

            def call(x):
                y = lax.conv_general_dilated(x, next(params), (c.stride,) * 2, [(c.pad,) * 2] * 2,
                                             dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=c.groups)
                return y + next(params) if c.bias else y
            return call

        def batchnorm(channels):
            def call(x):
                mean, var = next(stats)
                if training:
                    n, before, mean = x.size // channels, (mean, var), x.mean((0, 1, 2))
                    var = jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0)
                    moved.append(tuple((1 - MOMENTUM) * a + MOMENTUM * b
                                       for a, b in zip(before, (mean, var * n / (n - 1)))))
                return (x - mean) * (lax.rsqrt(var + EPS) * next(params)) + next(params)
            return call

        def pool(k):
            return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, k, k, 1), (1, k, k, 1), "VALID")
        make = dict(conv=conv, batchnorm=batchnorm, pool=pool, linear=lambda i, o: lambda x: x @ next(params) + next(params),
                    relu=lambda: jax.nn.relu, flatten=lambda: lambda x: x.reshape(len(x), -1),
                    mean=lambda: lambda x: x.mean((1, 2), keepdims=True))
        return networks.through(net, x, make), moved

    def build(name, x):
        net, shape, _ = networks.NETWORKS[name]
        stats = [(jnp.zeros(args[0]), jnp.ones(args[0])) for kind, args, _, _ in networks.walk(net, shape)
                 if kind == "batchnorm"]
        params = [jnp.asarray(w) for w in networks.weights(name, channels_last=True)]
        return net, params, stats, jnp.asarray(x.transpose(0, 2, 3, 1))

    def train(name, x, y):
        net, params, stats, x = build(name, x)
        y, adam = jnp.asarray(y), optax.adam(ADAM)
        state, parameters = [params, stats, adam.init(params)], _count(params)

        def run(params, stats, moments, x, y):
            def loss_fn(params):
                scores, moved = forward(net, params, stats, x, True)
                return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean(), moved
            (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
            updates, moments = adam.update(grads, moments)
            return loss, optax.apply_updates(params, updates), stats, moments
        run = jax.jit(run, donate_argnums=(0, 1, 2))

        def step():
            loss, *state[:] = run(*state, x, y)
            return float(loss)
        return step, parameters

    def infer(name, x, y):
        net, params, stats, x = build(name, x)
        run = jax.jit(lambda params, stats, x: forward(net, params, stats, x, False)[0])
        return lambda: np.asarray(run(params, stats, x)), _count(params)
    return jax.__version__, dict(train=train, infer=infer)


def onnxruntime(threads):
    """The file that lanewise.onnx.export writes for this batch; lanewise and onnx are needed beside it."""
    import lanewise as lw
    import onnx
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def infer(name, x, y):
        model = _own(name).eval()
        own = dict(model.named_parameters())
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            lw.onnx.export(model, path, x.shape[1:], batch=len(x))
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            parameters = sum(int(np.prod(w.dims)) for w in onnx.load(path).graph.initializer if w.name in own)
        return lambda: session.run(None, {"input": x})[0], parameters
    return onnxruntime.__version__, dict(infer=infer)


LIBRARIES = {"lanewise": lanewise, "torch": torch, "torch-bf16": lambda n: torch(n, bf16=True),
             "torch-compile": lambda n: torch(n, form="compile"), "torch-jit": lambda n: torch(n, form="jit"),
             "tensorflow": tensorflow, "jax": jax, "onnxruntime": onnxruntime}
