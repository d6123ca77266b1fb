/* SPDX-License-Identifier: MIT */
#include "cluster/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"

static const uint64_t PLENTY = UINT64_MAX / 2;

/* Allocations of the library go through these (linked with --wrap). */
void *__real_rusmi_alloc(size_t size);
void *__wrap_rusmi_alloc(size_t size);
void *__real_rusmi_zalloc_array(size_t count, size_t size);
void *__wrap_rusmi_zalloc_array(size_t count, size_t size);

static bool out_of_memory;

void *__wrap_rusmi_alloc(size_t size)
{
    return out_of_memory ? NULL : __real_rusmi_alloc(size);
}

void *__wrap_rusmi_zalloc_array(size_t count, size_t size)
{
    return out_of_memory ? NULL : __real_rusmi_zalloc_array(count, size);
}

/* A message to serial `to` from `sender` with len zero bytes. */
static struct rusmi_out *make(uint64_t sender, uint64_t to, size_t len)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .sender = sender, .serial = to};
    struct rusmi_out *out;
    uint8_t *body = rusmi_zalloc(len + 1);

    assert_int_equal(rusmi_out_new(&out, &head, body, len), RUSM_OK);
    rusmi_free(body);
    return out;
}

static struct rusmi_out *push(struct rusmi_outbox *ob, uint64_t sender, uint64_t to, size_t len)
{
    struct rusmi_out *out = make(sender, to, len);

    rusmi_outbox_push(ob, out);
    return out;
}

/* An outbox for bodies of up to 1,000 bytes; above 100 they are big. */
static void init(struct rusmi_outbox *ob, size_t window_extra, size_t flight_max)
{
    struct rusmi_outbox_config cfg;

    rusmi_outbox_config_init(&cfg);
    cfg.message_max = 1000;
    cfg.big_min = 100;
    cfg.window = rusmi_outbox_window_min(1000) + window_extra;
    cfg.flight_max = flight_max;
    cfg.seed = 42;
    assert_int_equal(rusmi_outbox_init(ob, &cfg), RUSM_OK);
}

/* `previous` as it stands in a started message. */
static uint64_t mark_of(const struct rusmi_out *out)
{
    struct rusmi_message_head head;
    const char *why;

    assert_true(rusmi_message_head_decode(out->wire, out->wire_len, &head, &why) > 0);
    return head.prev;
}

/* The next message must be `out`; start it. */
static void start(struct rusmi_outbox *ob, struct rusmi_out *out, uint64_t seq)
{
    assert_ptr_equal(rusmi_outbox_next(ob, PLENTY), out);
    rusmi_outbox_start(ob, out, seq);
}

static void test_message_is_one_piece_of_header_and_body(void **state)
{
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_NAME, .sender = 9, .name = "echo", .name_len = 4};
    struct rusmi_message_head got;
    struct rusmi_outbox ob;
    struct rusmi_out_part parts[2];
    struct rusmi_out *out;
    const char *why;
    ptrdiff_t head_len;

    (void)state;
    init(&ob, 0, 64);
    assert_int_equal(rusmi_out_new(&out, &head, "hello", 5), RUSM_OK);
    rusmi_outbox_push(&ob, out);
    assert_int_equal(ob.queued_count, 1);
    assert_int_equal(ob.queued_bytes, rusmi_out_len(out));
    start(&ob, out, 0);
    assert_int_equal(ob.queued_count + ob.queued_bytes, 0);
    assert_int_equal(rusmi_out_parts(out, parts), 1);
    head_len = rusmi_message_head_decode(parts[0].data, parts[0].len, &got, &why);
    assert_int_equal(head_len + 5, parts[0].len);
    assert_int_equal(got.prev, 0);
    assert_int_equal(got.sender, 9);
    assert_memory_equal(got.name, "echo", 4);
    assert_memory_equal(parts[0].data + head_len, "hello", 5);

    rusmi_outbox_sent(&ob, out, parts[0].len - 2);
    assert_int_equal(ob.reserved, 2);
    assert_false(rusmi_out_is_sent(out));
    assert_int_equal(rusmi_out_parts(out, parts), 1);
    assert_int_equal(parts[0].len, 2);
    assert_memory_equal(parts[0].data, "lo", 2);
    rusmi_outbox_sent(&ob, out, 2);
    assert_true(rusmi_out_is_sent(out));
    assert_int_equal(rusmi_out_parts(out, parts), 0);
    rusmi_outbox_acked(&ob, out);
    assert_int_equal(ob.acked_count, 1);
    assert_int_equal(rusmi_outbox_fini(&ob), 0);
}

/* A message handed over is sent from its own memory. */
static void test_message_handed_over_goes_whole(void **state)
{
    static const size_t lens[] = {0, 5, RUSMI_OUT_COPY_MAX, RUSMI_OUT_COPY_MAX + 1, 20000};
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 3}, got;
    struct rusmi_outbox ob;
    struct rusmi_outbox_config cfg;

    (void)state;
    rusmi_outbox_config_init(&cfg);
    assert_int_equal(rusmi_outbox_init(&ob, &cfg), RUSM_OK);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct rusmi_out_part parts[2];
        struct rusmi_out *out;
        rusm_msg *msg;
        uint8_t *all = malloc(lens[i] + RUSMI_MESSAGE_HEAD_MAX), *at = all;
        const char *why;
        ptrdiff_t head_len;

        assert_int_equal(rusm_msg_new(&msg, lens[i]), RUSM_OK);
        memset(rusm_msg_data(msg), (int)i + 1, lens[i]);
        assert_int_equal(rusmi_out_new_msg(&out, &head, msg), RUSM_OK);
        rusmi_outbox_push(&ob, out);
        start(&ob, out, i);
        assert_int_equal(rusmi_out_parts(out, parts), lens[i] != 0 ? 2 : 1);
        assert_true(lens[i] == 0 || parts[1].data == rusm_msg_data(msg));
        /* Hand it over in pieces that do not respect the seam. */
        while (!rusmi_out_is_sent(out)) {
            size_t len;

            assert_in_range(rusmi_out_parts(out, parts), 1, 2);
            len = parts[0].len > 7 ? parts[0].len - 3 : parts[0].len;
            memcpy(at, parts[0].data, len);
            at += len;
            rusmi_outbox_sent(&ob, out, len);
        }
        head_len = rusmi_message_head_decode(all, (size_t)(at - all), &got, &why);
        assert_int_equal(got.body_len, lens[i]);
        assert_int_equal((size_t)(at - all), (size_t)head_len + lens[i]);
        for (size_t k = 0; k < lens[i]; k++) {
            assert_int_equal(all[(size_t)head_len + k], i + 1);
        }
        rusmi_outbox_acked(&ob, out);
        free(all);
    }
    assert_int_equal(rusmi_outbox_fini(&ob), 0);
}

static void test_message_that_is_not_taken_is_the_callers_again(void **state)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 3};
    struct rusmi_out *out;
    rusm_msg *msg;

    (void)state;
    assert_int_equal(rusm_msg_new(&msg, 3), RUSM_OK);
    memcpy(rusm_msg_data(msg), "abc", 3);
    assert_int_equal(rusmi_out_new_msg(&out, &head, msg), RUSM_OK);
    rusmi_out_del_shell(out);
    assert_memory_equal(rusm_msg_data(msg), "abc", 3);
    rusm_msg_del(msg);
}

static void test_message_of_the_limit_is_made_and_a_larger_one_refused(void **state)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 3};
    struct rusmi_out *out = NULL;
    uint8_t *body = rusmi_zalloc(RUSM_MESSAGE_MAX + 1);
    rusm_msg *msg;

    (void)state;
    assert_int_equal(rusmi_out_new(&out, &head, body, RUSM_MESSAGE_MAX + 1), RUSM_EMSGSIZE);
    assert_null(out);
    assert_int_equal(rusmi_out_new(&out, &head, body, RUSM_MESSAGE_MAX), RUSM_OK);
    rusmi_out_del(out);
    out = NULL;
    assert_int_equal(rusm_msg_new(&msg, RUSM_MESSAGE_MAX + 1), RUSM_OK);
    assert_int_equal(rusmi_out_new_msg(&out, &head, msg), RUSM_EMSGSIZE);
    assert_null(out);
    rusm_msg_del(msg); /* still the caller's */
    head.serial = 0;
    assert_int_equal(rusmi_out_new(&out, &head, body, 1), RUSM_EINVAL);
    assert_null(out);
    rusmi_out_del(NULL);
    rusmi_free(body);
}

/* Each message names the one before of its pair; a pair is the sender and the destination, and a
 * name is another destination than a serial. */
static void test_message_names_the_one_before_of_its_pair(void **state)
{
    struct rusmi_message_head named = {
        .kind = RUSMI_MESSAGE_TO_NAME, .sender = 1, .name = "a", .name_len = 1};
    struct rusmi_outbox ob;
    struct rusmi_out *out[8];
    static const uint64_t marks[8] = {0, 0, 2, 0, 0, 3, 2, 4};

    (void)state;
    init(&ob, 0, 64);
    out[0] = push(&ob, 1, 5, 1);
    out[1] = push(&ob, 2, 5, 1);
    out[2] = push(&ob, 1, 5, 1);
    out[3] = push(&ob, 1, 6, 1);
    assert_int_equal(rusmi_out_new(&out[4], &named, "", 0), RUSM_OK);
    rusmi_outbox_push(&ob, out[4]);
    out[5] = push(&ob, 1, 5, 1);
    assert_int_equal(rusmi_out_new(&out[6], &named, "", 0), RUSM_OK);
    rusmi_outbox_push(&ob, out[6]);
    out[7] = push(&ob, 1, 6, 1);
    for (uint64_t i = 0; i < 8; i++) {
        start(&ob, out[i], i);
        assert_int_equal(mark_of(out[i]), marks[i]);
    }
    assert_int_equal(ob.pairs_count, 4);
    assert_int_equal(rusmi_outbox_fini(&ob), 8);
}

/* The pair is remembered until all its messages are acknowledged, in whatever order. */
static void test_pair_is_forgotten_when_all_is_acknowledged(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *a, *b, *c, *d;

    (void)state;
    init(&ob, 0, 64);
    a = push(&ob, 1, 5, 1);
    b = push(&ob, 1, 5, 1);
    start(&ob, a, 0);
    start(&ob, b, 1);
    rusmi_outbox_acked(&ob, b);
    c = push(&ob, 1, 5, 1);
    start(&ob, c, 2);
    assert_int_equal(mark_of(c), 1); /* a may still be on its way */
    rusmi_outbox_acked(&ob, c);
    rusmi_outbox_acked(&ob, a);
    assert_int_equal(ob.pairs_count, 0);
    d = push(&ob, 1, 5, 1);
    start(&ob, d, 3);
    assert_int_equal(mark_of(d), 0);
    rusmi_outbox_reset(&ob, d);
    assert_int_equal(ob.lost_count, 1);
    assert_int_equal(ob.reserved, 0);
    assert_int_equal(ob.pairs_count, 0);
    assert_int_equal(rusmi_outbox_fini(&ob), 0);
}

static void test_message_waits_for_credit_that_covers_all_of_it(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *a, *b;
    size_t need;

    (void)state;
    init(&ob, 0, 64);
    a = push(&ob, 1, 5, 50);
    b = push(&ob, 2, 5, 50);
    need = rusmi_out_len(a) + RUSMI_VARINT_LEN_MAX;
    assert_null(rusmi_outbox_next(&ob, need - 1));
    assert_ptr_equal(rusmi_outbox_next(&ob, need), a);
    rusmi_outbox_start(&ob, a, 0);
    /* What a has still to send is not free for b. */
    assert_null(rusmi_outbox_next(&ob, rusmi_out_len(a) + need - 1));
    assert_ptr_equal(rusmi_outbox_next(&ob, rusmi_out_len(a) + need), b);
    rusmi_outbox_sent(&ob, a, rusmi_out_len(a));
    assert_ptr_equal(rusmi_outbox_next(&ob, need), b);
    assert_null(rusmi_outbox_next(&ob, 0));
    assert_int_equal(rusmi_outbox_fini(&ob), 2);
}

static void test_no_more_than_the_limit_are_in_flight(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *out[3];

    (void)state;
    init(&ob, 0, 2);
    for (uint64_t i = 0; i < 3; i++) {
        out[i] = push(&ob, i, 5, 1);
    }
    start(&ob, out[0], 0);
    start(&ob, out[1], 1);
    assert_null(rusmi_outbox_next(&ob, PLENTY));
    rusmi_outbox_acked(&ob, out[0]);
    start(&ob, out[2], 2);
    assert_int_equal(ob.flight_count, 2);
    assert_int_equal(rusmi_outbox_fini(&ob), 2);
}

/* A window in which the largest message could wait for ever is refused. */
static void test_small_window_is_refused(void **state)
{
    struct rusmi_outbox_config cfg;
    struct rusmi_outbox ob;

    (void)state;
    rusmi_outbox_config_init(&cfg);
    cfg.window = rusmi_outbox_window_min(cfg.message_max) - 1;
    assert_int_equal(rusmi_outbox_init(&ob, &cfg), RUSM_EPROTO);
    cfg.window++;
    assert_int_equal(rusmi_outbox_init(&ob, &cfg), RUSM_OK);
    assert_int_equal(rusmi_outbox_fini(&ob), 0);
}

/* A big message that lacks credit lets small ones of other pairs pass, but none of its own. */
static void test_big_message_blocks_only_its_own_pair(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *big, *behind, *other, *behind_big, *last;
    size_t credit;

    (void)state;
    init(&ob, 0, 64);
    big = push(&ob, 1, 5, 1000);
    behind = push(&ob, 1, 5, 1);
    other = push(&ob, 2, 5, 1);
    behind_big = push(&ob, 1, 5, 500);
    last = push(&ob, 1, 5, 2);
    credit = rusmi_out_len(big) + RUSMI_VARINT_LEN_MAX + ob.share;
    assert_ptr_equal(rusmi_outbox_next(&ob, credit - 1), other);
    rusmi_outbox_start(&ob, other, 0);
    assert_null(rusmi_outbox_next(&ob, credit - 1));
    start(&ob, big, 1);
    start(&ob, behind, 2);
    start(&ob, behind_big, 3);
    start(&ob, last, 4);
    assert_int_equal(mark_of(behind), 1);
    assert_int_equal(mark_of(behind_big), 1);
    assert_int_equal(mark_of(last), 1);
    assert_int_equal(ob.big_pairs, 0);
    assert_int_equal(rusmi_outbox_fini(&ob), 5);
}

/* A big message does not overtake what its pair sent before it. */
static void test_big_message_waits_for_small_ones_before_it(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *small, *big;

    (void)state;
    init(&ob, 0, 64);
    small = push(&ob, 1, 5, 1);
    big = push(&ob, 1, 5, 1000);
    start(&ob, small, 0);
    start(&ob, big, 1);
    assert_int_equal(mark_of(big), 1);
    assert_int_equal(rusmi_outbox_fini(&ob), 2);
}

/* While a big message waits for credit, small ones keep to their share: it is not starved. */
static void test_small_messages_leave_room_for_a_waiting_big_one(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *out, *big;
    uint64_t credit, seq = 0;

    (void)state;
    init(&ob, 0, 256);
    big = push(&ob, 1, 5, 1000);
    for (uint64_t i = 0; i < 200; i++) {
        push(&ob, 2 + i, 5, 60);
    }
    credit = rusmi_out_len(big) + ob.share; /* a few bytes short for it */
    while ((out = rusmi_outbox_next(&ob, credit)) != NULL) {
        assert_ptr_not_equal(out, big);
        rusmi_outbox_start(&ob, out, seq++);
        credit -= rusmi_out_len(out);
        rusmi_outbox_sent(&ob, out, rusmi_out_len(out));
    }
    assert_true(ob.queued_count > 100);
    assert_true(ob.small_flight <= ob.share);
    assert_true(ob.small_flight + 80 > ob.share);
    assert_true(credit >= rusmi_out_len(big)); /* was kept for it */
    assert_ptr_equal(rusmi_outbox_next(&ob, credit + ob.share + 80), big);
    assert_int_equal(rusmi_outbox_fini(&ob), 201);
}

/* More pairs with big messages than the table has room for: some hold up others, none its order. */
static void test_many_big_messages_keep_their_order(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *out;
    uint64_t next[9] = {0}, seq = 0;
    struct {
        uint64_t sender, number;
        struct rusmi_out *out;
    } all[90];
    size_t len = 0;

    (void)state;
    init(&ob, 0, 4);
    for (uint64_t i = 0; i < 90; i++) {
        uint64_t sender = (i * 7) % 9;

        all[i].sender = sender;
        all[i].number = next[sender]++;
        all[i].out = push(&ob, sender, 5, i % 3 == 0 ? 1 : 200);
    }
    assert_int_equal(ob.big_pairs, 2);
    memset(next, 0, sizeof(next));
    while ((out = rusmi_outbox_next(&ob, PLENTY)) != NULL) {
        for (len = 0; all[len].out != out; len++) {
        }
        assert_int_equal(all[len].number, next[all[len].sender]);
        next[all[len].sender]++;
        all[len].out = NULL;
        rusmi_outbox_start(&ob, out, seq++);
        rusmi_outbox_sent(&ob, out, rusmi_out_len(out));
        rusmi_outbox_acked(&ob, out);
    }
    assert_int_equal(seq, 90);
    assert_int_equal(ob.pairs_count, 0);
    assert_int_equal(rusmi_outbox_fini(&ob), 0);
}

/* The table of pairs against a plain array, with many pairs coming and going. */
static void test_marks_agree_with_a_naive_model(void **state)
{
    enum {
        PAIRS = 50,
        ROUNDS = 50000,
        FLIGHT = 64
    };
    struct {
        size_t unacked;
        uint64_t last;
    } model[PAIRS] = {{0, 0}};
    struct {
        struct rusmi_out *out;
        size_t pair;
    } flight[FLIGHT];
    struct rusmi_outbox ob;
    struct rusmi_prng prng;
    size_t len = 0, known = 0;

    (void)state;
    rusmi_prng_init(&prng, 7);
    init(&ob, 100000, FLIGHT);
    for (uint64_t seq = 0; seq < ROUNDS;) {
        if (len < FLIGHT && rusmi_prng_below(&prng, 2) == 0) {
            size_t pair = (size_t)rusmi_prng_below(&prng, PAIRS);
            struct rusmi_out *out = push(&ob, pair % 5, 1 + pair / 5, 1);

            start(&ob, out, seq);
            assert_int_equal(mark_of(out), model[pair].unacked == 0 ? 0 : seq - model[pair].last);
            known += model[pair].unacked++ == 0;
            model[pair].last = seq++;
            flight[len].out = out;
            flight[len++].pair = pair;
        } else if (len > 0) {
            size_t i = (size_t)rusmi_prng_below(&prng, len);

            rusmi_outbox_acked(&ob, flight[i].out);
            known -= --model[flight[i].pair].unacked == 0;
            flight[i] = flight[--len];
        }
        assert_int_equal(ob.pairs_count, known);
    }
    assert_int_equal(rusmi_outbox_fini(&ob), len);
}

/* What was accepted and is not acknowledged is counted, wherever it waits. */
static void test_fini_counts_what_is_unfinished(void **state)
{
    struct rusmi_outbox ob;
    struct rusmi_out *out;

    (void)state;
    init(&ob, 0, 64);
    out = push(&ob, 1, 5, 1);
    start(&ob, out, 0);
    rusmi_outbox_sent(&ob, out, 1);
    push(&ob, 1, 5, 1);    /* waits */
    push(&ob, 2, 5, 500);  /* waits, big */
    push(&ob, 2, 5, 1);    /* behind it */
    push(&ob, 2, 5, 1000); /* behind it */
    assert_int_equal(ob.queued_count, 4);
    assert_int_equal(rusmi_outbox_fini(&ob), 5);
}

static void test_without_memory_nothing_changes(void **state)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 3};
    struct rusmi_outbox_config cfg;
    struct rusmi_outbox ob;
    struct rusmi_out *out = NULL;
    rusm_msg *small, *large;

    (void)state;
    rusmi_outbox_config_init(&cfg);
    assert_int_equal(rusm_msg_new(&small, 1), RUSM_OK);
    assert_int_equal(rusm_msg_new(&large, RUSMI_OUT_COPY_MAX + 1), RUSM_OK);
    out_of_memory = true;
    assert_int_equal(rusmi_outbox_init(&ob, &cfg), RUSM_ENOMEM);
    assert_int_equal(rusmi_out_new(&out, &head, "x", 1), RUSM_ENOMEM);
    assert_int_equal(rusmi_out_new_msg(&out, &head, small), RUSM_ENOMEM);
    assert_int_equal(rusmi_out_new_msg(&out, &head, large), RUSM_ENOMEM);
    out_of_memory = false;
    assert_null(out);
    rusm_msg_del(small); /* still the caller's */
    rusm_msg_del(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_is_one_piece_of_header_and_body),
        cmocka_unit_test(test_message_handed_over_goes_whole),
        cmocka_unit_test(test_message_that_is_not_taken_is_the_callers_again),
        cmocka_unit_test(test_message_of_the_limit_is_made_and_a_larger_one_refused),
        cmocka_unit_test(test_message_names_the_one_before_of_its_pair),
        cmocka_unit_test(test_pair_is_forgotten_when_all_is_acknowledged),
        cmocka_unit_test(test_message_waits_for_credit_that_covers_all_of_it),
        cmocka_unit_test(test_no_more_than_the_limit_are_in_flight),
        cmocka_unit_test(test_small_window_is_refused),
        cmocka_unit_test(test_big_message_blocks_only_its_own_pair),
        cmocka_unit_test(test_big_message_waits_for_small_ones_before_it),
        cmocka_unit_test(test_small_messages_leave_room_for_a_waiting_big_one),
        cmocka_unit_test(test_many_big_messages_keep_their_order),
        cmocka_unit_test(test_marks_agree_with_a_naive_model),
        cmocka_unit_test(test_fini_counts_what_is_unfinished),
        cmocka_unit_test(test_without_memory_nothing_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
