/* SPDX-License-Identifier: MIT */
/* Packets that belong to no connection: quic/packet.h for the simulator's transport. */
#include "sim/sim_packet.h"

#include "sim/sim.h"

#define TOKEN_LEN 8u
/* QUIC's codes, RFC 9000 20.1, for the refusals below. */
#define CONNECTION_REFUSED 2u
#define INVALID_TOKEN      11u

void __wrap_rusmi_quic_route(const uint8_t *data, size_t len, struct rusmi_quic_route *out_route);
size_t __wrap_rusmi_quic_write_versions(const struct rusmi_quic_route *to, uint8_t *buf);
size_t __wrap_rusmi_quic_write_retry(const struct rusmi_quic_route *to, const uint8_t secret[32],
                                     const struct sockaddr *remote, socklen_t remote_len,
                                     uint8_t *buf, rusm_time now);
rusm_err __wrap_rusmi_quic_check_token(const struct rusmi_quic_route *initial,
                                       const uint8_t secret[32], const struct sockaddr *remote,
                                       socklen_t remote_len, rusm_time now,
                                       struct rusmi_quic_proof *out_proof);
size_t __wrap_rusmi_quic_write_refusal(const struct rusmi_quic_route *to,
                                       enum rusmi_quic_refusal why, const char *text, uint8_t *buf);
size_t __wrap_rusmi_quic_write_reset(const struct rusmi_quic_route *to, const uint8_t secret[32],
                                     uint8_t *buf);

static void cid_fill(struct rusmi_quic_cid *cid, uint64_t number)
{
    cid->len = SIM_CID_LEN;
    memcpy(cid->data, &number, SIM_CID_LEN);
}

static uint64_t cid_number(const struct rusmi_quic_cid *cid)
{
    uint64_t number = 0;

    memcpy(&number, cid->data, SIM_CID_LEN);
    return number;
}

void __wrap_rusmi_quic_route(const uint8_t *data, size_t len, struct rusmi_quic_route *out_route)
{
    struct sim_cursor cursor = {(uint8_t *)(uintptr_t)data, (uint8_t *)(uintptr_t)data + len,
                                false};
    struct sim_head head;

    memset(out_route, 0, sizeof(*out_route));
    out_route->len = len;
    out_route->kind = RUSMI_QUIC_GARBAGE;
    if (!sim_get_head(&cursor, &head)) {
        return;
    }
    cid_fill(&out_route->dcid, head.dcid);
    cid_fill(&out_route->scid, head.scid);
    switch (head.kind) {
    case SIM_INITIAL:
        out_route->kind = RUSMI_QUIC_INITIAL;
        out_route->version = 1;
        out_route->token_len = sim_get_u8(&cursor);
        out_route->token = cursor.at;
        break;
    case SIM_ACCEPT:
    case SIM_FINISH:
    case SIM_RETRY:
    case SIM_CLOSE:
    case SIM_RESET:
        out_route->kind = RUSMI_QUIC_LONG;
        out_route->version = 1;
        break;
    case SIM_DATA:
        out_route->kind = RUSMI_QUIC_SHORT;
        break;
    }
}

/* There is one version of this transport. */
size_t __wrap_rusmi_quic_write_versions(const struct rusmi_quic_route *to, uint8_t *buf)
{
    (void)to;
    (void)buf;
    return 0;
}

/* What proves an address: a hash of it and the secret. */
static uint64_t make_token(const uint8_t secret[32], const struct sockaddr *remote,
                           socklen_t remote_len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < 32; i++) {
        hash = (hash ^ secret[i]) * UINT64_C(0x100000001b3);
    }
    for (size_t i = 0; i < remote_len; i++) {
        hash = (hash ^ ((const uint8_t *)remote)[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

size_t __wrap_rusmi_quic_write_retry(const struct rusmi_quic_route *to, const uint8_t secret[32],
                                     const struct sockaddr *remote, socklen_t remote_len,
                                     uint8_t *buf, rusm_time now)
{
    struct sim_cursor cursor = {buf, buf + RUSMI_QUIC_ANSWER_MAX, false};
    struct sim_head head = {.kind = SIM_RETRY, .dcid = cid_number(&to->scid)};

    (void)now;
    sim_put_head(&cursor, &head);
    sim_put_u64(&cursor, make_token(secret, remote, remote_len));
    return (size_t)(cursor.at - buf);
}

rusm_err __wrap_rusmi_quic_check_token(const struct rusmi_quic_route *initial,
                                       const uint8_t secret[32], const struct sockaddr *remote,
                                       socklen_t remote_len, rusm_time now,
                                       struct rusmi_quic_proof *out_proof)
{
    uint64_t token;

    (void)now;
    if (initial->token_len == 0) {
        return RUSM_EAGAIN;
    }
    if (initial->token_len != TOKEN_LEN) {
        return RUSM_EREFUSED;
    }
    memcpy(&token, initial->token, sizeof(token));
    if (token != make_token(secret, remote, remote_len)) {
        return RUSM_EREFUSED;
    }
    memset(out_proof, 0, sizeof(*out_proof));
    return RUSM_OK;
}

size_t sim_write_close(uint64_t dcid, bool application, uint64_t code, const char *text,
                       uint8_t *buf, size_t buf_len)
{
    struct sim_cursor cursor = {buf, buf + buf_len, false};
    struct sim_head head = {.kind = SIM_CLOSE, .dcid = dcid};
    size_t text_len = strlen(text);

    text_len = text_len > 512 ? 512 : text_len;
    sim_put_head(&cursor, &head);
    sim_put_u8(&cursor, application);
    sim_put_u64(&cursor, code);
    sim_put_u16(&cursor, (uint16_t)text_len);
    sim_put(&cursor, text, text_len);
    return (size_t)(cursor.at - buf);
}

size_t __wrap_rusmi_quic_write_refusal(const struct rusmi_quic_route *to,
                                       enum rusmi_quic_refusal why, const char *text, uint8_t *buf)
{
    return sim_write_close(cid_number(&to->scid), false,
                           why == RUSMI_QUIC_BUSY ? CONNECTION_REFUSED : INVALID_TOKEN,
                           text == NULL ? "" : text, buf, RUSMI_QUIC_ANSWER_MAX);
}

size_t __wrap_rusmi_quic_write_reset(const struct rusmi_quic_route *to, const uint8_t secret[32],
                                     uint8_t *buf)
{
    struct sim_cursor cursor = {buf, buf + RUSMI_QUIC_ANSWER_MAX, false};
    /* The id that the peer sent to: only who knows the connection can name it. */
    struct sim_head head = {.kind = SIM_RESET, .dcid = cid_number(&to->dcid)};

    (void)secret;
    sim_put_head(&cursor, &head);
    return (size_t)(cursor.at - buf);
}
