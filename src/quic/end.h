/* SPDX-License-Identifier: MIT */
/*
 * Why a connection ended, in words: from ngtcp2's result codes, TLS alerts (RFC 8446 6) and the
 * CONNECTION_CLOSE frames of the peer (RFC 9000 19.19) to struct rusmi_quic_end.
 *
 * Every text is one sentence without a full stop, valid UTF-8 without control characters, whatever
 * the peer put into its own. Threading: none; plain functions.
 */
#ifndef RUSMI_QUIC_END_H
#define RUSMI_QUIC_END_H

#include <ngtcp2/ngtcp2.h>

#include "quic/conn.h"

/* Fill end with a cause, a code and a text of printf form. */
void rusmi_quic_end_set(struct rusmi_quic_end *end, enum rusmi_quic_cause cause, uint64_t code,
                        const char *format, ...) RUSM_PRINTF(4, 5);

/* What the peer's CONNECTION_CLOSE says. own and now_s (time of day) explain a refusal. */
void rusmi_quic_end_from_peer(struct rusmi_quic_end *end, const ngtcp2_ccerr *ccerr,
                              const rusm_identity *own, int64_t now_s);

/* What a failed ngtcp2 call says that is no matter of TLS. */
void rusmi_quic_end_from_ngtcp2(struct rusmi_quic_end *end, int result);

/* Our TLS failed with this alert, and no better reason is known than the alert itself. */
void rusmi_quic_end_from_alert(struct rusmi_quic_end *end, uint8_t alert);

/* Copy text of a stranger: bytes that are not valid UTF-8 or not printable become '?'. */
void rusmi_quic_text_copy(char *out, size_t out_len, const uint8_t *text, size_t text_len);

#endif
