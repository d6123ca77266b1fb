/* SPDX-License-Identifier: MIT */
/*
 * The requests of a supervisor, where they are answered: in its own process, between other things.
 * The other end is supervisor_call.c.
 *
 * A request is a call with a struct rusmi_sup_request. It was checked by who sent it, so here only
 * what depends on the supervisor is: but nothing outside of the message is read, since who asked
 * may have gone.
 */
#include "gen/supervisor.h"

#include "base/assert.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/memory.h>

#include <stdio.h>
#include <string.h>

/* Tries to answer when there is no memory for an answer; who asked may wait for ever. */
#define ANSWER_TRIES 1000

/*
 * Requests have addresses in them, of functions too. So they are taken from processes of this node
 * alone, whose pids nobody else can stamp: from another node these bytes would run what a peer
 * likes.
 */
const struct rusmi_sup_request *rusmi_sup_request_of(const rusm_msg *msg)
{
    const struct rusmi_sup_request *request = rusm_msg_data(msg);
    size_t len = rusm_msg_len(msg);

    return rusm_msg_sender(msg).incarnation == rusm_self().incarnation && len >= sizeof(*request) &&
                   request->magic == RUSMI_SUP_MAGIC && request->body_len == len - sizeof(*request)
               ? request
               : NULL;
}

const struct rusmi_sup_spec *rusmi_sup_request_spec(const struct rusmi_sup_request *request)
{
    return request->body_len < sizeof(struct rusmi_sup_spec) ? NULL : (const void *)request->body;
}

static void answer_send(const rusm_msg *msg, const struct rusmi_sup_answer *answer, size_t len)
{
    for (unsigned i = 0; i < ANSWER_TRIES; i++) {
        if (rusm_reply(rusm_msg_from(msg), answer, len) != RUSM_ENOMEM) {
            return; /* sent, or nobody waits any more */
        }
        (void)!rusm_sleep(1);
    }
}

void rusmi_sup_answer(const rusm_msg *msg, rusm_err err, const char *detail)
{
    struct rusmi_sup_answer answer = {.magic = RUSMI_SUP_MAGIC, .err = err};

    (void)snprintf(answer.detail, sizeof(answer.detail), "%s", detail);
    answer_send(msg, &answer, sizeof(answer));
}

static rusm_err no_child(const char *id)
{
    return rusm_set_err_detail(RUSM_ENONAME, "the supervisor has no child '%s'", id);
}

static rusm_err running(const struct rusmi_sup_child *child)
{
    return rusm_set_err_detail(RUSM_EEXIST, "child '%s' is running", child->spec->id);
}

/* ---- one function per request ---------------------------------------------------------------- */

static rusm_err start_child(struct rusmi_sup *sup, const struct rusmi_sup_request *request,
                            rusm_pid *out_pid)
{
    const struct rusmi_sup_spec *given = rusmi_sup_request_spec(request);
    struct rusmi_sup_spec *spec = sup->pattern;
    struct rusmi_sup_child *child;
    rusm_err err;

    if ((given == NULL) != (sup->pattern != NULL)) {
        return rusm_set_err_detail(RUSM_EINVAL, "%s",
                                   given == NULL
                                       ? "a child of this supervisor needs a spec"
                                       : "under simple_one_for_one a child is made from the "
                                         "template, without a spec");
    }
    if (given != NULL) {
        /* The strings of the spec in the message are behind it, its pointers are not set. */
        if (rusmi_sup_child_by_id(sup, given->text) != NULL) {
            return rusm_set_err_detail(RUSM_EEXIST, "the supervisor has a child '%s' already",
                                       given->text);
        }
        spec = rusmi_sup_spec_copy(given);
    }
    child = spec == NULL ? NULL
                         : rusmi_sup_child_new(sup, spec, given == NULL ? request->arg : spec->arg);
    if (child == NULL) {
        if (given != NULL) {
            rusm_free(spec);
        }
        return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    err = rusmi_sup_child_start(sup, child);
    if (err == RUSM_OK) {
        *out_pid = child->pid;
    } else {
        rusmi_sup_child_del(sup, child);
    }
    return err;
}

static void terminate(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    rusmi_sup_wait_pass_on(sup, child);
    rusmi_sup_child_stop(sup, child, CHILD_STOPPED);
    if (sup->pattern != NULL || child->spec->restart == RUSM_TEMPORARY) {
        rusmi_sup_child_del(sup, child);
    }
}

static rusm_err terminate_child(struct rusmi_sup *sup, const char *id)
{
    struct rusmi_sup_child *child = rusmi_sup_child_by_id(sup, id);

    if (child == NULL) {
        return no_child(id);
    }
    terminate(sup, child);
    return RUSM_OK;
}

static rusm_err terminate_pid(struct rusmi_sup *sup, rusm_pid pid)
{
    struct rusmi_sup_child *child = rusmi_sup_child_by_pid(sup, pid);

    if (sup->pattern == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "only children of a simple_one_for_one supervisor "
                                                "are terminated by pid");
    }
    if (child == NULL) {
        return rusm_set_err_detail(RUSM_ENONAME, "the supervisor has no child with this pid");
    }
    terminate(sup, child);
    return RUSM_OK;
}

static rusm_err restart_child(struct rusmi_sup *sup, const char *id, rusm_pid *out_pid)
{
    struct rusmi_sup_child *child = rusmi_sup_child_by_id(sup, id);
    rusm_err err;

    if (child == NULL) {
        return no_child(id);
    }
    if (child->state == CHILD_RUNNING) {
        return running(child);
    }
    if (child->state == CHILD_WAITING) {
        err = rusmi_sup_restart(sup, child);
    } else {
        err = rusmi_sup_child_start(sup, child);
        child->restarts += err == RUSM_OK ? 1 : 0;
    }
    if (err == RUSM_OK && rusm_pid_is_none(child->pid)) {
        err = rusm_set_err_detail(RUSM_ECLOSED,
                                  "child '%s' has ended already, or the supervisor "
                                  "is ending",
                                  id);
    } else if (err == RUSM_OK) {
        *out_pid = child->pid;
    }
    return err;
}

static rusm_err delete_child(struct rusmi_sup *sup, const char *id)
{
    struct rusmi_sup_child *child = rusmi_sup_child_by_id(sup, id);

    if (child == NULL) {
        return no_child(id);
    }
    if (child->state == CHILD_RUNNING) {
        return running(child);
    }
    rusmi_sup_wait_pass_on(sup, child);
    rusmi_sup_child_del(sup, child);
    return RUSM_OK;
}

/* The first child from the one with that number on. */
static struct rusmi_sup_child *page_first(const struct rusmi_sup *sup, uint64_t number)
{
    struct rusmi_sup_child *child = sup->page;

    if (number == 0 || child == NULL || child->number != number) {
        child = rusmi_sup_child_next(sup, NULL);
        while (child != NULL && child->number < number) {
            child = rusmi_sup_child_next(sup, child);
        }
    }
    return child;
}

static void list(struct rusmi_sup *sup, const rusm_msg *msg,
                 const struct rusmi_sup_request *request)
{
    size_t most = request->infos_max < RUSMI_SUP_PAGE ? request->infos_max : RUSMI_SUP_PAGE;
    struct rusmi_sup_child *child = page_first(sup, request->cursor);
    size_t len = sizeof(struct rusmi_sup_answer) + most * sizeof(rusm_child_info);
    struct rusmi_sup_answer *answer = rusm_zalloc(len);

    if (answer == NULL) {
        rusmi_sup_answer(msg, RUSM_ENOMEM, rusm_err_text(RUSM_ENOMEM));
        return;
    }
    answer->magic = RUSMI_SUP_MAGIC;
    for (; child != NULL && answer->infos_len < most; child = rusmi_sup_child_next(sup, child)) {
        rusm_child_info *info = &answer->infos[answer->infos_len++];

        (void)snprintf(info->id, sizeof(info->id), "%s", child->spec->id);
        info->pid = child->pid;
        info->restart = child->spec->restart;
        info->is_supervisor = child->spec->is_supervisor;
        info->is_waiting = child->state == CHILD_WAITING || child->state == CHILD_HELD;
        info->restarts = child->restarts;
    }
    sup->page = child;
    answer->cursor = child == NULL ? 0 : child->number;
    answer_send(msg, answer, sizeof(*answer) + answer->infos_len * sizeof(answer->infos[0]));
    rusm_free(answer);
}

static void count(const struct rusmi_sup *sup, const rusm_msg *msg)
{
    struct rusmi_sup_answer answer = {
        .magic = RUSMI_SUP_MAGIC,
        .count = {.specs = sup->specs,
                  .active = sup->running,
                  .supervisors = sup->supervisors,
                  .restarts = sup->restarts},
    };

    answer_send(msg, &answer, sizeof(answer));
}

void rusmi_sup_serve(struct rusmi_sup *sup, const rusm_msg *msg)
{
    const struct rusmi_sup_request *request = rusmi_sup_request_of(msg);
    const char *id = request == NULL ? NULL : (const char *)request->body;
    struct rusmi_sup_answer answer = {.magic = RUSMI_SUP_MAGIC, .err = RUSM_EINVAL};

    if (request == NULL) {
        rusmi_sup_answer(msg, RUSM_EINVAL, "a supervisor does not know this request");
        return;
    }
    switch (request->op) {
    case RUSMI_SUP_START_CHILD:
        answer.err = start_child(sup, request, &answer.pid);
        break;
    case RUSMI_SUP_TERMINATE_CHILD:
        answer.err = terminate_child(sup, id);
        break;
    case RUSMI_SUP_TERMINATE_PID:
        answer.err = terminate_pid(sup, request->pid);
        break;
    case RUSMI_SUP_RESTART_CHILD:
        answer.err = restart_child(sup, id, &answer.pid);
        break;
    case RUSMI_SUP_DELETE_CHILD:
        answer.err = delete_child(sup, id);
        break;
    case RUSMI_SUP_COUNT:
        count(sup, msg);
        return;
    case RUSMI_SUP_LIST:
        list(sup, msg, request);
        return;
    case RUSMI_SUP_INIT:
    case RUSMI_SUP_STOP:
        rusmi_sup_answer(msg, RUSM_EINVAL, "a supervisor is not asked for this in a call");
        return;
    }
    if (answer.err != RUSM_OK) {
        (void)snprintf(answer.detail, sizeof(answer.detail), "%s", rusm_err_detail());
    }
    answer_send(msg, &answer, sizeof(answer));
}
