/* SPDX-License-Identifier: MIT */
/*
 * The generic server: see rusm/otp/server.h, and gen/child.h for how its start is waited for.
 *
 * The link between a server and who starts it is made by the server, when its init has returned and
 * the gate of the record says that nobody has given up. So a start that fails leaves no link, and
 * thus no exit, whether the caller traps exits or not. Until then an exit hook of the caller ends
 * the server with it.
 *
 * Terminate runs from inside rusm_exit() and rusm_exit_with(), which ask the process's `extra`
 * record what is to be done first: so it is the same for every orderly way to end.
 *
 * rusm_server_stop() sends an exit message with reason normal and a reference that no other exit
 * has. Exits pass a full mailbox, and what a user sends is never of this kind; it does not matter
 * whether the server traps exits, as it is no signal. Between nodes the order travels as one
 * (RUSM_SIGNAL_STOP) and becomes that message there.
 *
 * Design note: docs/design/calls.md.
 */
#include <rusm/otp/server.h>

#include "base/mem.h"
#include "gen/call.h"
#include "gen/child.h"
#include "otp/sched.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/link.h>
#include <rusm/otp/memory.h>

#include <stdio.h>

/* How long a server that was killed, because its init took too long, is given to end. Only one that
 * computes without a rusm call needs more than microseconds. */
#define KILL_WAIT_MS 1000

/* What a server and who starts it share until init has returned. */
struct start {
    struct rusmi_child child; /* first */
    const rusm_server_ops *ops;
    void *arg;
    /* the server until it has ended, then the caller */
    rusm_err err; /* of init */
    char *detail; /* of err; NULL: none, or no memory */
};

struct server {
    const rusm_server_ops *ops;
    void *state;
    rusm_pid parent;
};

static bool ops_valid(const rusm_server_ops *ops)
{
    return ops != NULL && ops->size == sizeof(*ops) && ops->call != NULL;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* The server leaves by rusm_exit() or rusm_exit_with(). */
static void before_exit(void *arg, const rusm_reason *reason)
{
    const struct server *server = arg;

    if (server->ops->terminate != NULL) {
        server->ops->terminate(server->state, reason);
    }
}

/* An exit message that asks the server to end: a stop, or the end of its parent. */
static bool is_order(const struct server *server, const rusm_msg *msg)
{
    return msg->ref == RUSMI_STOP_REF || rusm_pid_equal(msg->sender, server->parent);
}

static void dispatch(const struct server *server, rusm_msg *msg)
{
    const rusm_server_ops *ops = server->ops;
    rusm_msg_kind kind = rusm_msg_get_kind(msg);

    if (kind == RUSM_MSG_CALL) {
        ops->call(server->state, msg);
    } else if (kind == RUSM_MSG_CAST && ops->cast != NULL) {
        ops->cast(server->state, msg);
    } else if (kind == RUSM_MSG_EXIT && is_order(server, msg)) {
        rusm_exit_with(rusm_msg_reason(msg));
    } else if (ops->info != NULL) {
        ops->info(server->state, msg);
    } else {
        (void)atomic_fetch_add(&rusmi_process_self()->runtime->unexpected, 1);
    }
}

/* init has returned an error. */
static RUSM_NORETURN void init_failed(struct start *start, rusm_err err)
{
    rusm_reason reason = rusm_reason_crashed("init failed: %s", rusm_err_detail());

    if (start != NULL) {
        start->err = err;
        start->detail = rusmi_strdup(rusm_err_detail());
        /* Who started it hears of it as an error: nothing has crashed. */
        reason.kind = RUSM_REASON_SHUTDOWN;
    }
    rusm_exit_with(&reason);
}

/* Tell who started the server that it is up, and link to it. */
static void report(struct start *start)
{
    rusm_err err;

    if (!rusmi_child_ready(&start->child)) {
        rusm_exit(RUSM_REASON_SHUTDOWN); /* nobody waits any more, and we have been killed */
    }
    err = rusm_link(start->child.parent_pid);
    if (err != RUSM_OK) {
        init_failed(start, err);
    }
    rusmi_child_tell(&start->child);
}

static RUSM_NORETURN void serve(const rusm_server_ops *ops, void *arg, struct start *start)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusmi_process_extra *extra = rusmi_process_extra(self);
    struct server server = {.ops = ops, .state = arg};
    rusm_err err = RUSM_OK;

    server.parent = (rusm_pid){rusmi_process_pid(self).incarnation, self->parent_serial};
    if (extra == NULL) {
        err = rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    } else if (ops->init != NULL) {
        err = ops->init(arg, &server.state);
    }
    if (err != RUSM_OK) {
        init_failed(start, err);
    }
    extra->before_exit = before_exit;
    extra->before_exit_arg = &server;
    if (start != NULL) {
        report(start);
    }
    for (;;) {
        rusm_msg *msg;

        err = rusm_receive(&msg, RUSM_INFINITY);
        if (err != RUSM_OK) {
            rusm_crash("a server can not receive: %s", rusm_err_detail());
        }
        dispatch(&server, msg);
        rusm_msg_del(msg);
    }
}

void rusm_server_run(const rusm_server_ops *ops, void *arg)
{
    if (!ops_valid(ops)) {
        rusm_crash("a server needs functions, at least one for calls");
    }
    serve(ops, arg, NULL);
}

void rusm_server_exit(const rusm_reason *reason)
{
    rusm_exit_with(reason);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void server_main(void *arg)
{
    struct start *start = arg;

    serve(start->ops, start->arg, start);
}

static void start_del(struct rusmi_child *child)
{
    struct start *start = rusmi_container(child, struct start, child);

    rusmi_free(start->detail);
    rusmi_free(start);
}

/* The caller of rusm_server_start() ends. If the server is ready it links to us instead, and finds
 * us ended. */
static void caller_ends(void *arg)
{
    struct start *start = arg;

    if (rusmi_child_give_up(&start->child)) {
        rusmi_child_orphan(&start->child);
    } else {
        rusmi_child_drop(&start->child);
    }
}

static bool is_exit_of(const rusm_msg *msg, void *arg)
{
    const rusm_pid *pid = arg;

    return rusm_msg_get_kind(msg) == RUSM_MSG_EXIT && rusm_pid_equal(rusm_msg_sender(msg), *pid);
}

/* The server may have linked itself to the caller, who is not to know it. */
static void cut(rusm_pid pid)
{
    rusm_msg *msg;

    (void)!rusm_unlink(pid);
    while (rusm_receive_match(&msg, is_exit_of, &pid, 0) == RUSM_OK) {
        rusm_msg_del(msg);
    }
}

/* Init did not return in time, or the thread that waits has to leave: err says which. */
static rusm_err give_up(struct start *start, rusm_err err)
{
    char why[RUSMI_DETAIL_TEXT_MAX];

    if (!rusmi_child_give_up(&start->child)) {
        if (err == RUSM_ETIMEOUT) {
            /* It is ready: all that is left is what the library does. */
            return rusmi_child_wait(&start->child, &start->child.told, RUSM_INFINITY);
        }
        cut(start->child.pid);
    }
    (void)snprintf(why, sizeof(why), "%s", rusm_err_detail());
    (void)!rusm_kill(start->child.pid);
    if (err == RUSM_ETIMEOUT) {
        (void)!rusmi_child_wait(&start->child, &start->child.ended, KILL_WAIT_MS);
    }
    return rusm_set_err_detail(err, "%s", why);
}

/* Wait until the server is up, or is not going to be. */
static rusm_err await(struct start *start, int64_t timeout_ms)
{
    struct rusmi_child *child = &start->child;
    rusm_err err = rusmi_child_wait(child, &child->told, timeout_ms);

    if (err != RUSM_OK) {
        err = give_up(start, err);
    }
    if (err != RUSM_OK || atomic_load(&child->told) != 0) {
        return err;
    }
    /* It has ended before it was up. */
    cut(child->pid);
    if (start->err != RUSM_OK) {
        return rusm_set_err_detail(start->err, "%s",
                                   start->detail != NULL && start->detail[0] != '\0'
                                       ? start->detail
                                       : rusm_err_text(start->err));
    }
    return rusmi_ended("the server", &child->reason);
}

/* Spawn the server, with the caller's exit hook set meanwhile. */
static rusm_err launch(struct start *start, const rusm_spawn_config *cfg, int64_t timeout_ms)
{
    rusm_exit_hook hook;
    rusm_err err = rusm_at_exit(caller_ends, start, &hook);

    if (err != RUSM_OK) {
        return err;
    }
    err = rusmi_child_spawn(&start->child, server_main, start, cfg);
    if (err == RUSM_OK) {
        err = await(start, timeout_ms);
        if (rusm_unwatch_exit(&start->child.watch)) {
            rusmi_child_drop(&start->child);
        }
    }
    (void)rusm_cancel_exit_hook(hook);
    return err;
}

rusm_err rusm_server_start(const rusm_server_ops *ops, void *arg, const rusm_spawn_config *cfg,
                           int64_t timeout_ms, rusm_pid *out_pid)
{
    rusm_spawn_config spawn;
    struct start *start;
    rusm_ref ref = {0, 0};
    rusm_pid pid;
    rusm_err err;

    if (rusmi_process_self() == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (!ops_valid(ops) || (cfg != NULL && cfg->size != sizeof(*cfg))) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "a server needs functions, at least one for calls, and a valid config");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    start = rusmi_zalloc(sizeof(*start));
    if (start == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    rusmi_child_init(&start->child, start_del);
    start->ops = ops;
    start->arg = arg;
    rusm_spawn_config_init(&spawn);
    if (cfg != NULL) {
        spawn = *cfg;
        spawn.out_ref = cfg->out_ref == NULL ? NULL : &ref;
    }
    spawn.link = false; /* the server makes the link, see above */
    err = launch(start, &spawn, timeout_ms);
    pid = start->child.pid;
    rusmi_child_drop(&start->child);
    if (err != RUSM_OK) {
        (void)rusm_demonitor(ref, true);
    } else {
        if (spawn.out_ref != NULL) {
            *cfg->out_ref = ref;
        }
        if (out_pid != NULL) {
            *out_pid = pid;
        }
    }
    return err;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static rusm_err send_stop(struct rusmi_process *self, rusm_pid server)
{
    const rusm_reason normal = rusm_reason_make(RUSM_REASON_NORMAL);
    rusm_msg *msg;

    if (rusmi_is_far(self, server)) {
        return rusmi_far_ask(self, RUSM_SIGNAL_STOP, server, &normal);
    }
    msg = rusmi_msg_with_cause(RUSM_MSG_EXIT, rusmi_cause_new(&normal), 0);
    if (msg == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    msg->ref = RUSMI_STOP_REF;
    return rusmi_call_deliver(self, server, msg, RUSM_INFINITY);
}

/* Wait for the down. */
static rusm_err await_end(rusm_mark mark, rusm_ref ref, int64_t timeout_ms)
{
    rusm_msg *msg;
    rusm_err err = rusmi_receive_reply(mark, ref.number, timeout_ms, &msg);

    if (err == RUSM_OK) {
        rusm_reason_kind kind = rusm_msg_reason(msg)->kind;

        if (kind == RUSM_REASON_NOPROC || kind == RUSM_REASON_NOCONNECTION) {
            err = rusmi_ended("the server", rusm_msg_reason(msg));
        }
        rusm_msg_del(msg);
    }
    return err;
}

rusm_err rusm_server_stop(rusm_pid server, int64_t timeout_ms)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_mark mark;
    rusm_ref ref;
    rusm_err err, ended;

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (rusm_pid_equal(server, rusmi_process_pid(self))) {
        return rusm_set_err_detail(RUSM_EINVAL, "a server can not wait for its own end");
    }
    ref = (rusm_ref){rusmi_process_pid(self).incarnation, rusmi_ref_new()};
    mark = rusm_mailbox_mark();
    err = rusmi_monitor_with(server, ref.number);
    if (err != RUSM_OK) {
        return err;
    }
    err = send_stop(self, server);
    if (err == RUSM_OK || err == RUSM_ENOPROC) {
        ended = await_end(mark, ref, timeout_ms);
        err = err == RUSM_OK ? ended : err;
    }
    (void)rusm_demonitor(ref, true);
    return err;
}
