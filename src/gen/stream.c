/* SPDX-License-Identifier: MIT */
/*
 * Byte streams between two processes: see rusm/otp/stream.h and docs/design/io.md.
 *
 * Each end is used by one process at a time, its owner, so the bytes need no lock: what lies
 * between the counters is the reader's, the rest the writer's. Each end sleeps on a waiter of its
 * own, and is woken only when what it waits for may have begun: the first byte, the first room, the
 * end of the other. Counters and states are sequentially consistent: an end publishes, then looks
 * at the other's counter; whoever comes second sees the first.
 *
 * An end belongs to its owner by an exit hook, or lies in a message that drops it. The record goes
 * with the second end. gen/stream.h has the picture, stream_far.c what passes between nodes.
 */
#include "gen/stream.h"

#include "base/mem.h"
#include "gen/io.h"
#include "otp/far.h"

#include <string.h>

#define CAPACITY_DEFAULT ((size_t)65536)

/* ---- ends ------------------------------------------------------------------------------------ */

static void discharge(const struct rusmi_stream *stream)
{
    rusm_runtime *rt;

    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(stream->charged_to);
    if (rt != NULL) {
        (void)atomic_fetch_sub(&rt->offered, stream->charged);
    }
    rusmi_runtimes_release();
}

void rusmi_stream_drop(struct rusmi_stream *stream)
{
    /* acq_rel: what was done with a reference happens before the free by the last one */
    if (atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel) == 1) {
        rusm_waiter_drop(stream->writer.waiter);
        rusm_waiter_drop(stream->reader.waiter);
        if (stream->far != NULL) {
            rusmi_far_drop(stream->far);
        }
        if (stream->charged != 0) {
            discharge(stream);
        }
        rusmi_free(stream->ring);
        rusmi_free(stream);
    }
}

/*
 * The reading end is gone: drop what lies in the ring, and count it for the runtime that would have
 * read it. Called by either end; a byte is counted by whoever moves `taken` past it.
 */
void rusmi_stream_drop_unread(struct rusmi_stream *stream)
{
    uint64_t taken = atomic_load(&stream->taken);
    uint64_t written = atomic_load(&stream->written);
    rusm_runtime *rt;

    while (taken < written && !atomic_compare_exchange_weak(&stream->taken, &taken, written)) {
    }
    if (taken >= written) {
        return;
    }
    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(rusmi_stream_owner(&stream->reader).incarnation);
    if (rt != NULL) {
        (void)atomic_fetch_add(&rt->stream_dropped, written - taken);
    }
    rusmi_runtimes_release();
}

/* Close an end in that way, and tell the other. */
static void end_close(rusm_stream *end, uint32_t state)
{
    struct rusmi_stream *stream = end->stream;

    atomic_store(&end->state, state);
    if (end->is_writer) {
        rusmi_stream_wake(&stream->reader);
    } else {
        rusmi_stream_drop_unread(stream);
        rusmi_stream_wake(&stream->writer);
    }
    /* As in put_here(); once it is in place, what we have just set is looked at. */
    (void)atomic_fetch_add(&stream->busy, 1);
    if (atomic_load(&stream->wire) != RUSMI_WIRE_NONE) {
        rusmi_stream_say_end(stream);
    }
    (void)atomic_fetch_sub(&stream->busy, 1);
    rusmi_stream_drop(stream);
}

/* The owner has ended, or the message that carried the end is freed. */
void rusmi_stream_end_lost(void *arg)
{
    end_close(arg, RUSMI_END_LOST);
}

static rusm_err no_context(void)
{
    return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
}

/* Whether end is a writing, or a reading, end of the caller. */
static rusm_err check(const rusm_stream *end, bool is_writer)
{
    rusm_pid self = rusm_self();

    if (rusm_pid_is_none(self)) {
        return no_context();
    }
    if (end == NULL || end->is_writer != is_writer ||
        !rusm_pid_equal(rusmi_stream_owner(end), self)) {
        return rusm_set_err_detail(RUSM_EINVAL, "it is not a %s end of a stream of the caller",
                                   is_writer ? "writing" : "reading");
    }
    return RUSM_OK;
}

struct rusmi_stream *rusmi_stream_make(size_t capacity, bool with_ring)
{
    struct rusmi_stream *stream = rusmi_zalloc(sizeof(*stream));

    if (stream == NULL) {
        return NULL;
    }
    stream->ring = with_ring ? rusmi_alloc(capacity) : NULL; /* it is written before it is read */
    if (with_ring && stream->ring == NULL) {
        rusmi_free(stream);
        return NULL;
    }
    stream->capacity = capacity;
    stream->writer.stream = stream->reader.stream = stream;
    stream->writer.is_writer = true;
    atomic_init(&stream->refs, 2);
    return stream;
}

rusm_err rusm_stream_new(size_t capacity, rusm_stream **out_writer, rusm_stream **out_reader)
{
    struct rusmi_stream *stream;
    rusm_err err;

    if (rusm_pid_is_none(rusm_self())) {
        return no_context();
    }
    if (out_writer == NULL || out_reader == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the ends");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    capacity = capacity == 0 ? CAPACITY_DEFAULT : capacity;
    stream = capacity <= SIZE_MAX / 2 ? rusmi_stream_make(capacity, true) : NULL;
    if (stream == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "no memory for a stream of %zu bytes", capacity);
    }
    rusmi_stream_set_owner(&stream->writer, rusm_self());
    rusmi_stream_set_owner(&stream->reader, rusm_self());
    err = rusm_waiter_new(&stream->writer.waiter);
    if (err == RUSM_OK) {
        err = rusm_waiter_new(&stream->reader.waiter);
    }
    if (err == RUSM_OK) {
        err = rusm_at_exit(rusmi_stream_end_lost, &stream->writer, &stream->writer.hook);
    }
    if (err == RUSM_OK) {
        err = rusm_at_exit(rusmi_stream_end_lost, &stream->reader, &stream->reader.hook);
        if (err != RUSM_OK) {
            (void)rusm_cancel_exit_hook(stream->writer.hook);
        }
    }
    if (err != RUSM_OK) {
        atomic_init(&stream->refs, 1);
        rusmi_stream_drop(stream);
        return err;
    }
    *out_writer = &stream->writer;
    *out_reader = &stream->reader;
    return RUSM_OK;
}

void rusm_stream_close(rusm_stream *end)
{
    if (end != NULL && rusm_pid_equal(rusmi_stream_owner(end), rusm_self()) &&
        rusm_cancel_exit_hook(end->hook)) {
        end_close(end, RUSMI_END_CLOSED);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Wait for the other end's next word. A killed process ends here: its ends close by their hooks. */
static rusm_err end_wait(rusm_stream *end, rusm_time deadline)
{
    rusm_err err = rusm_waiter_wait(end->waiter, rusmi_time_left(deadline));

    if (err == RUSM_EKILLED) {
        rusmi_checkpoint();
        return rusm_set_err_detail(RUSM_EKILLED, "%s", rusm_err_text(RUSM_EKILLED));
    }
    if (err == RUSM_ETIMEOUT && rusm_now() >= deadline) {
        return rusm_set_err_detail(RUSM_ETIMEOUT,
                                   "the other end of the stream did nothing in time");
    }
    return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t rusmi_stream_put(struct rusmi_stream *stream, const unsigned char *data, size_t len)
{
    uint64_t written = atomic_load(&stream->written);
    size_t room = stream->capacity - (size_t)(written - atomic_load(&stream->taken));
    size_t at = (size_t)(written % stream->capacity);
    size_t n = len < room ? len : room;
    size_t first = n < stream->capacity - at ? n : stream->capacity - at;

    if (n == 0) {
        return 0;
    }
    memcpy(stream->ring + at, data, first);
    memcpy(stream->ring, data + first, n - first);
    atomic_store(&stream->written, written + n);
    if (atomic_load(&stream->taken) == written) {
        rusmi_stream_wake(&stream->reader); /* it had read everything, and may be waiting */
    }
    return n;
}

/* Into the ring, unless the reading end is at another node, or just on its way. */
static size_t put_here(struct rusmi_stream *stream, const unsigned char *data, size_t len)
{
    size_t n = 0;

    /* Dekker's pattern with rusmi_stream_offer(), which moves what is in the ring: it sees that we
     * are there, or we see that it has begun. */
    (void)atomic_fetch_add(&stream->busy, 1);
    if (atomic_load(&stream->wire) == RUSMI_WIRE_NONE) {
        n = rusmi_stream_put(stream, data, len);
    }
    (void)atomic_fetch_sub(&stream->busy, 1);
    if (n != 0 && atomic_load(&stream->reader.state) != RUSMI_END_OPEN) {
        rusmi_stream_drop_unread(stream); /* it may have closed before it could see these bytes */
    }
    return n;
}

static rusm_err write_all(rusm_stream *writer, const unsigned char *data, size_t len,
                          rusm_time deadline, size_t *out_written)
{
    struct rusmi_stream *stream = writer->stream;

    for (;;) {
        rusm_err err = RUSM_OK;
        size_t n = 0;

        if (atomic_load(&stream->reader.state) != RUSMI_END_OPEN) {
            return rusm_set_err_detail(RUSM_ECLOSED,
                                       "the reading end of the stream is closed, or lost");
        }
        if (atomic_load(&stream->wire) == RUSMI_WIRE_NONE) {
            n = put_here(stream, data + *out_written, len - *out_written);
        } else {
            err = rusmi_stream_far_write(stream, data + *out_written, len - *out_written, deadline,
                                         &n);
        }
        *out_written += n;
        if (err == RUSM_OK && *out_written == len) {
            return RUSM_OK;
        }
        if (err == RUSM_OK && n == 0) {
            err = end_wait(writer, deadline); /* the reader tells of room only to one who has
                                                 found it full */
        }
        if (err != RUSM_OK) {
            return err;
        }
    }
}

rusm_err rusm_stream_write(rusm_stream *writer, const void *data, size_t len, int64_t timeout_ms,
                           size_t *out_written)
{
    size_t written = 0;
    rusm_err err = check(writer, true);

    if (err == RUSM_OK && data == NULL && len != 0) {
        err = rusm_set_err_detail(RUSM_EINVAL, "there are no bytes to write");
    }
    if (err == RUSM_OK && len != 0) {
        /* Before anything is moved, here and in the read: who ends here has moved nothing. */
        rusm_bump_reductions(rusmi_work_of(len));
        rusmi_checkpoint();
        err = write_all(writer, data, len, rusmi_deadline(timeout_ms), &written);
    }
    if (out_written != NULL) {
        *out_written = written;
    }
    return err;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Copy what is there; returns how much. */
static size_t get(struct rusmi_stream *stream, unsigned char *buf, size_t len)
{
    uint64_t taken = atomic_load(&stream->taken);
    size_t there = (size_t)(atomic_load(&stream->written) - taken);
    size_t at = (size_t)(taken % stream->capacity);
    size_t n = len < there ? len : there;
    size_t first = n < stream->capacity - at ? n : stream->capacity - at;

    if (n == 0) {
        return 0;
    }
    memcpy(buf, stream->ring + at, first);
    memcpy(buf + first, stream->ring, n - first);
    atomic_store(&stream->taken, taken + n);
    if (atomic_load(&stream->written) - taken == stream->capacity) {
        rusmi_stream_wake(&stream->writer); /* it had no room, and may be waiting */
    }
    return n;
}

rusm_err rusm_stream_read(rusm_stream *reader, void *buf, size_t len, int64_t timeout_ms,
                          size_t *out_len)
{
    rusm_err err = check(reader, false);
    rusm_time deadline;

    if (err != RUSM_OK) {
        return err;
    }
    if (buf == NULL || len == 0 || out_len == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to read to");
    }
    rusm_bump_reductions(
        rusmi_work_of(len < reader->stream->capacity ? len : reader->stream->capacity));
    rusmi_checkpoint();
    deadline = rusmi_deadline(timeout_ms);
    for (;;) {
        /* Before the bytes: what it wrote, it wrote before it closed. */
        uint32_t state = atomic_load(&reader->stream->writer.state);
        size_t n = get(reader->stream, buf, len);

        if (atomic_load(&reader->stream->wire) != RUSMI_WIRE_NONE) {
            rusmi_stream_give_credit(reader->stream);
        }
        if (n != 0 || state == RUSMI_END_CLOSED) {
            *out_len = n;
            return RUSM_OK;
        }
        if (state == RUSMI_END_LOST) {
            return rusm_set_err_detail(
                RUSM_ECLOSED,
                "the writer of the stream, or its node, was lost before it closed it");
        }
        err = end_wait(reader, deadline);
        if (err != RUSM_OK) {
            return err;
        }
    }
}

/* ---- handing over ---------------------------------------------------------------------------- */

/* To a process of this OS process, whatever runtime it belongs to. */
static rusm_err deliver(rusm_pid to, rusm_msg *msg)
{
    rusm_runtime *rt;
    rusm_err err;

    rusmi_runtimes_hold();
    rt = rusmi_runtime_find(to.incarnation);
    err = rt == NULL ? rusm_set_err_detail(
                           RUSM_EINVAL, "a stream can only be given to a process of this program")
                     : rusm_deliver(rt, to.serial, msg);
    rusmi_runtimes_release();
    return err;
}

rusm_err rusm_stream_send(rusm_pid to, rusm_stream *end, const void *data, size_t len)
{
    rusm_pid self = rusm_self();
    rusm_exit_hook hook;
    rusm_msg *msg;
    rusm_err err;

    if (rusm_pid_is_none(self)) {
        return no_context();
    }
    if (rusm_pid_is_none(to) || end == NULL || !rusm_pid_equal(rusmi_stream_owner(end), self) ||
        (data == NULL && len != 0)) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "it needs an end of the caller, bytes, and a process to give it to");
    }
    rusmi_checkpoint(); /* before anything is allocated */
    if (rusmi_is_far(rusmi_process_self(), to)) {
        return rusmi_stream_offer(to, end, data, len);
    }
    err = rusmi_msg_attach(&msg, RUSM_MSG_DATA, data, len, end, rusmi_stream_end_lost);
    if (err != RUSM_OK) {
        return err;
    }
    rusm_msg_set_sender(msg, self);
    /* From the delivery on the end is another's: what is ours of it is kept before. In between
     * nothing may end us, or both hook and message would close it. On its way nobody owns it. */
    hook = end->hook;
    rusmi_stream_set_owner(end, (rusm_pid){to.incarnation, 0});
    err = deliver(to, msg);
    if (err != RUSM_OK) {
        rusmi_stream_set_owner(end, self);
        rusmi_msg_detach(msg);
        rusm_msg_del(msg);
        return err;
    }
    (void)rusm_cancel_exit_hook(hook);
    rusm_bump_reductions(1);
    return RUSM_OK;
}

rusm_stream *rusm_msg_take_stream(rusm_msg *msg)
{
    rusm_stream *end = msg == NULL ? NULL : rusmi_msg_object(msg, rusmi_stream_end_lost);

    if (end == NULL || rusm_at_exit(rusmi_stream_end_lost, end, &end->hook) != RUSM_OK) {
        return NULL;
    }
    rusmi_msg_detach(msg);
    rusmi_stream_set_owner(end, rusm_self());
    return end;
}
