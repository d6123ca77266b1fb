/* SPDX-License-Identifier: MIT */
#include "cli/pid.h"

#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool rusmi_pid_parse(const char *text, struct rusmi_pid_text *out_pid)
{
    char serial[24];
    size_t len = strlen(text), node_len, serial_len;
    const char *stop;
    uint64_t number;

    if (len >= 2 && (text[0] == '<') != (text[len - 1] == '>')) {
        return false;
    }
    if (len >= 2 && text[0] == '<') {
        text++;
        len -= 2;
    }
    stop = memrchr(text, '.', len);
    if (stop == NULL) {
        return false;
    }
    node_len = (size_t)(stop - text);
    serial_len = len - node_len - 1;
    if (node_len == 0 || node_len > RUSM_NAME_MAX || serial_len >= sizeof(serial)) {
        return false;
    }
    memcpy(serial, stop + 1, serial_len);
    serial[serial_len] = '\0';
    if (!rusmi_text_number(serial, 1, UINT64_MAX, &number)) {
        return false;
    }
    memcpy(out_pid->node, text, node_len);
    out_pid->node[node_len] = '\0';
    out_pid->serial = number;
    return true;
}

bool rusmi_pid_incarnation(const char *text, uint64_t *out_incarnation)
{
    uint64_t incarnation = 0;

    if (strlen(text) != 16) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef", *digit = strchr(digits, text[i]);

        if (digit == NULL) {
            return false;
        }
        incarnation = incarnation << 4 | (uint64_t)(digit - digits);
    }
    *out_incarnation = incarnation;
    return incarnation != 0;
}

void rusmi_pid_format(const char *node, rusm_pid pid, char buf[RUSMI_PID_TEXT_MAX])
{
    if (node != NULL && node[0] != '\0') {
        (void)snprintf(buf, RUSMI_PID_TEXT_MAX, "<%s.%" PRIu64 ">", node, pid.serial);
    } else {
        (void)snprintf(buf, RUSMI_PID_TEXT_MAX, "<%016" PRIx64 ".%" PRIu64 ">", pid.incarnation,
                       pid.serial);
    }
}
