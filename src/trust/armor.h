/* SPDX-License-Identifier: MIT */
/*
 * PEM armour (RFC 7468) for private keys. GnuTLS reads and writes PEM too, but leaves the key and
 * its base64 in freed memory; here nothing is kept but what the caller sees, and wipes.
 *
 * Pure: no heap, no I/O, any thread. The bytes may be anything; the decoder is a fuzz target.
 */
#ifndef RUSMI_TRUST_ARMOR_H
#define RUSMI_TRUST_ARMOR_H

#include <rusm/err.h>
#include <rusm/types.h>
#include <stdint.h>

/* Labels are at most this long; "ENCRYPTED PRIVATE KEY" is the longest that we look for. */
#define RUSMI_ARMOR_LABEL_MAX 32

/* Bytes that rusmi_armor_encode writes for len bytes, with the final NUL: four characters for three
 * bytes, a newline for each 64, two lines with the label. */
#define RUSMI_ARMOR_SIZE(len)                                                                      \
    (((len) + 2) / 3 * 4 + (len) / 48 + 1 + 2 * (RUSMI_ARMOR_LABEL_MAX + 20))

/*
 * Decode the first block with the label in a NUL-terminated text into out_data, which has room for
 * as many bytes as the text has. RUSM_ENONAME: there is none. RUSM_ECERT: it is damaged; out_data
 * may have been written to.
 */
RUSM_MUST_CHECK rusm_err rusmi_armor_decode(const char *text, const char *label, uint8_t *out_data,
                                            size_t *out_len);

/* Encode; returns the length without the NUL. out_text has room for RUSMI_ARMOR_SIZE(len). */
size_t rusmi_armor_encode(const uint8_t *data, size_t len, const char *label, char *out_text);

#endif
