/* SPDX-License-Identifier: MIT */
#include "cli/say.h"

#include "cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void rusmi_say(const char *format, ...)
{
    char line[1024], clean[4 * sizeof(line)];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    (void)rusmi_text_clean(line, clean, sizeof(clean));
    (void)fflush(stdout); /* in order, where both go to one place */
    (void)fprintf(stderr, "rusm: %s\n", clean);
}

enum rusmi_exit rusmi_exit_code(rusm_err err)
{
    switch (err) {
    case RUSM_OK:
        return RUSMI_EXIT_OK;
    case RUSM_EAUTH:
    case RUSM_EPERM:
    case RUSM_EREFUSED:
        return RUSMI_EXIT_REFUSED;
    case RUSM_ENOPROC:
    case RUSM_ENONODE:
    case RUSM_ENONAME:
    case RUSM_ENOFACTORY:
        return RUSMI_EXIT_NOT_FOUND;
    case RUSM_ETIMEOUT:
        return RUSMI_EXIT_TIMEOUT;
    case RUSM_ENOLINK:
        return RUSMI_EXIT_NO_LINK;
    case RUSM_EINVAL:
    case RUSM_ENOMEM:
    case RUSM_EFULL:
    case RUSM_EPROTO:
    case RUSM_EEXIST:
    case RUSM_EAGAIN:
    case RUSM_ECLOSED:
    case RUSM_EFACTORY:
    case RUSM_EMSGSIZE:
    case RUSM_ENOCONTEXT:
    case RUSM_EKILLED:
    case RUSM_ESYS:
    case RUSM_ECERT:
        break;
    }
    return RUSMI_EXIT_FAILED;
}

enum rusmi_exit rusmi_fail(rusm_err err)
{
    rusmi_say("%s", rusm_err_detail());
    return rusmi_exit_code(err);
}

const char *rusmi_detail_of(const char *address)
{
    const char *detail = rusm_err_detail();
    size_t len = strlen(address);

    return strncmp(detail, address, len) == 0 && strncmp(detail + len, ": ", 2) == 0
               ? detail + len + 2
               : detail;
}

enum rusmi_exit rusmi_flush(enum rusmi_exit code)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == RUSMI_EXIT_OK) {
        rusmi_say("standard output: %s", strerror(errno));
        return RUSMI_EXIT_FAILED;
    }
    return code;
}
