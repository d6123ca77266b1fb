/* SPDX-License-Identifier: MIT */
#include "support/quic_pair.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/wall.h"

#define NUMBER_SERIAL 1

struct support_datagram {
    struct support_datagram *next, *prev;
    struct support_end *to;
    rusm_time at;
    size_t len;
    uint8_t data[];
};

static void deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    struct support_end *end = arg;
    const uint8_t *data = rusm_msg_data(msg);
    size_t len = rusm_msg_len(msg);

    end->delivered++;
    if (head->kind == RUSMI_MESSAGE_TO_SERIAL && head->serial == NUMBER_SERIAL && len == 8) {
        uint64_t number;

        memcpy(&number, data, 8);
        end->out_of_order = end->out_of_order || number != end->next_number;
        end->next_number = number + 1;
    } else {
        end->bulk++;
        end->last_len = len;
        end->last_sum = 0;
        for (size_t i = 0; i < len; i++) {
            end->last_sum += data[i];
        }
    }
    rusm_msg_del(msg);
}

static rusm_err on_authenticated(void *arg, const struct rusmi_peer_identity *peer)
{
    struct support_end *end = arg;
    struct rusmi_outbox_config out;
    struct rusmi_inbox_config in;
    rusm_err err;

    end->peer = *peer;
    if (end->refuse != RUSM_OK) {
        return end->refuse;
    }
    rusmi_outbox_config_init(&out);
    out.window = rusmi_quic_conn_peer_window(end->conn);
    err = rusmi_outbox_init(&end->outbox, &out);
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_inbox_config_init(&in);
    in.window = rusmi_quic_config_granted(&end->cfg);
    in.streams_max = end->cfg.streams_max;
    in.deliver = deliver;
    in.arg = end;
    err = rusmi_inbox_init(&end->inbox, &in);
    if (err != RUSM_OK) {
        rusmi_outbox_fini(&end->outbox);
        return err;
    }
    rusmi_quic_conn_set_boxes(end->conn, &end->outbox, &end->inbox);
    end->authenticated = true;
    return RUSM_OK;
}

static rusm_err on_control(void *arg, const uint8_t *data, size_t len)
{
    struct support_end *end = arg;

    assert_true(end->authenticated);
    if (end->control_len == 0) {
        end->delivered_before_control = end->delivered;
    }
    if (end->control_len + len > end->control_cap) {
        end->control_cap = 2 * (end->control_len + len);
        uint8_t *control = realloc(end->control, end->control_cap);

        assert_non_null(control);
        end->control = control;
    }
    memcpy(end->control + end->control_len, data, len);
    end->control_len += len;
    end->control_calls++;
    return RUSM_OK;
}

static void on_cid_new(void *arg, const uint8_t *cid, size_t cid_len)
{
    struct support_end *end = arg;

    (void)cid;
    assert_true(cid_len > 0);
    end->cids++;
}

static void on_cid_retire(void *arg, const uint8_t *cid, size_t cid_len)
{
    struct support_end *end = arg;

    (void)cid;
    assert_true(cid_len > 0 && end->cids > 0);
    end->cids--;
}

static void end_events(struct support_end *end, struct rusmi_quic_events *events)
{
    memset(events, 0, sizeof(*events));
    events->authenticated = on_authenticated;
    events->control = on_control;
    events->cid_new = on_cid_new;
    events->cid_retire = on_cid_retire;
    events->arg = end;
}

static struct support_end *end_other(struct support_end *end)
{
    return &end->pair->ends[end == &end->pair->ends[0]];
}

/* The addresses of a datagram that reaches end, as end sees them. */
static void end_path(struct support_end *end, struct rusmi_quic_path *path)
{
    struct support_pair *pair = end->pair;
    struct support_end *other = end_other(end);

    other->seen_as = other->address;
    if (pair->nat && other == &pair->ends[SUPPORT_DIALER]) {
        other->seen_as.sin_port = htons(pair->nat);
    }
    path->local = (const struct sockaddr *)&end->address;
    path->local_len = sizeof(end->address);
    path->remote = (const struct sockaddr *)&other->seen_as;
    path->remote_len = sizeof(other->seen_as);
}

void support_pair_init(struct support_pair *pair, rusm_identity *dialer, rusm_identity *listener,
                       uint64_t seed)
{
    rusm_identity *identities[2] = {dialer, listener};

    memset(pair, 0, sizeof(*pair));
    pair->now = 1000 * SUPPORT_MS;
    pair->delay_ns = SUPPORT_MS / 20;
    rusmi_prng_init(&pair->prng, seed);
    pair->buf = malloc(65536);
    assert_non_null(pair->buf);
    for (int i = 0; i < 2; i++) {
        struct support_end *end = &pair->ends[i];

        end->pair = pair;
        rusmi_quic_config_init(&end->cfg);
        end->cfg.identity = identities[i];
        end->cfg.wall_s = rusmi_wall_s;
        memset(end->cfg.secret, 'a' + i, sizeof(end->cfg.secret));
        end->address.sin_family = AF_INET;
        end->address.sin_port = htons((uint16_t)(1000 + i));
        end->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
}

void support_pair_fini(struct support_pair *pair)
{
    while (pair->head) {
        struct support_datagram *next = pair->head->next;

        free(pair->head);
        pair->head = next;
    }
    for (int i = 0; i < 2; i++) {
        struct support_end *end = &pair->ends[i];

        rusmi_quic_conn_del(end->conn);
        assert_int_equal(end->cids, 0);
        if (end->authenticated) {
            rusmi_outbox_fini(&end->outbox);
            rusmi_inbox_fini(&end->inbox);
        }
        free(end->control);
    }
    free(pair->buf);
}

void support_pair_dial(struct support_pair *pair)
{
    assert_int_equal(support_pair_try_dial(pair), RUSM_OK);
}

rusm_err support_pair_try_dial(struct support_pair *pair)
{
    struct support_end *end = &pair->ends[SUPPORT_DIALER];
    struct rusmi_quic_events events;
    struct rusmi_quic_path path;

    end_events(end, &events);
    end_path(end, &path);
    return rusmi_quic_conn_new_client(&end->conn, &end->cfg, &events, &path, pair->now);
}

/* ---- the network ---- */

static bool chance(struct support_pair *pair, unsigned percent)
{
    return percent > 0 && rusmi_prng_below(&pair->prng, 100) < percent;
}

static void put_on_wire(struct support_pair *pair, struct support_end *to, const uint8_t *data,
                        size_t len)
{
    struct support_datagram *datagram = malloc(sizeof(*datagram) + len), *before = pair->tail;

    assert_non_null(datagram);
    datagram->to = to;
    datagram->len = len;
    memcpy(datagram->data, data, len);
    datagram->at = pair->now + pair->delay_ns;
    if (pair->rate > 0) {
        rusm_time *carried = &pair->carried_at[to - pair->ends];

        *carried = (*carried > pair->now ? *carried : pair->now) + len * 1000000000u / pair->rate;
        datagram->at = *carried + pair->delay_ns;
    }
    if (pair->jitter_ns > 0) {
        datagram->at += rusmi_prng_below(&pair->prng, pair->jitter_ns);
    }
    if (chance(pair, pair->damage_percent)) {
        datagram->data[rusmi_prng_below(&pair->prng, len)] ^= 0x55;
    }
    while (before && before->at > datagram->at) {
        before = before->prev;
    }
    datagram->prev = before;
    datagram->next = before ? before->next : pair->head;
    if (datagram->next) {
        datagram->next->prev = datagram;
    } else {
        pair->tail = datagram;
    }
    if (before) {
        before->next = datagram;
    } else {
        pair->head = datagram;
    }
    pair->queued++;
}

static void transmit(struct support_end *from, const uint8_t *data, size_t len)
{
    struct support_pair *pair = from->pair;

    from->datagrams_sent++;
    from->bytes_sent += len;
    if (len > from->largest) {
        from->largest = len;
    }
    if ((pair->mtu && len > pair->mtu) || chance(pair, pair->loss_percent)) {
        return;
    }
    put_on_wire(pair, end_other(from), data, len);
    if (chance(pair, pair->repeat_percent)) {
        put_on_wire(pair, end_other(from), data, len);
    }
}

static bool end_write(struct support_end *end)
{
    struct support_pair *pair = end->pair;
    struct rusmi_quic_batch batch;
    bool any = false;

    if (end->conn == NULL || end->frozen) {
        return false;
    }
    while (rusmi_quic_conn_write(end->conn, pair->buf, 65536, &batch, pair->now) > 0) {
        assert_true(batch.segment > 0 && batch.segment <= batch.len);
        assert_int_equal(batch.remote_len, sizeof(end->address));
        end->sent_to = ntohs(((const struct sockaddr_in *)batch.remote)->sin_port);
        for (size_t at = 0; at < batch.len; at += batch.segment) {
            size_t len = batch.len - at < batch.segment ? batch.len - at : batch.segment;

            transmit(end, pair->buf + at, len);
        }
        end->batches_sent++;
        any = true;
    }
    return any;
}

/* What a listener does with a datagram when it has no connection. */
static void listen_on(struct support_end *end, const uint8_t *data, size_t len)
{
    struct support_pair *pair = end->pair;
    struct rusmi_quic_route route;
    struct rusmi_quic_proof proof;
    struct rusmi_quic_events events;
    struct rusmi_quic_path path;
    uint8_t answer[RUSMI_QUIC_ANSWER_MAX];
    size_t answer_len = 0;
    bool proven = false;

    rusmi_quic_route(data, len, &route);
    end_path(end, &path);
    if (route.kind == RUSMI_QUIC_VERSION) {
        answer_len = rusmi_quic_write_versions(&route, answer);
    } else if (route.kind == RUSMI_QUIC_SHORT) {
        answer_len = rusmi_quic_write_reset(&route, end->cfg.secret, answer);
    } else if (route.kind != RUSMI_QUIC_INITIAL) {
        pair->strays++;
        return;
    } else if (pair->busy) {
        answer_len = rusmi_quic_write_refusal(&route, RUSMI_QUIC_BUSY, "too many links", answer);
    } else if (pair->retry) {
        rusm_err err = rusmi_quic_check_token(&route, end->cfg.secret, path.remote, path.remote_len,
                                              pair->now, &proof);

        proven = err == RUSM_OK;
        if (err == RUSM_EAGAIN) {
            answer_len = rusmi_quic_write_retry(&route, end->cfg.secret, path.remote,
                                                path.remote_len, answer, pair->now);
            pair->retries++;
        } else if (err != RUSM_OK) {
            answer_len = rusmi_quic_write_refusal(&route, RUSMI_QUIC_BAD_TOKEN, NULL, answer);
        }
    }
    if (answer_len > 0) {
        transmit(end, answer, answer_len);
    } else if (route.kind == RUSMI_QUIC_INITIAL) {
        end_events(end, &events);
        pair->accept = rusmi_quic_conn_new_server(&end->conn, &end->cfg, &events, &path, &route,
                                                  proven ? &proof : NULL, pair->now);
        if (pair->accept != RUSM_OK) {
            return;
        }
        (void)support_pair_inject(end, data, len);
    }
}

rusm_err support_pair_inject(struct support_end *to, const void *data, size_t len)
{
    struct rusmi_quic_path path;

    end_path(to, &path);
    return rusmi_quic_conn_recv(to->conn, &path, data, len, to->pair->now);
}

static void arrive(struct support_pair *pair, const struct support_datagram *datagram)
{
    struct support_end *to = datagram->to;

    if (to->frozen) {
        return;
    }
    if (to->conn) {
        (void)support_pair_inject(to, datagram->data, datagram->len);
    } else if (to == &pair->ends[SUPPORT_LISTENER]) {
        listen_on(to, datagram->data, datagram->len);
    }
}

static rusm_time next_event(const struct support_pair *pair)
{
    rusm_time at = pair->head ? pair->head->at : UINT64_MAX;

    for (int i = 0; i < 2; i++) {
        if (pair->ends[i].conn && !pair->ends[i].frozen) {
            rusm_time deadline = rusmi_quic_conn_deadline(pair->ends[i].conn);

            at = deadline < at ? deadline : at;
        }
    }
    return at > pair->now ? at : pair->now;
}

bool support_pair_run(struct support_pair *pair, bool (*done)(struct support_pair *pair),
                      rusm_time limit_ns)
{
    rusm_time until = pair->now + limit_ns;
    unsigned standstill = 0;

    for (;;) {
        rusm_time at;

        end_write(&pair->ends[0]);
        end_write(&pair->ends[1]);
        if (done && done(pair)) {
            return true;
        }
        at = next_event(pair);
        if (at > until) {
            pair->now = until;
            return false;
        }
        /* A deadline that lies in the past again and again would be a thread that never sleeps. */
        standstill = at == pair->now ? standstill + 1 : 0;
        assert_true(standstill < 10000);
        pair->now = at;
        while (pair->head && pair->head->at <= pair->now) {
            struct support_datagram *datagram = pair->head;

            pair->head = datagram->next;
            if (pair->head) {
                pair->head->prev = NULL;
            } else {
                pair->tail = NULL;
            }
            pair->queued--;
            arrive(pair, datagram);
            free(datagram);
        }
        for (int i = 0; i < 2; i++) {
            if (pair->ends[i].conn && !pair->ends[i].frozen) {
                (void)rusmi_quic_conn_timer(pair->ends[i].conn, pair->now);
            }
        }
    }
}

bool support_pair_up(struct support_pair *pair)
{
    return pair->ends[0].authenticated && pair->ends[1].authenticated;
}

bool support_pair_ended(struct support_pair *pair)
{
    for (int i = 0; i < 2; i++) {
        const struct rusmi_quic_conn *conn = pair->ends[i].conn;

        if (conn && rusmi_quic_conn_end(conn)->cause == RUSMI_QUIC_NONE) {
            return false;
        }
    }
    return true;
}

bool support_pair_quiet(struct support_pair *pair)
{
    return rusmi_quic_conn_is_quiet(pair->ends[0].conn) &&
           rusmi_quic_conn_is_quiet(pair->ends[1].conn);
}

bool support_pair_connect(struct support_pair *pair)
{
    support_pair_dial(pair);
    return support_pair_run(pair, support_pair_up, 10000 * SUPPORT_MS);
}

/* ---- messages ---- */

static void push(struct support_end *end, uint64_t sender, uint64_t serial, const void *body,
                 size_t len)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .sender = sender, .serial = serial};
    struct rusmi_out *out;

    assert_int_equal(rusmi_out_new(&out, &head, body, len), RUSM_OK);
    rusmi_outbox_push(&end->outbox, out);
}

void support_pair_send(struct support_end *end, uint64_t sender, uint64_t serial, uint8_t fill,
                       size_t len)
{
    uint8_t *body = malloc(len + 1);

    assert_non_null(body);
    memset(body, fill, len + 1);
    push(end, sender, serial, body, len);
    free(body);
}

void support_pair_send_number(struct support_end *end)
{
    uint64_t number = end->numbers_sent++;

    push(end, NUMBER_SERIAL, NUMBER_SERIAL, &number, sizeof(number));
}
