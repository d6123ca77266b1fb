/* SPDX-License-Identifier: MIT */
/*
 * Requests with an answer: see rusm/otp/call.h.
 *
 * A call is one reference number: of the monitor on the server, of the request, and of its answer.
 * So what ends a call, the answer or the down, is found by that number, and from the mark on that
 * was set before the request was sent. An answer whose call is over has a number that nobody waits
 * for; the next receive that meets it drops it. Nothing of a call is on the heap but the monitor,
 * which ends with the caller, so a caller that is killed leaves nothing behind.
 *
 * Design note: docs/design/calls.md.
 */
#include <rusm/otp/call.h>

#include "gen/call.h"
#include "otp/sched.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/link.h>
#include <rusm/otp/registry.h>

static rusm_err no_context(void)
{
    return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
}

static rusm_err check_bytes(const void *data, size_t len)
{
    return data != NULL || len == 0
               ? RUSM_OK
               : rusm_set_err_detail(RUSM_EINVAL, "a message of %zu bytes needs bytes", len);
}

rusm_err rusmi_call_deliver(struct rusmi_process *self, rusm_pid to, rusm_msg *msg,
                            int64_t timeout_ms)
{
    rusm_err err;

    msg->sender = self == NULL ? RUSM_PID_NONE : rusmi_process_pid(self);
    err = self != NULL && self->runtime->incarnation == to.incarnation
              ? rusm_deliver(self->runtime, to.serial, msg)
              : rusmi_send_far(self, to, msg, timeout_ms);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
    return err;
}

rusm_err rusmi_ended(const char *who, const rusm_reason *reason)
{
    char text[RUSM_REASON_TEXT_MAX + 64];

    (void)rusm_reason_format(reason, text, sizeof(text));
    if (reason->kind == RUSM_REASON_NOCONNECTION) {
        return rusm_set_err_detail(RUSM_ENOLINK, "the node of %s was lost: %s", who, text);
    }
    return rusm_set_err_detail(RUSM_ENOPROC, "%s has ended: %s", who, text);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Send the request. RUSM_ENOPROC: the down is in the mailbox, or will be in a moment. */
static rusm_err call_send(struct rusmi_process *self, rusm_pid server, uint64_t number,
                          const void *data, size_t len, int64_t timeout_ms)
{
    rusm_msg *msg;
    rusm_err err = rusmi_msg_make(&msg, RUSM_MSG_CALL, number, data, len);

    return err == RUSM_OK ? rusmi_call_deliver(self, server, msg, timeout_ms) : err;
}

/*
 * Whether an answer may be one to a call of that server: any process of its node or of ours may
 * answer, but another node has not been asked, and a number is soon guessed.
 */
static bool is_asked(const rusm_msg *reply, rusm_pid server)
{
    rusm_pid from = rusm_msg_sender(reply);

    return from.incarnation == server.incarnation || rusm_pid_is_none(from) ||
           from.incarnation == rusm_self().incarnation;
}

/* Wait for the answer or the down. */
static rusm_err call_wait(rusm_pid server, rusm_mark mark, rusm_ref ref, rusm_time until,
                          rusm_msg **out_reply)
{
    rusm_msg *msg;

    for (;;) {
        rusm_err err = rusmi_receive_reply(mark, ref.number, rusmi_time_left(until), &msg);

        if (err != RUSM_OK) {
            return err;
        }
        if (rusm_msg_get_kind(msg) == RUSM_MSG_DOWN) {
            err = rusmi_ended("the server", rusm_msg_reason(msg));
            rusm_msg_del(msg);
            return err;
        }
        if (is_asked(msg, server)) {
            break;
        }
        (void)atomic_fetch_add(&rusmi_process_self()->runtime->late, 1);
        rusm_msg_del(msg);
    }
    if (out_reply != NULL) {
        *out_reply = msg;
    } else {
        rusm_msg_del(msg);
    }
    return RUSM_OK;
}

rusm_err rusm_call(rusm_pid server, const void *data, size_t len, int64_t timeout_ms,
                   rusm_msg **out_reply)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_mark mark;
    rusm_time until;
    rusm_ref ref;
    rusm_err err;

    if (self == NULL) {
        return no_context();
    }
    err = check_bytes(data, len);
    if (err != RUSM_OK) {
        return err;
    }
    if (rusm_pid_equal(server, rusmi_process_pid(self))) {
        return rusm_set_err_detail(RUSM_EINVAL, "a process can not call itself");
    }
    ref = (rusm_ref){self->runtime->incarnation, rusmi_ref_new()};
    mark = rusm_mailbox_mark();
    err = rusmi_monitor_with(server, ref.number);
    if (err != RUSM_OK) {
        return err;
    }
    until = rusmi_deadline(timeout_ms);
    err = call_send(self, server, ref.number, data, len, timeout_ms);
    if (err == RUSM_OK) {
        err = call_wait(server, mark, ref, until, out_reply);
    } else if (err == RUSM_ENOPROC) {
        /* It ends just now: its down says why, if it comes in time. */
        rusm_err down = call_wait(server, mark, ref, until, NULL);

        if (down != RUSM_ENOPROC) {
            (void)rusm_set_err_detail(err, "%s", rusm_err_text(err));
        }
    }
    (void)rusm_demonitor(ref, true);
    return err;
}

rusm_err rusm_call_name(const char *server, const void *data, size_t len, int64_t timeout_ms,
                        rusm_msg **out_reply)
{
    rusm_pid pid;
    rusm_err err;

    if (rusmi_process_self() == NULL) {
        return no_context();
    }
    err = rusm_whereis(NULL, server, &pid);
    return err == RUSM_OK ? rusm_call(pid, data, len, timeout_ms, out_reply) : err;
}

/* ---- answers --------------------------------------------------------------------------------- */

rusm_from rusm_msg_from(const rusm_msg *request)
{
    rusm_from from = {RUSM_PID_NONE, {0, 0}};

    if (rusm_msg_get_kind(request) == RUSM_MSG_CALL) {
        from.pid = rusm_msg_sender(request);
        from.ref = rusm_msg_ref(request);
    }
    return from;
}

rusm_err rusm_reply(rusm_from from, const void *data, size_t len)
{
    struct rusmi_process *self = rusmi_process_self();
    rusm_err err = check_bytes(data, len);
    rusm_msg *msg;

    if (err != RUSM_OK) {
        return err;
    }
    if (rusm_pid_is_none(from.pid) || from.ref.number == 0 ||
        from.ref.incarnation != from.pid.incarnation) {
        return rusm_set_err_detail(RUSM_EINVAL, "an answer needs a call");
    }
    rusmi_checkpoint(); /* before anything is allocated */
#ifdef RUSMI_PLANT_CALL
    len -= len != 0;
#endif
    err = rusmi_msg_make(&msg, RUSM_MSG_REPLY, from.ref.number, data, len);
    if (err == RUSM_OK) {
        err = rusmi_call_deliver(self, from.pid, msg, RUSM_INFINITY);
    }
    if (self != NULL) {
        rusmi_process_work(self, 1);
    }
    return err;
}

/* ---- casts ----------------------------------------------------------------------------------- */

rusm_err rusm_cast(rusm_pid server, const void *data, size_t len)
{
    return rusmi_send_kind(server, RUSM_MSG_CAST, data, len);
}

rusm_err rusm_cast_name(const char *server, const void *data, size_t len)
{
    return rusmi_send_name_kind(server, RUSM_MSG_CAST, data, len);
}
