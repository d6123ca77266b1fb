/* SPDX-License-Identifier: MIT */
/*
 * A path whose MTU shrinks under a live connection (RFC 8899 4.3, "black hole detection"): packets
 * of the old size vanish, small ones pass, so nothing looks dead and large messages do not arrive.
 * ngtcp2 only looks for larger sizes, once; this file looks whether what it found still passes,
 * and says each time a packet is begun how large it may be.
 *
 *     OPEN --- large packets go, nothing proves that any arrives ---> FALLEN (cap = 1200)
 *       ^                                                               |
 *       +--- a trial of the full size arrived --- [1280, 1404, ...] <---+  --- three trials of a
 *                                                                          size lost: stay there
 *                                                                          for RAISE_NS
 *
 * ngtcp2 does not tell which packets were acknowledged, but it tells of DATAGRAM frames (RFC 9221),
 * which it never repeats. So now and then a packet that will be large begins with an empty one, the
 * mark: what becomes of the mark became of the packet. One is under way at a time, and one that
 * arrived is enough for a probe timeout.
 *
 * To fall for nothing costs little: trials follow as soon as anything is acknowledged. So a cut,
 * which looks the same from here while it lasts, is treated the same. A trial is an ordinary packet
 * of new bytes; a connection without the bytes to fill one has no use for a larger size.
 *
 * Threading: as the connection.
 */
#include "quic/core.h"

/* The size that every path of QUIC takes (RFC 9000 14). */
#define BASE ((size_t)NGTCP2_MAX_UDP_PAYLOAD_SIZE)

/* With so many new bytes a packet is taken to become a large one. If it does not, that mark was in
 * vain. */
#define WORTH_A_MARK (BASE * 3 / 4)

/* Probe timeouts with large packets and no proof until the path is taken to have shrunk; and the
 * same if not even a small one was acknowledged, where each is twice as long as the one before. */
#define ROUNDS         3
#define ROUNDS_STALLED 2

/* MAX_PROBES and PMTU_RAISE_TIMER of RFC 8899 5.1. */
#define TRIALS   3
#define RAISE_NS ((rusm_time)600 * 1000 * 1000 * 1000)

/* What ngtcp2 takes the path to carry. */
static size_t path_max(const struct rusmi_quic_conn *conn)
{
    return ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng);
}

size_t rusmi_quic_mtu_now(const struct rusmi_quic_conn *conn)
{
    size_t max = path_max(conn);

    return conn->mtu.cap != 0 && conn->mtu.cap < max ? conn->mtu.cap : max;
}

void rusmi_quic_mtu_begin(struct quic_mtu *mtu, const ngtcp2_transport_params *peer)
{
    mtu->able = peer->max_datagram_frame_size >= QUIC_MARK_LEN;
}

static void fall(struct rusmi_quic_conn *conn, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    mtu->cap = BASE;
    mtu->mark_size = 0;
    mtu->trials = 0;
    mtu->settled = false;
    mtu->acked = false;
    mtu->trial_at = now + ngtcp2_conn_get_pto(conn->ng);
    mtu->rounds = 0;
}

/* ---- trials ---- */

/* The next size to try: those that fill_probes() in conn.c has ngtcp2 look for, smallest first. */
static size_t next_size(const struct rusmi_quic_conn *conn)
{
    static const size_t common[] = {1280, 1404, 1452};
    size_t max = path_max(conn);

    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
        if (common[i] > conn->mtu.cap && common[i] < max) {
            return common[i];
        }
    }
    return max;
}

static void trial_passed(struct rusmi_quic_conn *conn, size_t size)
{
    struct quic_mtu *mtu = &conn->mtu;

    mtu->trials = 0;
    mtu->cap = size < path_max(conn) ? size : 0;
    mtu->trial_at = conn->now;
}

static void trial_failed(struct rusmi_quic_conn *conn)
{
    struct quic_mtu *mtu = &conn->mtu;

    mtu->trial_at = conn->now + ngtcp2_conn_get_pto(conn->ng);
    if (++mtu->trials >= TRIALS) {
        mtu->trials = 0;
        mtu->trial_at = conn->now + RAISE_NS;
        conn->stats.payload_shrunk += !mtu->settled;
        mtu->settled = true;
    }
}

/* ---- marks ---- */

void rusmi_quic_mtu_mark_acked(struct rusmi_quic_conn *conn, uint64_t mark)
{
    struct quic_mtu *mtu = &conn->mtu;
    size_t size = mtu->mark_size;

    mtu->acked = true;
    if (size == 0 || mark != mtu->mark) {
        return; /* of a small packet, or of before the fall */
    }
    mtu->mark_size = 0;
    mtu->rounds = 0;
    if (mtu->cap != 0 && size > mtu->cap) {
        trial_passed(conn, size);
    }
}

void rusmi_quic_mtu_mark_lost(struct rusmi_quic_conn *conn, uint64_t mark)
{
    struct quic_mtu *mtu = &conn->mtu;
    size_t size = mtu->mark_size;

    if (size == 0 || mark != mtu->mark) {
        return;
    }
    mtu->mark_size = 0;
    if (mtu->cap != 0 && size > mtu->cap) {
        trial_failed(conn);
    }
}

/* ---- packets ---- */

/* Whether large packets have gone for too long without a proof: marked ones, or some that had no
 * room for a mark because they only repeat. */
static bool is_hole(const struct quic_mtu *mtu, rusm_time now)
{
    return now >= mtu->round_until && mtu->rounds >= (mtu->acked ? ROUNDS : ROUNDS_STALLED);
}

size_t rusmi_quic_mtu_room(struct rusmi_quic_conn *conn, size_t fresh, rusm_time now,
                           bool *out_mark)
{
    struct quic_mtu *mtu = &conn->mtu;
    bool may_mark =
        mtu->able && mtu->mark_size == 0 && fresh >= WORTH_A_MARK && now >= mtu->mark_at;

    if (is_hole(mtu, now)) {
        fall(conn, now);
    }
    if (mtu->cap == 0 || next_size(conn) <= mtu->cap) {
        mtu->cap = 0; /* the second: another path, for which ngtcp2 knows no larger size */
        *out_mark =
            may_mark && path_max(conn) > BASE && (mtu->rounds > 0 || now >= mtu->round_until);
        return conn->cfg.udp_payload_max;
    }
    *out_mark = may_mark && mtu->acked && now >= mtu->trial_at;
    if (*out_mark) {
        return next_size(conn);
    }
    *out_mark = may_mark && mtu->cap > BASE && (mtu->rounds > 0 || now >= mtu->round_until);
    return mtu->cap;
}

ngtcp2_ssize rusmi_quic_mtu_put_mark(struct rusmi_quic_conn *conn, uint8_t *buf, size_t room,
                                     rusm_time now)
{
    int accepted = 0;
    ngtcp2_ssize written = ngtcp2_conn_writev_datagram(
        conn->ng, &conn->sent_path.path, NULL, buf, room, &accepted,
        NGTCP2_WRITE_DATAGRAM_FLAG_MORE, conn->mtu.mark + 1, NULL, 0, now);

    if (accepted) {
        conn->mtu.mark++;
        conn->mtu.marked = true;
    }
    return written;
}

void rusmi_quic_mtu_sent(struct rusmi_quic_conn *conn, size_t len, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;
    bool marked = mtu->marked;

    mtu->marked = false;
    if (len <= BASE) {
        if (marked) {
            mtu->mark_at = now + ngtcp2_conn_get_pto(conn->ng);
        }
        return;
    }
    if (marked) {
        mtu->mark_size = len;
    }
    if (!mtu->able || len > path_max(conn)) {
        return; /* the second: ngtcp2's own search */
    }
    if (mtu->cap != 0 && len > mtu->cap) {
        /* A trial. One without a mark only repeats what was lost, and tells nothing. */
        mtu->trial_at = marked ? mtu->trial_at : now + ngtcp2_conn_get_pto(conn->ng);
        return;
    }
    if (now >= mtu->round_until) {
        mtu->acked = false;
        mtu->rounds++;
        mtu->round_until = now + ngtcp2_conn_get_pto(conn->ng);
    }
}

void rusmi_quic_conn_too_large(struct rusmi_quic_conn *conn, size_t size, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    now = rusmi_quic_clamp(conn, now);
    if (conn->state != RUSMI_QUIC_UP || size <= BASE || size > path_max(conn)) {
        return; /* no size would do; or ngtcp2's own search, which notices */
    }
    if (mtu->cap == 0 || size <= mtu->cap) {
        fall(conn, now);
    } else if (size == mtu->mark_size) {
        /* It may be an ICMP message about what was sent before: one trial of three. */
        rusmi_quic_mtu_mark_lost(conn, mtu->mark);
    }
}
