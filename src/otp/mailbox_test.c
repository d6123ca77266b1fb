/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "otp/mailbox.h"

#include <pthread.h>

static struct rusm_msg *numbered(uint64_t number)
{
    rusm_msg *msg;

    assert_int_equal(rusm_msg_new(&msg, sizeof(number)), RUSM_OK);
    *(uint64_t *)rusm_msg_data(msg) = number;
    return msg;
}

static uint64_t number_of(const rusm_msg *msg)
{
    return *(const uint64_t *)rusm_msg_data(msg);
}

static bool is_number(const rusm_msg *msg, void *arg)
{
    return number_of(msg) == *(uint64_t *)arg;
}

static struct rusm_msg *take_wanted(struct rusmi_mailbox *box, struct rusmi_wanted wanted)
{
    uint64_t late = 0;

    rusmi_mailbox_collect(box);
    return rusmi_mailbox_take(box, &wanted, &late);
}

static uint64_t take(struct rusmi_mailbox *box)
{
    struct rusm_msg *msg = take_wanted(box, (struct rusmi_wanted){.match = NULL});
    uint64_t number = msg == NULL ? UINT64_MAX : number_of(msg);

    rusm_msg_del(msg);
    return number;
}

static void push(struct rusmi_mailbox *box, uint64_t number, uint64_t depth)
{
    assert_int_equal(rusmi_mailbox_push(box, 0, numbered(number)), RUSMI_PUSHED);
    assert_int_equal(rusmi_mailbox_depth(box), depth);
}

static void test_only_who_ends_the_wait_makes_the_owner_run(void **state)
{
    struct rusmi_mailbox box = {0};

    (void)state;
    rusmi_mailbox_open(&box);
    assert_int_equal(take(&box), UINT64_MAX);
    push(&box, 1, 1);
    push(&box, 2, 2);
    assert_false(rusmi_mailbox_wait(&box)); /* something is new */
    assert_int_equal(take(&box), 1);
    assert_true(rusmi_mailbox_wait(&box)); /* the second was collected */
    assert_true(rusmi_mailbox_waits(&box));
    assert_int_equal(rusmi_mailbox_push(&box, 0, numbered(3)), RUSMI_PUSHED_WAKE);
    assert_false(rusmi_mailbox_waits(&box));
    push(&box, 4, 3);
    assert_int_equal(take(&box), 2);
    assert_int_equal(take(&box), 3);
    assert_int_equal(take(&box), 4);
    assert_true(rusmi_mailbox_wait(&box));
    assert_true(rusmi_mailbox_notify(&box));
    assert_false(rusmi_mailbox_notify(&box));
    assert_false(rusmi_mailbox_wait(&box)); /* notified once more */
    rusmi_mailbox_collect(&box);
    assert_true(rusmi_mailbox_wait(&box));
    assert_true(rusmi_mailbox_unwait(&box));
    assert_false(rusmi_mailbox_unwait(&box));
    assert_false(rusmi_mailbox_notify(&box));
    push(&box, 5, 1); /* in place of the notification */
    assert_int_equal(take(&box), 5);
    assert_int_equal(rusmi_mailbox_close(&box), 0);
}

static void test_taking_from_the_middle_leaves_the_rest_in_order(void **state)
{
    struct rusmi_mailbox box = {0};

    (void)state;
    rusmi_mailbox_open(&box);
    for (uint64_t i = 0; i < 6; i++) {
        push(&box, i, i + 1);
    }
    for (uint64_t wanted = 5; wanted > 1; wanted -= 2) {
        struct rusm_msg *msg =
            take_wanted(&box, (struct rusmi_wanted){.match = is_number, .arg = &wanted});

        assert_non_null(msg);
        assert_int_equal(number_of(msg), wanted);
        rusm_msg_del(msg);
    }
    push(&box, 6, 5);
    assert_int_equal(take(&box), 0);
    assert_int_equal(take(&box), 1);
    assert_int_equal(take(&box), 2);
    assert_int_equal(take(&box), 4);
    assert_int_equal(take(&box), 6);
    assert_int_equal(rusmi_mailbox_close(&box), 0);
}

static void test_closing_frees_what_is_unread_and_refuses_the_old_generation(void **state)
{
    struct rusmi_mailbox box = {0};
    struct rusm_msg *late = numbered(9);

    (void)state;
    rusmi_mailbox_open(&box);
    for (uint64_t i = 0; i < 3; i++) {
        push(&box, i, i + 1);
    }
    assert_int_equal(take(&box), 0);
    push(&box, 3, 3);
    assert_int_equal(rusmi_mailbox_close(&box), 3);
    assert_int_equal(rusmi_mailbox_depth(&box), 0);
    assert_int_equal(rusmi_mailbox_push(&box, 0, late), RUSMI_PUSH_GONE);
    assert_int_equal(rusmi_mailbox_push(&box, 1, late), RUSMI_PUSHED);
    assert_int_equal(take(&box), 9);
    assert_int_equal(rusmi_mailbox_close(&box), 0);
}

/* The generation is the serial's upper half, as far as the head word has room for it. */
static void test_generations_follow_the_serial_round(void **state)
{
    struct rusmi_mailbox box = {0};

    (void)state;
    rusmi_mailbox_open(&box);
    assert_int_equal(rusmi_mailbox_life((uint64_t)5 << 32 | 77), 5);
    for (uint64_t life = 0; life < ((uint64_t)1 << 21) + 2; life++) {
        if (life % 100000 == 0 || life >= (uint64_t)1 << 21) {

            assert_int_equal(
                rusmi_mailbox_push(&box, rusmi_mailbox_life(life << 32 | 1), numbered(life)),
                RUSMI_PUSHED);
            assert_int_equal(rusmi_mailbox_close(&box), 1);
        } else {
            assert_int_equal(rusmi_mailbox_close(&box), 0);
        }
    }
}

/* ---- marks, replies and bounds --------------------------------------------------------------- */

static void test_a_mark_survives_what_is_taken_around_it(void **state)
{
    struct rusmi_mailbox box = {0};
    uint64_t three = 3, one = 1, late = 0, mark;
    struct rusm_msg *msg;

    (void)state;
    rusmi_mailbox_open(&box);
    push(&box, 1, 1);
    push(&box, 3, 2);
    mark = rusmi_mailbox_mark(&box, &late);
    push(&box, 3, 3);
    assert_null(take_wanted(&box, (struct rusmi_wanted){is_number, &one, 0, mark, false}));
    msg = take_wanted(&box, (struct rusmi_wanted){is_number, &three, 0, mark, false});
    assert_non_null(msg);
    rusm_msg_del(msg);
    /* the first three, before the mark, is still there; it was the last before it */
    assert_null(take_wanted(&box, (struct rusmi_wanted){is_number, &three, 0, mark, false}));
    msg = take_wanted(&box, (struct rusmi_wanted){is_number, &three, 0, 0, false});
    assert_non_null(msg);
    rusm_msg_del(msg);
    push(&box, 3, 2);
    msg = take_wanted(&box, (struct rusmi_wanted){is_number, &three, 0, mark, false});
    assert_non_null(msg);
    rusm_msg_del(msg);
    /* a mark that was replaced is the beginning */
    (void)rusmi_mailbox_mark(&box, &late);
    msg = take_wanted(&box, (struct rusmi_wanted){is_number, &one, 0, mark, false});
    assert_non_null(msg);
    rusm_msg_del(msg);
    assert_int_equal(rusmi_mailbox_close(&box), 0);
}

static void test_replies_that_nobody_waits_for_are_freed_on_the_way(void **state)
{
    struct rusmi_mailbox box = {0};
    struct rusmi_wanted wanted = {.reply = 7}, any = {.match = NULL};
    struct rusm_msg *msg;
    uint64_t late = 0;

    (void)state;
    rusmi_mailbox_open(&box);
    for (uint64_t ref = 5; ref < 9; ref++) {
        assert_int_equal(rusmi_msg_make(&msg, RUSM_MSG_REPLY, ref, "x", 1), RUSM_OK);
        assert_true(rusmi_mailbox_push(&box, 0, msg) <= RUSMI_PUSHED);
    }
    rusmi_mailbox_collect(&box);
    msg = rusmi_mailbox_take(&box, &wanted, &late);
    assert_non_null(msg);
    assert_int_equal(msg->ref, 7);
    rusm_msg_del(msg);
    assert_int_equal(late, 2);
    assert_null(rusmi_mailbox_take(&box, &any, &late));
    assert_int_equal(late, 3);
    assert_int_equal(rusmi_mailbox_close(&box), 0);
}

static enum rusmi_push push_kind(struct rusmi_mailbox *box, rusm_msg_kind kind, uint64_t number)
{
    struct rusm_msg *msg;
    enum rusmi_push result;

    assert_int_equal(rusmi_msg_make(&msg, kind, 0, &number, sizeof(number)), RUSM_OK);
    result = rusmi_mailbox_push(box, 0, msg);
    if (result == RUSMI_PUSH_FULL || result == RUSMI_PUSH_GONE) {
        rusm_msg_del(msg);
    }
    return result;
}

static void test_a_full_mailbox_does_as_its_policy_says_and_signals_pass(void **state)
{
    struct rusmi_mailbox box = {0};

    (void)state;
    for (int policy = RUSM_MAILBOX_REFUSE; policy <= RUSM_MAILBOX_DROP_OLDEST; policy++) {
        enum rusmi_push fourth;

        box = (struct rusmi_mailbox){0};
        rusmi_mailbox_open(&box);
        rusmi_mailbox_bound(&box, 2, (rusm_mailbox_policy)policy);
        assert_int_equal(push_kind(&box, RUSM_MSG_DATA, 1), RUSMI_PUSHED);
        assert_int_equal(push_kind(&box, RUSM_MSG_JOIN, 2), RUSMI_PUSHED);
        assert_int_equal(push_kind(&box, RUSM_MSG_CAST, 3), RUSMI_PUSHED);
        fourth = push_kind(&box, RUSM_MSG_DATA, 4);
        assert_int_equal(push_kind(&box, RUSM_MSG_JOIN, 5) <= RUSMI_PUSHED, true);
        assert_int_equal(box.dropped, 1);
        assert_int_equal(rusmi_mailbox_depth(&box), 4);
        if (policy == RUSM_MAILBOX_DROP_OLDEST) {
            assert_int_equal(fourth, RUSMI_PUSHED_OVER);
            assert_int_equal(take(&box), 2);
            assert_int_equal(take(&box), 3);
            assert_int_equal(take(&box), 4);
        } else {
            assert_int_equal(fourth,
                             policy == RUSM_MAILBOX_REFUSE ? RUSMI_PUSH_FULL : RUSMI_PUSH_SHED);
            assert_int_equal(take(&box), 1);
            assert_int_equal(take(&box), 2);
            assert_int_equal(take(&box), 3);
        }
        assert_int_equal(take(&box), 5);
        assert_int_equal(box.room, 0);
        assert_int_equal(push_kind(&box, RUSM_MSG_DATA, 6), RUSMI_PUSHED);
        assert_int_equal(rusmi_mailbox_close(&box), 1);
        assert_int_equal(box.room, 0);
    }
}

#define SENDERS 3
#define EACH    50000

struct sender {
    struct rusmi_mailbox *box;
    uint64_t id;
    uint64_t accepted;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;

    for (uint64_t i = 0; i < EACH; i++) {
        struct rusm_msg *msg;

        if (rusm_msg_new(&msg, sizeof(uint64_t)) != RUSM_OK) {
            return NULL;
        }
        *(uint64_t *)rusm_msg_data(msg) = sender->id << 32 | i;
        if (rusmi_mailbox_push(sender->box, 0, msg) <= RUSMI_PUSHED) {
            sender->accepted++;
        } else {
            rusm_msg_del(msg);
        }
    }
    return NULL;
}

static void test_messages_of_each_of_many_senders_stay_in_order(void **state)
{
    struct rusmi_mailbox box = {0};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    uint64_t next[SENDERS] = {0}, taken = 0, accepted = 0;

    (void)state;
    rusmi_mailbox_open(&box);
    for (uint64_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&box, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    while (taken < (uint64_t)SENDERS * EACH / 2) {
        uint64_t number = take(&box);

        if (number != UINT64_MAX) {
            assert_int_equal((uint32_t)number, next[number >> 32]++);
            taken++;
        }
    }
    /* It closes while they are still sending: what was accepted is taken or freed. */
    taken += rusmi_mailbox_close(&box);
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        accepted += senders[i].accepted;
    }
    assert_int_equal(taken, accepted);
    assert_int_equal(rusmi_mailbox_depth(&box), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_who_ends_the_wait_makes_the_owner_run),
        cmocka_unit_test(test_taking_from_the_middle_leaves_the_rest_in_order),
        cmocka_unit_test(test_closing_frees_what_is_unread_and_refuses_the_old_generation),
        cmocka_unit_test(test_generations_follow_the_serial_round),
        cmocka_unit_test(test_a_mark_survives_what_is_taken_around_it),
        cmocka_unit_test(test_replies_that_nobody_waits_for_are_freed_on_the_way),
        cmocka_unit_test(test_a_full_mailbox_does_as_its_policy_says_and_signals_pass),
        cmocka_unit_test(test_messages_of_each_of_many_senders_stay_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
