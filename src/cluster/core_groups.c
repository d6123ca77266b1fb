/* SPDX-License-Identifier: MIT */
/*
 * Gossip about the members of groups (docs/design/groups.md).
 *
 * A node speaks only for its own processes: a groups_add or groups_del changes what the peer whose
 * link it came on holds, and nobody else's. A new peer gets all our memberships, oldest first, in
 * pages (core_listing.c); memberships that begin meanwhile are younger than the last one sent and
 * so come along by themselves. What there was no room for is asked for when there is. What peers
 * say, as far as it is news, goes on to the caller in GROUPS actions; when a link is lost all that
 * came on it is gone with PEER_DOWN.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "cluster/core_state.h"

#include <string.h>

/* Memberships of a lost peer that one step forgets. */
#define DROP_STEP 1024u

/* Whether the two tell each other of members: both are members of the cluster, of a version that
 * has the frames. */
static bool shares_groups(const struct rusmi_core *core, const struct conn *conn)
{
    return core->cfg.role == RUSMI_ROLE_MEMBER && !conn->hidden && conn->version >= 2;
}

/* ---- our own members ------------------------------------------------------------------------- */

/* Send a frame to every peer that shares groups. */
static void broadcast(struct rusmi_core *core, const struct rusmi_frame *frame, rusm_time now,
                      struct rusmi_actions *out)
{
    bool add = frame->type == RUSMI_FRAME_GROUPS_ADD;
    struct rusmi_list *node = core->links.next, *next;

    for (; node != &core->links; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        next = node->next; /* a failed send closes conn alone */
        /* Who is still being told of all will come to what was added, but not to what is gone. */
        if (shares_groups(core, conn) && (!add || conn->groups_list.after == UINT64_MAX)) {
            (void)rusmi_conn_send(core, conn, frame, now, out);
        }
    }
}

/* Changes of one kind in a row, which go in one frame. */
struct run {
    struct rusmi_frame frame;
    struct rusmi_group_entry entries[RUSMI_GROUPS_MAX];
};

static void run_send(struct rusmi_core *core, struct run *run, rusm_time now,
                     struct rusmi_actions *out)
{
    if (run->frame.u.groups.len != 0) {
        broadcast(core, &run->frame, now, out);
        run->frame.u.groups.len = 0;
    }
}

static void run_push(struct rusmi_core *core, struct run *run,
                     const struct rusmi_group_change *change, rusm_time now,
                     struct rusmi_actions *out)
{
    uint64_t type = change->joined ? RUSMI_FRAME_GROUPS_ADD : RUSMI_FRAME_GROUPS_DEL;

    if (run->frame.type != type || run->frame.u.groups.len == RUSMI_GROUPS_MAX) {
        run_send(core, run, now, out);
        run->frame.type = type;
    }
    run->entries[run->frame.u.groups.len++] = (struct rusmi_group_entry){
        .group = change->group, .group_len = change->group_len, .serial = change->serial};
}

/* RUSM_OK: the table has changed; RUSM_EEXIST: it had not to; RUSM_ENOMEM. */
static rusm_err apply_own(struct rusmi_core *core, const struct rusmi_group_change *change)
{
    struct rusmi_membership *membership;
    rusm_err err;

    if (!change->joined) {
        membership = rusmi_membership_find(&core->memberships, &core->holder, change->group,
                                           change->group_len, change->serial);
        if (membership == NULL) {
            return RUSM_EEXIST;
        }
        rusmi_roster_remove(&core->own_members, membership->id);
        rusmi_membership_del(&core->memberships, &core->holder, membership);
        return RUSM_OK;
    }
    err = rusmi_membership_add(&core->memberships, &core->holder, change->group, change->group_len,
                               change->serial, SIZE_MAX, &membership);
    if (err != RUSM_OK) {
        return err;
    }
    membership->id = core->member_last + 1;
    if (!rusmi_roster_add(&core->own_members, membership->id, membership)) {
        rusmi_membership_del(&core->memberships, &core->holder, membership);
        return RUSM_ENOMEM;
    }
    core->member_last++;
    return RUSM_OK;
}

size_t rusmi_core_groups(struct rusmi_core *core, const struct rusmi_group_change *changes,
                         size_t len, rusm_time now, struct rusmi_actions *out)
{
    struct run run = {.frame = {.type = RUSMI_FRAME_GROUPS_ADD}};
    size_t taken = 0;

    run.frame.u.groups.entries = run.entries;
    for (; taken < len; taken++) {
        rusm_err err = apply_own(core, &changes[taken]);

        if (err == RUSM_ENOMEM) {
            break;
        }
        if (err == RUSM_OK) {
            run_push(core, &run, &changes[taken], now, out);
        }
    }
    run_send(core, &run, now, out);
    rusmi_core_finish(core, now, out);
    return taken;
}

void rusmi_groups_forget_own(struct rusmi_core *core)
{
    rusmi_memberships_drop(&core->memberships, &core->holder);
}

/* ---- telling a peer all ---------------------------------------------------------------------- */

static struct rusmi_group_entry entry_of(const struct rusmi_membership *membership)
{
    return (struct rusmi_group_entry){.group = membership->key.group->text,
                                      .group_len = membership->key.group->len,
                                      .serial = membership->key.serial};
}

uint64_t rusmi_groups_page(struct rusmi_core *core, struct conn *conn, uint64_t after,
                           rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_group_entry entries[RUSMI_GROUPS_MAX];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_GROUPS_ADD};
    size_t place = SIZE_MAX, len = 0;
    const struct rusmi_membership *membership = NULL;

    if (!shares_groups(core, conn)) {
        return UINT64_MAX;
    }
    while (len < RUSMI_GROUPS_MAX &&
           (membership = rusmi_roster_next(&core->own_members, &after, &place)) != NULL) {
        entries[len++] = entry_of(membership);
    }
    if (len != 0) {
        frame.u.groups.entries = entries;
        frame.u.groups.len = len;
        (void)rusmi_conn_send(core, conn, &frame, now, out);
    }
    return len < RUSMI_GROUPS_MAX ? UINT64_MAX : after;
}

/* ---- what peers say -------------------------------------------------------------------------- */

/* An action with room for all that a frame says: the changes, then their texts. */
static struct rusmi_action *news_new(const struct conn *conn, const struct rusmi_frame *frame)
{
    size_t size = frame->u.groups.len * sizeof(struct rusmi_group_change);
    struct rusmi_action *action = rusmi_action_new(RUSMI_ACTION_GROUPS);

    for (size_t i = 0; i < frame->u.groups.len; i++) {
        size += frame->u.groups.entries[i].group_len;
    }
    if (action == NULL || (action->memory[0] = rusmi_alloc(size)) == NULL) {
        rusmi_action_del(action);
        return NULL;
    }
    action->conn = conn->id;
    action->incarnation = conn->incarnation;
    action->groups = action->memory[0];
    return action;
}

static void news_push(struct rusmi_action *action, struct rusmi_group_change *changes, char **text,
                      const struct rusmi_group_entry *entry, bool joined)
{
    memcpy(*text, entry->group, entry->group_len);
    changes[action->len++] = (struct rusmi_group_change){
        .group = *text, .group_len = entry->group_len, .serial = entry->serial, .joined = joined};
    *text += entry->group_len;
}

/* As apply_own(), for what a peer holds; also RUSM_EFULL. */
static rusm_err apply(struct rusmi_core *core, struct conn *conn,
                      const struct rusmi_group_entry *entry, bool joined)
{
    struct rusmi_membership *membership;

    if (joined) {
        return rusmi_membership_add(&core->memberships, &conn->holder, entry->group,
                                    entry->group_len, entry->serial, core->cfg.groups_max,
                                    &membership);
    }
    membership = rusmi_membership_find(&core->memberships, &conn->holder, entry->group,
                                       entry->group_len, entry->serial);
    if (membership == NULL) {
        return RUSM_EEXIST; /* it was refused, or had not been told of yet when it ended */
    }
    rusmi_membership_del(&core->memberships, &conn->holder, membership);
    return RUSM_OK;
}

void rusmi_groups_more(struct rusmi_core *core, struct conn *conn, rusm_time now,
                       struct rusmi_actions *out)
{
    if (conn->state == CONN_CLOSED) {
        rusmi_groups_drop(core, conn, now);
    } else if (conn->state == CONN_UP && conn->groups_lack.refused &&
               conn->holder.len < core->cfg.groups_max) {
        rusmi_lack_ask(core, conn, &conn->groups_lack, now, out);
    }
}

void rusmi_groups_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                        rusm_time now, struct rusmi_actions *out)
{
    bool joined = frame->type == RUSMI_FRAME_GROUPS_ADD;
    size_t len = frame->u.groups.len;
    struct rusmi_action *action;
    struct rusmi_group_change *changes;
    rusm_err err = RUSM_OK;
    char *text;

    if (!shares_groups(core, conn)) {
        core->stats.groups_refused += joined ? len : 0;
        return;
    }
    if (frame->type == RUSMI_FRAME_GROUPS_MORE) {
        rusmi_listing_again(core, conn, &conn->groups_list, now, out);
        return;
    }
    action = news_new(conn, frame);
    if (action == NULL) {
        err = RUSM_ENOMEM;
    } else {
        changes = action->memory[0];
        text = (char *)(changes + len);
    }
    for (size_t i = 0; err != RUSM_ENOMEM && i < len; i++) {
        err = apply(core, conn, &frame->u.groups.entries[i], joined);
        if (err == RUSM_OK) {
            news_push(action, changes, &text, &frame->u.groups.entries[i], joined);
        } else if (err == RUSM_EFULL) {
            core->stats.groups_refused++;
            conn->groups_lack.refused = true;
        }
    }
    if (err == RUSM_ENOMEM) {
        /* A table that lacks a member for ever would be worse than a link that comes again. */
        rusmi_action_del(action);
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for members of groups on \"%s\"", conn->name);
        return;
    }
    if (action->len == 0) {
        rusmi_action_del(action);
    } else {
        rusmi_actions_push(out, action);
    }
    /* There may be room now; and what the budget did not let in is asked for until it does. */
    rusmi_groups_more(core, conn, now, out);
}

void rusmi_groups_drop(struct rusmi_core *core, struct conn *conn, rusm_time now)
{
    rusmi_memberships_drop_some(&core->memberships, &conn->holder, DROP_STEP);
    /* The next step is at the next timer, so that a step does not take long. */
    rusmi_deadlines_set(&core->deadlines, &conn->groups_lack.deadline,
                        conn->holder.len == 0 ? RUSMI_TIME_NEVER : now + 1);
}
