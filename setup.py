"""Compiles the kernels: one C source, one extension module for every ISA level and number type."""
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("kernels")
X86 = platform.machine().lower() in ("x86_64", "amd64")
ISAS = {"v2": ["-march=x86-64-v2"], "v3": ["-march=x86-64-v3"],
        "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]} if X86 else {"generic": []}
COMMON_MODULES = ("cpu", "calls", "step")      # one build: nothing in them is worth a vector
KERNEL_MODULES = ("engine", "arrays")
NUMPY_API = [("NPY_NO_DEPRECATED_API", "NPY_1_22_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_1_22_API_VERSION")]
DTYPES = {"float32": [], "float64": ["-DLANES_F64"]}
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-w", "-std=gnu11", "-g0"]
PEEL = ["--param", "max-completely-peeled-insns=4000", "--param", "max-completely-peel-times=32"]


# what a compiler must be able to do: flags, a program, what to install where it fails
NEEDS = {"a C program": ([], "#include <math.h>\nint main(void) { return 0; }\n", "the C compiler's headers and linker"),
         "an OpenMP program": (["-fopenmp"], "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n",
                               "the C compiler's OpenMP runtime (libgomp or libomp)"),
         "a Python extension": (["-I" + sysconfig.get_path("include")], "#include <Python.h>\nint main(void) { return 0; }\n",
                                "Python's headers (for example python3-dev)")}


def check(compiler):
    """SystemExit with one sentence when the compiler (a list: program, arguments) is missing or cannot do what is needed."""
    name = " ".join(compiler[:2]) if Path(compiler[0]).name == "ccache" else compiler[0]
    if shutil.which(compiler[0]) is None:
        raise SystemExit(f"lanewise: its kernels are compiled on installation and no C compiler was found ('{name}'): install "
                         f"one (for example gcc) and run the command again.")
    with tempfile.TemporaryDirectory() as tmp:
        source = Path(tmp, "try.c")
        for what, (flags, program, remedy) in NEEDS.items():
            source.write_text(program)
            if subprocess.run([*compiler, *flags, str(source), "-o", str(Path(tmp, "try"))], capture_output=True).returncode:
                raise SystemExit(f"lanewise: '{name}' cannot compile {what}: install {remedy} and run the command again.")


class BuildKernels(build_ext):
    """Templates to Cython to C once, then the C once for every ISA and dtype, each in a directory of its own."""

    def build_extensions(self):
        compiler = self.compiler.compiler                   # a list: "ccache gcc" is a compiler too
        check(compiler)
        import numpy
        work = Path(self.build_temp) / "kernels"
        sources = {name: self.cython(work, name) for name in (*COMMON_MODULES, *KERNEL_MODULES)}
        for extension in self.extensions:
            stem = extension.name.rpartition(".")[2]
            extension.sources = [str(sources[stem])]
            extension.depends = []
            extension.include_dirs = [str(KERNELS), numpy.get_include()]
            extension.define_macros = NUMPY_API
            if stem in KERNEL_MODULES and self.gnu(compiler):
                extension.extra_compile_args += PEEL
        with ThreadPoolExecutor(self.parallel or 2) as pool:
            list(pool.map(self.build_one, self.extensions))

    def build_one(self, extension):
        # A compiler object of its own: two builds of one source would write one object file.
        worker = BuildKernels(self.distribution)
        worker.__dict__.update(self.__dict__)
        worker.build_temp = str(Path(self.build_temp) / extension.name)
        build_ext.build_extension(worker, extension)

    def copy_extensions_to_source(self):
        for extension in self.extensions:               # an editable install: setuptools expects the directories
            Path("src", *extension.name.split(".")[:-1]).mkdir(parents=True, exist_ok=True)
        super().copy_extensions_to_source()

    @staticmethod
    def gnu(compiler):
        return b"clang" not in subprocess.run([*compiler, "--version"], capture_output=True).stdout.lower()

    @staticmethod
    def cython(work, name):
        from Cython.Compiler.Main import compile as to_c
        from Cython.Compiler.Options import CompilationOptions, default_options
        from Cython.Tempita import Template
        work.mkdir(parents=True, exist_ok=True)
        sys.path.insert(0, str(KERNELS))            # templates import what fills them
        for source in (*KERNELS.glob("*.pyx"), *KERNELS.glob("*.pxi")):
            shutil.copyfile(source, work / source.name)
        for source in KERNELS.glob("*.tp"):
            (work / source.stem).write_text(Template(source.read_text(), name=source.name).substitute())
        target = work / f"{name}.c"
        options = CompilationOptions(default_options, output_file=str(target), language_level=3)
        if to_c(str(work / f"{name}.pyx"), options, full_module_name=name).num_errors:
            raise SystemExit(f"lanewise: Cython could not compile kernels/{name}.pyx")
        return target


extensions = [Extension(f"lanewise._kernels.{name}", [f"kernels/{name}.pyx"], extra_compile_args=["-O2", "-w", "-g0"])
              for name in COMMON_MODULES]
extensions += [Extension(f"lanewise._kernels.{isa}_{dtype}.{name}", [f"kernels/{name}.pyx"],
                         extra_compile_args=FLAGS + march + define, extra_link_args=["-fopenmp"])
               for name in KERNEL_MODULES for isa, march in ISAS.items() for dtype, define in DTYPES.items()]
setup(ext_modules=extensions, cmdclass={"build_ext": BuildKernels})
