/* SPDX-License-Identifier: MIT */
/* Exit reasons in signals: what decodes encodes to the same reason again, in no more bytes. */
#include "base/assert.h"
#include "cluster/reason.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[RUSMI_REASON_BYTES_MAX];
    rusm_reason reason, again;
    const char *why = NULL;
    size_t len;

    if (rusmi_reason_decode(data, size, &reason, &why) != RUSM_OK) {
        rusmi_assert(why != NULL);
        return 0;
    }
    len = rusmi_reason_encode(bytes, &reason);
    rusmi_assert(len <= size && len <= sizeof(bytes));
    rusmi_assert(rusmi_reason_decode(bytes, len, &again, &why) == RUSM_OK);
    rusmi_assert(again.kind == reason.kind && again.signal == reason.signal &&
                 again.address == reason.address && strcmp(again.text, reason.text) == 0);
    return 0;
}
