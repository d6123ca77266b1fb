/* SPDX-License-Identifier: MIT */
#include "support/raw_peer.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/random.h"
#include "platform/wall.h"
#include "support/nodes.h"

#include <rusm/otp/driver.h>

#define NS_PER_MS    ((rusm_time)1000000)

#define BUFFER_BYTES (256 * 1024)

/* ---- what QUIC tells ------------------------------------------------------------------------- */

static void on_deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    struct support_raw *raw = arg;

    raw->delivered++;
    raw->kinds[head->kind]++;
    rusm_msg_del(msg);
}

static rusm_err on_authenticated(void *arg, const struct rusmi_peer_identity *peer)
{
    struct support_raw *raw = arg;
    struct rusmi_outbox_config out;
    struct rusmi_inbox_config in;

    (void)peer;
    rusmi_outbox_config_init(&out);
    out.window = rusmi_quic_conn_peer_window(raw->conn);
    assert_int_equal(rusmi_outbox_init(&raw->outbox, &out), RUSM_OK);
    rusmi_inbox_config_init(&in);
    in.window = rusmi_quic_config_granted(&raw->cfg);
    in.streams_max = raw->cfg.streams_max;
    in.deliver = on_deliver;
    in.arg = raw;
    assert_int_equal(rusmi_inbox_init(&raw->inbox, &in), RUSM_OK);
    rusmi_quic_conn_set_boxes(raw->conn, &raw->outbox, &raw->inbox);
    raw->authenticated = true;
    return RUSM_OK;
}

static void send_bare(struct support_raw *raw, enum rusmi_frame_type type, uint64_t id)
{
    struct rusmi_frame frame = {.type = type, .id = id};

    support_raw_frame(raw, &frame);
}

/* Once both hellos are said. */
static void accept_if_due(struct support_raw *raw)
{
    if (raw->must_accept && raw->said_hello) {
        raw->must_accept = false;
        send_bare(raw, RUSMI_FRAME_ACCEPT, 0);
    }
}

/* What an honest node of that name would do. */
static void follow(struct support_raw *raw, const struct rusmi_frame *frame)
{
    switch (frame->type) {
    case RUSMI_FRAME_HELLO:
        raw->must_accept = strcmp(raw->join_as, frame->u.hello.name) > 0; /* the node decides */
        accept_if_due(raw);
        return;
    case RUSMI_FRAME_ACCEPT:
        send_bare(raw, RUSMI_FRAME_READY, 0);
        raw->up = true;
        return;
    case RUSMI_FRAME_READY:
        raw->up = true;
        return;
    case RUSMI_FRAME_PING:
        send_bare(raw, RUSMI_FRAME_PONG, frame->id);
        return;
    default:
        return;
    }
}

static rusm_err on_control(void *arg, const uint8_t *data, size_t len)
{
    struct support_raw *raw = arg;
    const uint8_t *bytes;
    size_t bytes_len;

    assert_int_equal(rusmi_splitter_push(&raw->splitter, data, len), RUSM_OK);
    while (rusmi_splitter_next(&raw->splitter, &bytes, &bytes_len) == RUSM_OK) {
        struct rusmi_frame frame;
        const char *why = "";

        if (rusmi_control_decode(bytes, bytes_len, &frame, &why) != RUSM_OK) {
            fail_msg("the node sent a bad frame: %s", why);
        }
        if (frame.type < SUPPORT_FRAME_TYPES) {
            raw->frames[frame.type]++;
        }
        if (raw->join_as != NULL) {
            follow(raw, &frame);
        }
        rusmi_frame_fini(&frame);
    }
    return RUSM_OK;
}

static void on_cid(void *arg, const uint8_t *cid, size_t cid_len)
{
    (void)arg, (void)cid, (void)cid_len; /* its socket is for one connection */
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static struct support_raw *raw_new(rusm_identity *identity)
{
    struct support_raw *raw = calloc(1, sizeof(*raw));

    assert_non_null(raw);
    raw->identity = rusm_identity_hold(identity);
    raw->fd = -1;
    raw->version = RUSMI_PROTOCOL_VERSION;
    rusmi_quic_config_init(&raw->cfg);
    raw->cfg.identity = identity;
    raw->cfg.wall_s = rusmi_wall_s;
    raw->cfg.udp_payload_fixed = true;
    raw->cfg.handshake_ns = SUPPORT_DEADLINE_MS * NS_PER_MS;
    raw->cfg.tick_ns = SUPPORT_DEADLINE_MS * NS_PER_MS;
    assert_true(rusmi_random(raw->cfg.secret, sizeof(raw->cfg.secret)));
    assert_true(rusmi_random(&raw->incarnation, sizeof(raw->incarnation)));
    rusmi_splitter_init(&raw->splitter);
    return raw;
}

static struct rusmi_quic_events raw_events(struct support_raw *raw)
{
    return (struct rusmi_quic_events){.authenticated = on_authenticated,
                                      .control = on_control,
                                      .cid_new = on_cid,
                                      .cid_retire = on_cid,
                                      .arg = raw};
}

static struct rusmi_quic_path raw_path(const struct support_raw *raw)
{
    return (struct rusmi_quic_path){.local = (const struct sockaddr *)&raw->local.storage,
                                    .local_len = raw->local.len,
                                    .remote = (const struct sockaddr *)&raw->remote.storage,
                                    .remote_len = raw->remote.len};
}

struct support_raw *support_raw_dial(rusm_identity *identity, const char *address)
{
    return support_raw_dial_with(identity, NULL, address, NULL);
}

struct support_raw *support_raw_dial_from(rusm_identity *identity, const char *host,
                                          const char *address)
{
    return support_raw_dial_with(identity, host, address, NULL);
}

struct support_raw *support_raw_dial_with(rusm_identity *identity, const char *host,
                                          const char *address,
                                          void (*adjust)(struct rusmi_quic_config *cfg))
{
    struct support_raw *raw = raw_new(identity);
    struct rusmi_quic_events events = raw_events(raw);
    struct rusmi_quic_path path;
    struct rusmi_address from;
    char text[80];

    assert_true(rusmi_address_parse(address, &raw->remote));
    if (host != NULL) {
        (void)snprintf(text, sizeof(text), "%s:0", host);
        assert_true(rusmi_address_parse(text, &from));
    }
    assert_int_equal(
        rusmi_udp_connect(host == NULL ? NULL : &from, &raw->remote, BUFFER_BYTES, &raw->fd), 0);
    assert_int_equal(rusmi_udp_local_address(raw->fd, &raw->local), 0);
    rusmi_address_format(&raw->local, raw->address, sizeof(raw->address));
    path = raw_path(raw);
    if (adjust != NULL) {
        adjust(&raw->cfg);
    }
    assert_int_equal(rusmi_quic_conn_new_client(&raw->conn, &raw->cfg, &events, &path, rusm_now()),
                     RUSM_OK);
    return raw;
}

struct support_raw *support_raw_listen(rusm_identity *identity)
{
    struct support_raw *raw = raw_new(identity);

    assert_true(rusmi_address_parse("127.0.0.1:0", &raw->local));
    assert_int_equal(rusmi_udp_listen(&raw->local, BUFFER_BYTES, &raw->fd), 0);
    assert_int_equal(rusmi_udp_local_address(raw->fd, &raw->local), 0);
    rusmi_address_format(&raw->local, raw->address, sizeof(raw->address));
    return raw;
}

void support_raw_del(struct support_raw *raw)
{
    rusmi_quic_conn_del(raw->conn);
    if (raw->authenticated) {
        (void)rusmi_outbox_fini(&raw->outbox);
        rusmi_inbox_fini(&raw->inbox);
    }
    rusmi_splitter_fini(&raw->splitter);
    rusmi_udp_close(raw->fd);
    rusm_identity_del(raw->identity);
    free(raw);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void take(struct support_raw *raw, const struct rusmi_address *from, const uint8_t *data,
                 size_t len)
{
    struct rusmi_quic_path path;

    raw->received++;
    if (raw->deaf && (data[0] & 0xf0) != 0xf0) {
        return; /* RFC 9000 17.2.5 */
    }
    if (raw->conn == NULL) {
        struct rusmi_quic_events events = raw_events(raw);
        struct rusmi_quic_route route;

        rusmi_quic_route(data, len, &route);
        if (route.kind != RUSMI_QUIC_INITIAL) {
            return;
        }
        raw->remote = *from;
        path = raw_path(raw);
        assert_int_equal(rusmi_quic_conn_new_server(&raw->conn, &raw->cfg, &events, &path, &route,
                                                    NULL, rusm_now()),
                         RUSM_OK);
    }
    if (rusmi_address_equal(from, &raw->remote)) {
        (void)rusmi_quic_conn_recv(raw->conn, NULL, data, len, rusm_now());
    }
}

static void receive(struct support_raw *raw)
{
    static uint8_t buf[RUSMI_UDP_RECV_MAX];
    struct rusmi_address from;
    size_t len, segment;
    int rc;

    while ((rc = rusmi_udp_recv(raw->fd, buf, sizeof(buf), &from, &len, &segment)) != EAGAIN) {
        for (size_t at = 0; rc == 0 && at < len; at += segment) {
            take(raw, &from, buf + at, len - at < segment ? len - at : segment);
        }
    }
}

void support_raw_send_only(struct support_raw *raw)
{
    static uint8_t buf[65536];
    struct rusmi_quic_batch batch;

    while (raw->conn != NULL &&
           rusmi_quic_conn_write(raw->conn, buf, sizeof(buf), &batch, rusm_now()) > 0) {
        /* What the socket does not take is lost, and repaired. */
        (void)rusmi_udp_send(raw->fd, &raw->remote, buf, batch.len, batch.segment);
    }
}

void support_raw_step(struct support_raw *raw, int wait_ms)
{
    struct pollfd pfd = {.fd = raw->fd, .events = POLLIN};
    rusm_time now = rusm_now(), deadline;

    support_raw_send_only(raw);
    deadline = raw->conn == NULL ? UINT64_MAX : rusmi_quic_conn_deadline(raw->conn);
    if (deadline <= now) {
        wait_ms = 0;
    } else if ((deadline - now) / NS_PER_MS < (rusm_time)wait_ms) {
        wait_ms = (int)((deadline - now) / NS_PER_MS) + 1;
    }
    (void)poll(&pfd, 1, wait_ms);
    receive(raw);
    if (raw->conn != NULL) {
        (void)rusmi_quic_conn_timer(raw->conn, rusm_now());
    }
    support_raw_send_only(raw);
}

bool support_raw_run(struct support_raw *raw, bool (*done)(void *arg), void *arg)
{
    rusm_time until = rusm_now() + SUPPORT_DEADLINE_MS * NS_PER_MS;

    while (!done(arg)) {
        if (rusm_now() > until) {
            return false;
        }
        support_raw_step(raw, 2);
    }
    return true;
}

bool support_raw_is_authenticated(void *arg)
{
    return ((const struct support_raw *)arg)->authenticated;
}

bool support_raw_is_up(void *arg)
{
    return ((const struct support_raw *)arg)->up || support_raw_is_ended(arg);
}

bool support_raw_is_ended(void *arg)
{
    const struct support_raw *raw = arg;

    return raw->conn != NULL && rusmi_quic_conn_end(raw->conn)->cause != RUSMI_QUIC_NONE;
}

bool support_raw_is_quiet(void *arg)
{
    const struct support_raw *raw = arg;

    return support_raw_is_ended(arg) || rusmi_quic_conn_is_quiet(raw->conn);
}

const struct rusmi_quic_end *support_raw_end(struct support_raw *raw)
{
    if (!support_raw_run(raw, support_raw_is_ended, raw)) {
        fail_msg("the node does not end the connection");
    }
    return rusmi_quic_conn_end(raw->conn);
}

void support_raw_join(struct support_raw *raw, const char *name)
{
    raw->join_as = name;
    if (!support_raw_run(raw, support_raw_is_authenticated, raw)) {
        fail_msg("no TLS with the node");
    }
    support_raw_hello(raw, SUPPORT_CLUSTER, name);
    if (!support_raw_run(raw, support_raw_is_up, raw) || !raw->up) {
        fail_msg("the node does not let %s in: %s", name, rusmi_quic_conn_end(raw->conn)->text);
    }
}

/* ---- what it says ---------------------------------------------------------------------------- */

void support_raw_bytes(struct support_raw *raw, const void *data, size_t len)
{
    assert_int_equal(rusmi_quic_conn_send_control(raw->conn, data, len), RUSM_OK);
}

void support_raw_frame(struct support_raw *raw, const struct rusmi_frame *frame)
{
    struct rusmi_buf buf;

    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, frame), RUSM_OK);
    support_raw_bytes(raw, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
}

void support_raw_hello(struct support_raw *raw, const char *cluster, const char *name)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_HELLO};
    struct rusmi_hello *hello = &frame.u.hello;

    hello->versions[0] = raw->version;
    hello->versions_len = 1;
    hello->incarnation = raw->incarnation;
    (void)snprintf(hello->cluster, sizeof(hello->cluster), "%s", cluster);
    (void)snprintf(hello->name, sizeof(hello->name), "%s", name);
    hello->features = RUSMI_FEATURE_MESH;
    (void)snprintf(hello->address, sizeof(hello->address), "%s",
                   raw->says_address == NULL ? "" : raw->says_address);
    (void)snprintf(hello->software, sizeof(hello->software), "a test");
    support_raw_frame(raw, &frame);
    raw->said_hello = true;
    accept_if_due(raw);
}

void support_raw_stream(struct support_raw *raw, const void *data, size_t len)
{
    /* Any message with room for so many bytes; what it says is replaced. */
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .sender = 1, .serial = ++raw->streams};
    struct rusmi_out *out;

    assert_int_equal(rusmi_out_new(&out, &head, data, len), RUSM_OK);
    assert_true(out->wire_len >= len);
    memcpy(out->wire, data, len);
    out->wire_len = len;
    rusmi_outbox_push(&raw->outbox, out);
}

void support_raw_head(struct support_raw *raw, const struct rusmi_message_head *head,
                      const void *body)
{
    static uint8_t data[RUSMI_MESSAGE_HEAD_MAX + 4096];
    size_t tail = rusmi_message_tail_encode(data, head);

    assert_true(tail + head->body_len <= sizeof(data));
    if (head->body_len != 0) {
        memcpy(data + tail, body, head->body_len);
    }
    support_raw_stream(raw, data, tail + head->body_len);
}

size_t support_raw_message(uint8_t *data, size_t data_len, const char *to, const void *body,
                           size_t len)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_NAME,
                                      .sender = 1,
                                      .name = to,
                                      .name_len = (uint8_t)strlen(to),
                                      .body_len = (uint32_t)len};
    size_t tail = rusmi_message_tail_len(&head);

    assert_int_equal(rusmi_message_head_check(&head), RUSM_OK);
    assert_true(tail + len <= data_len);
    (void)rusmi_message_tail_encode(data, &head);
    memcpy(data + tail, body, len);
    return tail + len;
}
