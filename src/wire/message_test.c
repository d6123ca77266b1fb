/* SPDX-License-Identifier: MIT */
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A header as one piece: the tail behind a gap, then `previous` in front of it. */
struct coded {
    uint8_t room[RUSMI_MESSAGE_HEAD_MAX + RUSMI_VARINT_LEN_MAX];
    const uint8_t *data;
    size_t len;
};

static void code(struct coded *coded, const struct rusmi_message_head *head)
{
    uint8_t *tail = coded->room + RUSMI_VARINT_LEN_MAX;
    size_t tail_len = rusmi_message_tail_encode(tail, head), prev_len;

    assert_int_equal(tail_len, rusmi_message_tail_len(head));
    prev_len = rusmi_message_prev_encode(tail, head->prev);
    coded->data = tail - prev_len;
    coded->len = prev_len + tail_len;
}

static void assert_same(const struct rusmi_message_head *a, const struct rusmi_message_head *b)
{
    assert_int_equal(a->prev, b->prev);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->sender, b->sender);
    assert_int_equal(a->serial, b->serial);
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->body_len, b->body_len);
    assert_int_equal(a->name_len, b->name_len);
    if (a->name_len > 0) {
        assert_memory_equal(a->name, b->name, a->name_len);
    }
}

/* The numbers at which the length of a varint changes come back, and every proper prefix asks for
 * more. */
static void test_varint_at_each_length_comes_back(void **state)
{
    static const struct {
        uint64_t value;
        size_t len;
    } cases[] = {{0, 1},     {63, 1},         {64, 2},         {16383, 2},
                 {16384, 4}, {1073741823, 4}, {1073741824, 8}, {RUSMI_VARINT_MAX, 8}};
    /* RFC 9000, appendix A.1. */
    static const uint8_t sample[] = {0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c};
    uint8_t bytes[8];
    uint64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(rusmi_varint_len(cases[i].value), cases[i].len);
        assert_int_equal(rusmi_varint_encode(bytes, cases[i].value), cases[i].len);
        assert_int_equal(rusmi_varint_decode(bytes, sizeof(bytes), &value), cases[i].len);
        assert_int_equal(value, cases[i].value);
        for (size_t len = 0; len < cases[i].len; len++) {
            assert_int_equal(rusmi_varint_decode(bytes, len, &value), 0);
        }
    }
    assert_int_equal(rusmi_varint_decode(sample, sizeof(sample), &value), 8);
    assert_int_equal(value, 151288809941952652u);
    assert_int_equal(rusmi_varint_encode(bytes, value), 8);
    assert_memory_equal(bytes, sample, 8);
}

/* Headers of both kinds and all sizes come back; every proper prefix asks for more. */
static void test_head_comes_back(void **state)
{
    static char name[RUSM_NAME_MAX];
    const struct rusmi_message_head heads[] = {
        {.kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 1},
        {.kind = RUSMI_MESSAGE_TO_SERIAL,
         .prev = RUSMI_VARINT_MAX,
         .sender = RUSMI_VARINT_MAX,
         .serial = RUSMI_VARINT_MAX,
         .body_len = RUSM_MESSAGE_MAX},
        {.kind = RUSMI_MESSAGE_TO_NAME, .prev = 70, .name = "a", .name_len = 1, .body_len = 64},
        {.kind = RUSMI_MESSAGE_CALL, .sender = 5, .serial = 6, .number = 1, .body_len = 7},
        {.kind = RUSMI_MESSAGE_DOWN,
         .prev = RUSMI_VARINT_MAX,
         .sender = RUSMI_VARINT_MAX,
         .serial = RUSMI_VARINT_MAX,
         .number = RUSMI_VARINT_MAX,
         .body_len = 90},
        {.kind = RUSMI_MESSAGE_EXIT, .sender = 5, .serial = 6, .body_len = 3},
        {.kind = RUSMI_MESSAGE_STREAM_OFFER, .sender = 5, .serial = 6, .number = 7, .body_len = 9},
        {.kind = RUSMI_MESSAGE_STREAM_DATA, .serial = 3, .body_len = 70000},
        {.kind = RUSMI_MESSAGE_STREAM_CREDIT, .serial = 3, .number = 65536},
        {.kind = RUSMI_MESSAGE_STREAM_END, .serial = 2, .number = 1},
        {.kind = RUSMI_MESSAGE_TO_GROUP, .sender = 5, .name = "g", .name_len = 1},
        {.kind = RUSMI_MESSAGE_TO_NAME,
         .prev = RUSMI_VARINT_MAX,
         .sender = RUSMI_VARINT_MAX,
         .name = name,
         .name_len = RUSM_NAME_MAX,
         .body_len = RUSM_MESSAGE_MAX},
    };

    (void)state;
    memset(name, 'n', sizeof(name));
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct rusmi_message_head head;
        struct coded coded;
        const char *why = NULL;

        assert_int_equal(rusmi_message_head_check(&heads[i]), RUSM_OK);
        code(&coded, &heads[i]);
        assert_true(coded.len <= RUSMI_MESSAGE_HEAD_MAX);
        for (size_t len = 0; len < coded.len; len++) {
            assert_int_equal(rusmi_message_head_decode(coded.data, len, &head, &why), 0);
        }
        assert_int_equal(rusmi_message_head_decode(coded.data, coded.len, &head, &why), coded.len);
        assert_same(&head, &heads[i]);
        assert_null(why);
    }
}

/* The bytes are what docs/wire.md says. */
static void test_head_has_the_documented_bytes(void **state)
{
    static const uint8_t to_serial[] = {0x03, 0x01, 0x07, 0x41, 0x2c, 0x05};
    static const uint8_t to_name[] = {0x00, 0x02, 0x07, 0x04, 'e', 'c', 'h', 'o', 0x80, 0, 0x40, 0};
    struct rusmi_message_head head = {
        .kind = RUSMI_MESSAGE_TO_SERIAL, .prev = 3, .sender = 7, .serial = 300, .body_len = 5};
    struct coded coded;

    (void)state;
    code(&coded, &head);
    assert_int_equal(coded.len, sizeof(to_serial));
    assert_memory_equal(coded.data, to_serial, sizeof(to_serial));
    head = (struct rusmi_message_head){.kind = RUSMI_MESSAGE_TO_NAME,
                                       .sender = 7,
                                       .name = "echo",
                                       .name_len = 4,
                                       .body_len = 16384};
    code(&coded, &head);
    assert_int_equal(coded.len, sizeof(to_name));
    assert_memory_equal(coded.data, to_name, sizeof(to_name));
}

/* Each malformed header is refused at its first wrong byte, with its own reason, and sets nothing.
 */
static void test_malformed_head_is_refused(void **state)
{
    static const struct {
        uint8_t bytes[16];
        size_t len, ok_len; /* refused with len bytes; a prefix with ok_len ones */
        const char *why;
    } cases[] = {
        {{0, 0}, 2, 1, "unknown kind"},
        {{0, 22}, 2, 1, "unknown kind"},
        {{0, 7, 0}, 3, 2, "comes from no process"},
        {{0, 10, 3, 4, 0}, 5, 4, "the number 0"},
        {{0, 6, 3, 0}, 4, 3, "empty name"},
        {{0x40, 0, 0xff}, 3, 2, "unknown kind"},
        {{0, 1, 0, 0}, 4, 3, "serial 0"},
        {{0, 1, 0, 0x40, 0}, 5, 4, "serial 0"},
        {{0, 2, 0, 0}, 4, 3, "empty name"},
        {{0, 1, 0, 5, 0x81, 0, 0, 1}, 8, 7, "larger than the limit"},
        {{0, 1, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 12, 11, "larger"},
        {{0, 2, 0, 1, 'x', 0x81, 0, 0, 1}, 9, 8, "larger than the limit"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rusmi_message_head head = {.prev = 77};
        const char *why = NULL;

        assert_int_equal(rusmi_message_head_decode(cases[i].bytes, cases[i].ok_len, &head, &why),
                         0);
        assert_null(why);
        assert_int_equal(rusmi_message_head_decode(cases[i].bytes, cases[i].len, &head, &why),
                         RUSM_EPROTO);
        assert_non_null(strstr(why, cases[i].why));
        assert_int_equal(head.prev, 77);
    }
}

/* Numbers may be longer than need be, as RFC 9000 allows. */
static void test_long_form_of_a_number_is_read(void **state)
{
    static const uint8_t bytes[] = {0xc0, 0, 0, 0, 0, 0, 0, 2, 1, 0x40, 9, 0x80, 0, 0, 4, 0x40, 3};
    struct rusmi_message_head head;
    const char *why;

    (void)state;
    assert_int_equal(rusmi_message_head_decode(bytes, sizeof(bytes), &head, &why), sizeof(bytes));
    assert_int_equal(head.prev, 2);
    assert_int_equal(head.sender, 9);
    assert_int_equal(head.serial, 4);
    assert_int_equal(head.body_len, 3);
}

static void test_head_that_can_not_be_sent_is_refused(void **state)
{
    struct rusmi_message_head head = {.kind = RUSMI_MESSAGE_TO_SERIAL, .serial = 1};

    (void)state;
    head.body_len = RUSM_MESSAGE_MAX;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_OK);
    head.body_len = RUSM_MESSAGE_MAX + 1;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EMSGSIZE);
    head.body_len = 0;
    head.serial = 0;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
    head.serial = RUSMI_VARINT_MAX + 1;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
    head.serial = 1;
    head.sender = RUSMI_VARINT_MAX + 1;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
    head.sender = 0;
    head.kind = RUSMI_MESSAGE_TO_NAME;
    head.name = "";
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
    head.name_len = 1;
    head.name = NULL;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
    head.kind = 0;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
    head.kind = 3;
    assert_int_equal(rusmi_message_head_check(&head), RUSM_EINVAL);
}

/* What a stream is offered with comes back, and what can not be is refused. */
static void test_offer_of_a_stream_comes_back(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } broken[] = {
        {"", 0, "cut"},
        {"\0\x40", 2, "cut"},
        {"\0\5\x80\0", 4, "cut"},
        {"\2\5\0", 3, "no sense"},
        {"\0\0\0", 3, "no sense"},
        {"\1\5\6", 3, "no sense"},
        {"\0\5\2x", 4, "shorter"},
    };
    const struct rusmi_stream_offer offers[] = {
        {.writing = true, .capacity = RUSMI_VARINT_MAX, .used = RUSMI_VARINT_MAX},
        {.writing = false, .capacity = 65536, .used = 3},
    };
    struct rusmi_stream_offer offer;
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint8_t bytes[RUSMI_STREAM_OFFER_MAX + 3];
        size_t len = rusmi_stream_offer_encode(bytes, &offers[i]);

        assert_int_equal(rusmi_stream_offer_decode(bytes, len + 3, &offer, &why), len);
        assert_true(offer.writing == offers[i].writing && offer.capacity == offers[i].capacity);
        assert_true(offer.used == offers[i].used);
    }
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        assert_int_equal(rusmi_stream_offer_decode((const uint8_t *)broken[i].bytes, broken[i].len,
                                                   &offer, &why),
                         RUSM_EPROTO);
        assert_non_null(strstr(why, broken[i].why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint_at_each_length_comes_back),
        cmocka_unit_test(test_head_comes_back),
        cmocka_unit_test(test_head_has_the_documented_bytes),
        cmocka_unit_test(test_malformed_head_is_refused),
        cmocka_unit_test(test_offer_of_a_stream_comes_back),
        cmocka_unit_test(test_long_form_of_a_number_is_read),
        cmocka_unit_test(test_head_that_can_not_be_sent_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
