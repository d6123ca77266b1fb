/* SPDX-License-Identifier: MIT */
#include "cluster/signal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/reason.h"

enum {
    FROM = 11,
    TO = 22
};

/* What passes between nodes as signals, by what is in wire.md. */
static const struct {
    rusm_signal_kind kind;
    uint8_t wire;
    bool reason;
} signals[] = {
    {RUSM_SIGNAL_LINK, 7, false},
    {RUSM_SIGNAL_UNLINK, 8, false},
    {RUSM_SIGNAL_UNLINKED, 9, false},
    {RUSM_SIGNAL_MONITOR, 10, false},
    {RUSM_SIGNAL_DEMONITOR, 11, false},
    {RUSM_SIGNAL_EXIT, 12, true},
    {RUSM_SIGNAL_DOWN, 13, true},
    {RUSM_SIGNAL_ASK_EXIT, 14, true},
    {RUSM_SIGNAL_BORN_LINKED, 20, false},
    {RUSM_SIGNAL_BORN_WATCHED, 21, false},
    {RUSM_SIGNAL_STOP, RUSMI_MESSAGE_STOP, true},
};

#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

static void test_each_signal_arrives_as_it_was_sent(void **state)
{
    const rusm_reason sent = {.kind = RUSM_REASON_CRASHED, .text = "because"};
    uint8_t body[RUSMI_REASON_BYTES_MAX];
    size_t len = rusmi_reason_encode(body, &sent);

    (void)state;
    for (size_t i = 0; i < SIGNALS; i++) {
        const rusm_signal out = {.kind = signals[i].kind,
                                 .from = {FROM, 3},
                                 .to = {TO, 4},
                                 .number = 5,
                                 .reason = signals[i].reason ? &sent : NULL};
        struct rusmi_message_head head;
        rusm_reason reason;
        rusm_signal in;
        const char *why;

        rusmi_signal_head(&head, &out);
        assert_int_equal(head.kind, signals[i].wire);
        assert_int_equal(rusmi_message_class(head.kind), RUSMI_CLASS_SIGNAL);
        assert_int_equal(rusmi_signal_decode(&in, &reason, &head, body, signals[i].reason ? len : 0,
                                             FROM, TO, &why),
                         RUSM_OK);
        assert_int_equal(in.kind, out.kind);
        assert_true(rusm_pid_equal(in.from, out.from) && rusm_pid_equal(in.to, out.to));
        assert_int_equal(in.number, 5);
        assert_int_equal(in.reason != NULL, signals[i].reason);
        if (in.reason != NULL) {
            assert_int_equal(in.reason->kind, RUSM_REASON_CRASHED);
            assert_string_equal(in.reason->text, "because");
        }
    }
}

static void test_body_of_a_signal_is_a_reason_or_nothing(void **state)
{
    static const uint8_t nonsense[] = {0xff, 0xff};

    (void)state;
    for (size_t i = 0; i < SIGNALS; i++) {
        const struct rusmi_message_head head = {.kind = signals[i].wire, .sender = 1, .serial = 2};
        const char *why = NULL;
        rusm_reason reason;
        rusm_signal in;

        assert_int_equal(
            rusmi_signal_decode(&in, &reason, &head, nonsense, sizeof(nonsense), FROM, TO, &why),
            RUSM_EPROTO);
        assert_non_null(why);
    }
}

static void test_each_signal_of_a_stream_arrives_as_it_was_sent(void **state)
{
    static const rusm_stream_signal_kind all[] = {RUSM_STREAM_OFFER, RUSM_STREAM_DATA,
                                                  RUSM_STREAM_CREDIT, RUSM_STREAM_END};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct rusmi_stream_offer offer = {true, 100, 7};
        bool offered = all[i] == RUSM_STREAM_OFFER;
        const rusm_stream_signal out = {.kind = all[i],
                                        .from = {FROM, offered ? 3 : 0},
                                        .to = {TO, offered ? 4 : 0},
                                        .stream = 9,
                                        .number = offered ? 0 : 5};
        uint8_t body[RUSMI_STREAM_OFFER_MAX + 3] = {0};
        size_t len = offered ? rusmi_stream_offer_encode(body, &offer) : 0;
        struct rusmi_message_head head;
        rusm_stream_signal in;
        const char *why;

        memcpy(body + len, "abc", 3);
        rusmi_stream_signal_head(&head, &out);
        assert_int_equal(head.kind, RUSMI_MESSAGE_STREAM_OFFER + (int)i);
        assert_int_equal(rusmi_message_class(head.kind), RUSMI_CLASS_STREAM);
        len += i < 2 ? 3 : 0;
        assert_int_equal(rusmi_stream_signal_decode(&in, &head, body, len, FROM, TO, &why),
                         RUSM_OK);
        assert_int_equal(in.kind, out.kind);
        assert_true(rusm_pid_equal(in.from, out.from) && rusm_pid_equal(in.to, out.to));
        assert_int_equal(in.stream, 9);
        assert_int_equal(in.len, i < 2 ? 3 : 0);
        assert_memory_equal(in.data, "abc", in.len);
        assert_int_equal(in.capacity, offered ? 100 : 0);
        assert_int_equal(in.used, offered ? 7 : 0);
        assert_true(in.writing == offered);
        assert_true(offered || in.number == 5);
    }
}

static void test_absurd_bodies_of_streams_are_refused(void **state)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_STREAM_CREDIT, .serial = 2};
    rusm_stream_signal in;
    const char *why = NULL;

    (void)state;
    assert_int_equal(rusmi_stream_signal_decode(&in, &head, "x", 1, FROM, TO, &why), RUSM_EPROTO);
    assert_string_equal(why, "a signal has a body that it must not have");
    head.kind = RUSMI_MESSAGE_STREAM_OFFER;
    assert_int_equal(rusmi_stream_signal_decode(&in, &head, "", 0, FROM, TO, &why), RUSM_EPROTO);
}

static void test_other_kinds_are_messages(void **state)
{
    static const uint8_t messages[] = {RUSMI_MESSAGE_TO_SERIAL,
                                       RUSMI_MESSAGE_TO_NAME,
                                       RUSMI_MESSAGE_TO_GROUP,
                                       RUSMI_MESSAGE_CALL,
                                       RUSMI_MESSAGE_CAST,
                                       RUSMI_MESSAGE_REPLY,
                                       0,
                                       22,
                                       63,
                                       255};

    (void)state;
    for (size_t i = 0; i < sizeof(messages); i++) {
        assert_int_equal(rusmi_message_class(messages[i]), RUSMI_CLASS_MESSAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_signal_arrives_as_it_was_sent),
        cmocka_unit_test(test_body_of_a_signal_is_a_reason_or_nothing),
        cmocka_unit_test(test_each_signal_of_a_stream_arrives_as_it_was_sent),
        cmocka_unit_test(test_absurd_bodies_of_streams_are_refused),
        cmocka_unit_test(test_other_kinds_are_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
