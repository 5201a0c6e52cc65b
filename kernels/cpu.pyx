# cython: language_level=3
"""What the processor can run, asked of the processor itself (cpuid)."""

cdef extern from *:
    """
    #if defined(__x86_64__)
    static int x86_64_level(void) {
        __builtin_cpu_init();
        #define HAS(f) __builtin_cpu_supports(f)
        if (!(HAS("ssse3") && HAS("sse4.1") && HAS("sse4.2") && HAS("popcnt"))) return 1;
        if (!(HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2"))) return 2;
        if (!(HAS("avx512f") && HAS("avx512bw") && HAS("avx512cd") && HAS("avx512dq") && HAS("avx512vl"))) return 3;
        return 4;
    }
    static int x86_64_vbmi(void) { __builtin_cpu_init(); return HAS("avx512vbmi") && HAS("avx512vbmi2"); }
    #else
    static int x86_64_level(void) { return 0; }
    static int x86_64_vbmi(void) { return 0; }
    #endif
    """
    int x86_64_level()
    int x86_64_vbmi()


def level():
    """The x86-64 level (1 to 4) that this processor and its operating system support; 0 on another architecture."""
    return x86_64_level()


def vbmi():
    """Whether it looks up bytes in registers (AVX-512 VBMI and VBMI2), which no level asks for."""
    return bool(x86_64_vbmi())
