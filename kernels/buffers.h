/* Memory of large results: a buffer whose array is gone is kept for the next array of about its size, MOST_KEPT bytes of them
 * together. A fresh one costs a page fault for every 4 KB (or 2 MB) that is written. Buffers come to NumPy by its allocation
 * handler, so that an array owns its buffer until it, and every view of it, is gone. */
#ifndef BUFFERS_H
#define BUFFERS_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "pages.h"

enum { KEPT = 16, BUFFER_HEAD = 64 };
static const size_t MOST_KEPT = (size_t)64 << 20;
static struct { void *start; size_t size; } kept[KEPT]; /* the oldest first; `start` is the malloc's, `size` the array's room */
static int n_kept;
static size_t kept_bytes;
static char kept_lock;

static void keep_lock(void) { while (__atomic_test_and_set(&kept_lock, __ATOMIC_ACQUIRE)); }
static void keep_unlock(void) { __atomic_clear(&kept_lock, __ATOMIC_RELEASE); }
static size_t kept_now(void) { return kept_bytes; }
static void keep_forget(int i) { /* the lock is held */
    kept_bytes -= kept[i].size;
    memmove(kept + i, kept + i + 1, (--n_kept - i) * sizeof kept[0]);
}

/* At least `size` bytes, aligned to 64: the smallest kept buffer of up to a quarter more, or a fresh one. NULL: none left. */
static void *buffer_take(void *context, size_t size) {
    void *start = NULL;
    size_t room = (size + BUFFER_HEAD - 1) / BUFFER_HEAD * BUFFER_HEAD;
    int best = -1;
    keep_lock();
    for (int i = 0; i < n_kept; i++)
        if (kept[i].size >= room && kept[i].size <= room + room / 4 && (best < 0 || kept[i].size <= kept[best].size))
            best = i; /* of equal ones the last: more of it may still be in the caches */
    if (best >= 0) {
        start = kept[best].start;
        keep_forget(best);
    }
    keep_unlock();
    if (start == NULL) {
        if ((start = pages_take(room + BUFFER_HEAD)) == NULL) return NULL;
        *(size_t *)start = room;
    }
    return (char *)start + BUFFER_HEAD;
}
static void buffer_give(void *context, void *p, size_t size) {
    void *gone[KEPT + 1];
    int n = 0;
    if (p == NULL) return;
    void *start = (char *)p - BUFFER_HEAD;
    size = *(size_t *)start;
    keep_lock();
    if (size > MOST_KEPT) {
        gone[n++] = start;
    } else {
        while (n_kept == KEPT || kept_bytes + size > MOST_KEPT) {
            gone[n++] = kept[0].start;
            keep_forget(0);
        }
        kept[n_kept].start = start;
        kept[n_kept++].size = size;
        kept_bytes += size;
    }
    keep_unlock();
    while (n) free(gone[--n]);
}
static void *buffer_clear(void *context, size_t count, size_t each) {
    void *p = each && count > SIZE_MAX / each ? NULL : buffer_take(context, count * each);
    return p ? memset(p, 0, count * each) : NULL;
}
static void *buffer_move(void *context, void *p, size_t size) {
    void *q = buffer_take(context, size);
    if (p == NULL || q == NULL) return q;
    size_t had = *(size_t *)((char *)p - BUFFER_HEAD);
    memcpy(q, p, size < had ? size : had);
    buffer_give(context, p, had);
    return q;
}
static PyDataMem_Handler buffers = {"lanewise", 1, {NULL, buffer_take, buffer_clear, buffer_move, buffer_give}};
#endif
