/* SPDX-License-Identifier: MIT */
#include "trust/armor.h"

#include <gnutls/gnutls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN_MAX 200

/* GnuTLS is the judge: both write the same text and read each other's. */
static void test_all_lengths_agree_with_gnutls(void **state)
{
    uint8_t data[LEN_MAX], back[4 * LEN_MAX];

    (void)state;
    for (size_t i = 0; i < LEN_MAX; i++) {
        data[i] = (uint8_t)(i * 37 + 251);
    }
    for (size_t len = 1; len <= LEN_MAX; len++) {
        gnutls_datum_t raw = {data, (unsigned)len}, pem;
        char *text = malloc(RUSMI_ARMOR_SIZE(len)); /* exact, for the address sanitizer */
        size_t text_len, back_len = 0;

        assert_non_null(text);
        text_len = rusmi_armor_encode(data, len, "PRIVATE KEY", text);
        assert_int_equal(text_len, strlen(text));
        assert_int_equal(gnutls_pem_base64_encode2("PRIVATE KEY", &raw, &pem), 0);
        assert_string_equal(text, (const char *)pem.data);
        assert_int_equal(rusmi_armor_decode((const char *)pem.data, "PRIVATE KEY", back, &back_len),
                         RUSM_OK);
        assert_int_equal(back_len, len);
        assert_memory_equal(back, data, len);
        gnutls_free(pem.data);
        free(text);
    }
}

static rusm_err decode(const char *text)
{
    uint8_t *data = malloc(strlen(text) + 1);
    size_t len = 0;
    rusm_err err;

    assert_non_null(data);
    err = rusmi_armor_decode(text, "X", data, &len);
    free(data);
    return err;
}

#define BLOCK(body) "-----BEGIN X-----" body "-----END X-----"

static void test_only_whole_blocks_are_read(void **state)
{
    (void)state;
    assert_int_equal(decode(BLOCK("\nQUJD\n")), RUSM_OK);
    assert_int_equal(decode("text before\n" BLOCK("\r\nQU\r\nJD\r\n") "\nafter"), RUSM_OK);
    assert_int_equal(decode(BLOCK("QQ==")), RUSM_OK);
    assert_int_equal(decode(""), RUSM_ENONAME);
    assert_int_equal(decode("-----BEGIN Y-----\nQUJD\n-----END Y-----\n"), RUSM_ENONAME);
    assert_int_equal(decode("-----BEGIN X-----\nQUJD\n"), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("")), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("QUJ")), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("Q===")), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("====")), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("QR==")), RUSM_ECERT);     /* bits left over */
    assert_int_equal(decode(BLOCK("QQ==QUJD")), RUSM_ECERT); /* goes on after its end */
    assert_int_equal(decode(BLOCK("QQ=Q")), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("QU-D")), RUSM_ECERT);
    assert_int_equal(decode(BLOCK("QU\xffJD")), RUSM_ECERT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_lengths_agree_with_gnutls),
        cmocka_unit_test(test_only_whole_blocks_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
