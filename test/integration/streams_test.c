/* SPDX-License-Identifier: MIT */
/*
 * Streams between processes of different nodes: bytes arrive whole and in order, a full buffer
 * suspends the writer, and whatever ends an end is heard of at the other. The test's own thread is
 * a process of node "a"; what processes elsewhere find goes into their actor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/procs.h"

#include <rusm/otp/info.h>
#include <rusm/otp/stream.h>

#define MIB      ((size_t)1024 * 1024)
#define CAPACITY ((size_t)64 * 1024)

struct pair {
    struct support_node *a, *b;
};

static struct pair enter_pair(void **state)
{
    struct pair pair;

    pair.a = support_node_start(*state, "a");
    pair.b = support_node_start(*state, "b");
    support_connect(pair.a, pair.b);
    assert_int_equal(rusm_thread_enter(pair.a->runtime, "test"), RUSM_OK);
    return pair;
}

/* The byte at a place of a stream. */
static unsigned char byte_at(size_t place)
{
    return (unsigned char)(place * 131 + place / 251 + (place >> 16) * 7);
}

static void fill(unsigned char *buf, size_t len, size_t place)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = byte_at(place + i);
    }
}

/* ---- processes at the other end -------------------------------------------------------------- */

enum order {
    ORDER_READ,    /* to the end */
    ORDER_WRITE,   /* `want` bytes, then close */
    ORDER_HOLD,    /* take the end, and sit there */
    ORDER_CLOSE,   /* take the end, and close it */
    ORDER_IGNORE,  /* never receive it */
    ORDER_HAND_ON, /* to the process `next` */
    ORDER_DROP,    /* free the message with the end in it */
};

static struct actor {
    enum order order;
    rusm_pid pid, next;
    size_t want, chunk, start; /* start: what was written before it */
    /* what it found */
    _Atomic uint64_t bytes, wrong;
    _Atomic int err;
    atomic_bool has_end, done;
    char text[32]; /* of the message */
} actors[4];

static void act_read(struct actor *actor, rusm_stream *end)
{
    unsigned char *buf = rusm_alloc(actor->chunk);
    size_t len = 0;
    rusm_err err;

    while ((err = rusm_stream_read(end, buf, actor->chunk, RUSM_INFINITY, &len)) == RUSM_OK &&
           len != 0) {
        uint64_t at = atomic_load(&actor->bytes);

        for (size_t i = 0; i < len; i++) {
            if (buf[i] != byte_at(at + i)) {
                atomic_fetch_add(&actor->wrong, 1);
            }
        }
        atomic_fetch_add(&actor->bytes, len);
    }
    atomic_store(&actor->err, err);
    rusm_free(buf);
}

static void act_write(struct actor *actor, rusm_stream *end)
{
    unsigned char *buf = rusm_alloc(actor->chunk);
    size_t at = actor->start, total = actor->start + actor->want;
    rusm_err err = RUSM_OK;

    while (at < total && err == RUSM_OK) {
        size_t len = total - at < actor->chunk ? total - at : actor->chunk, written = 0;

        fill(buf, len, at);
        err = rusm_stream_write(end, buf, len, RUSM_INFINITY, &written);
        at += written;
        atomic_fetch_add(&actor->bytes, written);
    }
    atomic_store(&actor->err, err);
    rusm_free(buf);
    if (err == RUSM_OK) {
        rusm_stream_close(end);
    }
}

static void act(struct actor *actor, rusm_stream *end)
{
    switch (actor->order) {
    case ORDER_READ:
        act_read(actor, end);
        return;
    case ORDER_WRITE:
        act_write(actor, end);
        return;
    case ORDER_CLOSE:
        rusm_stream_close(end);
        return;
    case ORDER_HAND_ON:
        atomic_store(&actor->err, rusm_stream_send(actor->next, end, "on", 2));
        return;
    case ORDER_HOLD:
    case ORDER_IGNORE:
    case ORDER_DROP:
        return;
    }
}

static void run(void *arg)
{
    struct actor *actor = arg;
    rusm_stream *end;
    rusm_msg *msg;

    if (actor->order != ORDER_IGNORE && rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        size_t len = rusm_msg_len(msg);

        memcpy(actor->text, rusm_msg_data(msg), len < 31 ? len : 31);
        end = actor->order == ORDER_DROP ? NULL : rusm_msg_take_stream(msg);
        rusm_msg_del(msg);
        atomic_store(&actor->has_end, end != NULL);
        if (end != NULL) {
            act(actor, end);
        }
    }
    atomic_store(&actor->done, true);
    (void)!rusm_sleep(RUSM_INFINITY); /* it ends when it is told to */
}

static struct actor *start(size_t i, struct support_node *node, enum order order)
{
    struct actor *actor = &actors[i];

    memset(actor, 0, sizeof(*actor));
    actor->order = order;
    actor->chunk = 50000;
    assert_int_equal(rusm_spawn(node->runtime, run, actor, &actor->pid), RUSM_OK);
    return actor;
}

static bool is_done(void *arg)
{
    return atomic_load(&((struct actor *)arg)->done);
}

static bool has_bytes(void *arg)
{
    return atomic_load(&((struct actor *)arg)->bytes) != 0;
}

static uint64_t dropped(struct support_node *node)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(node->runtime, &stats), RUSM_OK);
    return stats.stream_bytes_dropped;
}

/* ---- the end of the test's own thread -------------------------------------------------------- */

static rusm_stream *writer, *reader;

static void open_stream(size_t capacity)
{
    assert_int_equal(rusm_stream_new(capacity, &writer, &reader), RUSM_OK);
}

static void give(struct actor *actor, rusm_stream *end)
{
    assert_int_equal(rusm_stream_send(actor->pid, end, "here", 4), RUSM_OK);
}

/* Write from there to there; all must go. */
static void write_bytes(size_t from, size_t to, size_t chunk)
{
    static unsigned char buf[200000];

    for (size_t len; from < to; from += len) {
        len = to - from < chunk ? to - from : chunk;
        fill(buf, len, from);
        assert_int_equal(rusm_stream_write(writer, buf, len, SUPPORT_DEADLINE_MS, NULL), RUSM_OK);
    }
}

/* Read up to the end, or the error that comes in its place. */
static rusm_err read_all(size_t *out_len)
{
    static unsigned char buf[100000];
    size_t at = 0, len = 0;
    rusm_err err;

    while ((err = rusm_stream_read(reader, buf, sizeof(buf), SUPPORT_DEADLINE_MS, &len)) ==
               RUSM_OK &&
           len != 0) {
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(buf[i], byte_at(at + i));
        }
        at += len;
    }
    *out_len = at;
    return err;
}

/* Write until the stream is closed, which must come. */
static void assert_write_closed(void)
{
    rusm_err err;

    do {
        err = rusm_stream_write(writer, "0123456789", 10, SUPPORT_DEADLINE_MS, NULL);
    } while (err == RUSM_OK);
    assert_int_equal(err, RUSM_ECLOSED);
}

/* Messages to the echo of b and back, each after the one before it. */
static void exchange(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rusm_msg *msg = NULL;

        assert_int_equal(rusm_node_send(NULL, "b", "echo", &i, sizeof(i)), RUSM_OK);
        assert_int_equal(rusm_receive(&msg, SUPPORT_DEADLINE_MS), RUSM_OK);
        assert_memory_equal(rusm_msg_data(msg), &i, sizeof(i));
        rusm_msg_del(msg);
    }
}

/* ---- whole streams --------------------------------------------------------------------------- */

static void much_goes_to_a_reader_at_another_node(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_READ);

    open_stream(CAPACITY * 4);
    give(there, reader);
    write_bytes(0, 64 * MIB, 150000);
    rusm_stream_close(writer);
    assert_true(support_wait(is_done, there));
    assert_true(atomic_load(&there->bytes) == 64 * MIB);
    assert_int_equal(atomic_load(&there->wrong), 0);
    assert_int_equal(atomic_load(&there->err), RUSM_OK);
    assert_string_equal(there->text, "here");
    assert_int_equal(dropped(pair.a) + dropped(pair.b), 0);
}

static void much_comes_from_a_writer_at_another_node(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_WRITE);
    size_t len;

    there->want = 64 * MIB;
    open_stream(CAPACITY);
    give(there, writer);
    assert_int_equal(read_all(&len), RUSM_OK);
    assert_int_equal(len, 64 * MIB);
    assert_int_equal(dropped(pair.a) + dropped(pair.b), 0);
}

/* A buffer of one byte, and odd ones, both ways. */
static void small_buffers_carry_everything(void **state)
{
    static const size_t sizes[] = {1, 3, 7, 4096};
    struct pair pair = enter_pair(state);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct actor *there = start(0, pair.b, ORDER_READ);
        size_t len;

        there->chunk = 5;
        open_stream(sizes[i]);
        give(there, reader);
        write_bytes(0, 300, 17);
        rusm_stream_close(writer);
        assert_true(support_wait(is_done, there));
        assert_true(atomic_load(&there->bytes) == 300);
        assert_int_equal(atomic_load(&there->wrong), 0);
        there = start(1, pair.b, ORDER_WRITE);
        there->want = 300;
        there->chunk = 11;
        open_stream(sizes[i]);
        give(there, writer);
        assert_int_equal(read_all(&len), RUSM_OK);
        assert_int_equal(len, 300);
    }
}

/* What was written before the reading end went comes first, also when the ring has wrapped. */
static void bytes_in_the_buffer_go_along(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_READ);
    unsigned char buf[8000];
    size_t len;

    open_stream(10000);
    write_bytes(0, 9000, 9000);
    assert_int_equal(rusm_stream_read(reader, buf, 8000, 0, &len), RUSM_OK);
    assert_int_equal(len, 8000);
    atomic_store(&there->bytes, 8000); /* it goes on there */
    write_bytes(9000, 18000, 9000);
    give(there, reader);
    write_bytes(18000, 100000, 777);
    rusm_stream_close(writer);
    assert_true(support_wait(is_done, there));
    assert_true(atomic_load(&there->bytes) == 100000);
    assert_int_equal(atomic_load(&there->wrong), 0);
}

/* The same of a writing end: what is in the buffer stays, and takes room. */
static void bytes_in_the_buffer_stay_with_the_reader(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_WRITE);
    size_t len;

    open_stream(10000);
    write_bytes(0, 10000, 10000);
    there->start = 10000;
    there->want = 90000;
    give(there, writer);
    assert_int_equal(read_all(&len), RUSM_OK);
    assert_int_equal(len, 100000);
}

/* The ends go while the other one is in use by a process of its own. */
static void an_end_goes_while_the_other_is_in_use(void **state)
{
    struct pair pair = enter_pair(state);

    for (int i = 0; i < 30; i++) {
        struct actor *here = start(0, pair.a, ORDER_WRITE), *there = start(1, pair.b, ORDER_READ);

        here->want = 300000;
        here->chunk = 777;
        open_stream(5000);
        give(here, writer);
        assert_true(support_wait(has_bytes, here));
        give(there, reader);
        assert_true(support_wait(is_done, there));
        assert_true(atomic_load(&there->bytes) == 300000);
        assert_int_equal(atomic_load(&there->wrong), 0);
        assert_int_equal(atomic_load(&there->err), RUSM_OK);
        support_kill(here->pid);
        support_kill(there->pid);
    }
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void a_reader_that_does_not_read_suspends_the_writer(void **state)
{
    static unsigned char buf[4 * CAPACITY];
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_HOLD);
    size_t first, second;

    open_stream(CAPACITY);
    give(there, reader);
    assert_int_equal(rusm_stream_write(writer, buf, sizeof(buf), 200, &first), RUSM_ETIMEOUT);
    assert_int_equal(first, CAPACITY);
    assert_int_equal(rusm_stream_write(writer, buf, 1, 0, &second), RUSM_ETIMEOUT);
    assert_int_equal(second, 0);
    support_echo_start(pair.b);
    exchange(20); /* nobody else is held up */
    support_kill(there->pid);
    assert_write_closed();
    assert_true(dropped(pair.b) == CAPACITY);
}

static bool all_dropped(void *arg)
{
    return dropped(arg) == 1000;
}

static void what_a_closed_reader_did_not_read_is_counted_there(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_CLOSE);

    open_stream(CAPACITY);
    write_bytes(0, 1000, 1000);
    give(there, reader);
    assert_true(support_wait(is_done, there));
    assert_true(support_wait(all_dropped, pair.b));
    assert_write_closed();
}

static void small_messages_flow_beside_a_stream(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *here = start(0, pair.a, ORDER_WRITE), *there = start(1, pair.b, ORDER_READ);

    here->want = (size_t)1 << 40; /* there is no end to it */
    open_stream(MIB);
    give(there, reader);
    give(here, writer);
    support_echo_start(pair.b);
    assert_true(support_wait(has_bytes, there));
    exchange(200);
    support_kill(here->pid);
    assert_true(support_wait(is_done, there));
    assert_int_equal(atomic_load(&there->err), RUSM_ECLOSED);
    assert_int_equal(atomic_load(&there->wrong), 0);
    assert_true(atomic_load(&there->bytes) >= atomic_load(&here->bytes));
}

/* ---- ends of ends ---------------------------------------------------------------------------- */

static void a_killed_writer_is_no_end_of_the_stream(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_WRITE);
    size_t len;
    rusm_err err;

    there->want = 64 * MIB;
    open_stream(CAPACITY);
    give(there, writer);
    assert_true(support_wait(has_bytes, there));
    support_kill(there->pid);
    err = read_all(&len);
    assert_int_equal(err, RUSM_ECLOSED);
    assert_true(len < 64 * MIB);
}

static void a_killed_reader_is_told_to_the_writer(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_READ);

    open_stream(CAPACITY);
    give(there, reader);
    write_bytes(0, 10000, 10000);
    assert_true(support_wait(has_bytes, there));
    support_kill(there->pid);
    assert_write_closed();
}

static void a_writer_closed_there_ends_the_stream_here(void **state)
{
    struct pair pair = enter_pair(state);
    size_t len;

    open_stream(CAPACITY);
    give(start(0, pair.b, ORDER_CLOSE), writer);
    assert_int_equal(read_all(&len), RUSM_OK);
    assert_int_equal(len, 0);
    /* and one that was closed here before it was taken there */
    open_stream(CAPACITY);
    write_bytes(0, 500, 500);
    rusm_stream_close(writer);
    give(start(1, pair.b, ORDER_READ), reader);
    assert_true(support_wait(is_done, &actors[1]));
    assert_int_equal(atomic_load(&actors[1].err), RUSM_OK);
    assert_true(atomic_load(&actors[1].bytes) == 500);
}

static void the_loss_of_the_link_is_no_end_of_the_stream(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *reads = start(0, pair.b, ORDER_READ), *writes = start(1, pair.b, ORDER_WRITE);
    rusm_stream *far_writer;
    size_t len;

    writes->want = 64 * MIB;
    open_stream(CAPACITY);
    give(reads, reader);
    write_bytes(0, 1000, 1000);
    far_writer = writer;
    open_stream(CAPACITY);
    give(writes, writer);
    assert_true(support_wait(has_bytes, reads));
    assert_true(support_wait(has_bytes, writes));
    assert_int_equal(rusm_node_disconnect(pair.a->node, "b"), RUSM_OK);
    assert_int_equal(read_all(&len), RUSM_ECLOSED);
    writer = far_writer;
    assert_write_closed();
    assert_true(support_wait(is_done, reads));
    assert_int_equal(atomic_load(&reads->err), RUSM_ECLOSED);
    assert_true(support_wait(is_done, writes));
    assert_int_equal(atomic_load(&writes->err), RUSM_ECLOSED);
    /* The next connection knows nothing of them, and carries others. */
    support_connect(pair.a, pair.b);
    rusm_stream_close(writer);
    open_stream(CAPACITY);
    give(start(2, pair.b, ORDER_READ), reader);
    write_bytes(0, 200000, 60000);
    rusm_stream_close(writer);
    assert_true(support_wait(is_done, &actors[2]));
    assert_true(atomic_load(&actors[2].bytes) == 200000);
}

/* ---- ends that nobody takes ------------------------------------------------------------------ */

static void an_end_that_nobody_takes_is_lost(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid gone = support_idle_start(pair.b, NULL);
    struct actor *there = start(0, pair.b, ORDER_IGNORE);
    size_t len;

    support_kill(gone);
    open_stream(CAPACITY);
    assert_int_equal(rusm_stream_send(gone, writer, NULL, 0), RUSM_OK);
    assert_int_equal(read_all(&len), RUSM_ECLOSED);
    assert_true(support_stats(pair.b).dropped_noproc == 1);
    /* unread */
    open_stream(CAPACITY);
    give(there, reader);
    write_bytes(0, 100, 100);
    assert_true(support_wait(is_done, there));
    support_kill(there->pid);
    assert_write_closed();
    /* freed with the message */
    open_stream(CAPACITY);
    give(start(1, pair.b, ORDER_DROP), writer);
    assert_int_equal(read_all(&len), RUSM_ECLOSED);
}

static void an_end_is_handed_on_within_its_node(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *last = start(1, pair.b, ORDER_READ), *first;

    first = start(0, pair.b, ORDER_HAND_ON);
    first->next = last->pid;
    open_stream(CAPACITY);
    give(first, reader);
    write_bytes(0, MIB, 30000);
    rusm_stream_close(writer);
    assert_true(support_wait(is_done, last));
    assert_true(atomic_load(&last->bytes) == MIB);
    assert_int_equal(atomic_load(&last->wrong), 0);
    assert_string_equal(last->text, "on");
    assert_int_equal(atomic_load(&first->err), RUSM_OK);
}

static void an_end_goes_over_one_link_at_most(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_HAND_ON);

    there->next = rusm_self();
    open_stream(CAPACITY);
    give(there, reader);
    assert_true(support_wait(is_done, there));
    assert_int_equal(atomic_load(&there->err), RUSM_EINVAL);
    assert_int_equal(rusm_stream_send(start(1, pair.b, ORDER_READ)->pid, writer, NULL, 0),
                     RUSM_EINVAL);
    write_bytes(0, 100, 100); /* it is still ours */
}

/* A message is sent on with its bytes alone, so one with an end in it is not sent on. */
static void an_end_does_not_go_with_a_message_that_is_sent_on(void **state)
{
    struct pair pair = enter_pair(state);
    struct actor *there = start(0, pair.b, ORDER_READ);
    rusm_msg *msg;

    open_stream(CAPACITY);
    assert_int_equal(rusm_stream_send(rusm_self(), reader, "x", 1), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, 0), RUSM_OK);
    assert_int_equal(rusm_send_msg(there->pid, msg), RUSM_EINVAL);
    reader = rusm_msg_take_stream(msg);
    assert_non_null(reader);
    assert_int_equal(rusm_send_msg(there->pid, msg), RUSM_OK);
    assert_true(support_wait(is_done, there));
    assert_string_equal(there->text, "x");
    assert_false(atomic_load(&there->has_end));
}

static void what_can_not_go_stays_with_its_owner(void **state)
{
    struct pair pair = enter_pair(state);
    rusm_pid nowhere = {.incarnation = 12345, .serial = 6};
    struct actor *there = start(0, pair.b, ORDER_READ);
    static char big[RUSM_MESSAGE_MAX];
    size_t len;

    open_stream(RUSM_STREAM_FAR_MAX + 1);
    assert_int_equal(rusm_stream_send(there->pid, reader, NULL, 0), RUSM_EMSGSIZE);
    rusm_stream_close(reader);
    rusm_stream_close(writer);
    open_stream(CAPACITY);
    assert_int_equal(rusm_stream_send(there->pid, reader, big, sizeof(big)), RUSM_EMSGSIZE);
    assert_int_equal(rusm_stream_send(nowhere, reader, NULL, 0), RUSM_ENONODE);
    write_bytes(0, 1000, 1000);
    rusm_stream_close(writer);
    assert_int_equal(read_all(&len), RUSM_OK);
    assert_int_equal(len, 1000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, support_world_setup, teardown)

static int teardown(void **state)
{
    if (!rusm_pid_is_none(rusm_self())) {
        rusm_thread_leave();
    }
    return support_world_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(much_goes_to_a_reader_at_another_node),
        CASE(much_comes_from_a_writer_at_another_node),
        CASE(small_buffers_carry_everything),
        CASE(bytes_in_the_buffer_go_along),
        CASE(bytes_in_the_buffer_stay_with_the_reader),
        CASE(an_end_goes_while_the_other_is_in_use),
        CASE(a_reader_that_does_not_read_suspends_the_writer),
        CASE(what_a_closed_reader_did_not_read_is_counted_there),
        CASE(small_messages_flow_beside_a_stream),
        CASE(a_killed_writer_is_no_end_of_the_stream),
        CASE(a_killed_reader_is_told_to_the_writer),
        CASE(a_writer_closed_there_ends_the_stream_here),
        CASE(the_loss_of_the_link_is_no_end_of_the_stream),
        CASE(an_end_that_nobody_takes_is_lost),
        CASE(an_end_is_handed_on_within_its_node),
        CASE(an_end_goes_over_one_link_at_most),
        CASE(an_end_does_not_go_with_a_message_that_is_sent_on),
        CASE(what_can_not_go_stays_with_its_owner),
    };

    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
