/* SPDX-License-Identifier: MIT */
/*
 * Registration that returns once the peers have agreed (docs/design/names.md, "Asking first").
 *
 * The asker keeps a tentative claim, so that the name can not be registered here meanwhile, and
 * asks every member that is up. Who agrees keeps a tentative claim of the asker, so that the name
 * can not be registered there either, until the asker publishes or withdraws it; with the link it
 * goes. Of two that ask at once the claim that would win as a registered one wins: each is asked by
 * the other, so the later one learns of it here or there and gives up.
 *
 * An ask ends once: by the last answer, a refusal, an earlier ask or a registration that arrives,
 * its deadline, the end of its process, or the shutdown. Peers that go down are no longer waited
 * for. What that completes is published from rusmi_asks_settle() at the end of the step, because
 * publishing sends, and sending may close further conns.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <stdio.h>
#include <string.h>

/* A peer whose answer an ask waits for. */
struct wait {
    struct rusmi_list in_ask, in_conn;
    struct ask *ask;
    const struct conn *conn;
};

struct ask {
    struct rusmi_map_entry by_id; /* in core->asks */
    struct rusmi_list in_settle;  /* core->asks_settle: nobody is waited for any more */
    struct rusmi_deadline deadline;
    uint64_t id;
    struct rusmi_claim *claim; /* ours, tentative; its id is the ask's */
    struct rusmi_action *done;
    struct rusmi_list waits; /* in the order of asking, in which most answers come */
    struct wait memory[];
};

static struct ask *ask_find(const struct rusmi_core *core, uint64_t id)
{
    struct rusmi_map_entry *entry = rusmi_map_find(&core->asks, &id, sizeof(id));

    return entry == NULL ? NULL : rusmi_container(entry, struct ask, by_id);
}

static void ask_del(struct rusmi_core *core, struct ask *ask)
{
    while (!rusmi_list_empty(&ask->waits)) {
        struct wait *wait = rusmi_container(ask->waits.next, struct wait, in_ask);

        rusmi_list_remove(&wait->in_ask);
        rusmi_list_remove(&wait->in_conn);
    }
    rusmi_list_remove(&ask->in_settle);
    rusmi_deadlines_release(&core->deadlines, &ask->deadline);
    rusmi_action_del(ask->done);
    /* Its waits, which alone lead here from conns, are in no list any more. */
    rusmi_free(ask);
}

/* Tell how it ended and free the record. The claim stays. */
static void ask_done(struct rusmi_core *core, struct ask *ask, rusm_err err, const char *node,
                     const char *text, struct rusmi_actions *out)
{
    struct rusmi_action *action = ask->done;

    ask->done = NULL;
    action->err = err;
    rusmi_action_tell(action, node, text);
    rusmi_actions_push(out, action);
    rusmi_map_remove(&core->asks, &ask->by_id);
    ask_del(core, ask);
}

/* Tell, and withdraw the claim here and where it was agreed to. */
static void ask_fail(struct rusmi_core *core, struct ask *ask, rusm_err err, const char *node,
                     const char *text, rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_claim *claim = ask->claim;

    ask_done(core, ask, err, node, text, out);
    rusmi_names_withdraw(core, claim, now, out);
}

/* It is a process of `node` that has the name. */
static void ask_taken(struct rusmi_core *core, struct ask *ask, const char *node, rusm_time now,
                      struct rusmi_actions *out)
{
    char text[RUSMI_TEXT_MAX * 2];

    (void)snprintf(text, sizeof(text), "the global name %s is taken by a process of node %s",
                   ask->claim->name->text, node);
    ask_fail(core, ask, RUSM_EEXIST, node, text, now, out);
}

/* A record with room for an answer of every peer; NULL when memory ran out. */
static struct ask *ask_new(struct rusmi_core *core, uint64_t id)
{
    struct ask *ask = rusmi_zalloc(sizeof(struct ask) + core->peers.live * sizeof(struct wait));

    if (ask == NULL) {
        return NULL;
    }
    ask->id = id;
    ask->deadline.kind = DEADLINE_ASK;
    rusmi_list_init(&ask->waits);
    rusmi_list_init(&ask->in_settle);
    if (!rusmi_deadlines_reserve(&core->deadlines)) {
        rusmi_free(ask);
        return NULL;
    }
    ask->done = rusmi_action_new_told(RUSMI_ACTION_REGISTERED);
    if (ask->done == NULL ||
        !rusmi_map_insert(&core->asks, &ask->by_id, &ask->id, sizeof(ask->id))) {
        ask_del(core, ask);
        return NULL;
    }
    ask->done->ref = id;
    return ask;
}

/* Who is asked: members that know of asking. */
static void ask_add_waits(struct rusmi_core *core, struct ask *ask)
{
    size_t len = 0;

    for (struct rusmi_list *node = core->links.next; node != &core->links; node = node->next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);
        struct wait *wait = &ask->memory[len];

        if (conn->hidden || conn->version < 2) {
            continue;
        }
#ifdef RUSMI_PLANT_NAMES_ASK
        break;
#endif
        len++;
        wait->ask = ask;
        wait->conn = conn;
        rusmi_list_push(&ask->waits, &wait->in_ask);
        rusmi_list_push(&conn->asks, &wait->in_conn);
    }
    if (len == 0) {
        rusmi_list_push(&core->asks_settle, &ask->in_settle);
    }
}

static void ask_send(struct rusmi_core *core, const struct ask *ask, rusm_time now,
                     struct rusmi_actions *out)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ASK, .id = ask->id};
    struct rusmi_list *node = core->links.next, *next;

    memcpy(frame.u.names_ask.name, ask->claim->name->text, ask->claim->name->len + 1);
    frame.u.names_ask.serial = ask->claim->serial;
    frame.u.names_ask.time = ask->claim->time;
    for (; node != &core->links; node = next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        next = node->next; /* a failed send closes conn alone */
        if (!conn->hidden && conn->version >= 2) {
            (void)rusmi_conn_send(core, conn, &frame, now, out);
        }
    }
}

rusm_err rusmi_core_register_sync(struct rusmi_core *core, uint64_t ref, const char *name,
                                  uint64_t serial, rusm_time deadline, rusm_time now,
                                  struct rusmi_actions *out)
{
    rusm_err err = rusmi_names_may_register(core, name, serial);
    struct ask *ask;

    if (err != RUSM_OK) {
        return err;
    }
    rusmi_assert(ask_find(core, ref) == NULL);
    ask = ask_new(core, ref);
    if (ask == NULL) {
        return RUSM_ENOMEM;
    }
    err = rusmi_names_claim_own(core, name, serial, true, &ask->claim);
    if (err != RUSM_OK) {
        rusmi_map_remove(&core->asks, &ask->by_id);
        ask_del(core, ask);
        return err;
    }
    ask->claim->id = ref;
    rusmi_deadlines_set(&core->deadlines, &ask->deadline, deadline);
    ask_add_waits(core, ask);
    ask_send(core, ask, now, out);
    rusmi_core_finish(core, now, out);
    return RUSM_OK;
}

void rusmi_core_register_cancel(struct rusmi_core *core, uint64_t ref, rusm_time now,
                                struct rusmi_actions *out)
{
    struct ask *ask = ask_find(core, ref);

    if (ask != NULL) {
        struct rusmi_claim *claim = ask->claim;

        rusmi_map_remove(&core->asks, &ask->by_id);
        ask_del(core, ask);
        rusmi_names_withdraw(core, claim, now, out);
        rusmi_core_finish(core, now, out);
    }
}

void rusmi_asks_settle(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    while (!rusmi_list_empty(&core->asks_settle)) {
        struct ask *ask = rusmi_container(core->asks_settle.next, struct ask, in_settle);
        struct rusmi_claim *claim = ask->claim;

        rusmi_assert(rusmi_list_empty(&ask->waits));
        if (rusmi_names_publish(core, claim, now, out)) {
            ask_done(core, ask, RUSM_OK, core->name, "", out);
        } else {
            ask_fail(core, ask, RUSM_ENOMEM, "", "no memory for a global name", now, out);
        }
    }
}

/* wait is over. */
static void answered(struct rusmi_core *core, struct wait *wait)
{
    struct ask *ask = wait->ask;

    rusmi_list_remove(&wait->in_ask);
    rusmi_list_remove(&wait->in_conn);
    if (rusmi_list_empty(&ask->waits)) {
        rusmi_list_push(&core->asks_settle, &ask->in_settle);
    }
}

void rusmi_asks_lost(struct rusmi_core *core, struct conn *conn)
{
    while (!rusmi_list_empty(&conn->asks)) {
        answered(core, rusmi_container(conn->asks.next, struct wait, in_conn));
    }
}

void rusmi_asks_shut(struct rusmi_core *core, rusm_time now, struct rusmi_actions *out)
{
    rusmi_map_each(&core->asks, entry, position, following)
    {
        char text[RUSMI_TEXT_MAX];

        (void)snprintf(text, sizeof(text), "\"%s\" is shutting down", core->name);
        ask_fail(core, rusmi_container(entry, struct ask, by_id), RUSM_ECLOSED, "", text, now, out);
    }
}

void rusmi_ask_expired(struct rusmi_core *core, struct rusmi_deadline *deadline, rusm_time now,
                       struct rusmi_actions *out)
{
    struct ask *ask = rusmi_container(deadline, struct ask, deadline);
    char text[RUSMI_TEXT_MAX * 2];

    if (rusmi_list_empty(&ask->waits)) { /* the last one went down in this step */
        rusmi_deadlines_set(&core->deadlines, deadline, RUSMI_TIME_NEVER);
        return;
    }
    (void)snprintf(text, sizeof(text), "node %s did not agree to the global name %s in time",
                   rusmi_container(ask->waits.next, struct wait, in_ask)->conn->name,
                   ask->claim->name->text);
    ask_fail(core, ask, RUSM_ETIMEOUT, "", text, now, out);
}

void rusmi_ask_beaten(struct rusmi_core *core, const struct rusmi_claim *claim, const char *node,
                      rusm_time now, struct rusmi_actions *out)
{
    ask_taken(core, ask_find(core, claim->id), node, now, out);
}

void rusmi_ask_ownerless(struct rusmi_core *core, const struct rusmi_claim *claim,
                         struct rusmi_actions *out)
{
    ask_done(core, ask_find(core, claim->id), RUSM_ENOPROC, "", "the process has ended", out);
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* The claim that speaks against one by conn at that time, or NULL. */
static const struct rusmi_claim *objection(const struct rusmi_name *name, const struct conn *conn,
                                           uint64_t time)
{
    const struct rusmi_list *node;

    if (name == NULL) {
        return NULL;
    }
    if (rusmi_name_owner(name) != NULL) {
        return rusmi_name_owner(name);
    }
    for (node = name->claims.next; node != &name->claims; node = node->next) {
        const struct rusmi_claim *claim = rusmi_container(node, struct rusmi_claim, in_name);

        if (claim->claimant != &conn->claimant && !rusmi_claim_beats(time, conn->name, claim)) {
            return claim;
        }
    }
    return NULL;
}

/* Keep the name for conn; false if conn was closed for lack of memory. */
static bool reserve(struct rusmi_core *core, struct conn *conn, const struct rusmi_names_ask *ask,
                    rusm_time now, struct rusmi_actions *out)
{
    struct rusmi_name_entry entry = {
        .name = ask->name, .name_len = strlen(ask->name), .serial = ask->serial, .time = ask->time};
    struct rusmi_claim *claim;
    rusm_err err =
        rusmi_names_claim(&core->names, &conn->claimant, &entry, true, core->cfg.names_max, &claim);

    if (err == RUSM_EFULL) {
        core->stats.names_refused++; /* as its names_add will be */
    } else if (err != RUSM_OK) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_MEMORY, RUSMI_DOWN_MEMORY, now, out,
                         "no memory for a name of \"%s\"", conn->name);
        return false;
    }
    return true;
}

static void on_ask(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                   rusm_time now, struct rusmi_actions *out)
{
    const struct rusmi_names_ask *ask = &frame->u.names_ask;
    struct rusmi_frame answer = {.type = RUSMI_FRAME_NAMES_AGREE, .id = frame->id};
    const struct rusmi_name *name = rusmi_names_find(&core->names, ask->name, strlen(ask->name));
    const struct rusmi_claim *other = objection(name, conn, ask->time);
    const struct rusmi_claim *own = name == NULL ? NULL : rusmi_name_claim_of(name, &core->self);

    if (other != NULL) {
        const struct rusmi_claimant *claimant = other->claimant;

        memcpy(answer.u.names_agree.node, claimant->node, strlen(claimant->node) + 1);
        answer.u.names_agree.pid = (rusm_pid){claimant->incarnation, other->serial};
    } else if (own != NULL) {
        rusmi_ask_beaten(core, own, conn->name, now, out); /* own is tentative, and later */
    }
    if (conn->state == CONN_UP && (other != NULL || reserve(core, conn, ask, now, out))) {
        (void)rusmi_conn_send(core, conn, &answer, now, out);
    }
}

static void on_agree(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out)
{
    struct ask *ask = ask_find(core, frame->id);
    struct rusmi_list *node;

    if (ask != NULL) {
        for (node = ask->waits.next; node != &ask->waits; node = node->next) {
            struct wait *wait = rusmi_container(node, struct wait, in_ask);

            if (wait->conn != conn) {
                continue;
            }
            if (frame->u.names_agree.node[0] != '\0') {
                ask_taken(core, ask, frame->u.names_agree.node, now, out);
            } else {
                answered(core, wait);
            }
            return;
        }
    }
    core->stats.replies_late++;
}

void rusmi_ask_frame(struct rusmi_core *core, struct conn *conn, const struct rusmi_frame *frame,
                     rusm_time now, struct rusmi_actions *out)
{
    if (frame->type == RUSMI_FRAME_NAMES_AGREE) {
        on_agree(core, conn, frame, now, out);
    } else if (conn->hidden || core->cfg.role != RUSMI_ROLE_MEMBER) {
        core->stats.names_refused++; /* it may publish nothing, and knows that */
    } else {
        on_ask(core, conn, frame, now, out);
    }
}
