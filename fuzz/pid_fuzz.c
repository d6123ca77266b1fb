/* SPDX-License-Identifier: MIT */
/* Pids as people write them on the command line: what parses can be written and parses again. */
#include "base/assert.h"
#include "cli/pid.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rusmi_pid_text pid, again;
    char *text = malloc(size + 1), written[RUSMI_PID_TEXT_MAX];
    uint64_t incarnation = 1;

    rusmi_assert(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (rusmi_pid_parse(text, &pid)) {
        (void)rusmi_pid_incarnation(pid.node, &incarnation);
        rusmi_pid_format(pid.node, (rusm_pid){incarnation, pid.serial}, written);
        rusmi_assert(rusmi_pid_parse(written, &again));
        rusmi_assert(again.serial == pid.serial && strcmp(again.node, pid.node) == 0);
    }
    free(text);
    return 0;
}
