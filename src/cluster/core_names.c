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
            (!only_synced || conn->sync_after == UINT64_MAX)) {
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

/* Make a claim of our own, with its places in the sync order and at its process. */
static rusm_err claim_own(struct rusmi_core *core, const char *name, uint64_t serial,
                          struct rusmi_claim **out_claim)
{
    uint64_t time = core->names.time == UINT64_MAX ? UINT64_MAX : core->names.time + 1;
    struct owner *owner = owner_get(core, serial);
    struct rusmi_claim *claim;
    rusm_err err;

    if (owner == NULL) {
        return RUSM_ENOMEM;
    }
    err = rusmi_names_claim(&core->names, &core->self, name, strlen(name), serial, time,
                            core->cfg.names_max, &claim);
    if (err != RUSM_OK) {
        owner_put(core, owner);
        return err;
    }
    claim->id = core->claim_last + 1;
    if (!rusmi_roster_add(&core->own_claims, claim->id, claim)) {
        rusmi_names_unclaim(&core->names, &core->self, claim);
        owner_put(core, owner);
        return RUSM_ENOMEM;
    }
    core->claim_last++;
    rusmi_list_push(&owner->claims, &claim->in_process);
    *out_claim = claim;
    return RUSM_OK;
}

rusm_err rusmi_core_register(struct rusmi_core *core, const char *name, uint64_t serial,
                             rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
    struct rusmi_name_entry entry;
    struct rusmi_claim *claim;
    rusm_err err;

    if (!rusmi_name_valid(name, strlen(name)) || serial == 0) {
        return RUSM_EINVAL;
    }
    if (core->shut_down) {
        return RUSM_ECLOSED;
    }
    if (core->cfg.role != RUSMI_ROLE_MEMBER) {
        return RUSM_EPERM;
    }
    if (rusmi_names_find(&core->names, name, strlen(name)) != NULL) {
        return RUSM_EEXIST;
    }
    err = claim_own(core, name, serial, &claim);
    if (err != RUSM_OK) {
        return err;
    }
    entry = entry_of(claim);
    frame.u.names.entries = &entry;
    frame.u.names.len = 1;
    broadcast(core, &frame, true, now, out);
    rusmi_core_finish(core, now, out);
    return RUSM_OK;
}

rusm_err rusmi_core_unregister(struct rusmi_core *core, const char *name, rusm_time now,
                               struct rusmi_actions *out)
{
    const struct rusmi_name *found = rusmi_names_find(&core->names, name, strlen(name));
    struct rusmi_name_entry entry = {.name = name, .name_len = strlen(name)};
    struct rusmi_claim *claim;
    struct owner *owner;

    if (found == NULL) {
        return RUSM_ENONAME;
    }
    claim = rusmi_name_claim_of(found, &core->self);
    if (claim == NULL) {
        return RUSM_EPERM;
    }
    owner = owner_find(core, claim->serial);
    rusmi_roster_remove(&core->own_claims, claim->id);
    rusmi_names_unclaim(&core->names, &core->self, claim);
    owner_put(core, owner);
    broadcast_del(core, &entry, 1, now, out);
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
        }
        broadcast_del(core, entries, len, now, out);
        for (size_t i = 0; i < len; i++) {
            rusmi_roster_remove(&core->own_claims, claims[i]->id);
            rusmi_names_unclaim(&core->names, &core->self, claims[i]);
        }
        total += len;
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

void rusmi_names_sync(struct rusmi_core *core, struct conn *conn, rusm_time now,
                      struct rusmi_actions *out)
{
    struct rusmi_frame ping = {.type = RUSMI_FRAME_PING};

    if (core->cfg.role != RUSMI_ROLE_MEMBER || conn->hidden) {
        conn->sync_after = UINT64_MAX;
    }
    for (unsigned frames = 0; conn->state == CONN_UP && conn->sync_after != UINT64_MAX; frames++) {
        struct rusmi_name_entry entries[RUSMI_NAMES_MAX];
        struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD};
        uint64_t after = conn->sync_after;
        size_t place = SIZE_MAX, len = 0;
        const struct rusmi_claim *claim = NULL;

        if (frames == RUSMI_SYNC_FRAMES) {
            ping.id = conn->sync_nonce = ++core->nonce_last;
            (void)rusmi_conn_send(core, conn, &ping, now, out);
            return;
        }
        while (len < RUSMI_NAMES_MAX &&
               (claim = rusmi_roster_next(&core->own_claims, &after, &place)) != NULL) {
            entries[len++] = entry_of(claim);
        }
        conn->sync_after = len < RUSMI_NAMES_MAX ? UINT64_MAX : after;
        if (len != 0) {
            frame.u.names.entries = entries;
            frame.u.names.len = len;
            (void)rusmi_conn_send(core, conn, &frame, now, out);
        }
    }
}

static void names_add(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                      rusm_time now, struct rusmi_actions *out)
{
    for (size_t i = 0; i < frame->u.names.len; i++) {
        const struct rusmi_name_entry *entry = &frame->u.names.entries[i];
        struct rusmi_claim *claim;
        rusm_err err =
            rusmi_names_claim(&core->names, &conn->claimant, entry->name, entry->name_len,
                              entry->serial, entry->time, core->cfg.names_max, &claim);

        if (err == RUSM_EFULL) {
            core->stats.names_refused++;
        } else if (err != RUSM_OK) {
            /* A table that lacks a name for ever would be worse than a link that comes again. */
            rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                             "no memory for a name of \"%s\"", conn->name);
            return;
        }
    }
}

static void names_del(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame)
{
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
}

void rusmi_names_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                       rusm_time now, struct rusmi_actions *out)
{
    if (conn->hidden) {
        core->stats.names_refused += frame->type == RUSMI_FRAME_NAMES_ADD ? frame->u.names.len : 0;
    } else if (frame->type == RUSMI_FRAME_NAMES_ADD) {
        names_add(core, conn, frame, now, out);
    } else {
        names_del(core, conn, frame);
    }
}
