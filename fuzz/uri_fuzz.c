/* SPDX-License-Identifier: MIT */
/* Names in certificates: whatever decodes is the one encoding of what it was decoded to. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "trust/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rusmi_uri uri, made;
    char text[RUSMI_URI_MAX];

    if (rusmi_uri_decode((const char *)data, size, &uri) != RUSM_OK) {
        return 0;
    }
    rusmi_uri_encode(&uri, text);
    rusmi_assert(strlen(text) == size && memcmp(text, data, size) == 0);
    rusmi_assert(rusmi_uri_make(&made, uri.cluster, uri.is_ca ? NULL : uri.node, uri.role) ==
                 RUSM_OK);
    rusmi_assert(made.is_ca == uri.is_ca && made.shared == uri.shared);
    return 0;
}
