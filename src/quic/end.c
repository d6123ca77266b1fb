/* SPDX-License-Identifier: MIT */
#include "quic/end.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "trust/verify.h"

static rusm_err end_err(enum rusmi_quic_cause cause)
{
    switch (cause) {
    case RUSMI_QUIC_NONE:
        return RUSM_OK;
    case RUSMI_QUIC_CLOSED_LOCAL:
        return RUSM_ECLOSED;
    case RUSMI_QUIC_CLOSED_PEER:
    case RUSMI_QUIC_TRANSPORT:
    case RUSMI_QUIC_RESET:
        return RUSM_ENOLINK;
    case RUSMI_QUIC_REFUSED_LOCAL:
    case RUSMI_QUIC_REFUSED_PEER:
        return RUSM_EAUTH;
    case RUSMI_QUIC_TIMEOUT:
        return RUSM_ETIMEOUT;
    case RUSMI_QUIC_PROTOCOL:
        return RUSM_EPROTO;
    case RUSMI_QUIC_INTERNAL: /* who knows better, such as that memory ran out, says so */
        return RUSM_ENOLINK;
    }
    return RUSM_ENOLINK;
}

void rusmi_quic_end_set(struct rusmi_quic_end *end, enum rusmi_quic_cause cause, uint64_t code,
                        const char *format, ...)
{
    va_list args;

    end->cause = cause;
    end->err = end_err(cause);
    end->code = code;
    va_start(args, format);
    vsnprintf(end->text, sizeof(end->text), format, args);
    va_end(args);
}

/* Bytes of the UTF-8 character at text, 0 if it is none or is a control character. */
static size_t end_char(const uint8_t *text, size_t len)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

    if (n > len || text[0] < 0x20 || text[0] == 0x7f) {
        return 0;
    }
    if (n == 2 && text[0] == 0xc2 && text[1] < 0xa0) {
        return 0; /* C1 controls drive terminals as well */
    }
    return rusmi_utf8_valid((const char *)text, n) ? n : 0;
}

void rusmi_quic_text_copy(char *out, size_t out_len, const uint8_t *text, size_t text_len)
{
    size_t used = 0;

    while (text_len > 0) {
        size_t n = end_char(text, text_len);

        if (used + (n ? n : 1) + 1 > out_len) {
            break;
        }
        if (n == 0) {
            out[used++] = '?';
            n = 1;
        } else {
            memcpy(out + used, text, n);
            used += n;
        }
        text += n;
        text_len -= n;
    }
    out[used] = '\0';
}

/* Alerts (RFC 8446 6.2) that judge what was offered and not the certificate; those that judge the
 * certificate are explained by trust/verify.h. */
static const struct {
    uint8_t alert;
    bool refusal; /* a judgement on who we are, not on our bytes */
    const char *text;
} end_alerts[] = {
    {40, true, "there are no TLS parameters in common"},
    {70, true, "there is no TLS version in common"},
    {71, true, "the TLS parameters are too weak"},
    {80, false, "internal error"},
    {109, false, "a TLS extension is missing"},
    {116, true, "no certificate was shown"},
    {120, true, "the other side does not speak " RUSMI_QUIC_ALPN},
};

static const char *end_alert_text(uint8_t alert, bool *out_refusal)
{
    for (size_t i = 0; i < sizeof(end_alerts) / sizeof(end_alerts[0]); i++) {
        if (end_alerts[i].alert == alert) {
            *out_refusal = end_alerts[i].refusal;
            return end_alerts[i].text;
        }
    }
    *out_refusal = false;
    return NULL;
}

static void end_from_peer_alert(struct rusmi_quic_end *end, uint8_t alert, const rusm_identity *own,
                                int64_t now_s)
{
    bool refusal = false;
    char text[RUSMI_QUIC_TEXT_MAX];
    const char *known;

    if (rusmi_verify_explain_alert(alert, own, now_s, text, sizeof(text))) {
        rusmi_quic_end_set(end, RUSMI_QUIC_REFUSED_PEER, alert, "%s", text);
        return;
    }
    known = end_alert_text(alert, &refusal);
    if (refusal) {
        rusmi_quic_end_set(end, RUSMI_QUIC_REFUSED_PEER, alert, "the peer refused us: %s", known);
    } else if (known) {
        rusmi_quic_end_set(end, RUSMI_QUIC_TRANSPORT, alert, "the peer's TLS failed: %s", known);
    } else {
        rusmi_quic_end_set(end, RUSMI_QUIC_TRANSPORT, alert, "the peer's TLS failed with alert %u",
                           (unsigned)alert);
    }
}

void rusmi_quic_end_from_alert(struct rusmi_quic_end *end, uint8_t alert)
{
    bool refusal = false;
    const char *known = end_alert_text(alert, &refusal);

    if (refusal) {
        rusmi_quic_end_set(end, RUSMI_QUIC_REFUSED_LOCAL, alert, "we refused the peer: %s", known);
    } else if (known) {
        rusmi_quic_end_set(end, RUSMI_QUIC_PROTOCOL, alert, "TLS with the peer failed: %s", known);
    } else {
        rusmi_quic_end_set(end, RUSMI_QUIC_PROTOCOL, alert, "TLS with the peer failed (alert %u)",
                           (unsigned)alert);
    }
}

/* Names of QUIC's transport errors, RFC 9000 20.1. */
static const char *const end_transport[] = {
    "no error",
    "internal error",
    "connection refused",
    "flow control error",
    "stream limit error",
    "stream state error",
    "final size error",
    "frame encoding error",
    "transport parameter error",
    "connection id limit error",
    "protocol violation",
    "invalid token",
    "application error",
    "crypto buffer exceeded",
    "key update error",
    "limit of the cipher reached",
    "no viable path",
};

void rusmi_quic_end_from_peer(struct rusmi_quic_end *end, const ngtcp2_ccerr *ccerr,
                              const rusm_identity *own, int64_t now_s)
{
    char reason[RUSMI_QUIC_TEXT_MAX / 2];
    uint64_t code = ccerr->error_code;
    const char *name = "error";

    rusmi_quic_text_copy(reason, sizeof(reason), ccerr->reason, ccerr->reasonlen);
    if (ccerr->type == NGTCP2_CCERR_TYPE_APPLICATION) {
        rusmi_quic_end_set(end, RUSMI_QUIC_CLOSED_PEER, code, "the peer closed the link%s%s",
                           reason[0] ? ": " : "", reason);
        return;
    }
    if (code >= NGTCP2_CRYPTO_ERROR && code < NGTCP2_CRYPTO_ERROR + 256) {
        end_from_peer_alert(end, (uint8_t)(code - NGTCP2_CRYPTO_ERROR), own, now_s);
        return;
    }
    if (code == NGTCP2_NO_ERROR) {
        rusmi_quic_end_set(end, RUSMI_QUIC_CLOSED_PEER, code, "the peer gave the link up%s%s",
                           reason[0] ? ": " : "", reason);
        return;
    }
    if (code < sizeof(end_transport) / sizeof(end_transport[0])) {
        name = end_transport[code];
    }
    rusmi_quic_end_set(end, RUSMI_QUIC_TRANSPORT, code,
                       "the peer closed the connection: %s (QUIC error %llu)%s%s", name,
                       (unsigned long long)code, reason[0] ? ": " : "", reason);
    if (code == NGTCP2_CONNECTION_REFUSED) {
        end->err = RUSM_EREFUSED;
    }
}

void rusmi_quic_end_from_ngtcp2(struct rusmi_quic_end *end, int result)
{
    switch (result) {
    case NGTCP2_ERR_NOMEM:
        rusmi_quic_end_set(end, RUSMI_QUIC_INTERNAL, 0, "out of memory");
        end->err = RUSM_ENOMEM;
        return;
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        rusmi_quic_end_set(end, RUSMI_QUIC_TIMEOUT, 0, "the peer did not answer in time");
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
    case NGTCP2_ERR_VERSION_NEGOTIATION_FAILURE:
        rusmi_quic_end_set(end, RUSMI_QUIC_PROTOCOL, 0,
                           "the peer does not speak version 1 of QUIC");
        return;
    case NGTCP2_ERR_CALLBACK_FAILURE:
    case NGTCP2_ERR_INTERNAL:
    case NGTCP2_ERR_INVALID_ARGUMENT:
    case NGTCP2_ERR_INVALID_STATE:
        rusmi_quic_end_set(end, RUSMI_QUIC_INTERNAL, 0, "an error inside QUIC: %s",
                           ngtcp2_strerror(result));
        return;
    case NGTCP2_ERR_AEAD_LIMIT_REACHED:
    case NGTCP2_ERR_PKT_NUM_EXHAUSTED:
        rusmi_quic_end_set(end, RUSMI_QUIC_INTERNAL, 0, "the connection is worn out: %s",
                           ngtcp2_strerror(result));
        return;
    default:
        rusmi_quic_end_set(end, RUSMI_QUIC_PROTOCOL,
                           ngtcp2_err_infer_quic_transport_error_code(result),
                           "the peer broke QUIC: %s", ngtcp2_strerror(result));
        return;
    }
}
