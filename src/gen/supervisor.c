/* SPDX-License-Identifier: MIT */
/*
 * The process of a supervisor: its loop, and what it does when a child ends
 * (docs/design/supervisors.md).
 *
 * Messages are taken strictly in order and only noted: a child's end, the end of the parent, a
 * request. Whoever waits for something in the middle of an action (a child that is being stopped)
 * takes messages the same way until the note is there; what it did not wait for is acted upon
 * afterwards. So nothing is lost or searched for, and no message is looked at twice.
 *
 * The loop acts in this order: ended children, requests, restarts that are due, and then takes the
 * next message. A child that crashes and is restarted at once costs a message, a look-up in a table
 * and a spawn.
 */
#include "gen/supervisor.h"

#include "base/assert.h"
#include "otp/sched.h"

#include <rusm/otp/link.h>
#include <rusm/otp/memory.h>

#include <stdio.h>
#include <string.h>

#define NS_PER_MS ((rusm_time)1000000)
#define NS_PER_S  ((rusm_time)1000000000)
/* Messages taken between two starts of children, to see whether the parent has ended. */
#define DRAIN_MAX 1024
/* How long an exit may be behind a down that says nothing. */
#define EXIT_AWAIT_MS 1000

_Static_assert(sizeof(uintptr_t) >= sizeof(uint64_t), "a serial fits into the argument");

/* ---- taking messages ------------------------------------------------------------------------- */

static void end_with(struct rusmi_sup *sup, const rusm_reason *reason)
{
    if (!sup->ending) {
        sup->ending = true;
        sup->reason = *reason;
    }
}

static void count_unexpected(void)
{
    atomic_fetch_add(&rusmi_process_self()->runtime->unexpected, 1);
}

static void on_exit_signal(struct rusmi_sup *sup, const rusm_msg *msg)
{
    rusm_pid sender = rusm_msg_sender(msg);
    struct rusmi_sup_child *child;

    if (rusm_pid_equal(sender, sup->parent)) {
        end_with(sup, rusm_msg_reason(msg));
        return;
    }
    child = rusmi_sup_child_by_pid(sup, sender);
    if (child == NULL) {
        count_unexpected();
    } else if (!child->exit_seen && rusm_msg_reason(msg)->kind != RUSM_REASON_NOPROC) {
        child->exit_seen = true; /* its down follows, and is what counts */
        child->exit_orderly = rusm_reason_is_orderly(rusm_msg_reason(msg));
    }
}

static bool is_real_exit(const rusm_msg *msg, void *arg)
{
    const struct rusmi_sup_child *child = arg;

    return rusm_msg_get_kind(msg) == RUSM_MSG_EXIT &&
           rusm_pid_equal(rusm_msg_sender(msg), child->pid) &&
           rusm_msg_reason(msg)->kind != RUSM_REASON_NOPROC;
}

/*
 * A child of a start function had ended, or was just ending, before it could be monitored: then its
 * link knows why. If it had none, against the contract, nothing comes, and it counts as a crash.
 */
static void exit_await(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    rusm_msg *msg;

    if (rusm_receive_match(&msg, is_real_exit, child, EXIT_AWAIT_MS) == RUSM_OK) {
        on_exit_signal(sup, msg);
        rusm_msg_del(msg);
    }
}

static void on_down(struct rusmi_sup *sup, const rusm_msg *msg)
{
    struct rusmi_sup_child *child = rusmi_sup_child_by_pid(sup, rusm_msg_sender(msg));

    if (child != NULL && rusm_ref_equal(child->ref, rusm_msg_ref(msg))) {
        if (rusm_msg_reason(msg)->kind == RUSM_REASON_NOPROC && !child->exit_seen) {
            exit_await(sup, child);
        }
        rusmi_sup_child_ended(sup, child, rusm_msg_reason(msg));
    } else {
        count_unexpected();
    }
}

static void on_cast(struct rusmi_sup *sup, const rusm_msg *msg)
{
    const struct rusmi_sup_request *request = rusmi_sup_request_of(msg);
    rusm_reason shutdown = rusm_reason_make(RUSM_REASON_SHUTDOWN);

    if (request == NULL || request->op != RUSMI_SUP_STOP) {
        count_unexpected();
        return;
    }
    /* Here too, not only by who asks: it may end before it can. */
    (void)!rusm_unlink(rusm_msg_sender(msg));
    end_with(sup, &shutdown);
}

/* Keep a request for later. False: no memory. */
static bool calls_push(struct rusmi_sup *sup, rusm_msg *msg)
{
    if (sup->calls_len == sup->calls_cap) {
        size_t cap = sup->calls_cap == 0 ? 16 : sup->calls_cap * 2;
        rusm_msg **calls = rusm_alloc(cap * sizeof(rusm_msg *));

        if (calls == NULL) {
            return false;
        }
        for (size_t i = 0; i < sup->calls_len; i++) {
            calls[i] = sup->calls[(sup->calls_first + i) & (sup->calls_cap - 1)];
        }
        rusm_free(sup->calls);
        sup->calls = calls;
        sup->calls_cap = cap;
        sup->calls_first = 0;
    }
    sup->calls[(sup->calls_first + sup->calls_len) & (sup->calls_cap - 1)] = msg;
    sup->calls_len++;
    return true;
}

static rusm_msg *calls_pop(struct rusmi_sup *sup)
{
    rusm_msg *msg = sup->calls[sup->calls_first];

    sup->calls_first = (sup->calls_first + 1) & (sup->calls_cap - 1);
    sup->calls_len--;
    return msg;
}

bool rusmi_sup_take(struct rusmi_sup *sup, int64_t timeout_ms)
{
    rusm_msg *msg;

    if (rusm_receive(&msg, timeout_ms) != RUSM_OK) {
        return false;
    }
    switch (rusm_msg_get_kind(msg)) {
    case RUSM_MSG_DOWN:
        on_down(sup, msg);
        break;
    case RUSM_MSG_EXIT:
        on_exit_signal(sup, msg);
        break;
    case RUSM_MSG_CALL:
        if (calls_push(sup, msg)) {
            return true;
        }
        rusmi_sup_answer(msg, RUSM_ENOMEM, rusm_err_text(RUSM_ENOMEM));
        break;
    case RUSM_MSG_CAST:
        on_cast(sup, msg);
        break;
    case RUSM_MSG_DATA:
    case RUSM_MSG_TIMER:
    case RUSM_MSG_REPLY:
    case RUSM_MSG_JOIN:
    case RUSM_MSG_LEAVE:
    case RUSM_MSG_NODE_UP:
    case RUSM_MSG_NODE_DOWN:
    case RUSM_MSG_NAME_CONFLICT:
        count_unexpected();
        break;
    }
    rusm_msg_del(msg);
    return true;
}

/* See what has come, without waiting. */
static void drain(struct rusmi_sup *sup)
{
    for (unsigned i = 0; i < DRAIN_MAX && rusmi_sup_take(sup, 0); i++) {
    }
}

/* ---- restart intensity and back-off ---------------------------------------------------------- */

/*
 * Count a restart. False: it is one too many, because the restart before max_restarts others is not
 * older than the window (the border belongs to the window, as in OTP).
 */
static bool restart_count(struct rusmi_sup *sup)
{
    rusm_time now;

    if (sup->max_restarts != RUSMI_SUP_UNLIMITED) {
        if (sup->max_restarts == 0) {
            return false;
        }
        now = rusm_now();
        if (sup->stamps_len < sup->max_restarts) {
            sup->stamps_len++;
        } else if (now - sup->stamps[sup->stamps_next] <= sup->seconds * NS_PER_S) {
            return false;
        }
        sup->stamps[sup->stamps_next] = now;
        sup->stamps_next = sup->stamps_next + 1 == sup->max_restarts ? 0 : sup->stamps_next + 1;
    }
    sup->restarts++;
    return true;
}

static void give_up(struct rusmi_sup *sup, const struct rusmi_sup_child *child)
{
    rusm_reason reason = rusm_reason_make(RUSM_REASON_SHUTDOWN);

    if (child->spec->id_size > 0) {
        (void)snprintf(reason.text, sizeof(reason.text), "too many restarts, the last of '%.80s'",
                       child->spec->id);
    } else {
        (void)snprintf(reason.text, sizeof(reason.text), "too many restarts");
    }
    rusmi_log_note(rusm_runtime_self(), RUSM_LOG_CRASH, "gives up: %s", reason.text);
    end_with(sup, &reason);
}

/* How long a child waits for its next restart; counts it in its row. */
static uint32_t backoff_next_ms(struct rusmi_sup *sup, struct rusmi_sup_child *child, bool failed)
{
    uint32_t delay_ms = sup->backoff_min_ms;

    if (sup->backoff_min_ms == 0) {
        return 0;
    }
    if (!failed && rusm_now() - child->started_ns >= sup->backoff_max_ms * NS_PER_MS) {
        child->row = 0;
    }
    if (child->row++ == 0) {
        return 0;
    }
    for (uint32_t i = 2; i < child->row && delay_ms < sup->backoff_max_ms; i++) {
        delay_ms = delay_ms > sup->backoff_max_ms / 2 ? sup->backoff_max_ms : delay_ms * 2;
    }
    return delay_ms;
}

/* ---- strategies ------------------------------------------------------------------------------ */

static bool is_group(const struct rusmi_sup *sup)
{
    return sup->strategy == RUSM_ONE_FOR_ALL || sup->strategy == RUSM_REST_FOR_ONE;
}

/* The first of those that are restarted with child, up to the last. */
static struct rusmi_sup_child *group_first(const struct rusmi_sup *sup,
                                           struct rusmi_sup_child *child)
{
    return sup->strategy == RUSM_ONE_FOR_ALL ? rusmi_sup_child_next(sup, NULL) : child;
}

/* Stop those that are restarted with child, in reverse. Temporary ones are forgotten. */
static void group_stop(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    struct rusmi_sup_child *first = group_first(sup, child), *other, *prev;

    for (other = rusmi_sup_child_prev(sup, NULL);; other = prev) {
        bool is_first = other == first;

        prev = rusmi_sup_child_prev(sup, other);
        if (other != child) {
            rusmi_sup_child_stop(sup, other, CHILD_HELD);
            if (other->spec->restart == RUSM_TEMPORARY) {
                rusmi_sup_child_del(sup, other);
            }
        }
        if (is_first) {
            return;
        }
    }
}

/* A child is to be restarted: now, after its back-off, or, if it did not start, in the next turn of
 * the loop. */
static void restart_later(struct rusmi_sup *sup, struct rusmi_sup_child *child, uint32_t delay_ms)
{
    rusmi_sup_child_wait(sup, child, delay_ms == 0 ? 0 : rusm_now() + delay_ms * NS_PER_MS);
    if (is_group(sup)) {
        group_stop(sup, child);
    }
}

static rusm_err start_again(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    rusm_err err = rusmi_sup_child_start(sup, child);

    if (err == RUSM_OK) {
        child->restarts++;
    } else {
        restart_later(sup, child, backoff_next_ms(sup, child, true));
    }
    return err;
}

rusm_err rusmi_sup_restart(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    struct rusmi_sup_child *other;
    rusm_err err = RUSM_OK;

    if (!is_group(sup)) {
        return start_again(sup, child);
    }
    group_stop(sup, child);
    for (other = group_first(sup, child); other != NULL && err == RUSM_OK && !sup->ending;
         other = rusmi_sup_child_next(sup, other)) {
        err = start_again(sup, other);
        drain(sup);
    }
    return err;
}

static void restart_counted(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    if (restart_count(sup)) {
        (void)!rusmi_sup_restart(sup, child);
    } else {
        give_up(sup, child);
    }
}

void rusmi_sup_wait_pass_on(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    struct rusmi_sup_child *other;

    if (child->state != CHILD_WAITING || !is_group(sup)) {
        return;
    }
    for (other = group_first(sup, child); other != NULL; other = rusmi_sup_child_next(sup, other)) {
        if (other->state == CHILD_HELD) {
            rusmi_sup_child_wait(sup, other, child->due_ns);
            return;
        }
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void act_on_ended(struct rusmi_sup *sup, struct rusmi_sup_child *child)
{
    rusm_restart restart = child->spec->restart;
    uint32_t delay_ms;

    if (restart == RUSM_TEMPORARY || (restart == RUSM_TRANSIENT && child->orderly)) {
        if (restart == RUSM_TEMPORARY || sup->pattern != NULL) {
            rusmi_sup_child_del(sup, child);
        } else {
            rusmi_sup_child_rest(sup, child, CHILD_STOPPED);
        }
        return;
    }
    delay_ms = backoff_next_ms(sup, child, false);
    if (delay_ms == 0) {
        restart_counted(sup, child);
    } else {
        restart_later(sup, child, delay_ms);
    }
}

/* How long until the next restart is due. */
static int64_t due_ms(const struct rusmi_sup *sup)
{
    rusm_time now, due;

    if (sup->waits_len == 0) {
        return RUSM_INFINITY;
    }
    due = sup->waits[0]->due_ns;
    if (due == 0) {
        return 0;
    }
    now = rusm_now();
    return now >= due ? 0 : (int64_t)((due - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void act_on_due(struct rusmi_sup *sup)
{
    struct rusmi_sup_child *child = sup->waits[0];

    /* One that fails again and again must keep neither others from running nor messages away. */
    rusm_yield();
    (void)rusmi_sup_take(sup, 0);
    if (!sup->ending) {
        restart_counted(sup, child);
    }
}

static void loop(struct rusmi_sup *sup)
{
    while (!sup->ending) {
        int64_t left_ms;

        if (!rusmi_list_empty(&sup->ended)) {
            act_on_ended(sup, rusmi_container(sup->ended.next, struct rusmi_sup_child, ended));
            continue;
        }
        if (sup->calls_len > 0) {
            rusm_msg *msg = calls_pop(sup);

            rusmi_sup_serve(sup, msg);
            rusm_msg_del(msg);
            continue;
        }
        left_ms = due_ms(sup);
        if (left_ms == 0) {
            act_on_due(sup);
        } else {
            (void)rusmi_sup_take(sup, left_ms);
        }
    }
}

/* ---- the beginning and the end --------------------------------------------------------------- */

static rusm_err sup_init(struct rusmi_sup *sup, const struct rusmi_sup_request *request)
{
    const struct rusmi_sup_spec *spec = rusmi_sup_request_spec(request);

    sup->strategy = request->strategy;
    sup->max_restarts = request->max_restarts;
    sup->seconds = request->seconds;
    sup->backoff_min_ms = request->backoff_min_ms;
    sup->backoff_max_ms = request->backoff_max_ms;
    if (sup->max_restarts != RUSMI_SUP_UNLIMITED && sup->max_restarts > 0) {
        sup->stamps = rusm_alloc(sup->max_restarts * sizeof(*sup->stamps));
        if (sup->stamps == NULL) {
            return rusm_set_err_detail(RUSM_ENOMEM, "no memory for the times of %u restarts",
                                       sup->max_restarts);
        }
    }
    for (size_t i = 0; i < request->children_len; i++) {
        struct rusmi_sup_spec *copy = rusmi_sup_spec_copy(spec);

        if (spec->id_size > 0 && rusmi_sup_child_by_id(sup, spec->text) != NULL) {
            return rusm_set_err_detail(RUSM_EINVAL, "two children have the id '%s'", spec->text);
        }
        if (copy != NULL && sup->strategy == RUSM_SIMPLE_ONE_FOR_ONE) {
            sup->pattern = copy;
        } else if (copy == NULL || rusmi_sup_child_new(sup, copy, copy->arg) == NULL) {
            return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
        }
        spec = (const void *)((const char *)spec + spec->size);
    }
    return RUSM_OK;
}

static rusm_err children_start(struct rusmi_sup *sup)
{
    rusm_err err = RUSM_OK;

    for (struct rusmi_sup_child *child = rusmi_sup_child_next(sup, NULL);
         child != NULL && err == RUSM_OK && !sup->ending;
         child = rusmi_sup_child_next(sup, child)) {
        err = rusmi_sup_child_start(sup, child);
        if (err == RUSM_OK) {
            drain(sup);
        }
    }
    return err;
}

static bool is_beginning(const rusm_msg *msg, void *arg)
{
    const struct rusmi_sup *sup = arg;
    const struct rusmi_sup_request *request;

    if (!rusm_pid_equal(rusm_msg_sender(msg), sup->parent)) {
        return false;
    }
    request = rusm_msg_get_kind(msg) == RUSM_MSG_CALL ? rusmi_sup_request_of(msg) : NULL;
    return rusm_msg_get_kind(msg) == RUSM_MSG_EXIT ||
           (request != NULL && request->op == RUSMI_SUP_INIT);
}

/* Become what the parent says. False: nothing was started, and it was told. */
static bool begin(struct rusmi_sup *sup)
{
    char detail[RUSMI_SUP_DETAIL_MAX];
    rusm_msg *msg;
    rusm_err err;

    while (rusm_receive_match(&msg, is_beginning, sup, RUSM_INFINITY) != RUSM_OK) {
    }
    if (rusm_msg_get_kind(msg) == RUSM_MSG_EXIT) {
        end_with(sup, rusm_msg_reason(msg));
        rusm_msg_del(msg);
        return true;
    }
    err = sup_init(sup, rusmi_sup_request_of(msg));
    if (err == RUSM_OK) {
        err = children_start(sup);
    }
    if (err != RUSM_OK) {
        (void)snprintf(detail, sizeof(detail), "%s", rusm_err_detail());
        rusmi_sup_children_stop(sup);
        (void)!rusm_unlink(sup->parent); /* it learns it from the answer */
        rusmi_sup_answer(msg, err, detail);
    } else if (!sup->ending) {
        rusmi_sup_answer(msg, RUSM_OK, "");
    }
    rusm_msg_del(msg);
    return err == RUSM_OK;
}

void rusmi_sup_main(void *arg)
{
    struct rusmi_sup sup = {.self = rusm_self()};

    sup.parent = (rusm_pid){sup.self.incarnation, (uint64_t)(uintptr_t)arg};
    rusmi_list_init(&sup.children);
    rusmi_list_init(&sup.ended);
    if (!begin(&sup)) {
        return;
    }
    loop(&sup);
    rusmi_sup_children_stop(&sup);
    rusm_exit_with(&sup.reason);
}
