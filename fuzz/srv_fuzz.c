/* SPDX-License-Identifier: MIT */
/* Answers of name servers to questions for SRV records: any bytes, and few places for records. */
#include "base/assert.h"
#include "node/resolve.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SRVS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rusmi_srv srvs[SRVS + 1];
    size_t len = 0;
    rusm_err err;

    memset(srvs, 0x5a, sizeof(srvs));
    err = rusmi_srv_read(data, size, srvs, SRVS, &len);
    rusmi_assert(err == RUSM_OK || err == RUSM_EPROTO || err == RUSM_ESYS);
    if (err == RUSM_OK) {
        rusmi_assert(len <= SRVS);
        for (size_t i = 0; i < len; i++) {
            rusmi_assert(memchr(srvs[i].host, '\0', sizeof(srvs[i].host)) != NULL);
        }
    }
    rusmi_assert(srvs[SRVS].port == 0x5a5a);
    return 0;
}
