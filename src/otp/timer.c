/* SPDX-License-Identifier: MIT */
#include "otp/timer.h"

#include "base/assert.h"
#include "base/mem.h"

#define FANOUT      4
#define HEAP_MIN    64
#define FIRE_AT_MAX 1024 /* timers fired under one hold of the lock */

void rusmi_timers_init(struct rusmi_timers *timers)
{
    rusmi_lock_init(&timers->lock);
    timers->heap = NULL;
    timers->len = timers->cap = 0;
    atomic_init(&timers->next_ns, UINT64_MAX);
}

void rusmi_timers_fini(struct rusmi_timers *timers)
{
    rusmi_assert(timers->len == 0);
    rusmi_free(timers->heap);
    rusmi_lock_fini(&timers->lock);
}

static void put(struct rusmi_timers *timers, size_t at, struct rusmi_timer *timer)
{
    timers->heap[at] = timer;
    timer->index = at + 1;
}

static void sift_up(struct rusmi_timers *timers, size_t at, struct rusmi_timer *timer)
{
    while (at > 0) {
        size_t parent = (at - 1) / FANOUT;

        if (timers->heap[parent]->at_ns <= timer->at_ns) {
            break;
        }
        put(timers, at, timers->heap[parent]);
        at = parent;
    }
    put(timers, at, timer);
}

static void sift_down(struct rusmi_timers *timers, size_t at, struct rusmi_timer *timer)
{
    for (;;) {
        size_t child = at * FANOUT + 1, best = at;
        uint64_t best_ns = timer->at_ns;

        for (size_t i = child; i < child + FANOUT && i < timers->len; i++) {
            if (timers->heap[i]->at_ns < best_ns) {
                best = i;
                best_ns = timers->heap[i]->at_ns;
            }
        }
        if (best == at) {
            break;
        }
        put(timers, at, timers->heap[best]);
        at = best;
    }
    put(timers, at, timer);
}

/* Under the lock. */
static void remove_locked(struct rusmi_timers *timers, struct rusmi_timer *timer)
{
    size_t at = timer->index - 1;
    struct rusmi_timer *last = timers->heap[--timers->len];

    timer->index = 0;
    if (last != timer) {
        if (at > 0 && timers->heap[(at - 1) / FANOUT]->at_ns > last->at_ns) {
            sift_up(timers, at, last);
        } else {
            sift_down(timers, at, last);
        }
    }
}

/* Under the lock. */
static void publish(struct rusmi_timers *timers)
{
    atomic_store(&timers->next_ns, timers->len == 0 ? UINT64_MAX : timers->heap[0]->at_ns);
}

static bool grow(struct rusmi_timers *timers)
{
    size_t cap = timers->cap == 0 ? HEAP_MIN : timers->cap * 2;
    struct rusmi_timer **heap = rusmi_realloc(timers->heap, cap * sizeof(struct rusmi_timer *));

    if (heap == NULL) {
        return false;
    }
    timers->heap = heap;
    timers->cap = cap;
    return true;
}

bool rusmi_timers_set(struct rusmi_timers *timers, struct rusmi_timer *timer, uint64_t at_ns,
                      bool *out_first)
{
    bool set = true;

    rusmi_lock_take(&timers->lock);
    if (timer->index != 0) {
        remove_locked(timers, timer);
    }
    if (timers->len < timers->cap || grow(timers)) {
        timer->at_ns = at_ns;
        sift_up(timers, timers->len++, timer);
    } else {
        set = false;
    }
    publish(timers);
    *out_first = set && timers->heap[0] == timer;
    rusmi_lock_give(&timers->lock);
    return set;
}

void rusmi_timers_cancel(struct rusmi_timers *timers, struct rusmi_timer *timer)
{
    rusmi_lock_take(&timers->lock);
    if (timer->index != 0) {
        remove_locked(timers, timer);
        publish(timers);
    }
    rusmi_lock_give(&timers->lock);
}

bool rusmi_timers_run(struct rusmi_timers *timers, uint64_t now_ns)
{
    int fired = 0;

    if (rusmi_timers_next(timers) > now_ns) {
        return false;
    }
    rusmi_lock_take(&timers->lock);
    while (timers->len > 0 && timers->heap[0]->at_ns <= now_ns && fired < FIRE_AT_MAX) {
        struct rusmi_timer *timer = timers->heap[0];

        remove_locked(timers, timer);
        timer->fire(timer);
        fired++;
    }
    publish(timers);
    rusmi_lock_give(&timers->lock);
    return fired > 0;
}

uint64_t rusmi_timers_next(const struct rusmi_timers *timers)
{
    return atomic_load(&timers->next_ns);
}
