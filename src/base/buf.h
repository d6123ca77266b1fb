/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer that is written at the end and read at the front. A failed growth leaves it
 * as it was.
 */
#ifndef RUSMI_BASE_BUF_H
#define RUSMI_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rusmi_buf {
    uint8_t *data; /* the allocation; the contents are data[start .. start+len) */
    size_t start, len, cap;
};

void rusmi_buf_init(struct rusmi_buf *buf);
void rusmi_buf_fini(struct rusmi_buf *buf);
/* Room for len more bytes at the end; NULL when memory ran out. Commit what was written with
 * rusmi_buf_commit. */
uint8_t *rusmi_buf_reserve(struct rusmi_buf *buf, size_t len);
void rusmi_buf_commit(struct rusmi_buf *buf, size_t len);
bool rusmi_buf_append(struct rusmi_buf *buf, const void *data, size_t len);
static inline const uint8_t *rusmi_buf_head(const struct rusmi_buf *buf)
{
    return buf->data + buf->start;
}
/* Drop len bytes from the front. */
void rusmi_buf_consume(struct rusmi_buf *buf, size_t len);

#endif
