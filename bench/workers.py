"""One library's training step in a process of its own: `python workers.py LIBRARY THREADS`.

The program that starts it writes one JSON object a line to its input, and reads one from its output for each:

    (at the start)                          {"version": "2.13.0"}, or {"missing": "no module named 'torch'"}
    {"network": "lenet5", "batch": 128}     {"loss": 2.31}          builds it, and runs the first steps
    {"seconds": 0.5}                        {"times": [0.0012, ..]} runs steps for so long: the seconds of each
    {"peak": true}                          {"gflops": 131.2}       lanewise only: the FMA peak

End of input ends it. Libraries are imported after the threads are pinned; what they print goes to stderr.
"""
import json
import os
import sys
import time

import machine

ADAM = 1e-3


def lanewise(threads):
    """The plain loop on NumPy arrays."""
    import lanewise as lw
    from lanewise import nn, optim
    lw.set_num_threads(threads)

    def prepare(layers, x, y):
        model, loss_fn = networks.build(nn, layers), nn.CrossEntropyLoss()
        opt = optim.Adam(model.parameters(), lr=ADAM)

        def step():
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            return loss.item()
        return step
    return lw.__version__, prepare


def torch(threads, bf16=False, compiled=False):
    """Eager, channels_last, fused Adam; float32, bfloat16 autocast, or torch.compile."""
    import torch
    torch.set_num_threads(threads)

    def prepare(layers, x, y):
        torch.manual_seed(0)
        model = networks.build(torch.nn, layers).to(memory_format=torch.channels_last)
        x, y = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(y)
        opt, loss_fn = torch.optim.Adam(model.parameters(), ADAM, fused=True), torch.nn.CrossEntropyLoss()
        call = torch.compile(model) if compiled else model

        def step():
            opt.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = loss_fn(call(x), y)
            loss.backward()
            opt.step()
            return loss.item()
        return step
    return torch.__version__, prepare


def tensorflow(threads):
    """A tf.function over a Keras model, channels last."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras = tf.keras
    make = dict(conv=lambda i, o, k, p: keras.layers.Conv2D(o, k, padding="same" if p else "valid"),
                pool=keras.layers.MaxPool2D, linear=lambda i, o: keras.layers.Dense(o), relu=keras.layers.ReLU,
                flatten=keras.layers.Flatten)

    def prepare(layers, x, y):
        x, y = tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(y)
        model = keras.Sequential([keras.layers.Input(x.shape[1:]), *(make[kind](*args) for kind, *args in layers)])
        opt, loss_fn = keras.optimizers.Adam(ADAM), keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function
        def run():
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            opt.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
            return loss
        return lambda: float(run())
    return tf.__version__, prepare


def jax(threads):
    """One jitted function with Optax's Adam, channels last, parameters donated."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import optax
    from jax import lax
    from jax import numpy as jnp

    def forward(layers, params, x):
        params = iter(params)
        for kind, *args in layers:
            if kind == "conv":
                w, b = next(params)
                x = lax.conv_general_dilated(x, w, (1, 1), [(args[3],) * 2] * 2,
                                             dimension_numbers=("NHWC", "HWIO", "NHWC")) + b
            elif kind == "pool":
                x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            elif kind == "linear":
                w, b = next(params)
                x = x @ w + b
            else:
                x = jnp.maximum(x, 0) if kind == "relu" else x.reshape(len(x), -1)
        return x

    def prepare(layers, x, y):
        rng, params = np.random.default_rng(0), []
        for kind, *args in layers:
            if kind in ("conv", "linear"):
                shape = (args[2], args[2], args[0], args[1]) if kind == "conv" else args
                bound = np.prod(shape[:-1]) ** -0.5
                params.append(tuple(jnp.asarray(rng.uniform(-bound, bound, s), jnp.float32) for s in (shape, shape[-1:])))
        x, y, adam = jnp.asarray(x.transpose(0, 2, 3, 1)), jnp.asarray(y), optax.adam(ADAM)
        state = [params, adam.init(params)]

        def run(params, moments, x, y):
            def loss_fn(params):
                return optax.softmax_cross_entropy_with_integer_labels(forward(layers, params, x), y).mean()
            loss, grads = jax.value_and_grad(loss_fn)(params)
            updates, moments = adam.update(grads, moments)
            return loss, optax.apply_updates(params, updates), moments
        run = jax.jit(run, donate_argnums=(0, 1))

        def step():
            loss, *state[:] = run(*state, x, y)
            return float(loss)
        return step
    return jax.__version__, prepare


LIBRARIES = {"lanewise": lanewise, "torch": torch, "torch-bf16": lambda n: torch(n, bf16=True),
             "torch-compile": lambda n: torch(n, compiled=True), "tensorflow": tensorflow, "jax": jax}


def measure(step, seconds):
    """Seconds of every step, for so long and at least 5 steps."""
    times, clock = [], time.perf_counter
    end = clock() + seconds
    while len(times) < 5 or clock() < end:
        start = clock()
        step()
        times.append(clock() - start)
    return times


def main(library, threads):
    """Answer requests until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**message):
        print(json.dumps(message), file=out, flush=True)
    try:
        version, prepare = LIBRARIES[library](threads)
    except ImportError as error:
        say(missing=str(error))
        return
    say(version=version)
    for line in sys.stdin:
        request = json.loads(line)
        if "network" in request:
            step = prepare(networks.NETWORKS[request["network"]][0], *networks.batch(request["network"], request["batch"]))
            loss = step()
            measure(step, 0.1)
            say(loss=loss)
        elif "seconds" in request:
            say(times=measure(step, request["seconds"]))
        else:
            from lanewise.profiling import fma_peak
            say(gflops=fma_peak(threads))


if __name__ == "__main__":
    machine.pin(int(sys.argv[2]))
    import networks
    import numpy as np
    main(sys.argv[1], int(sys.argv[2]))
