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

static uint64_t take(struct rusmi_mailbox *box)
{
    struct rusm_msg *msg = rusmi_mailbox_take(box, NULL, NULL);
    uint64_t number = msg == NULL ? UINT64_MAX : number_of(msg);

    rusm_msg_del(msg);
    return number;
}

static void push(struct rusmi_mailbox *box, uint64_t number, bool expect_first, uint64_t depth)
{
    bool first;
    uint64_t counted;

    assert_true(rusmi_mailbox_push(box, 0, numbered(number), &first, &counted));
    assert_int_equal(first, expect_first);
    assert_int_equal(counted, depth);
}

static void test_only_the_first_after_a_take_asks_for_a_wake_up(void **state)
{
    struct rusmi_mailbox box = {0};

    (void)state;
    rusmi_mailbox_open(&box);
    assert_int_equal(take(&box), UINT64_MAX);
    assert_false(rusmi_mailbox_has_new(&box));
    push(&box, 1, true, 1);
    push(&box, 2, false, 2);
    assert_true(rusmi_mailbox_has_new(&box));
    assert_int_equal(take(&box), 1);
    assert_false(rusmi_mailbox_has_new(&box));
    push(&box, 3, true, 2);
    assert_int_equal(rusmi_mailbox_depth(&box), 2);
    assert_int_equal(take(&box), 2);
    assert_int_equal(take(&box), 3);
    assert_int_equal(take(&box), UINT64_MAX);
    assert_int_equal(rusmi_mailbox_close(&box), 0);
}

static void test_taking_from_the_middle_leaves_the_rest_in_order(void **state)
{
    struct rusmi_mailbox box = {0};

    (void)state;
    rusmi_mailbox_open(&box);
    for (uint64_t i = 0; i < 6; i++) {
        push(&box, i, i == 0, i + 1);
    }
    for (uint64_t wanted = 5; wanted > 1; wanted -= 2) {
        struct rusm_msg *msg = rusmi_mailbox_take(&box, is_number, &wanted);

        assert_non_null(msg);
        assert_int_equal(number_of(msg), wanted);
        rusm_msg_del(msg);
    }
    push(&box, 6, true, 5);
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
    bool first;
    uint64_t depth;

    (void)state;
    rusmi_mailbox_open(&box);
    for (uint64_t i = 0; i < 3; i++) {
        push(&box, i, i == 0, i + 1);
    }
    assert_int_equal(take(&box), 0);
    push(&box, 3, true, 3);
    assert_int_equal(rusmi_mailbox_close(&box), 3);
    assert_int_equal(rusmi_mailbox_depth(&box), 0);
    assert_false(rusmi_mailbox_push(&box, 0, late, &first, &depth));
    assert_true(rusmi_mailbox_push(&box, 1, late, &first, &depth));
    assert_true(first);
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
            bool first;
            uint64_t depth;

            assert_true(rusmi_mailbox_push(&box, rusmi_mailbox_life(life << 32 | 1), numbered(life),
                                           &first, &depth));
            assert_int_equal(rusmi_mailbox_close(&box), 1);
        } else {
            assert_int_equal(rusmi_mailbox_close(&box), 0);
        }
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
        bool first;
        uint64_t depth;

        if (rusm_msg_new(&msg, sizeof(uint64_t)) != RUSM_OK) {
            return NULL;
        }
        *(uint64_t *)rusm_msg_data(msg) = sender->id << 32 | i;
        if (rusmi_mailbox_push(sender->box, 0, msg, &first, &depth)) {
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
        cmocka_unit_test(test_only_the_first_after_a_take_asks_for_a_wake_up),
        cmocka_unit_test(test_taking_from_the_middle_leaves_the_rest_in_order),
        cmocka_unit_test(test_closing_frees_what_is_unread_and_refuses_the_old_generation),
        cmocka_unit_test(test_generations_follow_the_serial_round),
        cmocka_unit_test(test_messages_of_each_of_many_senders_stay_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
