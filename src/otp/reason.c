/* SPDX-License-Identifier: MIT */
/* Exit reasons: made and written for people. */
#include "base/utf8.h"
#include "otp/process.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

const char *rusm_reason_name(rusm_reason_kind kind)
{
    switch (kind) {
    case RUSM_REASON_NORMAL:
        return "normal";
    case RUSM_REASON_SHUTDOWN:
        return "shutdown";
    case RUSM_REASON_KILLED:
        return "killed";
    case RUSM_REASON_NOPROC:
        return "noproc";
    case RUSM_REASON_NOCONNECTION:
        return "noconnection";
    case RUSM_REASON_CRASHED:
        return "crashed";
    case RUSM_REASON_FAULT:
        return "fault";
    case RUSM_REASON_STACK_OVERFLOW:
        return "stack overflow";
    }
    return "unknown";
}

rusm_reason rusm_reason_make(rusm_reason_kind kind)
{
    return (rusm_reason){.kind = kind};
}

void rusmi_reason_crashed(rusm_reason *out_reason, const char *format, va_list args)
{
    char made[RUSM_REASON_TEXT_MAX * 2]; /* room for a whole character across the limit */
    const char *text = format;

    *out_reason = (rusm_reason){.kind = RUSM_REASON_CRASHED};
    if (strchr(format, '%') != NULL) { /* most are plain words, and formatting costs a restart */
        (void)vsnprintf(made, sizeof(made), format, args);
        text = made;
    }
    memcpy(out_reason->text, text,
           rusmi_utf8_cut(text, strlen(text), sizeof(out_reason->text) - 1));
}

rusm_reason rusm_reason_crashed(const char *format, ...)
{
    rusm_reason reason;
    va_list args;

    va_start(args, format);
    rusmi_reason_crashed(&reason, format, args);
    va_end(args);
    return reason;
}

bool rusm_reason_is_orderly(const rusm_reason *reason)
{
    return reason->kind == RUSM_REASON_NORMAL || reason->kind == RUSM_REASON_SHUTDOWN;
}

size_t rusm_reason_format(const rusm_reason *reason, char *buf, size_t buf_len)
{
    const char *name = rusm_reason_name(reason->kind);
    int len;

    if (reason->kind == RUSM_REASON_FAULT && reason->signal == SIGABRT) {
        len = snprintf(buf, buf_len, "%s: abort()", name);
    } else if (reason->kind == RUSM_REASON_FAULT || reason->kind == RUSM_REASON_STACK_OVERFLOW) {
        len = snprintf(buf, buf_len, "%s: signal %d at 0x%" PRIx64, name, reason->signal,
                       reason->address);
    } else if (reason->text[0] != '\0') {
        len = snprintf(buf, buf_len, "%s: %s", name, reason->text);
    } else {
        len = snprintf(buf, buf_len, "%s", name);
    }
    return len < 0 ? 0 : (size_t)len;
}
