/* SPDX-License-Identifier: MIT */
/*
 * Registration of global names and their gossip (docs/design/names.md).
 *
 * A node speaks only for itself: a names_add or names_del changes the claims of the peer whose link
 * it came on, and nobody else's. A new peer gets all our names, oldest first, in pages, with a ping
 * after every few pages so that a slow peer is not flooded; names registered meanwhile are younger
 * than the last one sent and so come along by themselves.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <string.h>

/* Names of an ended process that one names_del withdraws. */
#define EXIT_BATCH 32u

static struct owner *owner_find(const struct rusmi_core *core, uint64_t serial)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&core->owners, &serial, sizeof(serial));

    return entry == NULL ? NULL : rusmi_container(entry, struct owner, by_serial);
}

/* The record of a local process; made if there is none, NULL when memory ran out. */
static struct owner *owner_get(struct rusmi_core *core, uint64_t serial)
{
    struct owner *owner = owner_find(core, serial);

    if (owner != NULL) {
        return owner;
    }
    owner = rusmi_zalloc(sizeof(struct owner));
    if (owner == NULL) {
        return NULL;
    }
    owner->serial = serial;
    rusmi_list_init(&owner->claims);
    if (!rusmi_map_insert(&core->owners, &owner->by_serial, &owner->serial,
                          sizeof(owner->serial))) {
        rusmi_free(owner);
        return NULL;
    }
    return owner;
}

static void owner_put(struct rusmi_core *core, struct owner *owner)
{
    if (rusmi_list_empty(&owner->claims)) {
        rusmi_map_remove(&core->owners, &owner->by_serial);
        rusmi_free(owner); /* its claims, which alone lead to it, are gone */
    }
}

/* Send a frame to every member that is up. */
static void broadcast(struct rusmi_core *core, const struct rusmi_frame *frame, bool only_synced,
                      rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_list *node = core->links.next, *next;

    for (; node != &core->links; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        next = node->next; /* a failed send closes conn alone */
        if (conn->cert.role == RUSMI_ROLE_MEMBER &&
            (!only_synced || conn->names_list.after == UINT64_MAX)) {
            (void)rusmi_conn_send(core, conn, frame, now, out);
        }
    }
}

static void broadcast_del(struct rusmi_core *core, struct rusmi_name_entry *entries, size_t len,
                          rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_DEL};

    if (len != 0) {
        frame.u.names.entries = entries;
        frame.u.names.len = len;
        broadcast(core, &frame, false, now, out);
    }
}

static struct rusmi_name_entry entry_of(const struct rusmi_claim *claim)
{
    return (struct rusmi_name_entry){.name = claim->name->text,
                                     .name_len = claim->name->len,
                                     .serial = claim->serial,
                                     .time = claim->time};
}

/* Give a claim of our own its place in the sync order; false when memory ran out. */
static bool number(struct rusmi_core *core, struct rusmi_claim *claim)
{
    if (!rusmi_roster_add(&core->own_claims, core->claim_last + 1, claim)) {
        return false;
    }
    claim->id = ++core->claim_last;
    return true;
}

rusm_err rusmi_names_claim_own(struct rusmi_core *core, const char *name, uint64_t serial,
                               bool tentative, struct rusmi_claim **out_claim)
{
    struct rusmi_name_entry entry = {.name = name, .name_len = strlen(name), .serial = serial};
    struct owner *owner = owner_get(core, serial);
    struct rusmi_claim *claim;
    rusm_err err;

    if (owner == NULL) {
        return RUSM_ENOMEM;
    }
    entry.time = core->names.time == UINT64_MAX ? UINT64_MAX : core->names.time + 1;
    err = rusmi_names_claim(&core->names, &core->self, &entry, tentative, core->cfg.names_max,
                            &claim);
    if (err != RUSM_OK) {
        owner_put(core, owner);
        return err;
    }
    if (!tentative && !number(core, claim)) {
        rusmi_names_unclaim(&core->names, &core->self, claim);
        owner_put(core, owner);
        return RUSM_ENOMEM;
    }
    rusmi_list_push(&owner->claims, &claim->in_process);
    *out_claim = claim;
    return RUSM_OK;
}

/* Take back a claim of our own; its process keeps its record. */
static void unclaim_own(struct rusmi_core *core, struct rusmi_claim *claim)
{
    if (!claim->tentative) {
        rusmi_roster_remove(&core->own_claims, claim->id);
    }
    rusmi_names_unclaim(&core->names, &core->self, claim);
}

void rusmi_names_withdraw(struct rusmi_core *core, struct rusmi_claim *claim, rusm_time now,
                          struct rusmi_actions *out)
{
    struct owner *owner = owner_find(core, claim->serial);
    struct rusmi_name_entry entry = entry_of(claim);

    broadcast_del(core, &entry, 1, now, out); /* while the text is there */
    unclaim_own(core, claim);
    owner_put(core, owner);
}

bool rusmi_names_publish(struct rusmi_core *core, struct rusmi_claim *claim, rusm_time now,
                         struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
    struct rusmi_name_entry entry = entry_of(claim);

    if (claim->tentative) {
        if (!number(core, claim)) {
            return false;
        }
        rusmi_names_confirm(&core->names, claim);
    }
    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    broadcast(core, &frame, true, now, out);
    return true;
}

rusm_err rusmi_names_may_register(const struct rusmi_core *core, const char *name, uint64_t serial)
{
    if (!rusmi_name_valid(name, strlen(name)) || serial == 0) {
        return RUSM_EINVAL;
    }
    if (core->shut_down) {
        return RUSM_ECLOSED;
    }
    if (core->cfg.role != RUSMI_ROLE_MEMBER) {
        return RUSM_EPERM;
    }
    return rusmi_names_find(&core->names, name, strlen(name)) != NULL ? RUSM_EEXIST : RUSM_OK;
}

rusm_err rusmi_core_register(struct rusmi_core *core, const char *name, uint64_t serial,
                             rusm_time now, struct rusmi_actions *out)
{
    rusm_err err = rusmi_names_may_register(core, name, serial);
    struct rusmi_claim *claim;

    if (err == RUSM_OK) {
        err = rusmi_names_claim_own(core, name, serial, false, &claim);
    }
    if (err == RUSM_OK) {
        (void)rusmi_names_publish(core, claim, now, out); /* it has its number */
        rusmi_core_finish(core, now, out);
    }
    return err;
}

rusm_err rusmi_core_unregister(struct rusmi_core *core, const char *name, rusm_time now,
                               struct rusmi_actions *out)
{
    const struct rusmi_name *found = rusmi_names_find(&core->names, name, strlen(name));
    struct rusmi_claim *claim;

    if (found == NULL || rusmi_name_owner(found) == NULL) {
        return RUSM_ENONAME;
    }
    claim = rusmi_name_claim_of(found, &core->self);
    if (claim == NULL) {
        return RUSM_EPERM;
    }
    rusmi_names_withdraw(core, claim, now, out);
    rusmi_core_finish(core, now, out);
    return RUSM_OK;
}

size_t rusmi_core_owner_exited(struct rusmi_core *core, uint64_t serial, rusm_time now,
                               struct rusmi_actions *out)
{
    struct owner *owner = owner_find(core, serial);
    struct rusmi_name_entry entries[EXIT_BATCH];
    size_t total = 0, len = 0;

    if (owner == NULL) {
        return 0;
    }
    /* A frame goes out before the claims that it names, whose texts it needs, are freed. */
    while (!rusmi_list_empty(&owner->claims)) {
        struct rusmi_claim *claims[EXIT_BATCH];

        for (len = 0; len < EXIT_BATCH && !rusmi_list_empty(&owner->claims); len++) {
            claims[len] =
                rusmi_container(rusmi_list_pop(&owner->claims), struct rusmi_claim, in_process);
            entries[len] = entry_of(claims[len]);
            if (claims[len]->tentative) {
                rusmi_ask_ownerless(core, claims[len], out);
            } else {
                total++;
            }
        }
        broadcast_del(core, entries, len, now, out);
        for (size_t i = 0; i < len; i++) {
            unclaim_own(core, claims[i]);
        }
    }
    owner_put(core, owner);
    rusmi_core_finish(core, now, out);
    return total;
}

void rusmi_names_forget_own(struct rusmi_core *core)
{
    rusmi_map_each(&core->owners, entry, position, following)
    {
        struct owner *owner = rusmi_container(entry, struct owner, by_serial);

        while (rusmi_list_pop(&owner->claims) != NULL) {
        }
        rusmi_map_remove(&core->owners, entry);
        rusmi_free(owner); /* only the map led to it */
    }
    rusmi_names_drop(&core->names, &core->self);
}

/* ---- telling a peer, and hearing from it ----------------------------------------------------- */

uint64_t rusmi_names_page(struct rusmi_core *core, struct conn *conn, uint64_t after, rusm_time now,
                          struct rusmi_actions *out)
{
    struct rusmi_name_entry entries[RUSMI_NAMES_MAX];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
    size_t place = SIZE_MAX, len = 0;
    const struct rusmi_claim *claim = NULL;

    if (core->cfg.role != RUSMI_ROLE_MEMBER || conn->hidden) {
        return UINT64_MAX;
    }
    while (len < RUSMI_NAMES_MAX &&
           (claim = rusmi_roster_next(&core->own_claims, &after, &place)) != NULL) {
        entries[len++] = entry_of(claim);
    }
    if (len != 0) {
        frame.u.names.entries = entries;
        frame.u.names.len = len;
        (void)rusmi_conn_send(core, conn, &frame, now, out);
    }
    return len < RUSMI_NAMES_MAX ? UINT64_MAX : after;
}

void rusmi_names_more(struct rusmi_core *core, struct conn *conn, rusm_time now,
                      struct rusmi_actions *out)
{
    if (conn->state == CONN_UP && conn->names_lack.refused && conn->version >= 2 &&
        conn->claimant.len < core->cfg.names_max) {
        rusmi_lack_ask(core, conn, &conn->names_lack, now, out);
    }
}

/* Tell the local process that had the name of `own` that the claim `winner` has it now. */
static void tell_conflict(struct rusmi_core *core, struct rusmi_action *action,
                          const struct rusmi_claim *own, const struct rusmi_claim *winner,
                          struct rusmi_actions *out)
{
    const struct rusmi_claimant *claimant = winner->claimant;

#ifdef RUSMI_PLANT_NAMES_CONFLICT
    rusmi_action_del(action);
    return;
#endif
    core->stats.names_conflicts++;
    action->ref = own->serial;
    action->pid = (rusm_pid){claimant->incarnation, winner->serial};
    rusmi_action_tell(action, claimant->node, own->name->text);
    rusmi_actions_push(out, action);
}

/*
 * One name of a peer. A claim of ours that owned the name and no longer does is told of once,
 * however often the peer repeats itself: only the change counts.
 */
static rusm_err name_add(struct rusmi_core *core, struct conn *conn,
                         const struct rusmi_name_entry *entry, rusm_time now,
                         struct rusmi_actions *out)
{
    const struct rusmi_name *name = rusmi_names_find(&core->names, entry->name, entry->name_len);
    struct rusmi_claim *own = name == NULL ? NULL : rusmi_name_claim_of(name, &core->self), *claim;
    struct rusmi_action *action = NULL;
    rusm_err err;

    if (own != NULL && own == rusmi_name_owner(name)) {
        action = rusmi_action_new_told(RUSMI_ACTION_CONFLICT); /* before anything has changed */
        if (action == NULL) {
            return RUSM_ENOMEM;
        }
    }
    err =
        rusmi_names_claim(&core->names, &conn->claimant, entry, false, core->cfg.names_max, &claim);
    if (err != RUSM_OK || own == NULL) {
        rusmi_action_del(action);
        return err;
    }
    if (own->tentative) {
        rusmi_ask_beaten(core, own, conn->name, now, out);
    } else if (action != NULL && rusmi_name_owner(own->name) != own) {
        tell_conflict(core, action, own, claim, out);
        return RUSM_OK;
    }
    rusmi_action_del(action);
    return RUSM_OK;
}

static void names_add(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                      rusm_time now, struct rusmi_actions *out)
{
    for (size_t i = 0; i < frame->u.names.len && conn->state == CONN_UP; i++) {
        rusm_err err = name_add(core, conn, &frame->u.names.entries[i], now, out);

        if (err == RUSM_EFULL) {
            core->stats.names_refused++;
            conn->names_lack.refused = true;
        } else if (err != RUSM_OK) {
            /* A table that lacks a name for ever would be worse than a link that comes again. */
            rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                             "no memory for a name of \"%s\"", conn->name);
        }
    }
    /* What names_max lets in and the budget does not is asked for until it does. */
    rusmi_names_more(core, conn, now, out);
}

static void names_del(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                      rusm_time now, struct rusmi_actions *out)
{
#ifdef RUSMI_PLANT_NAMES_DEL
    return;
#endif
    for (size_t i = 0; i < frame->u.names.len; i++) {
        const struct rusmi_name_entry *entry = &frame->u.names.entries[i];
        const struct rusmi_name *name =
            rusmi_names_find(&core->names, entry->name, entry->name_len);
        struct rusmi_claim *claim =
            name == NULL ? NULL : rusmi_name_claim_of(name, &conn->claimant);

        /* None: it was refused, or had not been sent yet when it was withdrawn. */
        if (claim != NULL) {
            rusmi_names_unclaim(&core->names, &conn->claimant, claim);
        }
    }
    rusmi_names_more(core, conn, now, out);
}

void rusmi_names_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                       rusm_time now, struct rusmi_actions *out)
{
    if (frame->type == RUSMI_FRAME_NAMES_ASK || frame->type == RUSMI_FRAME_NAMES_AGREE) {
        rusmi_ask_frame(core, conn, frame, now, out);
    } else if (conn->hidden) {
        core->stats.names_refused += frame->type == RUSMI_FRAME_NAMES_ADD ? frame->u.names.len : 0;
    } else if (frame->type == RUSMI_FRAME_NAMES_ADD) {
        names_add(core, conn, frame, now, out);
    } else if (frame->type == RUSMI_FRAME_NAMES_DEL) {
        names_del(core, conn, frame, now, out);
    } else {
        rusmi_listing_again(core, conn, &conn->names_list, now, out);
    }
}
