/* SPDX-License-Identifier: MIT */
/*
 * Streams between two nodes: docs/design/streams.md. Out through the runtime's router, in by
 * rusm_stream_deliver().
 *
 * Each side says of its end, in this order: that it is in place (who got it), data or credit, and
 * once that it has ended; and a side forgets the stream when both have said that. So whatever comes
 * for a number that is not known, or more than credit allows, is a lie. Who offered an end says
 * nothing before it is in place, since an offer is ordered with the messages of its processes and
 * not with the stream.
 *
 * Threads: for each node one thread at a time delivers, and it is the only one that moves the
 * stand-in; the end here is its owner's. Both go through far->streams.lock where they meet. What
 * blocks (an offer, data) is sent by the process itself, all else by far_say(), which does not.
 */
#include "gen/stream.h"

#include "base/limits.h"
#include "base/mem.h"
#include "gen/io.h"
#include "otp/far.h"

#include <sched.h>
#include <string.h>

/* Credit is given for one part in so many of the buffer at a time. */
#define CREDIT_PARTS 4

/* Positions stay below: they are varints on the wire. */
#define POSITION_MAX ((uint64_t)1 << 61)

/* How an end has ended, on the wire. */
#define SAID_CLOSED 1
#define SAID_LOST   2

/* ---- out ------------------------------------------------------------------------------------- */

bool rusm_stream_signal_is_late(const rusm_stream_signal *signal)
{
    const struct rusmi_far *far = signal->via;

    return far == NULL || atomic_load(&far->closed);
}

static rusm_stream_signal signal_of(const struct rusmi_stream *stream, rusm_stream_signal_kind kind,
                                    uint64_t number)
{
    return (rusm_stream_signal){.kind = kind,
                                .from = {stream->rt->incarnation, 0},
                                .to = {stream->far->incarnation, 0},
                                .stream = stream->number * 2 + (stream->ours ? 1 : 0),
                                .number = number,
                                .via = stream->far};
}

/* What does not block, with no lock held. What can not be carried needs no answer: the node is
 * lost, or about to be. */
static void far_say(struct rusmi_far *far, rusm_runtime *rt, const rusm_stream_signal *signal)
{
    /* Dekker's pattern with rusm_runtime_node_down(), as for links and monitors */
    (void)atomic_fetch_add(&far->senders, 1);
    if (!atomic_load(&far->closed)) {
        (void)!rusmi_route_stream(rt, signal, 0);
    }
    (void)atomic_fetch_sub(&far->senders, 1);
}

static void say(struct rusmi_stream *stream, rusm_stream_signal_kind kind, uint64_t number)
{
    const rusm_stream_signal signal = signal_of(stream, kind, number);

    far_say(stream->far, stream->rt, &signal);
}

static void say_end(struct rusmi_stream *stream)
{
    bool closed = atomic_load(&rusmi_stream_end_here(stream)->state) == RUSMI_END_CLOSED;

    say(stream, RUSM_STREAM_END, closed ? SAID_CLOSED : SAID_LOST);
}

/* ---- the list -------------------------------------------------------------------------------- */

static struct rusmi_map *table(struct rusmi_stream *stream)
{
    return stream->ours ? &stream->far->streams.ours : &stream->far->streams.theirs;
}

/* Bytes that a stream counts in streams.bytes. */
static size_t held_bytes(const struct rusmi_stream *stream)
{
    return !stream->ours && stream->ring != NULL ? stream->capacity : 0;
}

static void lose_all(struct rusmi_far *far);

/* Put it into the list, under the lock. RUSM_ENOLINK: the node is lost; RUSM_EFULL, RUSM_ENOMEM. */
static rusm_err enlist(struct rusmi_stream *stream)
{
    struct rusmi_far_streams *streams = &stream->far->streams;
    struct rusmi_map *map = table(stream);

    if (streams->gone) {
        return RUSM_ENOLINK;
    }
    if (map->len >= RUSM_FAR_STREAMS_MAX) {
        return RUSM_EFULL;
    }
    if (stream->ours) {
        stream->number = ++streams->last;
    }
    if (!rusmi_map_insert(map, &stream->entry, &stream->number, sizeof(stream->number))) {
        return RUSM_ENOMEM;
    }
    streams->lose = lose_all;
    streams->bytes += held_bytes(stream);
    stream->listed = true;
    return RUSM_OK;
}

/* Take it out, under the lock. True: the stand-in is the caller's, for stand_in_over(); false: it
 * is still that of who sends the offer. */
static bool unlist(struct rusmi_stream *stream)
{
    rusmi_map_remove(table(stream), &stream->entry);
    stream->far->streams.bytes -= held_bytes(stream);
    stream->listed = false;
    atomic_store(&stream->wire, RUSMI_WIRE_OVER);
    return !stream->sending;
}

/* Nothing more comes from the other node, after unlist() and without the lock. */
static void stand_in_over(struct rusmi_stream *stream)
{
    struct rusm_stream *stand_in = rusmi_stream_stand_in(stream);
    uint32_t open = RUSMI_END_OPEN, lost = RUSMI_END_LOST;

#ifdef RUSMI_PLANT_STREAM_CUT
    lost = RUSMI_END_CLOSED;
#endif
    (void)atomic_compare_exchange_strong(&stand_in->state, &open, lost);
    rusmi_stream_wake(rusmi_stream_end_here(stream));
    rusmi_stream_drop(stream);
}

/* One that is listed, with a reference of its own, or NULL. */
static struct rusmi_stream *find(struct rusmi_far *far, uint64_t said)
{
    uint64_t number = said / 2;
    /* The other's offer is not ours. */
    struct rusmi_map *map = said % 2 == 1 ? &far->streams.theirs : &far->streams.ours;
    struct rusmi_map_entry *entry;
    struct rusmi_stream *stream = NULL;

    rusmi_lock_take(&far->streams.lock);
    entry = rusmi_map_find(map, &number, sizeof(number));
    if (entry != NULL) {
        stream = rusmi_container(entry, struct rusmi_stream, entry);
        /* relaxed: the stand-in has a reference while it is listed */
        (void)atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
    }
    rusmi_lock_give(&far->streams.lock);
    return stream;
}

/* The node is lost: every stream is cut. */
static void lose_all(struct rusmi_far *far)
{
    struct rusmi_map *maps[] = {&far->streams.ours, &far->streams.theirs};

    for (size_t i = 0; i < 2; i++) {
        /* No more are listed, but some may go meanwhile: each time look at what is left. */
        for (;;) {
            struct rusmi_map_entry *entry, *following = NULL;
            struct rusmi_stream *stream;
            size_t position = 0;
            bool mine;

            rusmi_lock_take(&far->streams.lock);
            entry = rusmi_map_next(maps[i], &position, NULL, &following);
            stream = entry == NULL ? NULL : rusmi_container(entry, struct rusmi_stream, entry);
            mine = stream != NULL && unlist(stream);
            rusmi_lock_give(&far->streams.lock);
            if (stream == NULL) {
                break;
            }
            if (mine) {
                stand_in_over(stream);
            }
        }
    }
}

/* ---- the end here ---------------------------------------------------------------------------- */

void rusmi_stream_say_end(struct rusmi_stream *stream)
{
    struct rusmi_far *far = stream->far;
    bool told, over;

    /* The caller has its reference still. */
    rusmi_lock_take(&far->streams.lock);
    told = stream->listed && atomic_load(&stream->wire) == RUSMI_WIRE_OPEN && !stream->said_end;
    stream->said_end = stream->said_end || told;
    over = told && stream->heard_end && unlist(stream);
    rusmi_lock_give(&far->streams.lock);
    if (told) {
        say_end(stream);
    }
    if (over) {
        stand_in_over(stream);
    }
}

void rusmi_stream_give_credit(struct rusmi_stream *stream)
{
    uint64_t taken = atomic_load(&stream->taken);
    size_t step = stream->capacity / CREDIT_PARTS;

    if (atomic_load(&stream->wire) != RUSMI_WIRE_OPEN ||
        taken - atomic_load(&stream->credited) < (step == 0 ? 1 : step)) {
        return;
    }
#ifdef RUSMI_PLANT_STREAM_CREDIT
    if (taken % 8 == 1) {
        atomic_store(&stream->credited, taken);
        return;
    }
#endif
    /* Before it is said: what comes for it must be allowed. */
    atomic_store(&stream->credited, taken);
    say(stream, RUSM_STREAM_CREDIT, taken - stream->base + stream->capacity);
}

/* What an error of the router means for a writer. */
static rusm_err write_error(rusm_err err)
{
    if (err == RUSM_EKILLED) {
        rusmi_checkpoint();
        return rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    if (err == RUSM_ENOLINK || err == RUSM_ENONODE) {
        return rusm_set_err_detail(RUSM_ECLOSED, "the node of the reading end was lost");
    }
    if (err == RUSM_EAGAIN || err == RUSM_ETIMEOUT) {
        return rusm_set_err_detail(RUSM_ETIMEOUT,
                                   "the other end of the stream did nothing in time");
    }
    return err;
}

rusm_err rusmi_stream_far_write(struct rusmi_stream *stream, const unsigned char *data, size_t len,
                                rusm_time deadline, size_t *out_written)
{
    uint64_t written = atomic_load(&stream->written);
    rusm_stream_signal signal;
    size_t room;
    rusm_err err;

    *out_written = 0;
    if (atomic_load(&stream->wire) != RUSMI_WIRE_OPEN) {
        return RUSM_OK; /* not yet, or no longer: the state of the reading end follows */
    }
    room = stream->capacity - (size_t)(written - atomic_load(&stream->taken));
    len = len < room ? len : room;
    len = len < RUSMI_STREAM_CHUNK ? len : RUSMI_STREAM_CHUNK;
    if (len == 0) {
        return RUSM_OK;
    }
    signal = signal_of(stream, RUSM_STREAM_DATA, 0);
    signal.data = data;
    signal.len = len;
    /* Before it is sent: credit for it may be back sooner than we are. */
    atomic_store(&stream->written, written + len);
    err = rusmi_route_stream(stream->rt, &signal, rusmi_time_left(deadline));
    if (err != RUSM_OK) {
        atomic_store(&stream->written, written);
        return write_error(err);
    }
    *out_written = len;
    return RUSM_OK;
}

/* ---- an end goes ----------------------------------------------------------------------------- */

/* The other end's owner, at another scheduler, may be in the middle of what it does as `wire` was
 * before: copying bytes, or closing. It waits for nothing there. */
static void wait_for_other(struct rusmi_stream *stream)
{
    while (atomic_load(&stream->busy) != 0) {
        (void)sched_yield();
    }
}

/* Take the stream to the state "offered", or say why not. */
static rusm_err begin_offer(struct rusmi_stream *stream, struct rusmi_far *far, rusm_stream *end)
{
    rusm_err err;

    stream->far = far;
    stream->rt = rusmi_process_self()->runtime;
    stream->ours = true;
    stream->writer_there = end->is_writer;
    stream->said_end = stream->heard_end = false;
    stream->sending = true;
    rusmi_lock_take(&far->streams.lock);
    err = enlist(stream);
    if (err == RUSM_OK) {
        atomic_store(&stream->wire, RUSMI_WIRE_OFFERED);
    }
    rusmi_lock_give(&far->streams.lock);
    if (err != RUSM_OK) {
        stream->far = NULL;
        return rusm_set_err_detail(
            err, "%s", err == RUSM_EFULL ? "too many streams with that node" : rusm_err_text(err));
    }
    wait_for_other(stream);
    return RUSM_OK;
}

/* It did not go: everything is as before. */
static void undo_offer(struct rusmi_stream *stream)
{
    struct rusmi_far *far = stream->far;

    rusmi_lock_take(&far->streams.lock);
    if (stream->listed) {
        (void)unlist(stream);
    }
    stream->sending = false;
    atomic_store(&stream->wire, RUSMI_WIRE_NONE);
    rusmi_lock_give(&far->streams.lock);
    wait_for_other(stream);
    stream->far = NULL;
    rusmi_stream_wake(rusmi_stream_end_here(stream));
}

/* It went: the stand-in is the list's. */
static void finish_offer(struct rusmi_stream *stream)
{
    bool over;

    if (!stream->writer_there) {
        rusmi_free(stream->ring);
        stream->ring = NULL;
    }
    rusmi_lock_take(&stream->far->streams.lock);
    stream->sending = false;
    over = !stream->listed;
    rusmi_lock_give(&stream->far->streams.lock);
    if (over) {
        stand_in_over(stream);
    }
}

/* The bytes of an offer: what is in the ring, if the reading end goes, then the message's. NULL
 * without memory. */
static unsigned char *offer_bytes(const struct rusmi_stream *stream, rusm_stream_signal *signal,
                                  const void *data, size_t len)
{
    size_t ring = stream->writer_there ? 0 : signal->used,
           at = (size_t)(stream->base % stream->capacity);
    size_t first = ring < stream->capacity - at ? ring : stream->capacity - at;
    unsigned char *bytes = rusmi_alloc(ring + len + 1);

    if (bytes != NULL) {
        memcpy(bytes, stream->ring + at, first);
        memcpy(bytes + first, stream->ring, ring - first);
        if (len != 0) {
            memcpy(bytes + ring, data, len);
        }
    }
    signal->data = bytes;
    signal->len = ring + len;
    return bytes;
}

static rusm_err send_offer(struct rusmi_stream *stream, rusm_pid to, const void *data, size_t len)
{
    rusm_stream_signal signal = signal_of(stream, RUSM_STREAM_OFFER, 0);
    unsigned char *bytes;
    rusm_err err;

    stream->base = atomic_load(&stream->taken);
    atomic_store(&stream->credited, stream->base);
    signal.from = rusm_self();
    signal.to = to;
    signal.stream = stream->number;
    signal.writing = stream->writer_there;
    signal.capacity = stream->capacity;
    signal.used = (size_t)(atomic_load(&stream->written) - stream->base);
    bytes = offer_bytes(stream, &signal, data, len);
    if (bytes == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "no memory for a message of %zu bytes", signal.len);
    }
    err = rusmi_route_stream(stream->rt, &signal, RUSM_INFINITY);
    rusmi_free(bytes);
    return err;
}

static rusm_err check_offer(rusm_stream *end, size_t len)
{
    struct rusmi_stream *stream = end->stream;
    rusm_stream *other = end->is_writer ? &stream->reader : &stream->writer;

    if (atomic_load(&stream->wire) != RUSMI_WIRE_NONE) {
        return rusm_set_err_detail(
            RUSM_EINVAL, "the other end of the stream is at another node: this one stays here");
    }
    if (rusmi_stream_owner(other).incarnation != rusm_self().incarnation) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "the other end of the stream belongs to another runtime");
    }
    if (stream->capacity > RUSM_STREAM_FAR_MAX) {
        return rusm_set_err_detail(RUSM_EMSGSIZE,
                                   "a stream of %zu bytes is over the limit of %zu between nodes",
                                   stream->capacity, RUSM_STREAM_FAR_MAX);
    }
    if (len > RUSM_MESSAGE_MAX) {
        return rusm_set_err_detail(RUSM_EMSGSIZE, "a message of %zu bytes is over the limit of %zu",
                                   len, RUSM_MESSAGE_MAX);
    }
    return RUSM_OK;
}

/* Why there is no record of the node of `to`: the router knows. */
static rusm_err no_node(rusm_runtime *rt, rusm_pid to)
{
    const rusm_stream_signal signal = {.kind = RUSM_STREAM_OFFER, .from = rusm_self(), .to = to};
    rusm_err err;

    if (rusmi_is_past(rt, to.incarnation)) {
        return rusm_set_err_detail(RUSM_ENOPROC, "its node has been restarted since");
    }
    err = rusmi_route_stream(rt, &signal, 0);
    return err == RUSM_OK ? RUSM_ENOLINK : err;
}

rusm_err rusmi_stream_offer(rusm_pid to, rusm_stream *end, const void *data, size_t len)
{
    struct rusmi_stream *stream = end->stream;
    rusm_runtime *rt = rusmi_process_self()->runtime;
    rusm_exit_hook hook = end->hook;
    struct rusmi_far *far;
    rusm_err err = check_offer(end, len);

    if (err != RUSM_OK) {
        return err;
    }
    far = rusmi_far_find(rt, to.incarnation);
    if (far == NULL) {
        return no_node(rt, to);
    }
    err = begin_offer(stream, far, end);
    if (err == RUSM_OK) {
        err = send_offer(stream, to, data, len);
        if (err != RUSM_OK) {
            undo_offer(stream);
        }
    }
    if (err != RUSM_OK) {
        rusmi_far_drop(far);
        rusmi_checkpoint(); /* RUSM_EKILLED: the end goes with its owner */
        return err;
    }
    rusmi_stream_set_owner(end, (rusm_pid){to.incarnation, 0});
    (void)rusm_cancel_exit_hook(hook);
    finish_offer(stream); /* from here on it may be gone */
    rusm_bump_reductions(rusmi_work_of(len));
    return RUSM_OK;
}

/* ---- an end comes ---------------------------------------------------------------------------- */

static rusm_err lie(const char *text)
{
    return rusm_set_err_detail(RUSM_EPROTO, "%s", text);
}

/* There is no room: the other side hears of it before it hears of anything else. */
static rusm_err refuse(rusm_runtime *rt, struct rusmi_far *far, uint64_t number)
{
    const rusm_stream_signal signal = {.kind = RUSM_STREAM_END,
                                       .from = {rt->incarnation, 0},
                                       .to = {far->incarnation, 0},
                                       .stream = number * 2,
                                       .number = SAID_LOST,
                                       .via = far};

    (void)atomic_fetch_add(&rt->streams_refused, 1);
    far_say(far, rt, &signal);
    return RUSM_OK;
}

void rusm_runtime_set_offered_max(rusm_runtime *rt, size_t max)
{
    atomic_store(&rt->offered_max, max);
}

size_t rusm_runtime_offered(rusm_runtime *rt, size_t *out_peak)
{
    *out_peak = atomic_load(&rt->offered_peak);
    return atomic_load(&rt->offered);
}

/* Whether len more bytes fit into what ends from all nodes may hold; then they count. */
static bool charge(rusm_runtime *rt, size_t len)
{
    size_t most = atomic_load(&rt->offered_max), held = atomic_load(&rt->offered);
    size_t peak = atomic_load(&rt->offered_peak);

    do {
        if (held > most || len > most - held) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&rt->offered, &held, held + len));
    held += len;
    while (peak < held && !atomic_compare_exchange_weak(&rt->offered_peak, &peak, held)) {
    }
    return true;
}

/* A record with what it needs, paid for. */
static struct rusmi_stream *make_charged(rusm_runtime *rt, size_t capacity, bool with_ring)
{
    size_t len = sizeof(struct rusmi_stream) + (with_ring ? capacity : 0);
    struct rusmi_stream *stream;

    if (!charge(rt, len)) {
        return NULL;
    }
    stream = rusmi_stream_make(capacity, with_ring);
    if (stream == NULL) {
        (void)atomic_fetch_sub(&rt->offered, len);
        return NULL;
    }
    stream->charged = len;
    stream->charged_to = rt->incarnation;
    return stream;
}

/* A record for an end that is offered, listed; NULL: there is no room for it. */
static struct rusmi_stream *take_in(rusm_runtime *rt, struct rusmi_far *far,
                                    const rusm_stream_signal *signal)
{
    size_t bytes = signal->writing ? 0 : signal->capacity;
    struct rusmi_stream *stream;
    rusm_err err;
    bool room;

    /* Only this thread makes them more. */
    rusmi_lock_take(&far->streams.lock);
    room = far->streams.theirs.len < RUSM_FAR_STREAMS_MAX &&
           far->streams.bytes + bytes <= RUSM_FAR_STREAM_BYTES_MAX;
    rusmi_lock_give(&far->streams.lock);
    stream = room ? make_charged(rt, signal->capacity, !signal->writing) : NULL;
    if (stream == NULL) {
        return NULL;
    }
    stream->rt = rt;
    stream->far = rusmi_far_hold(far);
    stream->writer_there = !signal->writing;
    stream->number = signal->stream;
    atomic_init(&stream->written, signal->used);
    if (!signal->writing) {
        memcpy(stream->ring, signal->data, signal->used);
    }
    rusmi_stream_set_owner(&stream->writer, (rusm_pid){rt->incarnation, 0});
    rusmi_stream_set_owner(&stream->reader, (rusm_pid){rt->incarnation, 0});
    err = rusm_waiter_new(&rusmi_stream_end_here(stream)->waiter);
    rusmi_lock_take(&far->streams.lock);
    if (err == RUSM_OK) {
        err = enlist(stream);
    }
    atomic_store(&stream->wire, RUSMI_WIRE_OPEN);
    rusmi_lock_give(&far->streams.lock);
    if (err != RUSM_OK) {
        atomic_store(&stream->refs, 1);
        rusmi_stream_drop(stream);
        return NULL;
    }
    return stream;
}

static bool is_listed(struct rusmi_far *far, uint64_t number)
{
    bool found;

    rusmi_lock_take(&far->streams.lock);
    found = rusmi_map_find(&far->streams.theirs, &number, sizeof(number)) != NULL;
    rusmi_lock_give(&far->streams.lock);
    return found;
}

static rusm_err take_offer(rusm_runtime *rt, struct rusmi_far *far,
                           const rusm_stream_signal *signal)
{
    const unsigned char *data = signal->data;
    size_t ring = signal->writing ? 0 : signal->used;
    struct rusmi_stream *stream;
    rusm_msg *msg;
    rusm_err err;

    if (signal->capacity == 0 || signal->capacity > RUSM_STREAM_FAR_MAX ||
        signal->used > signal->capacity || ring > signal->len || signal->stream == 0 ||
        signal->stream >= POSITION_MAX) {
        return lie("a stream of an absurd size was offered");
    }
    if (is_listed(far, signal->stream)) {
        return lie("a stream was offered twice");
    }
    stream = take_in(rt, far, signal);
    if (stream == NULL) {
        (void)atomic_fetch_add(&rt->stream_dropped, ring);
        return refuse(rt, far, signal->stream);
    }
    /* From here on the end is the message's. It is in place before anybody can say more of it. */
    if (signal->writing) {
        say(stream, RUSM_STREAM_DATA, 0);
    } else {
        say(stream, RUSM_STREAM_CREDIT, stream->capacity);
    }
    err =
        rusmi_msg_attach(&msg, RUSM_MSG_DATA, ring == signal->len ? NULL : data + ring,
                         signal->len - ring, rusmi_stream_end_here(stream), rusmi_stream_end_lost);
    if (err != RUSM_OK) {
        (void)atomic_fetch_add(&rt->streams_refused, 1);
        rusmi_stream_end_lost(rusmi_stream_end_here(stream));
        return RUSM_OK;
    }
    rusm_msg_set_sender(msg, signal->from);
    rusm_msg_set_far(msg);
    err = rusm_deliver(rt, signal->to.serial, msg);
    if (err != RUSM_OK) {
        rusm_msg_del(msg);
    }
    return err;
}

/* ---- what comes for a stream ----------------------------------------------------------------- */

/* The end that we offered is in place. False: it has been said before. */
static bool is_in_place(struct rusmi_stream *stream)
{
    bool first, end;

    rusmi_lock_take(&stream->far->streams.lock);
    first = stream->listed && atomic_load(&stream->wire) == RUSMI_WIRE_OFFERED;
    if (first) {
        atomic_store(&stream->wire, RUSMI_WIRE_OPEN);
    }
    end = first && atomic_load(&rusmi_stream_end_here(stream)->state) != RUSMI_END_OPEN &&
          !stream->said_end;
    stream->said_end = stream->said_end || end;
    rusmi_lock_give(&stream->far->streams.lock);
    if (end) {
        say_end(stream); /* it ended in between */
    }
    if (first) {
        rusmi_stream_wake(rusmi_stream_end_here(stream));
    }
    return first;
}

static rusm_err take_data(struct rusmi_stream *stream, const rusm_stream_signal *signal)
{
    if (!stream->writer_there) {
        return lie("bytes for the writing end of a stream");
    }
    if (signal->len == 0) {
        return is_in_place(stream) ? RUSM_OK : lie("a stream's writing end came twice");
    }
    if (atomic_load(&stream->wire) == RUSMI_WIRE_OFFERED || stream->heard_end) {
        return lie("bytes of a stream that has not begun, or has ended");
    }
    if (signal->len > stream->capacity - (size_t)(atomic_load(&stream->written) -
                                                  atomic_load(&stream->credited))) {
        return lie("more bytes of a stream than there is credit for");
    }
    (void)rusmi_stream_put(stream, signal->data, signal->len);
    if (atomic_load(&stream->reader.state) != RUSMI_END_OPEN) {
        rusmi_stream_drop_unread(stream);
    }
    return RUSM_OK;
}

static rusm_err take_credit(struct rusmi_stream *stream, const rusm_stream_signal *signal)
{
    uint64_t taken = atomic_load(&stream->taken), now;

    if (stream->writer_there) {
        return lie("credit for the reading end of a stream");
    }
    if (stream->heard_end || signal->number < stream->capacity || signal->number >= POSITION_MAX) {
        return lie("credit for a stream that makes no sense");
    }
    now = stream->base + (signal->number - stream->capacity);
    if (now < taken || now > atomic_load(&stream->written)) {
        return lie("credit for bytes of a stream that were not written");
    }
    atomic_store(&stream->taken, now);
    if (!is_in_place(stream)) {
        rusmi_stream_wake(&stream->writer);
    }
    return RUSM_OK;
}

static rusm_err take_end(struct rusmi_stream *stream, const rusm_stream_signal *signal)
{
    struct rusm_stream *stand_in = rusmi_stream_stand_in(stream);
    bool refused, over = false;

    if ((signal->number != SAID_CLOSED && signal->number != SAID_LOST) || stream->heard_end) {
        return lie("a stream ends twice, or in no known way");
    }
    rusmi_lock_take(&stream->far->streams.lock);
    stream->heard_end = true;
    refused = atomic_load(&stream->wire) == RUSMI_WIRE_OFFERED;
    atomic_store(&stand_in->state,
                 signal->number == SAID_CLOSED && !refused ? RUSMI_END_CLOSED : RUSMI_END_LOST);
    if (stream->listed && (refused || stream->said_end)) {
        over = unlist(stream);
    }
    rusmi_lock_give(&stream->far->streams.lock);
    rusmi_stream_wake(rusmi_stream_end_here(stream));
    if (over) {
        stand_in_over(stream);
    }
    return RUSM_OK;
}

static rusm_err take_signal(struct rusmi_stream *stream, const rusm_stream_signal *signal)
{
    switch (signal->kind) {
    case RUSM_STREAM_DATA:
        return take_data(stream, signal);
    case RUSM_STREAM_CREDIT:
        return take_credit(stream, signal);
    case RUSM_STREAM_END:
        return take_end(stream, signal);
    case RUSM_STREAM_OFFER:
        break;
    }
    return RUSM_OK;
}

rusm_err rusm_stream_deliver(rusm_runtime *rt, const rusm_stream_signal *signal)
{
    struct rusmi_far *far = rusmi_far_find(rt, signal->from.incarnation);
    struct rusmi_stream *stream;
    rusm_err err;

    if (far == NULL) {
        return RUSM_OK;
    }
    if (signal->kind == RUSM_STREAM_OFFER) {
        err = take_offer(rt, far, signal);
    } else {
        stream = find(far, signal->stream);
        err = stream == NULL ? lie("something for a stream that the peer has no end of")
                             : take_signal(stream, signal);
        if (stream != NULL) {
            rusmi_stream_drop(stream);
        }
    }
    rusmi_far_drop(far);
    return err;
}
