/* SPDX-License-Identifier: MIT */
/*
 * Telling a peer all that is ours of one kind, global names or memberships in groups, in pages; and
 * asking a peer for such a listing again, once there is room for what was refused of it
 * (docs/design/names.md, docs/design/groups.md).
 *
 * A sender pauses after every few pages until a ping behind them is answered, so that a slow peer
 * is not flooded. A listing that was asked for ends with a ping too: until that was answered no
 * other begins, so whoever asks without end is told no faster than it reads.
 */
#include "cluster/core_state.h"

static void send_ping(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                      rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING};

    ping.id = listing->nonce = ++core->nonce_last;
    (void)rusmi_conn_send(core, conn, &ping, now, out);
}

void rusmi_listing_go(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                      rusm_time now, struct rusmi_actions *out)
{
    for (unsigned frames = 0; conn->state == CONN_UP && listing->after != UINT64_MAX; frames++) {
        if (frames == RUSMI_SYNC_FRAMES) {
            send_ping(core, conn, listing, now, out);
            return;
        }
        listing->after = listing->page(core, conn, listing->after, now, out);
    }
    if (conn->state == CONN_UP && listing->again) {
        send_ping(core, conn, listing, now, out); /* the next waits until this one was read */
    }
}

void rusmi_listing_again(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                         rusm_time now, struct rusmi_actions *out)
{
    if (listing->again || listing->after != UINT64_MAX) {
        listing->once_more = true;
        return;
    }
    listing->again = true;
    listing->after = 0;
    rusmi_listing_go(core, conn, listing, now, out);
}

void rusmi_listing_pong(struct rusmi_core *core, struct conn *conn, struct listing *listing,
                        uint64_t nonce, rusm_time now, struct rusmi_actions *out)
{
    if (nonce == 0 || nonce != listing->nonce) {
        return;
    }
    listing->nonce = 0;
    if (listing->after != UINT64_MAX) {
        rusmi_listing_go(core, conn, listing, now, out);
    } else {
        listing->again = false;
    }
    if (conn->state == CONN_UP && listing->once_more && !listing->again &&
        listing->after == UINT64_MAX) {
        listing->once_more = false;
        rusmi_listing_again(core, conn, listing, now, out);
    }
}

void rusmi_lack_ask(struct rusmi_core *core, struct conn *conn, struct lack *lack, rusm_time now,
                    struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = lack->frame};

    if (now < lack->at) {
        rusmi_deadlines_set(&core->deadlines, &lack->deadline, lack->at);
        return;
    }
    rusmi_deadlines_set(&core->deadlines, &lack->deadline, RUSMI_TIME_NEVER);
    lack->refused = false;
    lack->at = now + RUSMI_MORE_NS;
    (void)rusmi_conn_send(core, conn, &frame, now, out);
}
