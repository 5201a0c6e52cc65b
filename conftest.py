"""`pytest` runs the tests and every benchmark once, unmeasured; `pytest --benchmark` measures, and does nothing else. Without
pytest-benchmark the tests run, and the benchmarks are skipped."""
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"
NEEDS = "the benchmarks need pytest-benchmark: pip install \".[test]\""
ASK_TO_MEASURE = ("only", "enable", "json", "save", "autosave", "compare", "compare_fail", "histogram", "cprofile")


def pytest_addoption(parser):
    parser.getgroup("benchmark").addoption(
        "--benchmark", action="store_true",
        help="Run the benchmark suite of bench/, and nothing else: a table, and JSON, charts and Markdown in bench/results/.")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    option = config.option
    if not config.pluginmanager.hasplugin("benchmark"):
        if option.benchmark:
            raise pytest.UsageError(NEEDS)
    elif option.benchmark:
        option.benchmark_only = True
        if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            config.args = [str(BENCH)]
        if option.benchmark_storage == "file://./.benchmarks":          # the default of pytest-benchmark
            option.benchmark_storage = f"file://{BENCH / 'results'}"
        if not option.benchmark_save and not option.benchmark_autosave:
            option.benchmark_save = "run"
        if not any(str(a).startswith("--benchmark-") for a in config.invocation_params.args):
            option.benchmark_quiet = True                               # one table is enough: that of bench/report.py
    elif not any(getattr(option, "benchmark_" + name) for name in ASK_TO_MEASURE):
        option.benchmark_disable = True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if not config.pluginmanager.hasplugin("benchmark"):
        for item in items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=NEEDS))
    elif config.option.benchmark:
        other = [i for i in items if "benchmark" not in getattr(i, "fixturenames", ())]
        if other:
            config.hook.pytest_deselected(items=other)
            items[:] = [i for i in items if i not in other]
