/* SPDX-License-Identifier: MIT */
/*
 * Dials: calls that wait for a link. A dial hangs on one conn, and several on the same when they
 * are for the same address. It is done when that conn is up, or any other conn to the same node.
 * When its conn loses the race for the one link per pair, it moves on to the winner; when no winner
 * can be seen (the winner may have died at once), it dials again, RUSMI_DIAL_TRIES times.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "cluster/core_state.h"

#include <stdio.h>
#include <string.h>

static void dial_attach(struct dial *dial, struct conn *conn)
{
    rusmi_list_remove(&dial->in_conn);
    rusmi_list_push(&conn->dials, &dial->in_conn);
    dial->conn = conn;
}

/* Tell the caller, or who wants the address, and free the dial. */
static void dial_end(struct rusmi_core *core, struct dial *dial, rusm_err err, const char *peer,
                     const char *text, struct rusmi_actions *out)
{
    struct rusmi_action *action = dial->done;

    if (dial->wanted != NULL) {
        rusmi_mesh_dialed(core, dial->wanted, err, peer, text);
    } else {
        action->ref = dial->ref;
        action->err = err;
        rusmi_action_tell(action, peer, text);
        rusmi_actions_push(out, action);
    }
    rusmi_list_remove(&dial->in_conn);
    rusmi_deadlines_release(&core->deadlines, &dial->deadline);
    /* In no list and no heap any more, and nobody keeps a pointer over this call. */
    rusmi_free(dial);
}

static struct dial *first_dial(const struct conn *conn)
{
    return rusmi_list_empty(&conn->dials) ? NULL
                                          : rusmi_container(conn->dials.next, struct dial, in_conn);
}

void rusmi_dials_done(struct rusmi_core *core, struct conn *conn, const char *peer,
                      struct rusmi_actions *out)
{
    struct dial *dial;

    while ((dial = first_dial(conn)) != NULL) {
        dial_end(core, dial, RUSM_OK, peer, "", out);
    }
}

void rusmi_dials_fail(struct rusmi_core *core, struct conn *conn, rusm_err err, const char *text,
                      struct rusmi_actions *out)
{
    struct dial *dial;

    while ((dial = first_dial(conn)) != NULL) {
        dial_end(core, dial, err, conn->name, text, out);
    }
}

/* A conn to address that is not up yet and that may still come up. */
static struct conn *attempt_find(const struct rusmi_core *core, const char *address)
{
    for (struct rusmi_list *node = core->handshakes.next; node != &core->handshakes;
         node = node->next) {
        struct conn *conn = rusmi_container(node, struct conn, in_state);

        if (conn->dialed && strcmp(conn->address, address) == 0) {
            return conn;
        }
    }
    return NULL;
}

/* A link that is up because we dialed address. */
static const struct conn *link_find(const struct rusmi_core *core, const char *address)
{
    for (struct rusmi_list *node = core->links.next; node != &core->links; node = node->next) {
        const struct conn *conn = rusmi_container(node, struct conn, in_state);

        if (conn->dialed && strcmp(conn->address, address) == 0) {
            return conn;
        }
    }
    return NULL;
}

/* Begin a conn to address; NULL when memory ran out, and then nothing changed. */
static struct conn *attempt_new(struct rusmi_core *core, const char *address,
                                struct rusmi_actions *out)
{
    struct rusmi_action *action = rusmi_action_new_told(RUSMI_ACTION_DIAL);
    struct conn *conn = action == NULL ? NULL : rusmi_conn_new(core, rusmi_core_conn_id(core));

    if (conn == NULL) {
        rusmi_action_del(action);
        return NULL;
    }
    conn->dialed = true;
    (void)snprintf(conn->address, sizeof(conn->address), "%s", address);
    action->conn = conn->id;
    rusmi_action_tell(action, "", address);
    rusmi_actions_push(out, action);
    return conn;
}

static struct dial *dial_new(struct rusmi_core *core, uint64_t ref, struct wanted *wanted,
                             const char *address)
{
    struct dial *dial = rusmi_zalloc(sizeof(struct dial));

    if (dial == NULL) {
        return NULL;
    }
    dial->done = wanted != NULL ? NULL : rusmi_action_new_told(RUSMI_ACTION_DIALED);
    if ((dial->done == NULL && wanted == NULL) || !rusmi_deadlines_reserve(&core->deadlines)) {
        rusmi_action_del(dial->done);
        rusmi_free(dial);
        return NULL;
    }
    rusmi_list_init(&dial->in_conn);
    dial->deadline.kind = DEADLINE_DIAL;
    dial->ref = ref;
    dial->wanted = wanted;
    dial->tries = 1;
    (void)snprintf(dial->address, sizeof(dial->address), "%s", address);
    return dial;
}

/* For a caller (ref) or for wanted; only one of them is told. */
static rusm_err dial_begin(struct rusmi_core *core, uint64_t ref, struct wanted *wanted,
                           const char *address, rusm_time deadline, struct rusmi_actions *out)
{
    struct dial *dial = dial_new(core, ref, wanted, address);
    const struct conn *link;
    struct conn *conn;

    if (dial == NULL) {
        return RUSM_ENOMEM;
    }
    if (wanted != NULL) {
        wanted->dial = dial;
    }
    link = link_find(core, address);
    if (link != NULL) {
        dial_end(core, dial, RUSM_OK, link->name, "", out);
        return RUSM_OK;
    }
    conn = attempt_find(core, address);
    if (conn == NULL) {
        conn = attempt_new(core, address, out);
    }
    if (conn == NULL) {
        if (wanted != NULL) {
            wanted->dial = NULL;
        }
        rusmi_action_del(dial->done);
        rusmi_deadlines_release(&core->deadlines, &dial->deadline);
        rusmi_free(dial);
        return RUSM_ENOMEM;
    }
    dial_attach(dial, conn);
    rusmi_deadlines_set(&core->deadlines, &dial->deadline, deadline);
    return RUSM_OK;
}

rusm_err rusmi_core_dial(struct rusmi_core *core, uint64_t ref, const char *address,
                         rusm_time deadline, rusm_time now, struct rusmi_actions *out)
{
    rusm_err err;

    if (core->shut_down) {
        return RUSM_ECLOSED;
    }
    if (address[0] == '\0' || strlen(address) > RUSMI_WIRE_ADDRESS_MAX ||
        strcmp(address, core->address) == 0) {
        return RUSM_EINVAL;
    }
    err = dial_begin(core, ref, NULL, address, deadline, out);
    rusmi_core_finish(core, now, out);
    return err;
}

rusm_err rusmi_dial_wanted(struct rusmi_core *core, struct wanted *wanted, rusm_time deadline,
                           struct rusmi_actions *out)
{
    return dial_begin(core, 0, wanted, wanted->address, deadline, out);
}

/* Close the conn that a dial has just left, unless it is of use to others. */
static void abandon(struct rusmi_core *core, struct conn *conn, rusm_time now,
                    struct rusmi_actions *out)
{
    if (conn->dialed && rusmi_list_empty(&conn->dials)) {
        rusmi_conn_close(core, conn, RUSMI_CLOSE_ABANDONED, RUSMI_DOWN_DISCONNECTED, now, out,
                         "\"%s\" waits no longer for this link", core->name);
    }
}

void rusmi_dial_cancel(struct rusmi_core *core, struct dial *dial, rusm_time now,
                       struct rusmi_actions *out)
{
    struct conn *conn = dial->conn;

    rusmi_assert(dial->wanted != NULL);
    rusmi_list_remove(&dial->in_conn);
    rusmi_deadlines_release(&core->deadlines, &dial->deadline);
    /* As in dial_end; who wanted it has let go of it. */
    rusmi_free(dial);
    abandon(core, conn, now, out);
}

/* Another conn to the node that conn led to, as far as conn got to know it. */
static struct conn *rival_find(const struct rusmi_core *core, const struct conn *conn)
{
    if (conn->name[0] == '\0') {
        return NULL;
    }
    for (struct rusmi_list *node = core->handshakes.next; node != &core->handshakes;
         node = node->next) {
        struct conn *other = rusmi_container(node, struct conn, in_state);

        if (strcmp(other->name, conn->name) == 0 && !other->hidden &&
            other->incarnation == conn->incarnation) {
            return other;
        }
    }
    return NULL;
}

void rusmi_dials_move(struct rusmi_core *core, struct conn *conn, rusm_time now,
                      struct rusmi_actions *out)
{
    const struct conn *up = conn->name[0] == '\0' ? NULL : rusmi_peer_find(core, conn->name);
    struct conn *rival = rival_find(core, conn);
    struct dial *dial;

    (void)now;
    if (up != NULL) {
        rusmi_dials_done(core, conn, up->name, out);
        return;
    }
    while ((dial = first_dial(conn)) != NULL) {
        struct conn *next = rival;

        if (next == NULL && dial->tries < RUSMI_DIAL_TRIES) {
            dial->tries++;
            next = attempt_find(core, dial->address);
            if (next == NULL) {
                next = attempt_new(core, dial->address, out);
            }
        }
        if (next != NULL) {
            dial_attach(dial, next);
        } else {
            dial_end(core, dial, RUSM_ENOLINK, conn->name,
                     "the peer says that another link stays, but none came up", out);
        }
    }
}

void rusmi_dial_expired(struct rusmi_core *core, struct dial *dial, rusm_time now,
                        struct rusmi_actions *out)
{
    struct conn *conn = dial->conn;
    char text[RUSMI_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "%s %s in time", dial->address,
                   conn->state == CONN_DIALING ? "did not answer" : "did not finish the handshake");
    dial_end(core, dial, RUSM_ETIMEOUT, conn->name, text, out);
    abandon(core, conn, now, out);
}
