/* SPDX-License-Identifier: MIT */
/*
 * Packing: which bytes go into which packet, and when a packet is worth sending at all.
 *
 * Control bytes go first. Of the messages, small ones go before big ones, but every fourth packet
 * begins with a big one, so that neither holds the other up; and big ones keep what they have in
 * flight short enough not to make a queue on the path. Streams are opened before a packet is
 * begun, because ngtcp2 allows nothing but more data in between, and only as many as the next
 * packet may take, because what is opened has a place in several of ngtcp2's tables.
 *
 * A batch is packets of one size, the last perhaps shorter: what one sendmsg with segmentation
 * offload sends. A packet that breaks the pattern (a larger one that probes the path's MTU, one for
 * another path) is carried over to the next batch.
 *
 * An acknowledgement with nothing else to say waits for company: ngtcp2 would send one per packet
 * received when the round trip is short (docs/design/quic.md).
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "quic/core.h"
#include "wire/control.h"

/* A packet in so many begins with a big message if there is one; a power of two. */
#define BIG_TURN 4

/*
 * What may be in flight when a big message adds to it: never less than a batch for each side's
 * hands, and beyond that as much as the path takes without a queue. A round trip may be longer than
 * the shortest by half of it, and by SHARE_DELAY_NS at least, before that counts as a queue; or by
 * SHARE_ALONE_NS, as long as no small message was sent for SHARE_RECENT_NS: nobody waits in it.
 * The shortest is forgotten after two periods, because paths change.
 *
 * Messages started and not acknowledged are held to the same measure. What is in flight beyond the
 * path's need only waits in its queues, and costs: each message has an entry in several tables of
 * both ends, which leave the caches before they are used again.
 */
#define SHARE_MIN       ((uint64_t)64 * 1024)
#define SHARE_MAX       ((uint64_t)1 << 40)
#define SHARE_FLIGHT    ((size_t)512)
#define SHARE_DELAY_NS  ((rusm_time)60 * 1000)
#define SHARE_ALONE_NS  ((rusm_time)1000 * 1000)
#define SHARE_RECENT_NS ((rusm_time)1000 * 1000 * 1000)
#define SHARE_PERIOD_NS ((rusm_time)10 * 1000 * 1000 * 1000)

/* Pieces of the control stream that one packet may take. */
#define CONTROL_VECS 8

/* More packets than this never go into one batch: the kernel's limit (UDP_MAX_SEGMENTS). */
#define BATCH_PACKETS_MAX 64
/* The same beside small messages, for one that comes waits for the batch: 16 KiB, so that it waits
 * for some 20 us at each end. They are beside when one was sent within that time. */
#define BATCH_PACKETS_BESIDE 11
#define BESIDE_NS            ((rusm_time)1000 * 1000)

/* The peer hears of new streams when so large a part of its limit has come together: each time
 * costs a frame. */
#define STREAMS_BATCH_PARTS 8

/* Messages that wait for room in the node's budget are looked at again so often: it may come from
 * any link. */
#define GRANT_WAIT_NS ((rusm_time)20 * 1000 * 1000)

/* What ngtcp2 allocates for a message that starts: its stream, and records of its packets. */
#define STREAM_BYTES ((size_t)4096)

/* ---- lines of started messages ---- */

static void line_push(struct quic_line *line, struct rusmi_out *out)
{
    out->next = NULL;
    if (line->last) {
        line->last->next = out;
    } else {
        line->first = out;
    }
    line->last = out;
}

static void line_pop(struct quic_line *line)
{
    line->first = line->first->next;
    if (line->first == NULL) {
        line->last = NULL;
    }
}

void rusmi_quic_line_remove(struct rusmi_quic_conn *conn, struct rusmi_out *out)
{
    struct quic_line *line = out->big ? &conn->big : &conn->small;
    struct rusmi_out **at = &line->first, *before = NULL;

    while (*at && *at != out) {
        before = *at;
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return; /* all of it was sent, or it was put aside */
    }
    *at = out->next;
    if (line->last == out) {
        line->last = before;
    }
    if (!out->big) {
        conn->small_bytes -= rusmi_out_len(out) - out->sent;
    }
}

void rusmi_quic_line_resume(struct rusmi_quic_conn *conn, struct rusmi_out *out)
{
    out->aside = false;
    out->next = conn->big.first; /* it was the first */
    conn->big.first = out;
    if (conn->big.last == NULL) {
        conn->big.last = out;
    }
}

/* ---- what there is to say ---- */

/* What flow control lets messages have beyond what QUIC was given. */
static uint64_t message_credit(const struct rusmi_quic_conn *conn)
{
    uint64_t left = ngtcp2_conn_get_max_data_left(conn->ng);

    return left > conn->credit_reserve ? left - conn->credit_reserve : 0;
}

static bool control_can_send(const struct rusmi_quic_conn *conn)
{
    return (conn->control.unsent > 0 || conn->control_greet) && conn->control_id >= 0 &&
           !conn->control_blocked;
}

/*
 * Small messages are not held up by what their sender decides (they go first), but by what has gone
 * before: the queues of both sockets and of the path, which a congestion window that only losses
 * shorten keeps full. So big messages keep their part short by delay, as RFC 6817 does: while round
 * trips are longer than the path explains, less of them is in flight.
 *
 * A queue that others keep full counts as part of the path after two periods without a shorter
 * round trip, so big messages give way to others only for so long.
 */
static void share_adjust(struct rusmi_quic_conn *conn, rusm_time now)
{
    struct quic_share *share = &conn->share;
    rusm_time base, slack, least;
    ngtcp2_conn_info info;

    ngtcp2_conn_get_conn_info(conn->ng, &info);
    if (share->limit == 0 || now - share->period_at >= SHARE_PERIOD_NS) {
        share->base_before = share->limit == 0 ? info.min_rtt : share->base;
        share->base = info.latest_rtt;
        share->period_at = now;
    }
    if (share->limit == 0) {
        share->limit = SHARE_MIN;
        share->flight = SHARE_FLIGHT;
    }
    if (info.latest_rtt < share->base) {
        share->base = info.latest_rtt;
    }
    if (now - share->adjusted_at < info.smoothed_rtt) {
        return;
    }
    share->adjusted_at = now;
    base = share->base < share->base_before ? share->base : share->base_before;
    least = now - conn->small_at < SHARE_RECENT_NS ? SHARE_DELAY_NS : SHARE_ALONE_NS;
    slack = base / 2 > least ? base / 2 : least;
    if (info.smoothed_rtt > base + slack) {
        share->limit -= share->limit / (share->found ? 4 : 2);
        share->flight -= share->flight / (share->found ? 4 : 2);
        share->found = true;
    } else {
        if (info.bytes_in_flight + SHARE_MIN / 2 >= share->limit && share->limit < SHARE_MAX) {
            share->limit += share->found ? share->limit / 16 : share->limit;
        }
        if (share->flight_held && share->flight < conn->events.outbox->cfg.flight_max) {
            share->flight += share->found ? share->flight / 16 : share->flight;
        }
    }
    share->limit = share->limit < SHARE_MIN ? SHARE_MIN : share->limit;
    share->flight = share->flight < SHARE_FLIGHT ? SHARE_FLIGHT : share->flight;
    share->flight_held = false;
}

/* The message that may start now, or NULL; *out_held: only because enough are in flight. */
static struct rusmi_out *next_message(const struct rusmi_quic_conn *conn, bool *out_held)
{
    const struct rusmi_outbox *outbox = conn->events.outbox;
    size_t most = conn->share.limit == 0 ? SHARE_FLIGHT : conn->share.flight;

    *out_held = outbox->flight_count >= most && outbox->queued_count > 0;
    return *out_held ? NULL : rusmi_outbox_next(outbox, message_credit(conn));
}

/* Whether a big message may send now. Beside small ones it has its turns: they fill the path. */
static bool big_may_send(const struct rusmi_quic_conn *conn)
{
    ngtcp2_conn_info info;

    if (conn->big.first == NULL) {
        return false;
    }
    ngtcp2_conn_get_conn_info(conn->ng, &info);
    return info.bytes_in_flight < conn->share.limit || conn->share.limit == 0;
}

bool rusmi_quic_has_data(const struct rusmi_quic_conn *conn)
{
    bool held;

    if (conn->state != RUSMI_QUIC_UP) {
        return false;
    }
    if (control_can_send(conn) || conn->small.first || big_may_send(conn)) {
        return true;
    }
    return next_message(conn, &held) != NULL && ngtcp2_conn_get_streams_uni_left(conn->ng) > 0;
}

/* Tell ngtcp2 which streams of the peer may carry the rest of their messages. */
static void give_streams(struct rusmi_quic_conn *conn, rusm_time now)
{
    struct rusmi_inbox *inbox = conn->events.inbox;
    uint64_t seq;

    while (rusmi_inbox_next_grant(inbox, now, &seq)) {
        int result = ngtcp2_conn_extend_max_stream_offset(
            conn->ng, rusmi_quic_peer_stream_id(conn, seq), RUSMI_STREAM_WINDOW);

        if (result != 0) {
            rusmi_quic_ngtcp2_failed(conn, result);
            return;
        }
        conn->due = true;
    }
    if (inbox->failed != RUSM_OK) {
        rusmi_quic_conn_fail(conn, RUSMI_QUIC_INTERNAL, RUSMI_CLOSE_MEMORY, inbox->why);
    }
    conn->grant_at = rusmi_inbox_waits(inbox) ? now + GRANT_WAIT_NS : QUIC_NEVER;
}

/* Tell ngtcp2 what the inbox gives back to the peer. */
static void give_credit(struct rusmi_quic_conn *conn)
{
    uint64_t bytes = 0, streams = 0;

    rusmi_inbox_take_credit(conn->events.inbox, &bytes, &streams);
    if (bytes > 0) {
        ngtcp2_conn_extend_max_offset(conn->ng, bytes);
    }
    conn->streams_granted += streams;
    if (conn->streams_granted >= conn->cfg.streams_max / STREAMS_BATCH_PARTS) {
        ngtcp2_conn_extend_max_streams_uni(conn->ng, (size_t)conn->streams_granted);
        conn->streams_granted = 0;
        conn->due = true;
    }
}

/* Start messages until the next packet can be filled with small ones. */
static rusm_err open_streams(struct rusmi_quic_conn *conn, rusm_time now)
{
    struct rusmi_outbox *outbox = conn->events.outbox;

    while (conn->small_bytes < conn->cfg.udp_payload_max) {
        bool held;
        struct rusmi_out *out = next_message(conn, &held);
        int64_t id = -1;
        int result;

        if (out == NULL) {
            conn->share.flight_held |= held;
            break;
        }
        if (outbox->flight_count > 0 && !rusmi_purse_has_room(conn->memory.purse, STREAM_BYTES)) {
            break; /* until one of those is acknowledged */
        }
        result = ngtcp2_conn_open_uni_stream(conn->ng, &id, out);
        if (result == NGTCP2_ERR_STREAM_ID_BLOCKED) {
            break;
        }
        if (result != 0) {
            rusmi_quic_ngtcp2_failed(conn, result);
            return conn->end.err;
        }
        rusmi_outbox_start(outbox, out, (uint64_t)id >> 2);
        if (out->big) {
            line_push(&conn->big, out);
        } else {
            line_push(&conn->small, out);
            conn->small_bytes += rusmi_out_len(out);
            conn->small_at = now;
        }
    }
    return RUSM_OK;
}

/* ---- one packet ---- */

/* What goes next into the packet that is being written. */
struct source {
    int64_t stream_id;     /* -1: nothing */
    struct rusmi_out *out; /* NULL: control */
    uint32_t flags;
    size_t vec_count;
    ngtcp2_vec vecs[CONTROL_VECS];
};

static void pick_message(const struct rusmi_quic_conn *conn, struct rusmi_out *out,
                         struct source *next)
{
    struct rusmi_out_part parts[2];

    next->vec_count = rusmi_out_parts(out, parts);
    for (size_t i = 0; i < next->vec_count; i++) {
        next->vecs[i].base = (uint8_t *)(uintptr_t)parts[i].data;
        next->vecs[i].len = parts[i].len;
    }
    next->out = out;
    next->stream_id = rusmi_quic_stream_id(conn, out->seq);
    next->flags = NGTCP2_WRITE_STREAM_FLAG_MORE | NGTCP2_WRITE_STREAM_FLAG_FIN;
}

static void pick(const struct rusmi_quic_conn *conn, bool big_first, struct source *next)
{
    struct rusmi_out *out = conn->small.first, *big = conn->big.first;

    if (control_can_send(conn)) {
        next->vec_count = rusmi_quic_control_peek(&conn->control, next->vecs, CONTROL_VECS);
        next->out = NULL;
        next->stream_id = conn->control_id;
        next->flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
        return;
    }
    if (big != NULL && ((out != NULL && big_first) || (out == NULL && big_may_send(conn)))) {
        out = big;
    }
    if (out) {
        pick_message(conn, out, next);
        return;
    }
    next->stream_id = -1;
    next->out = NULL;
    next->flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
    next->vec_count = 0;
}

/* len bytes of the source were put into a packet. */
static void account(struct rusmi_quic_conn *conn, const struct source *from, size_t len)
{
    struct rusmi_out *out = from->out;

    if (out == NULL) {
        rusmi_quic_control_sent(&conn->control, len);
        conn->control_greet = false;
        return;
    }
    rusmi_outbox_sent(conn->events.outbox, out, len);
    if (!out->big) {
        conn->small_bytes -= len;
    }
    if (rusmi_out_is_sent(out)) {
        line_pop(out->big ? &conn->big : &conn->small);
        /* `next` has no other use until the stream is closed: see count_losses. */
        out->next = (struct rusmi_out *)(uintptr_t)conn->packets_packed;
    }
}

/* A source that can not be written to now is put aside; true if the packet can go on. */
static bool put_aside(struct rusmi_quic_conn *conn, const struct source *from, int result)
{
    if (from->out == NULL) {
        if (result == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
            conn->control_blocked = true;
            return true;
        }
        return false; /* the peer stopped the control stream */
    }
    if (result == NGTCP2_ERR_STREAM_SHUT_WR) {
        /* The peer stopped it; the stream's close callback tells the outbox. */
        rusmi_quic_line_remove(conn, from->out);
        return true;
    }
    if (result == NGTCP2_ERR_STREAM_DATA_BLOCKED && from->out->big &&
        ngtcp2_conn_get_max_stream_data_left(conn->ng, from->stream_id) == 0) {
        rusmi_quic_line_remove(conn, from->out);
        from->out->aside = true; /* until MAX_STREAM_DATA */
        return true;
    }
    return false; /* the credit rule and the check of the peer's parameters exclude the rest */
}

/*
 * How large the packet may be, and the mark that tells whether such arrive. 0: go on with it; else
 * as write_packet, for what ngtcp2 had to say fills it, or it has ended.
 */
static ngtcp2_ssize begin_packet(struct rusmi_quic_conn *conn, uint8_t *buf, size_t *out_room,
                                 rusm_time now)
{
    size_t fresh = conn->small_bytes + (control_can_send(conn) ? conn->control.unsent : 0);
    ngtcp2_ssize written;
    bool mark;

    if (big_may_send(conn)) {
        fresh += rusmi_out_len(conn->big.first) - conn->big.first->sent;
    }
    *out_room = rusmi_quic_mtu_room(conn, fresh, now, &mark);
    if (!mark) {
        return 0;
    }
    written = rusmi_quic_mtu_put_mark(conn, buf, *out_room, now);
    if (written > 0) {
        rusmi_quic_mtu_sent(conn, (size_t)written, now);
    } else if (written < 0 && written != NGTCP2_ERR_WRITE_MORE) {
        rusmi_quic_ngtcp2_failed(conn, (int)written);
        written = -1;
    }
    return written == NGTCP2_ERR_WRITE_MORE ? 0 : written;
}

/*
 * Write one packet. Returns its length; 0: there is nothing to send, or it may not be sent now;
 * negative: the connection has ended.
 */
static ngtcp2_ssize write_packet(struct rusmi_quic_conn *conn, uint8_t *buf, rusm_time now)
{
    size_t room = conn->cfg.udp_payload_max;
    bool big_first = false;

    if (conn->state == RUSMI_QUIC_UP) {
        ngtcp2_ssize begun;

        if (open_streams(conn, now) != RUSM_OK) {
            return -1;
        }
        begun = begin_packet(conn, buf, &room, now);
        if (begun != 0) {
            return begun;
        }
        big_first = (conn->packets_packed++ & (BIG_TURN - 1)) == BIG_TURN - 1;
    }
    for (;;) {
        struct source next;
        ngtcp2_ssize taken = -1, written;

        if (conn->state == RUSMI_QUIC_UP) {
            pick(conn, big_first, &next);
        } else {
            next.stream_id = -1;
            next.out = NULL;
            next.flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
            next.vec_count = 0;
        }
        written =
            ngtcp2_conn_writev_stream(conn->ng, &conn->sent_path.path, NULL, buf, room, &taken,
                                      next.flags, next.stream_id, next.vecs, next.vec_count, now);
        if (taken >= 0) {
            account(conn, &next, (size_t)taken);
        }
        if (written >= 0) {
            rusmi_quic_mtu_sent(conn, (size_t)written, now);
            return written;
        }
        if (written == NGTCP2_ERR_WRITE_MORE ||
            ((written == NGTCP2_ERR_STREAM_DATA_BLOCKED || written == NGTCP2_ERR_STREAM_SHUT_WR) &&
             put_aside(conn, &next, (int)written))) {
            continue;
        }
        rusmi_quic_ngtcp2_failed(conn, (int)written);
        return -1;
    }
}

/* ---- batches ---- */

static void carry_over(struct rusmi_quic_conn *conn, const uint8_t *data, size_t len)
{
    if (conn->carry == NULL) {
        conn->carry = rusmi_alloc(conn->cfg.udp_payload_max);
        if (conn->carry == NULL) {
            return; /* it counts as lost on the way; QUIC sends its contents again */
        }
    }
    memcpy(conn->carry, data, len);
    conn->carry_len = len;
    ngtcp2_path_storage_zero(&conn->carry_path);
    ngtcp2_path_copy(&conn->carry_path.path, &conn->sent_path.path);
}

static size_t batch_done(struct rusmi_quic_conn *conn, struct rusmi_quic_batch *batch, size_t len,
                         size_t segment, size_t packets)
{
    batch->len = len;
    batch->segment = segment;
    batch->remote = conn->sent_path.path.remote.addr;
    batch->remote_len = conn->sent_path.path.remote.addrlen;
    conn->stats.bytes_sent += len;
    conn->stats.packets_sent += packets;
    return len;
}

static size_t write_carry(struct rusmi_quic_conn *conn, uint8_t *buf,
                          struct rusmi_quic_batch *batch)
{
    size_t len = conn->carry_len;

    memcpy(buf, conn->carry, len);
    conn->carry_len = 0;
    ngtcp2_path_copy(&conn->sent_path.path, &conn->carry_path.path);
    return batch_done(conn, batch, len, len, 1);
}

static size_t write_close(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len,
                          struct rusmi_quic_batch *batch, rusm_time now)
{
    ngtcp2_ssize len;

    if (conn->close_written) {
        if (!conn->close_repeat || conn->close_len == 0) {
            return 0;
        }
        conn->close_repeat = false;
        memcpy(buf, conn->close_data, conn->close_len);
        return batch_done(conn, batch, conn->close_len, conn->close_len, 1);
    }
    conn->close_again_for = ngtcp2_conn_get_pto(conn->ng);
    conn->close_again_at = now + conn->close_again_for;
    conn->drain_until = conn->close_brief ? now : now + 3 * conn->close_again_for;
    len =
        ngtcp2_conn_write_connection_close(conn->ng, &conn->sent_path.path, NULL, conn->close_data,
                                           sizeof(conn->close_data), &conn->close_error, now);
    conn->close_written = true;
    if (len <= 0 || (size_t)len > buf_len) {
        rusmi_quic_move(conn, RUSMI_QUIC_CLOSED); /* there is no key yet to say it with */
        return 0;
    }
    conn->close_len = (size_t)len;
    memcpy(buf, conn->close_data, conn->close_len);
    return batch_done(conn, batch, conn->close_len, conn->close_len, 1);
}

/* Whether anything is worth a packet now. */
static bool is_due(const struct rusmi_quic_conn *conn, rusm_time now)
{
    if (conn->due || conn->state == RUSMI_QUIC_HANDSHAKE || now >= conn->hold_until) {
        return true;
    }
    /* With a full congestion window the only packet possible is an acknowledgement. */
    return ngtcp2_conn_get_cwnd_left(conn->ng) > 0 && rusmi_quic_has_data(conn);
}

bool rusmi_quic_conn_wants_write(const struct rusmi_quic_conn *conn, rusm_time now)
{
    switch (conn->state) {
    case RUSMI_QUIC_HANDSHAKE:
    case RUSMI_QUIC_UP:
        return conn->carry_len > 0 || is_due(conn, now);
    case RUSMI_QUIC_CLOSING:
        return !conn->close_written || conn->close_repeat;
    case RUSMI_QUIC_DRAINING:
    case RUSMI_QUIC_CLOSED:
        return false;
    }
    return false;
}

static bool same_remote(const ngtcp2_addr *a, const ngtcp2_addr *b)
{
    return a->addrlen == b->addrlen && memcmp(a->addr, b->addr, a->addrlen) == 0;
}

static size_t write_batch(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len,
                          struct rusmi_quic_batch *batch, rusm_time now)
{
    bool beside = conn->big.first != NULL && now - conn->small_at < BESIDE_NS;
    size_t most = beside ? BATCH_PACKETS_BESIDE : BATCH_PACKETS_MAX;
    size_t len = 0, segment = 0, packets = 0;
    ngtcp2_path_storage first_path;

    while (packets < most && buf_len - len >= conn->cfg.udp_payload_max) {
        ngtcp2_ssize written = write_packet(conn, buf + len, now);
        size_t packet = written > 0 ? (size_t)written : 0;

        if (packet == 0) {
            conn->due = written < 0;
            break;
        }
        if (packets > 0 && (packet > segment || len + packet > RUSMI_QUIC_BATCH_MAX ||
                            !same_remote(&first_path.path.remote, &conn->sent_path.path.remote))) {
            carry_over(conn, buf + len, packet);
            ngtcp2_path_copy(&conn->sent_path.path, &first_path.path);
            break;
        }
        if (packets == 0) {
            segment = packet;
            ngtcp2_path_storage_zero(&first_path);
            ngtcp2_path_copy(&first_path.path, &conn->sent_path.path);
        }
        len += packet;
        packets++;
        if (packet < segment) {
            break;
        }
    }
    if (packets > 0 || now >= conn->hold_until) {
        conn->hold_until = QUIC_NEVER;
        conn->hold_bytes = 0;
    }
    return packets ? batch_done(conn, batch, len, segment, packets) : 0;
}

size_t rusmi_quic_conn_write(struct rusmi_quic_conn *conn, uint8_t *buf, size_t buf_len,
                             struct rusmi_quic_batch *out_batch, rusm_time now)
{
    size_t len = 0;

    rusmi_assert(buf_len >= conn->cfg.udp_payload_max && buf_len >= QUIC_CLOSE_MAX);
    memset(out_batch, 0, sizeof(*out_batch));
    now = rusmi_quic_clamp(conn, now);
    if (conn->carry_len > 0 && conn->state <= RUSMI_QUIC_UP) {
        return write_carry(conn, buf, out_batch);
    }
    conn->memory.need = RUSMI_BUDGET_MUST;
    if (conn->state == RUSMI_QUIC_UP) {
        give_credit(conn);
        give_streams(conn, now);
    }
    if (conn->state == RUSMI_QUIC_UP) {
        share_adjust(conn, now);
    }
    if (conn->state <= RUSMI_QUIC_UP && is_due(conn, now)) {
        len = write_batch(conn, buf, buf_len, out_batch, now);
    }
    if (len == 0 && conn->state == RUSMI_QUIC_CLOSING) {
        len = write_close(conn, buf, buf_len, out_batch, now);
    }
    conn->memory.need = RUSMI_BUDGET_FAIR;
    return len;
}
