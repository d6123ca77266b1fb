/* SPDX-License-Identifier: MIT */
#include "cluster/deadlines.h"

#include "base/assert.h"
#include "base/mem.h"

#define DEADLINES_CAP_MIN ((size_t)16)

void rusmi_deadlines_init(struct rusmi_deadlines *deadlines)
{
    *deadlines = (struct rusmi_deadlines){0};
}

void rusmi_deadlines_fini(struct rusmi_deadlines *deadlines)
{
    rusmi_free(deadlines->heap);
    rusmi_deadlines_init(deadlines);
}

bool rusmi_deadlines_reserve(struct rusmi_deadlines *deadlines)
{
    if (deadlines->reserved == deadlines->cap) {
        size_t cap = deadlines->cap == 0 ? DEADLINES_CAP_MIN : deadlines->cap * 2;
        struct rusmi_deadline **heap =
            rusmi_realloc(deadlines->heap, cap * sizeof(struct rusmi_deadline *));

        if (heap == NULL) {
            return false;
        }
        deadlines->heap = heap;
        deadlines->cap = cap;
    }
    deadlines->reserved++;
    return true;
}

static void put(struct rusmi_deadlines *deadlines, size_t index, struct rusmi_deadline *deadline)
{
    deadlines->heap[index] = deadline;
    deadline->place = index + 1;
}

static void sift_up(struct rusmi_deadlines *deadlines, size_t index)
{
    struct rusmi_deadline *moving = deadlines->heap[index];

    while (index > 0) {
        size_t parent = (index - 1) / 2;

        if (deadlines->heap[parent]->at <= moving->at) {
            break;
        }
        put(deadlines, index, deadlines->heap[parent]);
        index = parent;
    }
    put(deadlines, index, moving);
}

static void sift_down(struct rusmi_deadlines *deadlines, size_t index)
{
    struct rusmi_deadline *moving = deadlines->heap[index];

    for (;;) {
        size_t child = 2 * index + 1;

        if (child >= deadlines->len) {
            break;
        }
        if (child + 1 < deadlines->len &&
            deadlines->heap[child + 1]->at < deadlines->heap[child]->at) {
            child++;
        }
        if (moving->at <= deadlines->heap[child]->at) {
            break;
        }
        put(deadlines, index, deadlines->heap[child]);
        index = child;
    }
    put(deadlines, index, moving);
}

static void clear(struct rusmi_deadlines *deadlines, struct rusmi_deadline *deadline)
{
    size_t index;
    struct rusmi_deadline *last;

    if (deadline->place == 0) {
        return;
    }
    index = deadline->place - 1;
    deadline->place = 0;
    last = deadlines->heap[--deadlines->len];
    if (last != deadline) {
        put(deadlines, index, last);
        sift_up(deadlines, index);
        sift_down(deadlines, last->place - 1);
    }
}

void rusmi_deadlines_release(struct rusmi_deadlines *deadlines, struct rusmi_deadline *deadline)
{
    clear(deadlines, deadline);
    rusmi_assert(deadlines->reserved > deadlines->len);
    deadlines->reserved--;
}

void rusmi_deadlines_set(struct rusmi_deadlines *deadlines, struct rusmi_deadline *deadline,
                         rusm_time at)
{
    clear(deadlines, deadline);
    if (at == RUSMI_TIME_NEVER) {
        return;
    }
    rusmi_assert(deadlines->len < deadlines->reserved);
    deadline->at = at;
    put(deadlines, deadlines->len, deadline);
    deadlines->len++;
    sift_up(deadlines, deadlines->len - 1);
}

struct rusmi_deadline *rusmi_deadlines_first(const struct rusmi_deadlines *deadlines)
{
    return deadlines->len == 0 ? NULL : deadlines->heap[0];
}
