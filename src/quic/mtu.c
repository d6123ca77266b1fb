/* SPDX-License-Identifier: MIT */
/*
 * A path whose MTU shrinks under a live connection (RFC 8899 4.3, "black hole detection"): packets
 * of the old size vanish, small ones pass, so nothing looks dead and large messages do not arrive.
 * ngtcp2 only looks for larger sizes, once; this file looks whether what it found still passes,
 * and answers each time a packet is begun how large it may be.
 *
 *     OPEN --- large packets go, nothing proves that any arrives ---> FALLEN (cap = 1200)
 *       ^                                                               |
 *       +--- a trial of the full size arrived --- [1280, 1404, ...] <---+  --- three trials of a
 *                                                                          size lost: stay there
 *                                                                          for RAISE_NS
 *
 * ngtcp2 does not tell which packets were acknowledged, so what proves that a large one arrived is:
 *   - the watched packet: stream bytes that it carried are acknowledged within a probe timeout, and
 *     no packet of that stream was lost meanwhile. Nothing can have repeated them in that time.
 *   - more stream bytes are acknowledged than small packets had room for since the last proof.
 * The second is the one that works when much is lost by chance, the first when little is sent.
 *
 * To fall for nothing costs little: trials follow as soon as anything is acknowledged. So a cut,
 * which looks the same from here while it lasts, is treated the same. A trial is an ordinary packet
 * with new data in it; a connection without the data to fill one has no use for a larger size.
 *
 * Threading: as the connection.
 */
#include "quic/core.h"

/* The size that every path of QUIC takes (RFC 9000 14). */
#define BASE ((size_t)NGTCP2_MAX_UDP_PAYLOAD_SIZE)

/* Probe timeouts with large packets and no proof until the path is taken to have shrunk; and the
 * same if not even a small one was acknowledged, where each is twice as long as the one before. */
#define ROUNDS         3
#define ROUNDS_STALLED 2

/* MAX_PROBES and PMTU_RAISE_TIMER of RFC 8899 5.1. */
#define TRIALS   3
#define RAISE_NS ((rusm_time)600 * 1000 * 1000 * 1000)

void rusmi_quic_mtu_init(struct quic_mtu *mtu)
{
    mtu->watch.stream_id = -1;
    mtu->packed_stream = -1;
}

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

/* A large packet arrived, or there is nothing left that has to be proven. */
static void proven(struct quic_mtu *mtu)
{
    mtu->rounds = 0;
    mtu->surplus_max = mtu->surplus;
}

static void fall(struct rusmi_quic_conn *conn, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    mtu->cap = BASE;
    mtu->watch.stream_id = -1;
    mtu->trial = false;
    mtu->trials = 0;
    mtu->settled = false;
    mtu->acked = false;
    mtu->trial_at = now + ngtcp2_conn_get_pto(conn->ng);
    proven(mtu);
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

    mtu->trial = false;
    mtu->trials = 0;
    mtu->cap = size < path_max(conn) ? size : 0;
    mtu->trial_at = conn->now;
}

/* How many trials it counts as: 0 if it told nothing. */
static void trial_failed(struct rusmi_quic_conn *conn, unsigned trials, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    mtu->trial = false;
    mtu->watch.stream_id = -1;
    mtu->trials += trials;
    mtu->trial_at = now + ngtcp2_conn_get_pto(conn->ng);
    if (mtu->trials >= TRIALS) {
        mtu->trials = 0;
        mtu->trial_at = now + RAISE_NS;
        conn->stats.payload_shrunk += !mtu->settled;
        mtu->settled = true;
    }
}

/* ---- packets ---- */

/* Whether the packet to be begun would be one too many without a proof. */
static bool is_hole(const struct quic_mtu *mtu, rusm_time now)
{
    return mtu->rounds >= (mtu->acked ? ROUNDS : ROUNDS_STALLED) && now >= mtu->round_until;
}

size_t rusmi_quic_mtu_room(struct rusmi_quic_conn *conn, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;
    size_t size;

    mtu->packed_stream = -1;
    if (is_hole(mtu, now)) {
        fall(conn, now);
    }
    if (mtu->cap == 0) {
        return conn->cfg.udp_payload_max;
    }
    if (mtu->trial && now > mtu->watch.until) {
        trial_failed(conn, 1, now);
    }
    if (mtu->trial || !mtu->acked || now < mtu->trial_at) {
        return mtu->cap;
    }
    size = next_size(conn);
    if (size <= mtu->cap) {
        mtu->cap = 0; /* another path, and ngtcp2 takes it for no larger */
    }
    return size;
}

void rusmi_quic_mtu_packed(struct rusmi_quic_conn *conn, int64_t stream_id, uint64_t end)
{
    conn->mtu.packed_stream = stream_id;
    conn->mtu.packed_end = end;
}

static void watch(struct rusmi_quic_conn *conn, size_t len, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    mtu->watch.stream_id = mtu->packed_stream;
    mtu->watch.end = mtu->packed_end;
    mtu->watch.losses = ngtcp2_conn_get_stream_loss_count(conn->ng, mtu->packed_stream);
    mtu->watch.until = now + ngtcp2_conn_get_pto(conn->ng);
    mtu->watch.size = len;
}

void rusmi_quic_mtu_sent(struct rusmi_quic_conn *conn, size_t len, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    if (len <= BASE) {
        mtu->surplus -= (int64_t)len;
        return;
    }
    if (mtu->cap != 0 && len > mtu->cap) {
        if (mtu->packed_stream >= 0) {
            mtu->trial = true;
            watch(conn, len, now);
        } else {
            trial_failed(conn, 0, now); /* it only repeats: nothing will tell that it arrived */
        }
        return;
    }
    if (len > path_max(conn)) {
        return; /* ngtcp2's own search */
    }
    if (mtu->rounds == 0 || now >= mtu->round_until) {
        mtu->acked = mtu->rounds > 0 && mtu->acked;
        mtu->rounds++;
        mtu->round_until = now + ngtcp2_conn_get_pto(conn->ng);
    }
    if (mtu->packed_stream >= 0 && !mtu->trial &&
        (mtu->watch.stream_id < 0 || now > mtu->watch.until)) {
        watch(conn, len, now);
    }
}

void rusmi_quic_mtu_acked(struct rusmi_quic_conn *conn, int64_t stream_id, uint64_t offset,
                          uint64_t len)
{
    struct quic_mtu *mtu = &conn->mtu;
    bool arrived;

    mtu->acked = mtu->acked || len > 0;
    mtu->surplus += (int64_t)len;
    if (mtu->surplus > mtu->surplus_max) {
        proven(mtu);
    }
    if (stream_id != mtu->watch.stream_id || offset + len < mtu->watch.end) {
        return;
    }
    arrived = conn->now <= mtu->watch.until &&
              ngtcp2_conn_get_stream_loss_count(conn->ng, stream_id) == mtu->watch.losses;
    mtu->watch.stream_id = -1;
    if (arrived) {
        proven(mtu);
    }
    if (mtu->trial && arrived) {
        trial_passed(conn, mtu->watch.size);
    } else if (mtu->trial) {
        trial_failed(conn, 1, conn->now);
    }
}

void rusmi_quic_conn_too_large(struct rusmi_quic_conn *conn, size_t size, rusm_time now)
{
    struct quic_mtu *mtu = &conn->mtu;

    now = rusmi_quic_clamp(conn, now);
    if (conn->state != RUSMI_QUIC_UP || size <= BASE || size > path_max(conn)) {
        return; /* no size would do; or ngtcp2's own search, which notices */
    }
    if (mtu->cap != 0 && size > mtu->cap) {
        trial_failed(conn, 1, now); /* or an ICMP message about an earlier one says so: once more */
    } else {
        fall(conn, now);
    }
}
