/* SPDX-License-Identifier: MIT */
/*
 * Exit reasons as the body of a message (docs/wire.md, "Signals"):
 *
 *     kind (varint) | signal (varint) | address (8 bytes, big endian) | text
 *
 * The text goes to the end of the body and is UTF-8. Pure functions; threads: any.
 */
#ifndef RUSMI_CLUSTER_REASON_H
#define RUSMI_CLUSTER_REASON_H

#include <rusm/err.h>
#include <rusm/otp/reason.h>

#include <stddef.h>
#include <stdint.h>

#define RUSMI_REASON_BYTES_MAX (8 + 8 + 8 + RUSM_REASON_TEXT_MAX)

/* Encode a reason at out; returns the length. */
size_t rusmi_reason_encode(uint8_t out[RUSMI_REASON_BYTES_MAX], const rusm_reason *reason);

/* Decode a whole body. RUSM_EPROTO: *out_why (static text) says what is wrong. */
RUSM_MUST_CHECK rusm_err rusmi_reason_decode(const uint8_t *data, size_t len,
                                             rusm_reason *out_reason, const char **out_why);

#endif
