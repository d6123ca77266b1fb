/* SPDX-License-Identifier: MIT */
/* Exit reasons as bodies of messages: they come back, and what is malformed is refused in words. */
#include "cluster/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_comes_back(const rusm_reason *reason)
{
    uint8_t bytes[RUSMI_REASON_BYTES_MAX];
    size_t len = rusmi_reason_encode(bytes, reason);
    const char *why = NULL;
    rusm_reason back;

    assert_true(len <= sizeof(bytes));
    assert_int_equal(rusmi_reason_decode(bytes, len, &back, &why), RUSM_OK);
    assert_int_equal(back.kind, reason->kind);
    assert_int_equal(back.signal, reason->signal);
    assert_int_equal(back.address, reason->address);
    assert_string_equal(back.text, reason->text);
}

static void test_reason_comes_back(void **state)
{
    rusm_reason fault = {.kind = RUSM_REASON_FAULT, .signal = 11, .address = UINT64_MAX - 1};
    rusm_reason full = {.kind = RUSM_REASON_CRASHED};

    (void)state;
    for (int kind = 0; kind <= (int)RUSM_REASON_STACK_OVERFLOW; kind++) {
        rusm_reason reason = {.kind = (rusm_reason_kind)kind};

        assert_comes_back(&reason);
    }
    assert_comes_back(&fault);
    memset(full.text, 'x', sizeof(full.text) - 1);
    assert_comes_back(&full);
    memcpy(full.text, "K\xc3\xb6ln", sizeof("K\xc3\xb6ln"));
    assert_comes_back(&full);
}

/* What a process put into a reason may be no text; then there is none on the wire. */
static void test_text_that_is_none_is_left_out(void **state)
{
    rusm_reason reason = {.kind = RUSM_REASON_CRASHED, .text = "bad \xff"};
    uint8_t bytes[RUSMI_REASON_BYTES_MAX];
    const char *why = NULL;
    rusm_reason back;

    (void)state;
    assert_int_equal(rusmi_reason_decode(bytes, rusmi_reason_encode(bytes, &reason), &back, &why),
                     RUSM_OK);
    assert_int_equal(back.kind, RUSM_REASON_CRASHED);
    assert_string_equal(back.text, "");
}

static void assert_refused(const uint8_t *bytes, size_t len, const char *words)
{
    rusm_reason reason = {.signal = 77};
    const char *why = NULL;

    assert_int_equal(rusmi_reason_decode(bytes, len, &reason, &why), RUSM_EPROTO);
    assert_non_null(strstr(why, words));
    assert_int_equal(reason.signal, 77);
}

static void test_malformed_reason_is_refused(void **state)
{
    uint8_t bytes[10 + RUSM_REASON_TEXT_MAX] = {(uint8_t)RUSM_REASON_CRASHED};

    (void)state;
    for (size_t len = 0; len < 10; len++) {
        assert_refused(bytes, len, "too early");
    }
    memset(bytes + 10, 'x', RUSM_REASON_TEXT_MAX);
    assert_refused(bytes, sizeof(bytes), "too long");
    bytes[12] = 0;
    assert_refused(bytes, 20, "no text");
    bytes[12] = 0xff;
    assert_refused(bytes, 20, "no text");
    bytes[0] = (uint8_t)RUSM_REASON_STACK_OVERFLOW + 1;
    assert_refused(bytes, 10, "unknown kind");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reason_comes_back),
        cmocka_unit_test(test_text_that_is_none_is_left_out),
        cmocka_unit_test(test_malformed_reason_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
