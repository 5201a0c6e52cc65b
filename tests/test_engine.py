"""The engine as a whole: the same bits for any number of threads, forks, Ctrl-C, limits, denormals, memory."""
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lanewise as lw
from lanewise import _isa, models, nn, optim


def trained(n_threads, dtype="float32", steps=3, n=100, model=models.lenet5):
    """Weights and losses after a few steps, from seed 0, with a number of threads."""
    lw.set_num_threads(n_threads)
    lw.manual_seed(0)
    net = model()
    if dtype == "float64":
        net.double()
    opt = optim.Adam(net.parameters(), 1e-2)
    rng, losses = np.random.default_rng(0), []
    shape = (3, 32, 32) if model is models.cifar_cnn else (1, 28, 28)
    for _ in range(steps):
        x, y = rng.standard_normal((n, *shape)).astype(dtype), rng.integers(0, 10, n)
        opt.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return net.state_dict(), losses


@pytest.mark.parametrize("n", [1, 33, 300])
def test_threads_change_no_bit(isa, n):
    """1, 2 and 3 threads, and a second run: equal weights after three steps, for one shard, a few, and more than slots."""
    one, losses = trained(1, n=n)
    for threads in (1, 2, 3):
        again, more = trained(threads, n=n)
        assert more == losses
        for name in one:
            assert_array_equal(one[name], again[name])


@pytest.mark.parametrize("model, dtype", [(models.cifar_cnn, "float32"), (models.mlp, "float32"), (models.lenet5, "float64")])
def test_threads_change_no_bit_in_other_models(model, dtype):
    one, losses = trained(1, dtype, 2, 50, model)
    for threads in (2, 3):
        again, more = trained(threads, dtype, 2, 50, model)
        assert more == losses and all((one[k] == again[k]).all() for k in one)


def child(code, **env):
    """Run Python code in a process of its own: what it printed."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_thread_count_follows_the_environment():
    code = "import lanewise as lw; print(lw.get_num_threads())"
    assert child(code, LANEWISE_NUM_THREADS="1") == "1"
    assert child(code, OMP_NUM_THREADS="1") == "1"
    assert int(child(code, LANEWISE_NUM_THREADS="64")) <= len(os.sched_getaffinity(0))
    assert child("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n" + code) == "1"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells a thread's CPUs")
def test_threads_that_move_keep_their_masks():
    """Threads that meet on one CPU are moved apart (three on two CPUs, or two that start on one): every thread of the process
    may afterwards run where it might before, and one CPU alone is left alone."""
    code = """
        import os
        if {one}:
            os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        import numpy as np, lanewise as lw
        from lanewise import models, nn, ops
        lw.set_num_threads({threads})
        allowed, net = os.sched_getaffinity(0), models.lenet5()
        x, y, a = np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, int), np.ones((4096, 16, 16), np.float32)
        for _ in range(40):
            nn.CrossEntropyLoss()(net(x), y).backward()
            ops.matmul(a, a)
        tasks = [int(t) for t in os.listdir("/proc/self/task")]
        print(len(tasks) >= {threads} and all(os.sched_getaffinity(t) == allowed for t in tasks))
    """
    for threads, one in ((2, False), (3, False), (2, True)):
        assert child(code.format(threads=threads, one=one), OMP_NUM_THREADS="8") == "True"


def test_cgroup_quota(monkeypatch, tmp_path):
    """A quota of 1.5 CPUs is two threads; none is no limit."""
    import builtins

    from lanewise import threads
    real, limit = builtins.open, tmp_path / "cpu.max"
    monkeypatch.setattr(builtins, "open", lambda path, *a, **k: real(limit if str(path).endswith("cpu.max") else path, *a, **k))
    limit.write_text("150000 100000\n")
    assert threads._quota() == 2
    limit.write_text("max 100000\n")
    assert threads._quota() == float("inf")


def test_set_num_threads():
    lw.set_num_threads(3)
    assert lw.get_num_threads() == 3
    lw.set_num_threads(1)
    assert lw.get_num_threads() == 1
    for n in 0, 1025, 2.0, True:
        with pytest.raises(ValueError, match=f"expected an integer from 1 to 1024, got {n}"):
            lw.set_num_threads(n)


def test_threadpoolctl_sees_and_limits():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    lw.set_num_threads(2)
    assert any(pool["user_api"] == "openmp" for pool in threadpoolctl.threadpool_info())
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert lw.get_num_threads() == 1
    assert lw.get_num_threads() == 2


def test_forked_child_works():
    """After a step with two threads in the parent, a forked child trains on one, to the same bits, and ends."""
    out = child("""
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        sys.path.insert(0, %r)
        from test_engine import trained
        import lanewise as lw
        weights, losses = trained(2)
        pid = os.fork()
        if pid == 0:
            same, more = trained(2)
            os._exit(0 if lw.get_num_threads() == 1 and more == losses and all((same[k] == weights[k]).all() for k in same) else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), trained(2)[1] == losses)
    """ % os.path.dirname(__file__))
    assert out == "0 True"


def test_ctrl_c_stops_at_the_next_step():
    """The step that runs is finished, its weights are whole, and the model can be used and trained on."""
    training, _ = lw.data.load("fashion-mnist-mini")
    net = models.lenet5()
    trainer = lw.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters()))
    seen = []

    class Press(lw.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            seen.append(batch)
            if batch == 2:
                os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(training, epochs=1, batch_size=64, rng=0, callbacks=[Press()])
    assert seen == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    lw.manual_seed(2026)
    other = models.lenet5()
    opt = optim.Adam(other.parameters())
    for _, (x, y) in zip(range(3), training.batches(64, rng=np.random.default_rng(0))):
        opt.zero_grad()
        nn.CrossEntropyLoss()(other(x), y).backward()
        opt.step()
    for a, b in zip(net.state_dict().values(), other.state_dict().values()):
        assert_array_equal(a, b)
    assert np.isfinite(trainer.fit(training, epochs=1, batch_size=64)["loss"]).all()


@pytest.mark.skipif(_isa.LEVEL == 0, reason="the flush mode is read through x86 arithmetic here")
def test_denormals_are_flushed_inside_only(isa):
    """A product below 1e-38 is zero inside the engine; outside the process keeps its denormals, during and after."""
    lw.set_num_threads(2)
    tiny = np.full((40, 3), 1e-30, np.float32)
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data = np.full((2, 3), 1e-10, np.float32)
    assert (layer(tiny).numpy() == 0).all()
    assert (np.float32(1e-30) * np.float32(1e-10)) > 0
    p = nn.Parameter(np.full(5, 1e-38, np.float32))
    opt = optim.SGD([p], lr=1.0, weight_decay=0.99)
    p.grad = np.zeros(5)
    opt.step()
    assert (p.data == 0).all() and np.float32(1e-38) * np.float32(0.01) > 0


def test_a_step_reserves_no_memory():
    """Three hundred steps leave the process as large as ten did."""
    out = child("""
        import resource, numpy as np, lanewise as lw
        from lanewise import models, nn, optim
        net, loss_fn = models.lenet5(), nn.CrossEntropyLoss()
        opt = optim.Adam(net.parameters())
        x, y = np.zeros((512, 1, 28, 28), np.float32), np.zeros(512, np.int64)
        sizes = []
        for steps in (10, 300):
            for _ in range(steps):
                opt.zero_grad()
                loss_fn(net(x), y).backward()
                opt.step()
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        print(sizes[1] - sizes[0])
    """)
    assert int(out) < 512           # KB


def test_plans_go_with_their_model():
    """A model's plans are collected with it, and a changing graph keeps no more than MOST_PLANS."""
    import gc
    import weakref

    from lanewise import plan

    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(x) * self.factor
    model = Any()
    for factor in range(plan.MOST_PLANS + 9):
        model.factor = factor + 0.5
        model(np.ones((2, 3), np.float32)).numpy()
    assert len(model.fc.weight.plans) == plan.MOST_PLANS
    gone = weakref.ref(model.fc.weight)
    del model
    gc.collect()
    assert gone() is None


def test_isa_is_chosen_and_forced():
    code = "import lanewise._isa as i; print(i.isa, i.supported()[0], i.LEVEL)"
    best, first, level = child(code, LANEWISE_ISA="").split()
    assert best == first
    for isa in _isa.supported():
        assert child(code, LANEWISE_ISA=isa).split()[0] == isa
    done = subprocess.run([sys.executable, "-c", "import lanewise"], capture_output=True, text=True,
                          env={**os.environ, "LANEWISE_ISA": "v9"})
    assert done.returncode != 0 and "LANEWISE_ISA=v9: expected one of" in done.stderr


def test_import_needs_numpy_alone():
    """Nothing heavy is imported with the package."""
    loaded = child("import sys, lanewise; print(*sorted({m.split('.')[0] for m in sys.modules}))").split()
    assert not {"click", "tqdm", "safetensors", "PIL", "torch", "scipy", "matplotlib", "pooch", "cython", "Cython"} & set(loaded)


def test_threads_at_once():
    """Two Python threads that use one model get what each would alone."""
    from concurrent.futures import ThreadPoolExecutor
    net, rng = models.lenet5(), np.random.default_rng(0)
    arrays = [rng.standard_normal((50, 1, 28, 28)).astype(np.float32) for _ in range(8)]
    alone = [net(x).numpy() for x in arrays]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for a, b in zip(alone, pool.map(lambda x: net(x).numpy(), arrays)):
                assert_array_equal(a, b)
