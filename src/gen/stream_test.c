/* SPDX-License-Identifier: MIT */
/*
 * Streams: bytes in order, who waits and who is woken, ends that are closed, lost and handed over.
 * Most of it runs under many seeds; that nothing is leaked is for the address sanitizer to say.
 */
#include "otp/fixture_test.h"
#include "otp/kit_fixture_test.h"

#include <rusm/otp/memory.h>
#include <rusm/otp/stream.h>
#include <sched.h>

#define CAPACITY 7
#define TOTAL    1000

/* The byte at a place of the stream. */
static unsigned char byte_at(size_t place)
{
    return (unsigned char)(place * 131 + place / 251);
}

static uint64_t dropped(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    return stats.stream_bytes_dropped;
}

/* What a process of a test did. */
struct actor {
    rusm_stream *end; /* taken from its first message */
    size_t bytes;     /* moved so far */
    rusm_err err;     /* that ended it */
    bool done;
    bool close; /* close the end in the end */
    size_t chunk;
};

/* The end that comes in the first message. */
static rusm_stream *take_end(void)
{
    rusm_stream *end;
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    end = rusm_msg_take_stream(msg);
    assert_non_null(end);
    assert_null(rusm_msg_take_stream(msg));
    rusm_msg_del(msg);
    return end;
}

/* Write TOTAL bytes in chunks. */
static void body_write(void *arg)
{
    struct actor *actor = arg;
    unsigned char buf[64];

    actor->end = take_end();
    while (actor->bytes < TOTAL && actor->err == RUSM_OK) {
        size_t n = actor->chunk < TOTAL - actor->bytes ? actor->chunk : TOTAL - actor->bytes;
        size_t written = 99;

        for (size_t i = 0; i < n; i++) {
            buf[i] = byte_at(actor->bytes + i);
        }
        actor->err = rusm_stream_write(actor->end, buf, n, RUSM_INFINITY, &written);
        actor->bytes += written;
        assert_true(written == n || actor->err != RUSM_OK);
    }
    if (actor->close) {
        rusm_stream_close(actor->end);
    }
    actor->done = true;
}

/* Read until the end, and check every byte. */
static void body_read(void *arg)
{
    struct actor *actor = arg;
    unsigned char buf[64];

    actor->end = take_end();
    for (;;) {
        size_t len = 0;

        actor->err = rusm_stream_read(actor->end, buf, actor->chunk, RUSM_INFINITY, &len);
        if (actor->err != RUSM_OK || len == 0) {
            break;
        }
        assert_true(len <= actor->chunk);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(buf[i], byte_at(actor->bytes + i));
        }
        actor->bytes += len;
    }
    if (actor->close) {
        rusm_stream_close(actor->end);
    }
    actor->done = true;
}

struct pair {
    struct actor writer, reader;
    rusm_pid writer_pid, reader_pid;
};

/* A writer and a reader at the two ends of a small stream. */
static void start_pair(struct pair *pair, size_t write_chunk, size_t read_chunk)
{
    rusm_stream *writer, *reader;

    *pair = (struct pair){{.chunk = write_chunk, .close = true}, {.chunk = read_chunk}, {0}, {0}};
    assert_int_equal(rusm_stream_new(CAPACITY, &writer, &reader), RUSM_OK);
    pair->writer_pid = kit_spawn(body_write, &pair->writer);
    pair->reader_pid = kit_spawn(body_read, &pair->reader);
    assert_int_equal(rusm_stream_send(pair->writer_pid, writer, NULL, 0), RUSM_OK);
    assert_int_equal(rusm_stream_send(pair->reader_pid, reader, "r", 1), RUSM_OK);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void bytes_arrive(void)
{
    struct pair pair;

    start_pair(&pair, 1 + kit.seed % 17, 1 + kit.seed % 5);
    kit_settle();
    assert_true(pair.writer.done && pair.reader.done);
    assert_int_equal(pair.writer.err, RUSM_OK);
    assert_int_equal(pair.reader.err, RUSM_OK);
    assert_int_equal(pair.reader.bytes, TOTAL);
    assert_int_equal(dropped(), 0);
}

static void test_bytes_arrive_in_order_and_then_the_end(void **state)
{
    (void)state;
    kit_each_seed(bytes_arrive);
}

static void test_a_full_stream_times_out_and_says_how_much_went_in(void **state)
{
    rusm_stream *writer, *reader;
    unsigned char buf[16] = "0123456789";
    size_t n = 0;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(4, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(writer, buf, 10, 0, &n), RUSM_ETIMEOUT);
    assert_int_equal(n, 4);
    assert_int_equal(rusm_stream_write(writer, buf, 10, 50, &n), RUSM_ETIMEOUT);
    assert_int_equal(n, 0);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(buf, "0123", 4);
    n = 77;
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_ETIMEOUT);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 50, &n), RUSM_ETIMEOUT);
    assert_int_equal(n, 77);
    assert_int_equal(rusm_stream_write(writer, NULL, 0, 0, NULL), RUSM_OK);
    kit_close();
}

static void test_the_default_capacity_is_64_kib(void **state)
{
    static unsigned char buf[70000];
    rusm_stream *writer, *reader;
    size_t n;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(0, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(writer, buf, sizeof(buf), 0, &n), RUSM_ETIMEOUT);
    assert_int_equal(n, 65536);
    rusm_stream_close(reader);
    assert_int_equal(dropped(), 65536);
    kit_close();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void writer_killed(void)
{
    struct pair pair;

    start_pair(&pair, 5, 3);
    for (uint64_t steps = rusm_test_random(kit.pool, 60); steps > 0; steps--) {
        (void)rusm_test_step(kit.pool);
    }
    (void)!rusm_kill(pair.writer_pid);
    kit_settle();
    assert_true(pair.reader.done);
    if (!pair.writer.done) {
        assert_int_equal(pair.reader.err, RUSM_ECLOSED);
        assert_true(pair.reader.bytes >= pair.writer.bytes); /* all that it had written */
    }
}

static void test_a_killed_writer_is_told_after_its_bytes(void **state)
{
    (void)state;
    kit_each_seed(writer_killed);
}

static void reader_killed(void)
{
    struct pair pair;

    start_pair(&pair, 5, 3);
    for (uint64_t steps = rusm_test_random(kit.pool, 60); steps > 0; steps--) {
        (void)rusm_test_step(kit.pool);
    }
    (void)!rusm_kill(pair.reader_pid);
    kit_settle();
    assert_true(pair.writer.done);
    assert_int_equal(pair.writer.err, RUSM_ECLOSED);
    assert_int_equal(pair.writer.bytes, pair.reader.bytes + dropped());
}

static void test_a_killed_reader_is_told_and_every_byte_is_accounted_for(void **state)
{
    (void)state;
    kit_each_seed(reader_killed);
}

/* Ends a stream's writer in other ways than a kill. */
static void body_crash_after_write(void *arg)
{
    (void)arg;
    assert_int_equal(rusm_stream_write(take_end(), "abc", 3, 0, NULL), RUSM_OK);
    rusm_crash("no more");
}

static void test_a_writer_that_crashes_leaves_its_bytes(void **state)
{
    rusm_stream *writer, *reader;
    char buf[8];
    size_t n;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_send(kit_spawn(body_crash_after_write, NULL), writer, NULL, 0),
                     RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_OK);
    assert_int_equal(n, 3);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_ECLOSED);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_ECLOSED);
    kit_close();
}

static void test_a_closed_writer_is_the_end_as_often_as_asked(void **state)
{
    rusm_stream *writer, *reader;
    char buf[8];
    size_t n = 9;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(writer, "ab", 2, 0, NULL), RUSM_OK);
    rusm_stream_close(writer);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_OK);
    assert_int_equal(n, 2);
    for (int i = 0; i < 2; i++) {
        n = 9;
        assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_OK);
        assert_int_equal(n, 0);
    }
    rusm_stream_close(NULL);
    kit_close();
}

static void test_a_closed_reader_makes_writes_fail_and_counts_what_it_drops(void **state)
{
    rusm_stream *writer, *reader;
    size_t n = 9;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(writer, "abcde", 5, 0, NULL), RUSM_OK);
    rusm_stream_close(reader);
    assert_int_equal(dropped(), 5);
    assert_int_equal(rusm_stream_write(writer, "fgh", 3, RUSM_INFINITY, &n), RUSM_ECLOSED);
    assert_int_equal(n, 0);
    assert_int_equal(dropped(), 5);
    kit_close();
}

/* ---- handing over ---------------------------------------------------------------------------- */

static void test_an_end_in_a_message_that_nobody_takes_is_lost(void **state)
{
    rusm_stream *writer, *reader;
    char buf[8];
    size_t n;
    rusm_pid pid;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(writer, "ab", 2, 0, NULL), RUSM_OK);
    pid = kit_spawn(kit_body_wait, NULL); /* it receives and deletes */
    assert_int_equal(rusm_stream_send(pid, writer, "bytes", 5), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_ECLOSED);
    kit_close();
}

/* Returns when it is told to, its mailbox unread. */
static bool is_go(const rusm_msg *msg, void *arg)
{
    (void)arg;
    return rusm_msg_len(msg) == 2;
}

static void body_wait_go(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    assert_int_equal(rusm_receive_match(&msg, is_go, NULL, RUSM_INFINITY), RUSM_OK);
}

static void test_an_end_in_the_mailbox_of_one_who_ends_is_lost(void **state)
{
    rusm_stream *writer, *reader;
    rusm_pid pid;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(writer, "abc", 3, 0, NULL), RUSM_OK);
    pid = kit_spawn(body_wait_go, NULL);
    assert_int_equal(rusm_stream_send(pid, reader, NULL, 0), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_stream_write(writer, "d", 1, 0, NULL), RUSM_OK);
    assert_int_equal(rusm_send(pid, "go", 2), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_stream_write(writer, "e", 1, 0, NULL), RUSM_ECLOSED);
    assert_int_equal(dropped(), 4);
    kit_close();
}

static void test_an_end_that_a_full_mailbox_sheds_is_lost(void **state)
{
    rusm_stream *writer, *reader;
    rusm_spawn_config cfg;
    rusm_pid pid;

    (void)state;
    for (int policy = RUSM_MAILBOX_REFUSE; policy <= RUSM_MAILBOX_DROP_OLDEST; policy++) {
        kit_open(1);
        assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
        rusm_spawn_config_init(&cfg);
        cfg.mailbox_max = 1;
        cfg.mailbox_policy = (rusm_mailbox_policy)policy;
        assert_int_equal(rusm_spawn_with(kit.rt, body_wait_go, NULL, &cfg, &pid), RUSM_OK);
        assert_int_equal(rusm_stream_send(pid, reader, NULL, 0), RUSM_OK);
        if (policy == RUSM_MAILBOX_REFUSE) {
            assert_int_equal(rusm_stream_send(pid, writer, NULL, 0), RUSM_EFULL);
            assert_int_equal(rusm_stream_write(writer, "a", 1, 0, NULL), RUSM_OK); /* still ours */
        } else if (policy == RUSM_MAILBOX_DROP_NEWEST) {
            assert_int_equal(rusm_stream_send(pid, writer, NULL, 0), RUSM_OK);
            assert_int_equal(rusm_stream_write(writer, "a", 1, 0, NULL), RUSM_EINVAL);
        } else {
            assert_int_equal(rusm_send(pid, "x", 1), RUSM_OK);
            assert_int_equal(rusm_stream_write(writer, "a", 1, 0, NULL), RUSM_ECLOSED);
        }
        kit_close();
    }
}

/* Sends the end on, once in its message and once taken. */
static void body_pass_on(void *arg)
{
    rusm_pid *to = arg;
    rusm_msg *msg;

    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    if (rusm_msg_len(msg) == 0) {
        assert_int_equal(rusm_stream_send(*to, rusm_msg_take_stream(msg), "on", 2), RUSM_OK);
        rusm_msg_del(msg);
    } else {
        assert_int_equal(rusm_send_msg(*to, msg), RUSM_OK);
    }
}

static void ends_travel(void)
{
    rusm_stream *writer, *reader, *back;
    rusm_pid first, second;
    char buf[8];
    rusm_msg *msg;
    size_t n;

    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    second = kit_spawn(body_pass_on, &kit.self);
    first = kit_spawn(body_pass_on, &second);
    assert_int_equal(rusm_stream_send(first, writer, NULL, 0), RUSM_OK);
    msg = kit_receive();
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), second));
    assert_memory_equal(rusm_msg_data(msg), "on", 2);
    back = rusm_msg_take_stream(msg);
    assert_ptr_equal(back, writer);
    rusm_msg_del(msg);
    kit_settle(); /* those that had it end, and it stays open */
    assert_int_equal(rusm_stream_write(back, "abc", 3, 0, NULL), RUSM_OK);
    assert_int_equal(rusm_stream_read(reader, buf, sizeof(buf), 0, &n), RUSM_OK);
    assert_int_equal(n, 3);
}

static void test_ends_travel_from_hand_to_hand(void **state)
{
    (void)state;
    kit_each_seed(ends_travel);
}

static void test_an_end_that_could_not_be_sent_is_still_the_senders(void **state)
{
    rusm_stream *writer, *reader;
    rusm_pid pid;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    pid = kit_spawn(kit_body_return, NULL);
    kit_settle();
    assert_int_equal(rusm_stream_send(pid, writer, NULL, 0), RUSM_ENOPROC);
    assert_int_equal(rusm_stream_send((rusm_pid){kit.self.incarnation + 1, 1}, writer, NULL, 0),
                     RUSM_EINVAL);
    assert_int_equal(rusm_stream_write(writer, "a", 1, 0, NULL), RUSM_OK);
    kit_close();
}

/* ---- mistakes -------------------------------------------------------------------------------- */

struct mistake {
    rusm_stream *writer, *reader;
    bool done;
};

static void body_use_others_ends(void *arg)
{
    struct mistake *mistake = arg;
    char buf[4];
    size_t n = 5;

    assert_int_equal(rusm_stream_write(mistake->writer, "a", 1, 0, &n), RUSM_EINVAL);
    assert_int_equal(n, 0);
    assert_int_equal(rusm_stream_read(mistake->reader, buf, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_stream_send(rusm_self(), mistake->reader, NULL, 0), RUSM_EINVAL);
    rusm_stream_close(mistake->writer);
    rusm_stream_close(mistake->reader);
    mistake->done = true;
}

static void test_mistakes_are_refused_and_change_nothing(void **state)
{
    struct mistake mistake = {NULL, NULL, false};
    rusm_stream *writer, *reader;
    rusm_msg *msg;
    char buf[4];
    size_t n;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, NULL, &reader), RUSM_EINVAL);
    assert_int_equal(rusm_stream_new(8, &writer, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_stream_new(SIZE_MAX, &writer, &reader), RUSM_ENOMEM);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    assert_int_equal(rusm_stream_write(reader, "a", 1, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_stream_write(NULL, "a", 1, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_stream_write(writer, NULL, 1, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_stream_read(writer, buf, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_stream_read(reader, NULL, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_stream_read(reader, buf, 0, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_stream_read(reader, buf, 4, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_stream_send(kit.self, NULL, NULL, 0), RUSM_EINVAL);
    assert_int_equal(rusm_stream_send(kit.self, writer, NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_stream_send(RUSM_PID_NONE, writer, NULL, 0), RUSM_EINVAL);
    assert_null(rusm_msg_take_stream(NULL));
    assert_int_equal(rusm_msg_new(&msg, 32), RUSM_OK);
    memset(rusm_msg_data(msg), 1, 32);
    assert_null(rusm_msg_take_stream(msg));
    rusm_msg_del(msg);
    mistake.writer = writer;
    mistake.reader = reader;
    (void)kit_spawn(body_use_others_ends, &mistake);
    kit_settle();
    assert_true(mistake.done);
    assert_int_equal(rusm_stream_write(writer, "ab", 2, 0, NULL), RUSM_OK);
    assert_int_equal(rusm_stream_read(reader, buf, 4, 0, &n), RUSM_OK);
    assert_int_equal(n, 2);
    kit_close();
}

static void test_outside_a_context_there_are_no_streams(void **state)
{
    rusm_stream *writer, *reader;
    char buf[4];
    size_t n;

    (void)state;
    kit_open(1);
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_OK);
    rusm_thread_leave(); /* closes them: they are not touched below */
    assert_int_equal(rusm_stream_new(8, &writer, &reader), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_stream_write(NULL, "a", 1, 0, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_stream_read(NULL, buf, 4, 0, &n), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_stream_send(kit.self, NULL, NULL, 0), RUSM_ENOCONTEXT);
    rusm_runtime_del(kit.rt);
    rusm_pool_del(kit.pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define STORM_PAIRS 50
#define STORM_TOTAL 20000

static struct fixture *storm;
static _Atomic(uint64_t) storm_read, storm_written;

static void storm_writer(void *arg)
{
    rusm_stream *end = take_end();
    unsigned char buf[100];
    size_t done = 0;
    rusm_err err = RUSM_OK;

    (void)arg;
    while (done < STORM_TOTAL && err == RUSM_OK) {
        size_t n;

        for (size_t i = 0; i < sizeof(buf); i++) {
            buf[i] = byte_at(done + i);
        }
        err = rusm_stream_write(end, buf, sizeof(buf), RUSM_INFINITY, &n);
        (void)atomic_fetch_add(&storm_written, n);
        done += n;
    }
    rusm_stream_close(end);
    fixture_count(storm);
}

/* Each seventh reader gives up on the way. */
static void storm_reader(void *arg)
{
    rusm_stream *end = take_end();
    unsigned char buf[77];
    size_t done = 0, len;
    bool gives_up = (uintptr_t)arg % 7 == 0;

    while (!gives_up || done < STORM_TOTAL / 2) {
        assert_int_equal(rusm_stream_read(end, buf, sizeof(buf), RUSM_INFINITY, &len), RUSM_OK);
        if (len == 0) {
            break;
        }
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(buf[i], byte_at(done + i));
        }
        done += len;
        (void)atomic_fetch_add(&storm_read, len);
    }
    assert_true(gives_up || done == STORM_TOTAL);
    fixture_count(storm);
}

static void test_many_pairs_on_threads_lose_no_byte(void **state)
{
    rusm_runtime_stats stats;

    storm = *state;
    atomic_store(&storm_read, 0);
    atomic_store(&storm_written, 0);
    assert_int_equal(rusm_thread_enter(storm->rt, NULL), RUSM_OK);
    for (uintptr_t i = 0; i < STORM_PAIRS; i++) {
        rusm_stream *writer, *reader;
        rusm_pid pid;

        assert_int_equal(rusm_stream_new(64 + i, &writer, &reader), RUSM_OK);
        assert_int_equal(rusm_spawn(storm->rt, storm_writer, NULL, &pid), RUSM_OK);
        assert_int_equal(rusm_stream_send(pid, writer, NULL, 0), RUSM_OK);
        assert_int_equal(rusm_spawn(storm->rt, storm_reader, (void *)i, &pid), RUSM_OK);
        assert_int_equal(rusm_stream_send(pid, reader, NULL, 0), RUSM_OK);
    }
    rusm_thread_leave();
    fixture_wait_count(storm, &storm->count, 2 * STORM_PAIRS);
    assert_int_equal(rusm_runtime_stop(storm->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_runtime_get_stats(storm->rt, &stats), RUSM_OK);
    assert_int_equal(atomic_load(&storm_written),
                     atomic_load(&storm_read) + stats.stream_bytes_dropped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive_in_order_and_then_the_end),
        cmocka_unit_test(test_a_full_stream_times_out_and_says_how_much_went_in),
        cmocka_unit_test(test_the_default_capacity_is_64_kib),
        cmocka_unit_test(test_a_killed_writer_is_told_after_its_bytes),
        cmocka_unit_test(test_a_killed_reader_is_told_and_every_byte_is_accounted_for),
        cmocka_unit_test(test_a_writer_that_crashes_leaves_its_bytes),
        cmocka_unit_test(test_a_closed_writer_is_the_end_as_often_as_asked),
        cmocka_unit_test(test_a_closed_reader_makes_writes_fail_and_counts_what_it_drops),
        cmocka_unit_test(test_an_end_in_a_message_that_nobody_takes_is_lost),
        cmocka_unit_test(test_an_end_in_the_mailbox_of_one_who_ends_is_lost),
        cmocka_unit_test(test_an_end_that_a_full_mailbox_sheds_is_lost),
        cmocka_unit_test(test_ends_travel_from_hand_to_hand),
        cmocka_unit_test(test_an_end_that_could_not_be_sent_is_still_the_senders),
        cmocka_unit_test(test_mistakes_are_refused_and_change_nothing),
        cmocka_unit_test(test_outside_a_context_there_are_no_streams),
        fixture_test(test_many_pairs_on_threads_lose_no_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
