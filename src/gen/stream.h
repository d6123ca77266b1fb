/* SPDX-License-Identifier: MIT */
/*
 * A stream from the inside, for stream.c (both ends here) and stream_far.c (one at another node).
 *
 *     writer: copies to ring[written % cap], then raises `written`
 *     reader: copies from ring[taken % cap], then raises `taken`
 *
 * The two counters only grow, and taken <= written <= taken + cap. That holds of a stream between
 * two nodes too: each has a record, in which one end is a stand-in for the end at the other node,
 * moved by what comes from there. The ring is where the reading end is; in the writer's record
 * `written` counts what was sent, and `taken` what the reader has given credit for.
 *
 *     NONE ----> OFFERED ----> OPEN ----> OVER     an end is handed over; taken there; the stand-in
 *      ^            |  |                   ^       is gone (the node was lost, the end refused, or
 *      +--- failed--+  +-- refused, lost --+       both ends have said that they are closed)
 *
 * Only who holds far->streams.lock moves `wire`, and it lists the record while the stand-in has its
 * reference. docs/design/streams.md argues it.
 */
#ifndef RUSMI_GEN_STREAM_H
#define RUSMI_GEN_STREAM_H

#include "base/limits.h"
#include "otp/sched.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/memory.h>
#include <rusm/otp/stream.h>

#define RUSMI_CACHE_LINE 64

/* Bytes of a stream in one message between nodes: with its header that is just a big one, so it
 * lets the small ones of others pass. */
#define RUSMI_STREAM_CHUNK RUSMI_BIG_MIN

enum {
    RUSMI_END_OPEN,
    RUSMI_END_CLOSED, /* by its owner */
    RUSMI_END_LOST,   /* its owner ended, the message that it lay in was dropped, its node lost */
};

enum {
    RUSMI_WIRE_NONE, /* both ends are here */
    RUSMI_WIRE_OFFERED,
    RUSMI_WIRE_OPEN,
    RUSMI_WIRE_OVER,
};

struct rusmi_stream;

struct rusm_stream {
    struct rusmi_stream *stream;
    bool is_writer;
    rusm_waiter *waiter; /* NULL: a stand-in from the beginning */
    _Atomic uint32_t state;
    /* Who owns it; in a message the serial is 0. Atomic as anybody may ask, and relaxed: only the
     * owner's own answer is yes. */
    _Atomic uint64_t incarnation, serial;
    rusm_exit_hook hook; /* of the owner; the owner alone */
};

struct rusmi_stream {
    _Atomic uint32_t refs; /* one for each end */
    struct rusm_stream writer, reader;
    size_t capacity;
    unsigned char *ring; /* NULL where only the writing end is */
    unsigned char apart[RUSMI_CACHE_LINE];
    _Atomic uint64_t written; /* by the writer */
    _Atomic uint32_t busy;    /* ends that are at the ring, or at `far` without more ado */
    unsigned char apart_too[RUSMI_CACHE_LINE];
    _Atomic uint64_t taken; /* by the reader; once that has closed, by either */
    unsigned char apart_again[RUSMI_CACHE_LINE];

    /* of a stream between two nodes */
    _Atomic uint32_t wire;
    /* set before `wire` is first OFFERED or OPEN */
    rusm_runtime *rt; /* whose */
    struct rusmi_far *far;
    bool ours;             /* offered by us */
    bool writer_there;     /* the stand-in is the writer, else the reader */
    size_t charged;        /* to what its runtime has `offered`, until it is freed */
    uint64_t charged_to;   /* its incarnation */
    uint64_t number, base; /* base: `taken` when it was offered, which is position 0 over there */
    /* the reader here, and before it is in place who offered it */
    _Atomic uint64_t credited; /* as far as the other side was told of `taken` */
    /* under far->streams.lock */
    struct rusmi_map_entry entry;
    bool listed;
    bool sending;   /* the offer is being sent: the stand-in is still who sends */
    bool said_end;  /* that the end here is closed */
    bool heard_end; /* the same of the other */
};

static inline struct rusm_stream *rusmi_stream_stand_in(struct rusmi_stream *stream)
{
    return stream->writer_there ? &stream->writer : &stream->reader;
}

static inline struct rusm_stream *rusmi_stream_end_here(struct rusmi_stream *stream)
{
    return stream->writer_there ? &stream->reader : &stream->writer;
}

static inline void rusmi_stream_wake(const struct rusm_stream *end)
{
    if (end->waiter != NULL) {
        rusm_waiter_wake(end->waiter);
    }
}

static inline void rusmi_stream_set_owner(rusm_stream *end, rusm_pid pid)
{
    /* relaxed, both: see struct rusm_stream */
    atomic_store_explicit(&end->incarnation, pid.incarnation, memory_order_relaxed);
    atomic_store_explicit(&end->serial, pid.serial, memory_order_relaxed);
}

static inline rusm_pid rusmi_stream_owner(const rusm_stream *end)
{
    /* relaxed, both: see struct rusm_stream */
    return (rusm_pid){atomic_load_explicit(&end->incarnation, memory_order_relaxed),
                      atomic_load_explicit(&end->serial, memory_order_relaxed)};
}

/* ---- stream.c ---- */
/* A stream with both ends open and two references; no waiters. with_ring: it has a buffer. NULL
 * without memory. */
struct rusmi_stream *rusmi_stream_make(size_t capacity, bool with_ring);
void rusmi_stream_drop(struct rusmi_stream *stream);
/* Copy into the ring what fits, and wake the reader; returns how much. The writer. */
size_t rusmi_stream_put(struct rusmi_stream *stream, const unsigned char *data, size_t len);
/* The reading end is gone: drop what lies in the ring, and count it. */
void rusmi_stream_drop_unread(struct rusmi_stream *stream);
/* The drop function of a message that carries an end, and its owner's exit hook. */
void rusmi_stream_end_lost(void *arg);

/* ---- stream_far.c ---- */
/* As rusm_stream_send(), to a process of another node. */
rusm_err rusmi_stream_offer(rusm_pid to, rusm_stream *end, const void *data, size_t len);
/* Send bytes to a reader at the other node, as far as there is credit; 0: there is none. */
rusm_err rusmi_stream_far_write(struct rusmi_stream *stream, const unsigned char *data, size_t len,
                                rusm_time deadline, size_t *out_written);
/* Tell the writer at the other node what was taken, if that is enough to be worth it. The
 * reader. */
void rusmi_stream_give_credit(struct rusmi_stream *stream);
/* The end here has got its state: tell the other node. */
void rusmi_stream_say_end(struct rusmi_stream *stream);

#endif
