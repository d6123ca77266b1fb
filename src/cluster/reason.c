/* SPDX-License-Identifier: MIT */
#include "cluster/reason.h"

#include "base/utf8.h"
#include "wire/message.h"

#include <limits.h>
#include <string.h>

#define ADDRESS_LEN ((size_t)8)

size_t rusmi_reason_encode(uint8_t out[RUSMI_REASON_BYTES_MAX], const rusm_reason *reason)
{
    size_t text_len = strnlen(reason->text, sizeof(reason->text) - 1);
    uint8_t *at = out;

    /* Whoever makes a reason may put any bytes there; on the wire they are text. */
    if (!rusmi_utf8_valid(reason->text, text_len)) {
        text_len = 0;
    }
    at += rusmi_varint_encode(at, (uint64_t)reason->kind);
    at += rusmi_varint_encode(at, reason->signal < 0 ? 0 : (uint64_t)reason->signal);
    for (size_t i = 0; i < ADDRESS_LEN; i++) {
        *at++ = (uint8_t)(reason->address >> (8 * (ADDRESS_LEN - 1 - i)));
    }
    memcpy(at, reason->text, text_len);
    return (size_t)(at - out) + text_len;
}

rusm_err rusmi_reason_decode(const uint8_t *data, size_t len, rusm_reason *out_reason,
                             const char **out_why)
{
    rusm_reason reason = {.kind = RUSM_REASON_NORMAL};
    uint64_t kind, signal;
    size_t used = rusmi_varint_decode(data, len, &kind), more;

    more = used == 0 ? 0 : rusmi_varint_decode(data + used, len - used, &signal);
    if (more == 0 || len - used - more < ADDRESS_LEN) {
        *out_why = "an exit reason ends too early";
        return RUSM_EPROTO;
    }
    if (kind > (uint64_t)RUSM_REASON_STACK_OVERFLOW || signal > INT_MAX) {
        *out_why = "an exit reason is of an unknown kind";
        return RUSM_EPROTO;
    }
    used += more;
    for (size_t i = 0; i < ADDRESS_LEN; i++) {
        reason.address = reason.address << 8 | data[used + i];
    }
    used += ADDRESS_LEN;
    if (len - used >= sizeof(reason.text) ||
        !rusmi_utf8_valid((const char *)data + used, len - used) ||
        memchr(data + used, '\0', len - used) != NULL) {
        *out_why = "the text of an exit reason is too long or no text";
        return RUSM_EPROTO;
    }
    reason.kind = (rusm_reason_kind)kind;
    reason.signal = (int)signal;
    memcpy(reason.text, data + used, len - used);
    *out_reason = reason;
    return RUSM_OK;
}
