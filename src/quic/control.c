/* SPDX-License-Identifier: MIT */
#include "quic/control.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* Most control frames are smaller; larger pushes get a chunk of their own size. */
#define CHUNK_MIN 4096

struct rusmi_quic_chunk {
    struct rusmi_quic_chunk *next;
    size_t cap, len;
    uint8_t data[];
};

void rusmi_quic_control_init(struct rusmi_quic_control *queue)
{
    memset(queue, 0, sizeof(*queue));
}

void rusmi_quic_control_fini(struct rusmi_quic_control *queue)
{
    while (queue->first) {
        struct rusmi_quic_chunk *next = queue->first->next;

        rusmi_free(queue->first);
        queue->first = next;
    }
    rusmi_quic_control_init(queue);
}

rusm_err rusmi_quic_control_push(struct rusmi_quic_control *queue, const uint8_t *data, size_t len)
{
    struct rusmi_quic_chunk *last = queue->last;
    size_t room = last ? last->cap - last->len : 0;
    struct rusmi_quic_chunk *fresh = NULL;

    if (len == 0) {
        return RUSM_OK;
    }
    if (len > room) {
        size_t cap = len - room < CHUNK_MIN ? CHUNK_MIN : len - room;

        fresh = rusmi_alloc(sizeof(*fresh) + cap);
        if (fresh == NULL) {
            return RUSM_ENOMEM;
        }
        fresh->next = NULL;
        fresh->cap = cap;
        fresh->len = len - room;
        memcpy(fresh->data, data + room, len - room);
    } else {
        room = len;
    }
    if (room > 0) {
        memcpy(last->data + last->len, data, room);
        if (queue->cursor == NULL) {
            queue->cursor = last;
            queue->cursor_used = last->len;
        }
        last->len += room;
    }
    if (fresh) {
        if (last) {
            last->next = fresh;
        } else {
            queue->first = fresh;
        }
        queue->last = fresh;
        if (queue->cursor == NULL) {
            queue->cursor = fresh;
            queue->cursor_used = 0;
        }
    }
    queue->unsent += len;
    queue->pending += len;
    return RUSM_OK;
}

size_t rusmi_quic_control_peek(const struct rusmi_quic_control *queue, ngtcp2_vec *vecs,
                               size_t vecs_max)
{
    size_t count = 0, used = queue->cursor_used;

    for (struct rusmi_quic_chunk *c = queue->cursor; c && count < vecs_max; c = c->next) {
        vecs[count].base = c->data + used;
        vecs[count].len = c->len - used;
        count++;
        used = 0;
    }
    return count;
}

void rusmi_quic_control_sent(struct rusmi_quic_control *queue, size_t len)
{
    rusmi_assert(len <= queue->unsent);
    queue->unsent -= len;
    queue->sent += len;
    while (queue->cursor && len >= queue->cursor->len - queue->cursor_used) {
        len -= queue->cursor->len - queue->cursor_used;
        queue->cursor = queue->cursor->next;
        queue->cursor_used = 0;
    }
    queue->cursor_used += len;
}

void rusmi_quic_control_acked(struct rusmi_quic_control *queue, uint64_t offset)
{
    rusmi_assert(offset <= queue->sent);
    if (offset <= queue->acked) {
        return;
    }
    queue->pending -= (size_t)(offset - queue->acked);
    queue->acked = offset;
    /* A chunk whose every byte is acknowledged holds no unsent one: nothing points into it. */
    while (queue->first && queue->base + queue->first->len <= offset) {
        struct rusmi_quic_chunk *next = queue->first->next;

        queue->base += queue->first->len;
        if (queue->cursor == queue->first) {
            queue->cursor = next;
            queue->cursor_used = 0;
        }
        rusmi_free(queue->first);
        queue->first = next;
    }
    if (queue->first == NULL) {
        queue->last = NULL;
    }
}
