/* SPDX-License-Identifier: MIT */
/*
 * Error texts, and the detail of the last error: of a process in its control block (it may change
 * threads), of an ordinary thread in a thread-local.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "otp/process.h"

#include <rusm/err.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct {
    char detail[RUSMI_DETAIL_TEXT_MAX];
} tls;

const char *rusm_err_text(int err)
{
    switch (err) {
    case RUSM_OK:
        return "no error";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        RUSM_ERR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *rusm_err_name(int err)
{
    switch (err) {
    case RUSM_OK:
        return "RUSM_OK";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return #name;
        RUSM_ERR_MAP(X)
#undef X
    default:
        return "RUSM_E?";
    }
}

/* Where the caller's detail is kept; NULL if a process has none yet and none is to be made. */
static char *detail_place(bool make)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self == NULL) {
        return tls.detail;
    }
    if (self->extra == NULL && make) {
        self->extra = rusmi_zalloc(sizeof(*self->extra));
    }
    return self->extra == NULL ? NULL : self->extra->detail;
}

const char *rusm_err_detail(void)
{
    const char *place = detail_place(false);

    return place == NULL ? "" : place;
}

rusm_err rusm_set_err_detail(rusm_err err, const char *format, ...)
{
    char *place = detail_place(true);
    char text[RUSMI_DETAIL_TEXT_MAX + 4]; /* room for a whole character across the limit */
    va_list args;
    size_t len;

    if (place != NULL) {
        /* Through a copy: an argument may be the present detail. */
        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        len = rusmi_utf8_cut(text, strlen(text), RUSMI_DETAIL_TEXT_MAX - 1);
        memcpy(place, text, len);
        place[len] = '\0';
    }
    return err;
}

const char *rusm_process_state_name(rusm_process_state state)
{
    switch (state) {
    case RUSM_PROCESS_RUNNABLE:
        return "runnable";
    case RUSM_PROCESS_RUNNING:
        return "running";
    case RUSM_PROCESS_RECEIVING:
        return "receiving";
    case RUSM_PROCESS_WAITING:
        return "waiting";
    case RUSM_PROCESS_EXITING:
        return "exiting";
    case RUSM_PROCESS_THREAD:
        return "thread";
    }
    return "unknown";
}
