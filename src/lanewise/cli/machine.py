"""What the command says of the machine."""
import platform

from .. import _isa, threads


def cpu_name():
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def level():
    """The build of the kernels that is in use."""
    return f"x86-64-{_isa.isa}" if _isa.LEVEL else _isa.isa


def machine():
    """One line: processor, build, threads."""
    n = threads.get_num_threads()
    return f"{cpu_name()}, {level()} ({_isa.engine('float32').lanes} lanes), {n} thread{'s' * (n > 1)}"
