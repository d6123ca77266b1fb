/* SPDX-License-Identifier: MIT */
/* Close codes and the splitter; frames are in control_encode.c and control_decode.c. */
#include "wire/control.h"

/* An idle link keeps no more than this; one large frame would else cost 64 KiB per peer for ever.
 */
#define SPLITTER_KEEP ((size_t)4096)

const char *rusmi_close_text(uint64_t code)
{
    switch (code) {
#define X(name, value, err, text)                                                                  \
    case name:                                                                                     \
        return text;
        RUSMI_CLOSE_MAP(X)
#undef X
    }
    return "closed with an unknown code";
}

rusm_err rusmi_close_err(uint64_t code)
{
    switch (code) {
#define X(name, value, err, text)                                                                  \
    case name:                                                                                     \
        return err;
        RUSMI_CLOSE_MAP(X)
#undef X
    }
    return RUSM_ENOLINK;
}

void rusmi_splitter_init(struct rusmi_splitter *splitter)
{
    rusmi_buf_init(&splitter->buf);
    splitter->taken = 0;
}

void rusmi_splitter_fini(struct rusmi_splitter *splitter)
{
    rusmi_buf_fini(&splitter->buf);
    splitter->taken = 0;
}

/* Give up the frame that was returned last. */
static void splitter_release(struct rusmi_splitter *splitter)
{
    rusmi_buf_consume(&splitter->buf, splitter->taken);
    splitter->taken = 0;
}

rusm_err rusmi_splitter_push(struct rusmi_splitter *splitter, const void *bytes, size_t len)
{
    splitter_release(splitter);
    return rusmi_buf_append(&splitter->buf, bytes, len) ? RUSM_OK : RUSM_ENOMEM;
}

rusm_err rusmi_splitter_next(struct rusmi_splitter *splitter, const uint8_t **out_frame,
                             size_t *out_len)
{
    const uint8_t *head;
    size_t len;

    splitter_release(splitter);
    if (splitter->buf.len < RUSMI_FRAME_PREFIX) {
        if (splitter->buf.len == 0 && splitter->buf.cap > SPLITTER_KEEP) {
            rusmi_buf_fini(&splitter->buf);
        }
        return RUSM_EAGAIN;
    }
    head = rusmi_buf_head(&splitter->buf);
    len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (len == 0 || len > RUSMI_FRAME_MAX) {
        return RUSM_EPROTO;
    }
    if (splitter->buf.len - RUSMI_FRAME_PREFIX < len) {
        return RUSM_EAGAIN;
    }
    *out_frame = head + RUSMI_FRAME_PREFIX;
    *out_len = len;
    splitter->taken = RUSMI_FRAME_PREFIX + len;
    return RUSM_OK;
}
