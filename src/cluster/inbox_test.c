/* SPDX-License-Identifier: MIT */
#include "cluster/inbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"

/* Messages are counted, and fail to be made on demand (linked with --wrap). */
rusm_err __real_rusm_msg_new(rusm_msg **out_msg, size_t len);
rusm_err __wrap_rusm_msg_new(rusm_msg **out_msg, size_t len);
void __real_rusm_msg_del(rusm_msg *msg);
void __wrap_rusm_msg_del(rusm_msg *msg);

static size_t live_messages;
static bool out_of_memory;

rusm_err __wrap_rusm_msg_new(rusm_msg **out_msg, size_t len)
{
    rusm_err err = out_of_memory ? RUSM_ENOMEM : __real_rusm_msg_new(out_msg, len);

    live_messages += err == RUSM_OK;
    return err;
}

void __wrap_rusm_msg_del(rusm_msg *msg)
{
    live_messages -= msg != NULL;
    __real_rusm_msg_del(msg);
}

enum {
    STREAMS = 64,
    WINDOW = 4096,
    BODY_MAX = 1000,
    SEEN_MAX = 256
};

/* What was delivered: the first byte of each body, and the last message whole. */
struct seen {
    uint8_t first[SEEN_MAX];
    size_t len;
    struct rusmi_message_head head;
    char name[RUSM_NAME_MAX];
    uint8_t body[BODY_MAX];
};

static void on_deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    struct seen *seen = arg;
    size_t len = rusm_msg_len(msg);

    assert_int_equal(len, head->body_len);
    assert_true(seen->len < SEEN_MAX);
    seen->head = *head;
    if (head->kind == RUSMI_MESSAGE_TO_NAME) {
        memcpy(seen->name, head->name, head->name_len);
        seen->head.name = seen->name;
    }
    memcpy(seen->body, rusm_msg_data(msg), len < BODY_MAX ? len : BODY_MAX);
    seen->first[seen->len++] = len > 0 ? seen->body[0] : 0;
    rusm_msg_del(msg);
}

static void init_as(struct rusmi_inbox *ib, struct seen *seen, struct rusmi_inbox_config *cfg)
{
    memset(seen, 0, sizeof(*seen));
    cfg->deliver = on_deliver;
    cfg->arg = seen;
    assert_int_equal(rusmi_inbox_init(ib, cfg), RUSM_OK);
}

static void init(struct rusmi_inbox *ib, struct seen *seen)
{
    struct rusmi_inbox_config cfg;

    rusmi_inbox_config_init(&cfg);
    cfg.window = WINDOW;
    cfg.streams_max = STREAMS;
    cfg.message_max = BODY_MAX;
    init_as(ib, seen, &cfg);
}

/* End an inbox that has nothing left to do and see that all is accounted for. */
static void fini_empty(struct rusmi_inbox *ib)
{
    assert_int_equal(ib->held_bytes, 0);
    assert_int_equal(ib->unfinished_count + ib->parked_count + ib->lost_count, 0);
    rusmi_inbox_fini(ib);
    assert_int_equal(live_messages, 0);
}

/* A stream's bytes: a message to serial 5 of len bytes that all are `fill`. */
struct bytes {
    uint8_t data[RUSMI_MESSAGE_HEAD_MAX + RUSMI_VARINT_LEN_MAX + BODY_MAX];
    size_t len, head_len;
};

static struct bytes message_of(const struct rusmi_message_head *given, uint8_t fill, size_t len)
{
    struct rusmi_message_head head = *given;
    struct bytes bytes = {.len = 0};
    uint8_t tail[RUSMI_MESSAGE_HEAD_MAX + RUSMI_VARINT_LEN_MAX];
    size_t tail_len, prev_len;

    head.body_len = (uint32_t)len;
    tail_len = rusmi_message_tail_encode(tail + RUSMI_VARINT_LEN_MAX, &head);
    prev_len = rusmi_message_prev_encode(tail + RUSMI_VARINT_LEN_MAX, head.prev);
    bytes.head_len = prev_len + tail_len;
    memcpy(bytes.data, tail + RUSMI_VARINT_LEN_MAX - prev_len, bytes.head_len);
    memset(bytes.data + bytes.head_len, fill, len);
    bytes.len = bytes.head_len + len;
    return bytes;
}

static struct bytes message(uint64_t prev, uint8_t fill, size_t len)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .prev = prev, .sender = 3, .serial = 5};

    return message_of(&head, fill, len);
}

/* A whole message in one piece. */
static rusm_err give(struct rusmi_inbox *ib, uint64_t seq, uint64_t prev, uint8_t fill, size_t len)
{
    struct bytes bytes = message(prev, fill, len);

    return rusmi_inbox_data(ib, seq, 0, bytes.data, bytes.len, true);
}

static uint64_t credit_of(struct rusmi_inbox *ib)
{
    uint64_t bytes, streams;

    rusmi_inbox_take_credit(ib, &bytes, &streams);
    return bytes;
}

/* The link fails with a reason that contains `why`, for good, and nothing leaks. */
static void assert_fails(struct rusmi_inbox *ib, rusm_err err, const char *why)
{
    size_t delivered = ib->delivered_count;

    assert_int_equal(err, RUSM_EPROTO);
    assert_non_null(ib->why);
    if (strstr(ib->why, why) == NULL) {
        fail_msg("\"%s\" is not \"%s\"", ib->why, why);
    }
    assert_int_equal(give(ib, ib->watermark, 0, 1, 1), RUSM_EPROTO);
    assert_int_equal(rusmi_inbox_reset(ib, ib->watermark), RUSM_EPROTO);
    assert_int_equal(ib->delivered_count, delivered);
    rusmi_inbox_fini(ib);
    assert_int_equal(live_messages, 0);
}

static void test_whole_message_is_delivered_at_once(void **state)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_NAME, .sender = 77, .name = "echo", .name_len = 4};
    struct bytes bytes = message_of(&head, 'x', 40);
    struct rusmi_inbox ib;
    struct seen seen;
    uint64_t credit, streams;

    (void)state;
    init(&ib, &seen);
    assert_int_equal(rusmi_inbox_data(&ib, 0, 0, bytes.data, bytes.len, true), RUSM_OK);
    assert_int_equal(seen.len, 1);
    assert_int_equal(seen.head.sender, 77);
    assert_int_equal(seen.head.name_len, 4);
    assert_memory_equal(seen.name, "echo", 4);
    assert_int_equal(seen.head.body_len, 40);
    assert_int_equal(seen.body[39], 'x');
    rusmi_inbox_take_credit(&ib, &credit, &streams);
    assert_int_equal(credit, bytes.len);
    assert_int_equal(streams, 1);
    rusmi_inbox_take_credit(&ib, &credit, &streams);
    assert_int_equal(credit + streams, 0);
    assert_int_equal(ib.pool_used, 0);
    fini_empty(&ib);
}

/* Divided in two at any byte, with the end in the second piece or alone after it; and byte by byte.
 */
static void test_message_divided_anywhere_is_delivered(void **state)
{
    struct rusmi_message_head heads[] = {
        {.kind = RUSMI_MESSAGE_TO_SERIAL, .sender = 1000, .serial = 1u << 20},
        {.kind = RUSMI_MESSAGE_TO_NAME, .sender = 70000, .name = "a-longer-name", .name_len = 13}};
    struct rusmi_inbox ib;
    struct seen seen;
    uint64_t seq = 0;

    (void)state;
    init(&ib, &seen);
    for (size_t kind = 0; kind < 2; kind++) {
        struct bytes bytes = message_of(&heads[kind], 'y', 20);

        for (size_t cut = 0; cut <= bytes.len; cut++, seq++) {
            bool alone = cut % 2 == 0;

            assert_int_equal(rusmi_inbox_data(&ib, seq, 0, bytes.data, cut, false), RUSM_OK);
            assert_int_equal(
                rusmi_inbox_data(&ib, seq, cut, bytes.data + cut, bytes.len - cut, !alone),
                RUSM_OK);
            if (alone) {
                assert_int_equal(rusmi_inbox_data(&ib, seq, bytes.len, NULL, 0, true), RUSM_OK);
            }
            assert_int_equal(seen.len, seq + 1);
            assert_int_equal(seen.head.sender, heads[kind].sender);
            assert_int_equal(seen.head.serial, heads[kind].serial);
            assert_int_equal(seen.head.body_len, 20);
            assert_int_equal(seen.body[0], 'y');
            assert_int_equal(seen.body[19], 'y');
            assert_int_equal(credit_of(&ib), bytes.len);
        }
        for (size_t i = 0; i < bytes.len; i++) {
            assert_int_equal(seen.len, seq);
            assert_int_equal(rusmi_inbox_data(&ib, seq, i, bytes.data + i, 1, i + 1 == bytes.len),
                             RUSM_OK);
        }
        assert_int_equal(seen.len, ++seq);
        (void)credit_of(&ib);
        if (kind == 1) {
            assert_memory_equal(seen.name, "a-longer-name", 13);
        }
    }
    assert_int_equal(ib.pool_used, 1); /* used again each time */
    fini_empty(&ib);
}

static void test_message_waits_for_its_predecessor(void **state)
{
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    /* 3 after 2 after 0; 1 is another pair. */
    assert_int_equal(give(&ib, 3, 1, '3', 10), RUSM_OK);
    assert_int_equal(give(&ib, 2, 2, '2', 10), RUSM_OK);
    assert_int_equal(seen.len, 0);
    assert_int_equal(ib.parked_count, 2);
    assert_int_equal(give(&ib, 1, 0, '1', 10), RUSM_OK);
    assert_int_equal(seen.len, 1);
    assert_true(rusmi_inbox_is_delivered(&ib, 1));
    assert_false(rusmi_inbox_is_delivered(&ib, 2));
    assert_int_equal(ib.watermark, 0);
    /* Credit comes back as messages are delivered, not as they arrive. */
    assert_int_equal(credit_of(&ib), message(0, '1', 10).len);
    assert_int_equal(give(&ib, 0, 0, '0', 10), RUSM_OK);
    assert_int_equal(credit_of(&ib), 3 * message(0, '1', 10).len);
    assert_memory_equal(seen.first, "1023", 4);
    assert_int_equal(ib.watermark, 4);
    assert_int_equal(ib.parked_total, 2);
    fini_empty(&ib);
}

/* A chain as long as the window, the first message last; then the ring is reused. */
static void test_chain_is_released_in_order(void **state)
{
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    for (uint64_t round = 0; round < 4; round++) {
        uint64_t base = round * (STREAMS - 1), credit, streams;

        for (uint64_t i = STREAMS - 2; i > 0; i--) {
            assert_int_equal(give(&ib, base + i, 1, (uint8_t)(base + i), 1), RUSM_OK);
        }
        assert_int_equal(seen.len, base);
        assert_int_equal(give(&ib, base, 0, (uint8_t)base, 1), RUSM_OK);
        assert_int_equal(seen.len, base + STREAMS - 1);
        rusmi_inbox_take_credit(&ib, &credit, &streams);
        assert_int_equal(streams, STREAMS - 1);
        assert_int_equal(credit, (STREAMS - 1) * message(0, 0, 1).len);
    }
    for (size_t i = 0; i < seen.len; i++) {
        assert_int_equal(seen.first[i], (uint8_t)i);
    }
    fini_empty(&ib);
}

/* Messages without order, newest first, round and round the ring: each is new each time. */
static void test_ring_is_clean_when_it_comes_round(void **state)
{
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    for (uint64_t base = 0; base < 3 * STREAMS; base += STREAMS) {
        for (uint64_t i = STREAMS; i > 0; i--) {
            assert_false(rusmi_inbox_is_delivered(&ib, base + i - 1));
            assert_int_equal(give(&ib, base + i - 1, 0, 'x', 1), RUSM_OK);
            assert_true(rusmi_inbox_is_delivered(&ib, base + i - 1));
            assert_int_equal(ib.watermark, i > 1 ? base : base + STREAMS);
        }
    }
    assert_int_equal(seen.len, 3 * STREAMS);
    fini_empty(&ib);
}

static void test_broken_message_fails_the_link(void **state)
{
    static const struct {
        uint8_t data[24];
        size_t len;
        const char *why;
    } cases[] = {
        {{0}, 0, "ends within its header"},
        {{0, 1, 3, 5}, 4, "ends within its header"},
        {{0, 2, 3, 5, 'e'}, 5, "ends within its header"},
        {{0, 99, 3, 5, 0}, 5, "unknown kind"},
        {{0, 1, 3, 0, 0}, 5, "serial 0"},
        {{0, 2, 3, 0, 0}, 5, "empty name"},
        {{0, 1, 3, 5, 2, 'a'}, 6, "shorter than its header says"},
        {{0, 1, 3, 5, 1, 'a', 'b'}, 7, "longer than its header says"},
        {{0, 1, 3, 5, 0x43, 0xe9}, 6, "larger than the limit"}, /* BODY_MAX + 1 */
        {{1, 1, 3, 5, 1, 'a'}, 6, "before the first stream"},
        {{0x7f, 0xff, 1, 3, 5, 1, 'a'}, 7, "before the first stream"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rusmi_inbox ib;
        struct seen seen;
        rusm_err err = RUSM_OK;

        init(&ib, &seen);
        assert_fails(&ib, rusmi_inbox_data(&ib, 0, 0, cases[i].data, cases[i].len, true),
                     cases[i].why);
        init(&ib, &seen);
        for (size_t k = 0; k < cases[i].len && err == RUSM_OK; k++) {
            err = rusmi_inbox_data(&ib, 0, k, cases[i].data + k, 1, false);
        }
        if (err == RUSM_OK) {
            err = rusmi_inbox_data(&ib, 0, cases[i].len, NULL, 0, true);
        }
        assert_fails(&ib, err, cases[i].why);
        assert_int_equal(seen.len, 0);
    }
}

static void test_two_successors_fail_the_link(void **state)
{
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    assert_int_equal(give(&ib, 2, 2, '2', 10), RUSM_OK);
    assert_fails(&ib, give(&ib, 3, 3, '3', 10), "same predecessor");
}

static void test_stream_out_of_place_fails_the_link(void **state)
{
    struct bytes bytes = message(0, 'x', 10);
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    assert_int_equal(give(&ib, STREAMS - 1, 0, 'x', 1), RUSM_OK);
    assert_fails(&ib, give(&ib, STREAMS, 0, 'x', 1), "above the limit");
    init(&ib, &seen);
    assert_fails(&ib, rusmi_inbox_reset(&ib, STREAMS), "above the limit");
    init(&ib, &seen);
    assert_fails(&ib, give(&ib, UINT64_MAX, 0, 'x', 1), "above the limit");
    init(&ib, &seen);
    assert_int_equal(give(&ib, 0, 0, 'x', 1), RUSM_OK);
    assert_fails(&ib, give(&ib, 0, 0, 'x', 1), "after its end");
    init(&ib, &seen);
    assert_int_equal(give(&ib, 5, 1, 'x', 1), RUSM_OK);
    assert_fails(&ib, rusmi_inbox_data(&ib, 5, bytes.len - 9, "x", 1, true), "after its end");
    init(&ib, &seen);
    assert_fails(&ib, rusmi_inbox_data(&ib, 0, 1, bytes.data, 1, false), "missing or come twice");
    init(&ib, &seen);
    assert_int_equal(rusmi_inbox_data(&ib, 0, 0, bytes.data, 8, false), RUSM_OK);
    assert_fails(&ib, rusmi_inbox_data(&ib, 0, 7, bytes.data + 7, 1, false),
                 "missing or come twice");
}

/* Neither begun nor parked messages may declare more than the window together. */
static void test_more_than_the_window_fails_the_link(void **state)
{
    struct bytes bytes = message(0, 'x', BODY_MAX);
    struct rusmi_inbox ib;
    struct seen seen;
    uint64_t seq;

    (void)state;
    init(&ib, &seen);
    for (seq = 0; seq < WINDOW / bytes.len; seq++) {
        assert_int_equal(rusmi_inbox_data(&ib, seq, 0, bytes.data, bytes.head_len, false), RUSM_OK);
    }
    assert_int_equal(live_messages, WINDOW / bytes.len);
    assert_fails(&ib, rusmi_inbox_data(&ib, seq, 0, bytes.data, bytes.head_len, false), "window");

    init(&ib, &seen);
    for (seq = 1; seq <= WINDOW / bytes.len; seq++) {
        assert_int_equal(give(&ib, seq, 1, 'x', BODY_MAX), RUSM_OK);
    }
    assert_fails(&ib, give(&ib, seq, 1, 'x', BODY_MAX), "window");
}

/* A reset stream keeps its place: what follows comes after what precedes. */
static void test_reset_message_keeps_its_place(void **state)
{
    struct bytes bytes = message(1, 'x', 10);
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    assert_int_equal(rusmi_inbox_data(&ib, 1, 0, bytes.data, bytes.head_len + 3, false), RUSM_OK);
    assert_int_equal(give(&ib, 2, 1, '2', 10), RUSM_OK);
    assert_int_equal(rusmi_inbox_reset(&ib, 1), RUSM_OK);
    assert_int_equal(credit_of(&ib), bytes.head_len + 3);
    assert_int_equal(seen.len, 0);
    assert_int_equal(rusmi_inbox_reset(&ib, 1), RUSM_OK); /* once is enough */
    assert_int_equal(ib.reset_count, 1);
    assert_int_equal(give(&ib, 0, 0, '0', 10), RUSM_OK);
    assert_memory_equal(seen.first, "02", 2);
    assert_int_equal(ib.watermark, 3);
    assert_int_equal(rusmi_inbox_reset(&ib, 2), RUSM_OK); /* whole before */
    assert_int_equal(ib.reset_count, 1);
    (void)credit_of(&ib);
    fini_empty(&ib);
}

/* Reset before its header came, it may be the successor of any stream below. */
static void test_reset_without_header_waits_for_all_below(void **state)
{
    struct bytes bytes = message(0, 'x', 10);
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    assert_int_equal(rusmi_inbox_data(&ib, 2, 0, bytes.data, 2, false), RUSM_OK);
    assert_int_equal(rusmi_inbox_reset(&ib, 2), RUSM_OK);
    assert_int_equal(rusmi_inbox_reset(&ib, 3), RUSM_OK);
    assert_int_equal(credit_of(&ib), 2);
    assert_int_equal(give(&ib, 4, 2, '4', 10), RUSM_OK); /* after 2 */
    assert_int_equal(give(&ib, 1, 0, '1', 10), RUSM_OK);
    assert_int_equal(seen.len, 1);
    assert_int_equal(ib.lost_count, 2);
    assert_int_equal(give(&ib, 0, 0, '0', 10), RUSM_OK);
    assert_memory_equal(seen.first, "104", 3);
    assert_int_equal(ib.watermark, 5);
    assert_int_equal(rusmi_inbox_reset(&ib, 5), RUSM_OK); /* nothing below is missing */
    assert_int_equal(ib.watermark, 6);
    assert_int_equal(ib.reset_count, 3);
    fini_empty(&ib);
}

/* Without memory a message is dropped and counted, in its place in the order, and the link lives.
 */
static void test_without_memory_messages_are_counted(void **state)
{
    struct bytes bytes = message(0, '1', 10);
    struct rusmi_inbox ib;
    struct seen seen;

    (void)state;
    init(&ib, &seen);
    out_of_memory = true;
    assert_int_equal(give(&ib, 0, 0, '0', 10), RUSM_OK);
    assert_int_equal(rusmi_inbox_data(&ib, 1, 0, bytes.data, 7, false), RUSM_OK);
    assert_int_equal(give(&ib, 2, 1, '2', 10), RUSM_OK);
    out_of_memory = false;
    assert_int_equal(ib.dropped_nomem_count, 3);
    assert_int_equal(give(&ib, 3, 1, '3', 10), RUSM_OK);
    assert_int_equal(seen.len, 0);
    assert_int_equal(rusmi_inbox_data(&ib, 1, 7, bytes.data + 7, bytes.len - 7, true), RUSM_OK);
    assert_int_equal(seen.len, 1);
    assert_int_equal(seen.first[0], '3');
    assert_int_equal(ib.watermark, 4);
    assert_int_equal(credit_of(&ib), 4 * bytes.len);
    fini_empty(&ib);
}

/* An inbox with a purse of that floor, in an account of sixteen times as much. */
static void init_with_purse(struct rusmi_inbox *ib, struct seen *seen, struct rusmi_budget *budget,
                            struct rusmi_purse *purse, size_t floor)
{
    struct rusmi_inbox_config cfg;

    rusmi_inbox_config_init(&cfg);
    cfg.purse = purse;
    rusmi_budget_init(budget, 16 * floor);
    assert_true(rusmi_purse_open(purse, budget, floor));
    init_as(ib, seen, &cfg);
}

/* An inbox with the limits of a link, and no purse. */
static void init_long(struct rusmi_inbox *ib, struct seen *seen)
{
    struct rusmi_inbox_config cfg;

    rusmi_inbox_config_init(&cfg);
    init_as(ib, seen, &cfg);
}

/* Begin a message of a kind with a body of len bytes, of which `part` come. */
static rusm_err begin(struct rusmi_inbox *ib, uint64_t seq, uint8_t kind, size_t len, size_t part)
{
    struct rusmi_message_head head = {.kind = kind, .sender = 3, .serial = 5, .number = 1};
    uint8_t data[RUSMI_MESSAGE_HEAD_MAX + RUSMI_VARINT_LEN_MAX + 100] = {0};
    size_t head_len;

    head.body_len = (uint32_t)len;
    head_len = 1 + rusmi_message_tail_encode(data + 1, &head);
    return rusmi_inbox_data(ib, seq, 0, data, head_len + part, false);
}

/* Bytes of the stream of a message that was begun above with that part of its body. */
static size_t begun_len(size_t len, size_t part)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .sender = 3, .serial = 5};

    head.body_len = (uint32_t)len;
    return 1 + rusmi_message_tail_len(&head) + part;
}

/* What does not fit into the purse is dropped and counted, keeps its place, and costs nothing. */
static void test_beyond_the_purse_messages_are_dropped(void **state)
{
    enum {
        FLOOR = 1024 * 1024
    };
    struct bytes last = message(1, 'l', 10);
    struct rusmi_budget budget;
    struct rusmi_purse purse;
    struct rusmi_inbox ib;
    struct seen seen;
    size_t used, kept;

    (void)state;
    init_with_purse(&ib, &seen, &budget, &purse, FLOOR);
    for (uint64_t seq = 0; seq < 20; seq++) {
        assert_int_equal(begin(&ib, seq, RUSMI_MESSAGE_TO_SERIAL, 500000, 10), RUSM_OK);
        assert_true(rusmi_budget_used(&budget) <= budget.limit);
    }
    kept = 20 - ib.dropped_nomem_count;
    assert_in_range(kept, 9, 13);
    assert_int_equal(live_messages, kept);
    used = purse.used;
    assert_true(used >= kept * 500000);
    /* A signal is not dropped: the link is. It finds the reserve first. */
    for (uint64_t seq = 20; ib.failed == RUSM_OK; seq++) {
        (void)!begin(&ib, seq, RUSMI_MESSAGE_DOWN, 10000, 10);
        assert_true(seq < 2000);
    }
    assert_int_equal(ib.failed, RUSM_ENOMEM);
    assert_string_equal(ib.why, RUSMI_BUDGET_REFUSAL);
    assert_int_equal(ib.dropped_nomem_count, 20 - kept);
    assert_int_equal(rusmi_inbox_data(&ib, 0, 0, last.data, last.len, true), RUSM_ENOMEM);
    rusmi_inbox_fini(&ib);
    assert_int_equal(live_messages, 0);
    rusmi_purse_close(&purse);
    assert_int_equal(rusmi_budget_used(&budget), 0);
}

/* While a message is unfinished and the purse tight, no credit; afterwards all of it. */
static void test_credit_waits_while_the_purse_is_tight(void **state)
{
    enum {
        FLOOR = 1024 * 1024,
        BIG = 5200000
    };
    struct rusmi_budget budget;
    struct rusmi_purse purse;
    struct rusmi_inbox ib;
    struct seen seen;
    uint64_t bytes, streams, seq;
    size_t before;

    (void)state;
    init_with_purse(&ib, &seen, &budget, &purse, FLOOR);
    before = purse.used;
    assert_int_equal(give(&ib, 0, 0, 'a', 10), RUSM_OK);
    assert_int_not_equal(credit_of(&ib), 0);
    assert_int_equal(begin(&ib, 1, RUSMI_MESSAGE_TO_SERIAL, BIG, 10), RUSM_OK);
    assert_true(rusmi_inbox_next_grant(&ib, 1, &seq));
    assert_int_equal(ib.dropped_nomem_count, 0);
    assert_true(rusmi_purse_is_tight(&purse));
    assert_int_equal(give(&ib, 2, 0, 'b', 10), RUSM_OK);
    rusmi_inbox_take_credit(&ib, &bytes, &streams);
    assert_int_equal(bytes, 0);
    assert_int_equal(rusmi_inbox_reset(&ib, 1), RUSM_OK);
    rusmi_inbox_take_credit(&ib, &bytes, &streams);
    assert_true(bytes > 20);
    assert_int_equal(streams, 2);
    /* What stays is the record. */
    assert_in_range(purse.used, before + 1, before + 1000);
    assert_int_equal(ib.held_bytes, 0);
    rusmi_inbox_fini(&ib);
    rusmi_purse_close(&purse);
    assert_int_equal(rusmi_budget_used(&budget), 0);
    assert_int_equal(live_messages, 0);
}

/* More of a long message than a stream's first window comes once it is allowed, in the order in
 * which they began. */
static void test_rest_of_a_long_message_is_asked_for(void **state)
{
    static const uint8_t zeros[4096];
    const size_t len = RUSMI_STREAM_FIRST + 1;
    struct rusmi_inbox ib;
    struct seen seen;
    uint64_t seq, at;

    (void)state;
    init_long(&ib, &seen);
    assert_false(rusmi_inbox_next_grant(&ib, 1, &seq));
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(begin(&ib, i, RUSMI_MESSAGE_TO_SERIAL, len, 10), RUSM_OK);
    }
    assert_int_equal(begin(&ib, 4, RUSMI_MESSAGE_TO_SERIAL, 100, 10), RUSM_OK); /* is not long */
    assert_true(rusmi_inbox_waits(&ib));
    assert_int_equal(rusmi_inbox_reset(&ib, 2), RUSM_OK);
    for (uint64_t i = 0; i < 4; i += i == 1 ? 2 : 1) {
        assert_true(rusmi_inbox_next_grant(&ib, 1, &seq));
        assert_int_equal(seq, i);
    }
    assert_false(rusmi_inbox_next_grant(&ib, 1, &seq));
    assert_false(rusmi_inbox_waits(&ib));
    assert_int_equal(ib.waiting_bytes, 0);
    at = begun_len(len, 10);
    for (size_t left = len - 10, part; left > 0; left -= part, at += part) {
        part = left < sizeof(zeros) ? left : sizeof(zeros);
        assert_int_equal(rusmi_inbox_data(&ib, 0, at, zeros, part, part == left), RUSM_OK);
    }
    assert_int_equal(seen.len, 1);
    assert_int_equal(seen.head.body_len, len);
    rusmi_inbox_fini(&ib);
    assert_int_equal(live_messages, 0);
}

static void test_more_of_a_stream_than_allowed_fails_the_link(void **state)
{
    static uint8_t zeros[RUSMI_STREAM_FIRST];
    struct rusmi_inbox ib;
    struct seen seen;
    const size_t len = 2 * RUSMI_STREAM_FIRST, rest = RUSMI_STREAM_FIRST - begun_len(len, 10);

    (void)state;
    init_long(&ib, &seen);
    assert_int_equal(begin(&ib, 0, RUSMI_MESSAGE_TO_SERIAL, len, 10), RUSM_OK);
    assert_int_equal(rusmi_inbox_data(&ib, 0, begun_len(len, 10), zeros, rest, false), RUSM_OK);
    assert_int_equal(rusmi_inbox_data(&ib, 0, RUSMI_STREAM_FIRST, zeros, 1, false), RUSM_EPROTO);
    rusmi_inbox_fini(&ib);
    assert_int_equal(live_messages, 0);
}

/* A long message waits for room that others leave; after five seconds without it is thrown away as
 * it comes, and a signal takes what is kept for such. */
static void test_long_message_waits_for_room(void **state)
{
    enum {
        FLOOR = 4 * 1024 * 1024,
        LONG = 16000000
    };
    struct rusmi_budget budget;
    struct rusmi_purse purse;
    struct rusmi_inbox ib;
    struct seen seen;
    uint64_t seq;

    (void)state;
    init_with_purse(&ib, &seen, &budget, &purse, FLOOR);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(begin(&ib, i, RUSMI_MESSAGE_TO_SERIAL, LONG, 10), RUSM_OK);
    }
    assert_int_equal(begin(&ib, 3, RUSMI_MESSAGE_DOWN, LONG, 10), RUSM_OK);
    assert_int_equal(ib.dropped_nomem_count, 0);
    assert_true(rusmi_inbox_next_grant(&ib, 1, &seq));
    assert_false(rusmi_inbox_next_grant(&ib, 1, &seq)); /* no room for the second */
    assert_true(rusmi_inbox_waits(&ib));
    assert_int_equal(rusmi_inbox_reset(&ib, 0), RUSM_OK);
    assert_true(rusmi_inbox_next_grant(&ib, 2, &seq));
    assert_int_equal(seq, 1);
    assert_false(rusmi_inbox_next_grant(&ib, 3, &seq));
    assert_false(rusmi_inbox_next_grant(&ib, 3 + RUSMI_INBOX_WAIT_NS - 1, &seq));
    assert_int_equal(ib.dropped_nomem_count, 0);
    assert_true(rusmi_inbox_next_grant(&ib, 3 + RUSMI_INBOX_WAIT_NS, &seq));
    assert_int_equal(seq, 2);
    assert_int_equal(ib.dropped_nomem_count, 1);
    assert_int_equal(live_messages, 2);
    assert_false(rusmi_inbox_next_grant(&ib, 4 + RUSMI_INBOX_WAIT_NS, &seq));
    assert_true(rusmi_inbox_next_grant(&ib, 4 + 2 * RUSMI_INBOX_WAIT_NS, &seq));
    assert_int_equal(seq, 3);
    assert_int_equal(ib.failed, RUSM_OK);
    assert_true(rusmi_budget_used(&budget) <= budget.limit);
    rusmi_inbox_fini(&ib);
    rusmi_purse_close(&purse);
    assert_int_equal(rusmi_budget_used(&budget), 0);
    assert_int_equal(live_messages, 0);
}

/* The largest message arrives in packets; a byte more is refused by its header. */
static void test_largest_message_arrives(void **state)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 5, .body_len = (uint32_t)RUSM_MESSAGE_MAX};
    struct rusmi_inbox_config cfg;
    struct rusmi_inbox ib;
    struct seen *seen = calloc(1, sizeof(*seen));
    uint8_t packet[1452] = {0}, *tail = packet + RUSMI_VARINT_LEN_MAX;
    uint64_t offset, seq;

    (void)state;
    rusmi_inbox_config_init(&cfg);
    cfg.deliver = on_deliver;
    cfg.arg = seen;
    assert_int_equal(rusmi_inbox_init(&ib, &cfg), RUSM_OK);
    tail[-1] = 0;
    offset = 1 + rusmi_message_tail_encode(tail, &head);
    assert_int_equal(rusmi_inbox_data(&ib, 0, 0, tail - 1, (size_t)offset, false), RUSM_OK);
    assert_int_equal(ib.waiting_bytes, RUSM_MESSAGE_MAX + offset - RUSMI_STREAM_FIRST);
    assert_true(rusmi_inbox_next_grant(&ib, 1, &seq));
    assert_int_equal(seq, 0);
    memset(packet, 'z', sizeof(packet));
    for (size_t left = RUSM_MESSAGE_MAX; left > 0;) {
        size_t len = left < sizeof(packet) ? left : sizeof(packet);

        left -= len;
        assert_int_equal(rusmi_inbox_data(&ib, 0, offset, packet, len, left == 0), RUSM_OK);
        offset += len;
    }
    assert_int_equal(seen->len, 1);
    assert_int_equal(seen->head.body_len, RUSM_MESSAGE_MAX);
    assert_int_equal(seen->first[0], 'z');
    assert_int_equal(credit_of(&ib), offset);
    fini_empty(&ib);
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_message_is_delivered_at_once),
        cmocka_unit_test(test_message_divided_anywhere_is_delivered),
        cmocka_unit_test(test_message_waits_for_its_predecessor),
        cmocka_unit_test(test_chain_is_released_in_order),
        cmocka_unit_test(test_ring_is_clean_when_it_comes_round),
        cmocka_unit_test(test_broken_message_fails_the_link),
        cmocka_unit_test(test_two_successors_fail_the_link),
        cmocka_unit_test(test_stream_out_of_place_fails_the_link),
        cmocka_unit_test(test_more_than_the_window_fails_the_link),
        cmocka_unit_test(test_reset_message_keeps_its_place),
        cmocka_unit_test(test_reset_without_header_waits_for_all_below),
        cmocka_unit_test(test_without_memory_messages_are_counted),
        cmocka_unit_test(test_beyond_the_purse_messages_are_dropped),
        cmocka_unit_test(test_credit_waits_while_the_purse_is_tight),
        cmocka_unit_test(test_rest_of_a_long_message_is_asked_for),
        cmocka_unit_test(test_more_of_a_stream_than_allowed_fails_the_link),
        cmocka_unit_test(test_long_message_waits_for_room),
        cmocka_unit_test(test_largest_message_arrives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
