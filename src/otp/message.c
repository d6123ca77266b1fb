/* SPDX-License-Identifier: MIT */
/*
 * Messages: made, freed, and what may hang on them; see otp/mailbox.h.
 *
 * A message is in one of three places: in a mailbox, in the list of the process that holds it (so
 * that it is freed if that process ends), or in the hands of library code, for a moment.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "otp/mailbox.h"
#include "otp/sched.h"

#include <rusm/otp/driver.h>

#include <stdint.h>
#include <string.h>

#define LEN_MAX (((uint64_t)1 << 48) - 1)

/* A message with room for so many bytes behind its head. NULL without memory. */
static struct rusm_msg *make(rusm_msg_kind kind, size_t room, size_t len, unsigned flags)
{
    struct rusmi_worker *worker = rusmi_worker_self();
    struct rusm_msg *msg;
    unsigned size_class;

    if (room > LEN_MAX - sizeof(*msg)) {
        return NULL;
    }
    msg =
        rusmi_cache_take(worker == NULL ? NULL : &worker->cache, sizeof(*msg) + room, &size_class);
    if (msg == NULL) {
        return NULL;
    }
    msg->next = NULL;
    msg->held = NULL;
    msg->sender = RUSM_PID_NONE;
    msg->meta = RUSMI_MSG_META(len & LEN_MAX, (unsigned)kind, flags, size_class);
    msg->ref = 0;
    return msg;
}

static rusm_err no_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
}

rusm_err rusmi_msg_make(rusm_msg **out_msg, rusm_msg_kind kind, uint64_t ref, const void *data,
                        size_t len)
{
    struct rusm_msg *msg = make(kind, len, len, 0);

    if (msg == NULL) {
        return no_memory();
    }
    msg->ref = ref;
    if (data != NULL && len != 0) {
        memcpy(msg->data, data, len);
    }
    *out_msg = msg;
    return RUSM_OK;
}

rusm_err rusm_msg_new(rusm_msg **out_msg, size_t len)
{
    struct rusmi_process *self = rusmi_process_self();
    struct rusm_msg *msg = make(RUSM_MSG_DATA, len, len, 0);

    if (msg == NULL) {
        return no_memory();
    }
    if (self != NULL) {
        rusmi_msg_hold(&self->held, msg);
    }
    *out_msg = msg;
    return RUSM_OK;
}

void rusmi_msg_free(struct rusm_msg *msg)
{
    struct rusmi_worker *worker;

    if ((msg->flags & RUSMI_MSG_CAUSE) != 0) {
        struct rusmi_cause *cause;

        memcpy(&cause, msg->data, sizeof(cause));
        rusmi_cause_drop(cause);
    } else if ((msg->flags & RUSMI_MSG_SHARED) != 0) {
        struct rusmi_shared *shared;

        memcpy(&shared, msg->data, sizeof(shared));
        rusmi_shared_drop(shared);
    } else if ((msg->flags & RUSMI_MSG_OBJECT) != 0) {
        struct rusmi_attached *attached = (struct rusmi_attached *)(void *)msg->data;

        if (attached->drop != NULL) {
            attached->drop(attached->object);
        }
    }
    worker = rusmi_worker_self();
    rusmi_cache_give(worker == NULL ? NULL : &worker->cache, msg, msg->size_class);
}

void *rusm_msg_data(const rusm_msg *msg)
{
    if ((msg->flags & RUSMI_MSG_SHARED) != 0) {
        struct rusmi_shared *shared;

        memcpy(&shared, msg->data, sizeof(shared));
        return shared->data;
    }
    /* the owner of a message may write it: see the header */
    return (unsigned char *)(uintptr_t)msg->data +
           ((msg->flags & RUSMI_MSG_OBJECT) != 0 ? sizeof(struct rusmi_attached) : 0);
}

size_t rusm_msg_len(const rusm_msg *msg)
{
    return msg->len;
}

rusm_pid rusm_msg_sender(const rusm_msg *msg)
{
    return msg->sender;
}

void rusm_msg_set_sender(rusm_msg *msg, rusm_pid sender)
{
    msg->sender = sender;
}

void rusm_msg_set_kind(rusm_msg *msg, rusm_msg_kind kind, uint64_t ref_number)
{
    msg->kind = (unsigned)kind & 0xff;
    msg->ref = ref_number;
}

void rusm_msg_set_far(rusm_msg *msg)
{
    msg->flags |= RUSMI_MSG_FAR;
}

rusm_msg_kind rusm_msg_get_kind(const rusm_msg *msg)
{
    return (rusm_msg_kind)msg->kind;
}

rusm_ref rusm_msg_ref(const rusm_msg *msg)
{
    const struct rusmi_process *self = rusmi_process_self();

    if (msg->ref == 0) {
        return (rusm_ref){0, 0};
    }
    /* A call's reference is its caller's; all others were made by who reads the message. */
    return (rusm_ref){msg->kind == RUSM_MSG_CALL || self == NULL
                          ? msg->sender.incarnation
                          : rusmi_process_pid(self).incarnation,
                      msg->ref};
}

const rusm_reason *rusm_msg_reason(const rusm_msg *msg)
{
    struct rusmi_cause *cause;

    if ((msg->flags & RUSMI_MSG_CAUSE) == 0) {
        return NULL;
    }
    memcpy(&cause, msg->data, sizeof(cause));
    return &cause->reason;
}

/* ---- what hangs on a message ----------------------------------------------------------------- */

struct rusm_msg *rusmi_msg_with_cause(rusm_msg_kind kind, struct rusmi_cause *cause, size_t extra)
{
    struct rusm_msg *msg = make(kind, sizeof(cause) + extra, 0, RUSMI_MSG_CAUSE);

    if (msg != NULL) {
        memcpy(msg->data, &cause, sizeof(cause));
    }
    return msg;
}

rusm_err rusmi_msg_attach(rusm_msg **out_msg, rusm_msg_kind kind, const void *data, size_t len,
                          void *object, void (*drop)(void *object))
{
    const struct rusmi_attached attached = {object, drop};
    struct rusm_msg *msg;

    if (len > LEN_MAX / 2) {
        return no_memory();
    }
    msg = make(kind, sizeof(attached) + len, len, RUSMI_MSG_OBJECT);
    if (msg == NULL) {
        return no_memory();
    }
    memcpy(msg->data, &attached, sizeof(attached));
    if (len != 0) {
        memcpy(msg->data + sizeof(attached), data, len);
    }
    *out_msg = msg;
    return RUSM_OK;
}

void *rusmi_msg_object(const rusm_msg *msg, void (*drop)(void *object))
{
    const struct rusmi_attached *attached = (const void *)msg->data;

    return (msg->flags & RUSMI_MSG_OBJECT) != 0 && attached->drop == drop ? attached->object : NULL;
}

bool rusmi_msg_carries(const rusm_msg *msg)
{
    const struct rusmi_attached *attached = (const void *)msg->data;

    return (msg->flags & RUSMI_MSG_OBJECT) != 0 && attached->object != NULL;
}

void rusmi_msg_detach(rusm_msg *msg)
{
    struct rusmi_attached *attached = (struct rusmi_attached *)(void *)msg->data;

    rusmi_assert((msg->flags & RUSMI_MSG_OBJECT) != 0);
    *attached = (struct rusmi_attached){NULL, NULL};
}

struct rusmi_shared *rusmi_shared_new(const void *data, size_t len)
{
    struct rusmi_shared *shared =
        len > LEN_MAX / 2 ? NULL : rusmi_alloc(sizeof(struct rusmi_shared) + len);

    if (shared != NULL) {
        atomic_init(&shared->refs, 1);
        shared->len = len;
        if (len != 0) {
            memcpy(shared->data, data, len);
        }
    }
    return shared;
}

void rusmi_shared_drop(struct rusmi_shared *shared)
{
    /* acq_rel: what was read with a reference happens before the free by the last one */
    if (atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) == 1) {
        rusmi_free(shared);
    }
}

rusm_err rusmi_msg_share(rusm_msg **out_msg, rusm_msg_kind kind, struct rusmi_shared *shared)
{
    struct rusm_msg *msg = make(kind, sizeof(struct rusmi_shared *), shared->len, RUSMI_MSG_SHARED);

    if (msg == NULL) {
        return no_memory();
    }
    /* relaxed: the caller has a reference already */
    (void)atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    memcpy(msg->data, &shared, sizeof(struct rusmi_shared *));
    *out_msg = msg;
    return RUSM_OK;
}

/* ---- who holds a message --------------------------------------------------------------------- */

void rusmi_msg_hold(struct rusm_msg **list, struct rusm_msg *msg)
{
    rusmi_msg_hold_inline(list, msg);
}

void rusmi_msg_let(struct rusm_msg *msg)
{
    rusmi_msg_let_inline(msg);
}

void rusmi_msgs_free(struct rusm_msg **list)
{
    while (*list != NULL) {
        rusm_msg_del(*list);
    }
}

/* ---- causes ---------------------------------------------------------------------------------- */

static struct rusmi_cause bare[] = {
    {.reason = {.kind = RUSM_REASON_NORMAL}},
    {.reason = {.kind = RUSM_REASON_SHUTDOWN}},
    {.reason = {.kind = RUSM_REASON_KILLED}},
    {.reason = {.kind = RUSM_REASON_NOPROC}},
    {.reason = {.kind = RUSM_REASON_NOCONNECTION}},
    {.reason = {.kind = RUSM_REASON_CRASHED}},
    {.reason = {.kind = RUSM_REASON_FAULT}},
    {.reason = {.kind = RUSM_REASON_STACK_OVERFLOW}},
};

struct rusmi_cause *rusmi_cause_new(const rusm_reason *reason)
{
    struct rusmi_cause *cause;

    if (reason->text[0] == '\0' && reason->signal == 0 && reason->address == 0) {
        return &bare[reason->kind];
    }
    cause = rusmi_alloc(sizeof(*cause));
    if (cause == NULL) {
        return &bare[reason->kind];
    }
    atomic_init(&cause->refs, 1);
    cause->reason = *reason;
    return cause;
}

struct rusmi_cause *rusmi_cause_hold(struct rusmi_cause *cause)
{
    /* relaxed: the caller has a reference already */
    if (atomic_load_explicit(&cause->refs, memory_order_relaxed) != 0) {
        (void)atomic_fetch_add_explicit(&cause->refs, 1, memory_order_relaxed);
    }
    return cause;
}

void rusmi_cause_drop(struct rusmi_cause *cause)
{
    /* relaxed: a constant cause is one for ever. acq_rel: as in rusmi_shared_drop() */
    if (cause != NULL && atomic_load_explicit(&cause->refs, memory_order_relaxed) != 0 &&
        atomic_fetch_sub_explicit(&cause->refs, 1, memory_order_acq_rel) == 1) {
        rusmi_free(cause);
    }
}
