/* SPDX-License-Identifier: MIT */
/* The list of actions that a step leaves, and the texts of down causes. */
#include "cluster/core.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "cluster/core_state.h"

#include <string.h>

const char *rusmi_down_cause_text(enum rusmi_down_cause cause)
{
    switch (cause) {
    case RUSMI_DOWN_BY_PEER:
        return "closed by the peer";
    case RUSMI_DOWN_SILENT:
        return "time-out";
    case RUSMI_DOWN_TLS:
        return "the TLS handshake failed";
    case RUSMI_DOWN_PROTOCOL:
        return "the peer broke the protocol";
    case RUSMI_DOWN_REVOKED:
        return "the certificate is no longer trusted";
    case RUSMI_DOWN_SHUTDOWN:
        return "this node is shutting down";
    case RUSMI_DOWN_DISCONNECTED:
        return "closed on request";
    case RUSMI_DOWN_REPLACED:
        return "a newer link replaces this one";
    case RUSMI_DOWN_REFUSED:
        return "the peer was refused";
    case RUSMI_DOWN_MEMORY:
        return "out of memory";
    case RUSMI_DOWN_TRANSPORT:
        return "the connection was lost";
    case RUSMI_DOWN_LEFT:
        return "left the cluster";
    }
    return "unknown cause";
}

void rusmi_actions_init(struct rusmi_actions *actions)
{
    rusmi_list_init(&actions->list);
}

void rusmi_actions_fini(struct rusmi_actions *actions)
{
    struct rusmi_action *action;

    while ((action = rusmi_actions_pop(actions)) != NULL) {
        rusmi_action_del(action);
    }
}

struct rusmi_action *rusmi_actions_pop(struct rusmi_actions *actions)
{
    struct rusmi_list *node = rusmi_list_pop(&actions->list);

    return node == NULL ? NULL : rusmi_container(node, struct rusmi_action, link);
}

void rusmi_action_del(struct rusmi_action *action)
{
    if (action != NULL) {
        rusmi_free(action->memory[0]);
        rusmi_free(action->memory[1]);
        rusmi_free(action);
    }
}

/* An action with room for its peer and text. */
struct told {
    struct rusmi_action action;
    char peer[RUSM_NAME_MAX + 1];
    char text[RUSMI_TEXT_MAX];
};

struct rusmi_action *rusmi_action_new(enum rusmi_action_kind kind)
{
    struct rusmi_action *action = rusmi_zalloc(sizeof(struct rusmi_action));

    if (action != NULL) {
        rusmi_list_init(&action->link);
        action->kind = kind;
        action->peer = action->text = "";
    }
    return action;
}

struct rusmi_action *rusmi_action_new_told(enum rusmi_action_kind kind)
{
    struct told *told = rusmi_zalloc(sizeof(struct told));

    if (told == NULL) {
        return NULL;
    }
    rusmi_list_init(&told->action.link);
    told->action.kind = kind;
    told->action.peer = told->peer;
    told->action.text = told->text;
    return &told->action;
}

void rusmi_action_tell(struct rusmi_action *action, const char *peer, const char *text)
{
    struct told *told = rusmi_container(action, struct told, action);
    size_t len = strlen(text);

    memcpy(told->peer, peer, strlen(peer) + 1); /* a valid name, which fits */
    len = rusmi_utf8_cut(text, len, RUSMI_TEXT_MAX - 1);
    memcpy(told->text, text, len);
    told->text[len] = '\0';
}

void rusmi_actions_push(struct rusmi_actions *actions, struct rusmi_action *action)
{
    rusmi_list_push(&actions->list, &action->link);
}
