/* Memory from the system: aligned to a cache line, and in huge pages where some fit. One of 4 KB costs a fault when it is first
 * written, and a walk through the page tables at almost every visit where arenas are larger than what the TLB reaches. */
#ifndef PAGES_H
#define PAGES_H
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { HUGE_PAGE = 1 << 21 };

/* NULL where there is none. Given back by free(). */
static void *pages_take(size_t size) {
    void *p = NULL;
    if (posix_memalign(&p, size < HUGE_PAGE ? 64 : HUGE_PAGE, size ? size : 64)) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    madvise(p, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return p;
}
#endif
