/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include "base/assert.h"
#include "base/mem.h"

#include <string.h>

#define BUF_CAP_MIN ((size_t)256)

void rusmi_buf_init(struct rusmi_buf *buf)
{
    *buf = (struct rusmi_buf){0};
}

void rusmi_buf_fini(struct rusmi_buf *buf)
{
    rusmi_free(buf->data);
    rusmi_buf_init(buf);
}

uint8_t *rusmi_buf_reserve(struct rusmi_buf *buf, size_t len)
{
    size_t wanted, cap;
    uint8_t *data;

    if (len > SIZE_MAX / 2 - buf->len) {
        return NULL;
    }
    if (buf->cap - buf->start - buf->len >= len && buf->data != NULL) {
        return buf->data + buf->start + buf->len;
    }
    if (buf->start != 0) {
        memmove(buf->data, buf->data + buf->start, buf->len);
        buf->start = 0;
    }
    wanted = buf->len + len;
    if (buf->cap < wanted || buf->data == NULL) {
        cap = buf->cap < BUF_CAP_MIN ? BUF_CAP_MIN : buf->cap;
        while (cap < wanted) {
            cap *= 2;
        }
        data = rusmi_realloc(buf->data, cap);
        if (data == NULL) {
            return NULL;
        }
        buf->data = data;
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void rusmi_buf_commit(struct rusmi_buf *buf, size_t len)
{
    rusmi_assert(buf->cap - buf->start - buf->len >= len);
    buf->len += len;
}

bool rusmi_buf_append(struct rusmi_buf *buf, const void *data, size_t len)
{
    uint8_t *room = rusmi_buf_reserve(buf, len);

    if (room == NULL) {
        return false;
    }
    if (len != 0) {
        memcpy(room, data, len);
    }
    buf->len += len;
    return true;
}

void rusmi_buf_consume(struct rusmi_buf *buf, size_t len)
{
    rusmi_assert(len <= buf->len);
    buf->start += len;
    buf->len -= len;
    if (buf->len == 0) {
        buf->start = 0;
    }
}
