"""The arena: threads set to one number everywhere, the machine measured, results kept for the table at the end."""
import machine
import pytest
import report

SHARE = 0.3                     # seconds that a contestant may take in a contest, where --benchmark-max-time is not given


class Arena:
    """What all contests of a run have in common, and their results (`records`, see report.py)."""

    def __init__(self, config):
        self.limits = SHARE * float(config.getoption("benchmark_max_time")), max(7, config.getoption("benchmark_min_rounds"))
        self.machine, self.records = None, []

    def note(self, benchmark, contest, name, shape, seconds):
        """Keep the result of a contest that was measured: with pytest-benchmark too, as extra_info."""
        if seconds is None:
            return
        if self.machine is None:
            import lanewise
            self.machine = machine.describe(lanewise.get_num_threads())
        record = report.record(contest, name, shape, seconds, self.machine)
        benchmark.extra_info.update(record)
        self.records.append(record)


KEY = pytest.StashKey()


def pytest_configure(config):
    if config.pluginmanager.hasplugin("benchmark"):     # without it they are skipped: see ../conftest.py
        config.stash[KEY] = Arena(config)


@pytest.fixture(scope="session")
def arena(request):
    """The run's Arena; while benchmarks are measured, every library has lanewise's number of threads."""
    arena = request.config.stash[KEY]
    if request.config._benchmarksession.disabled:
        yield arena
        return
    import threadpoolctl

    import lanewise
    threads = lanewise.get_num_threads()
    with threadpoolctl.threadpool_limits(threads):
        lanewise.set_num_threads(threads)
        try:
            import torch
        except ImportError:
            yield arena
        else:
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            yield arena
            torch.set_num_threads(before)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    arena = config.stash.get(KEY, None)
    if arena is not None and arena.records:
        width = terminalreporter._tw.fullwidth if terminalreporter.isatty else 1_000_000
        terminalreporter.section("lanewise and others")
        for line in report.lines(arena.records, arena.machine, width):
            terminalreporter.write_line(line)
        terminalreporter.write_line("")
        for path in report.save(arena.records, arena.machine):
            terminalreporter.write_line(f"written: {path}")
