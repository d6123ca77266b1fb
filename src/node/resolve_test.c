/* SPDX-License-Identifier: MIT */
/* Answers of name servers: what they say, and what a broken one may not do. */
#include "node/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The question _rusm._udp.x, and four answers: SRV 0 0 4433 a.x, SRV 0 0 4434 b.<pointer to x>, SRV
 * with the target ".", and an A record. RFC 1035 4.1, RFC 2782. */
static const uint8_t answer[] = {0x12, 0x34, 0x81, 0x80, 0,    1,    0,    4,    0,   0,
                                 0,    0, /* header */
                                 5,    '_',  'r',  'u',  's',  'm',  4,    '_',  'u', 'd',
                                 'p',  1,    'x',  0,    0,    33,   0,    1, /* question */
                                 0xc0, 12,   0,    33,   0,    1,    0,    0,    0,   9,
                                 0,    11,   0,    0,    0,    0,    0x11, 0x51, 1,   'a',
                                 1,    'x',  0,    0xc0, 12,   0,    33,   0,    1,   0,
                                 0,    0,    9,    0,    10,   0,    0,    0,    0,   0x11,
                                 0x52, 1,    'b',  0xc0, 23,   0xc0, 12,   0,    33,  0,
                                 1,    0,    0,    0,    9,    0,    7,    0,    0,   0,
                                 0,    0x11, 0x53, 0,    0xc0, 12,   0,    1,    0,   1,
                                 0,    0,    0,    9,    0,    4,    10,   0,    0,   1};

static void test_srv_records_are_read(void **state)
{
    struct rusmi_srv srvs[8];
    size_t len;

    (void)state;
    assert_int_equal(rusmi_srv_read(answer, sizeof(answer), srvs, 8, &len), RUSM_OK);
    assert_int_equal(len, 2);
    assert_string_equal(srvs[0].host, "a.x");
    assert_int_equal(srvs[0].port, 4433);
    assert_string_equal(srvs[1].host, "b.x");
    assert_int_equal(srvs[1].port, 4434);
    assert_int_equal(rusmi_srv_read(answer, sizeof(answer), srvs, 1, &len), RUSM_OK);
    assert_int_equal(len, 1);
}

/* Every cut and every changed byte is read to the end or refused, under the sanitizers. */
static void test_broken_answers_are_refused_or_read(void **state)
{
    struct rusmi_srv srvs[8];
    size_t len;

    (void)state;
    for (size_t cut = 0; cut < sizeof(answer); cut++) {
        uint8_t *copy = malloc(cut + 1); /* exactly as long, for the address sanitizer */

        assert_non_null(copy);
        memcpy(copy, answer, cut);
        assert_int_equal(rusmi_srv_read(copy, cut, srvs, 8, &len), RUSM_EPROTO);
        free(copy);
    }
    for (size_t i = 0; i < sizeof(answer); i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t copy[sizeof(answer)];
            rusm_err err;

            memcpy(copy, answer, sizeof(copy));
            copy[i] ^= (uint8_t)(1u << bit);
            err = rusmi_srv_read(copy, sizeof(copy), srvs, 8, &len);
            assert_true(err == RUSM_EPROTO || (err == RUSM_OK && len <= 4));
        }
    }
}

static void test_hosts_become_addresses(void **state)
{
    struct rusmi_address addresses[4];
    char text[80];
    size_t len;

    (void)state;
    assert_int_equal(rusmi_resolve_host("127.0.0.1", 7100, addresses, 4, &len), RUSM_OK);
    assert_int_equal(len, 1);
    rusmi_address_format(&addresses[0], text, sizeof(text));
    assert_string_equal(text, "127.0.0.1:7100");
    assert_int_equal(rusmi_resolve_host("::1", 7100, addresses, 4, &len), RUSM_OK);
    rusmi_address_format(&addresses[0], text, sizeof(text));
    assert_string_equal(text, "[::1]:7100");
    assert_int_equal(rusmi_resolve_host("not a host", 7100, addresses, 4, &len), RUSM_ESYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_srv_records_are_read),
        cmocka_unit_test(test_broken_answers_are_refused_or_read),
        cmocka_unit_test(test_hosts_become_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
