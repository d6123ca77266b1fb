/* SPDX-License-Identifier: MIT */
#include "trust/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void check_round_trip(const char *cluster, const char *node, rusm_role role,
                             const char *expected)
{
    struct rusmi_uri uri, back;
    char text[RUSMI_URI_MAX];

    assert_int_equal(rusmi_uri_make(&uri, cluster, node, role), RUSM_OK);
    rusmi_uri_encode(&uri, text);
    if (expected != NULL) {
        assert_string_equal(text, expected);
    }
    assert_int_equal(rusmi_uri_decode(text, strlen(text), &back), RUSM_OK);
    assert_string_equal(back.cluster, cluster);
    assert_string_equal(back.node, node == NULL ? "" : node);
    assert_int_equal(back.role, role);
    assert_int_equal(back.is_ca, node == NULL);
    assert_int_equal(back.shared, node != NULL && strcmp(node, "*") == 0);
}

static void test_names_survive_encoding(void **state)
{
    (void)state;
    check_round_trip("c", "london", RUSM_ROLE_MEMBER, "rusm://c/london?role=member");
    check_round_trip("c-1._~", "a b", RUSM_ROLE_OPERATOR, "rusm://c-1._~/a%20b?role=operator");
    check_round_trip("a/b", "c?d", RUSM_ROLE_OBSERVER, "rusm://a%2Fb/c%3Fd?role=observer");
    check_round_trip("100%", "Zürich", RUSM_ROLE_MEMBER, "rusm://100%25/Z%C3%BCrich?role=member");
    check_round_trip("c", "**", RUSM_ROLE_MEMBER, "rusm://c/%2A%2A?role=member");
    check_round_trip("c", "*", RUSM_ROLE_MEMBER, "rusm://c/*?role=member");
    check_round_trip("a cluster", NULL, RUSM_ROLE_MEMBER, "rusm://a%20cluster");
}

static void test_longest_names_fit(void **state)
{
    char name[RUSM_NAME_MAX + 2];

    (void)state;
    memset(name, '/', sizeof(name));
    name[RUSM_NAME_MAX] = '\0';
    check_round_trip(name, name, RUSM_ROLE_OPERATOR, NULL);
}

static void test_bad_names_are_not_made(void **state)
{
    struct rusmi_uri uri;
    char name[RUSM_NAME_MAX + 2];

    (void)state;
    memset(name, 'a', sizeof(name));
    name[RUSM_NAME_MAX + 1] = '\0';
    assert_int_equal(rusmi_uri_make(&uri, "", "n", RUSM_ROLE_MEMBER), RUSM_EINVAL);
    assert_int_equal(rusmi_uri_make(&uri, "c", "", RUSM_ROLE_MEMBER), RUSM_EINVAL);
    assert_int_equal(rusmi_uri_make(&uri, name, "n", RUSM_ROLE_MEMBER), RUSM_EINVAL);
    assert_int_equal(rusmi_uri_make(&uri, "c", name, RUSM_ROLE_MEMBER), RUSM_EINVAL);
    assert_int_equal(rusmi_uri_make(&uri, "c", "\xff", RUSM_ROLE_MEMBER), RUSM_EINVAL);
    assert_int_equal(rusmi_uri_make(&uri, "c", "a\nb", RUSM_ROLE_MEMBER), RUSM_EINVAL);
    assert_int_equal(rusmi_uri_make(&uri, "c", "n", (rusm_role)3), RUSM_EINVAL);
}

static void test_other_spellings_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "rusm:/",
        "rusm://",
        "RUSM://c",
        "http://c/n?role=member",
        "rusm://c/",
        "rusm:///n?role=member",
        "rusm://c/n",
        "rusm://c/n?",
        "rusm://c/n?role=",
        "rusm://c/n?role=king",
        "rusm://c/n?role=Member",
        "rusm://c/n?role=member&x=1",
        "rusm://c/n?role=member?role=member",
        "rusm://c/n?x=1&role=member",
        "rusm://c/n?role=member#f",
        "rusm://c/n/m?role=member",
        "rusm://c?role=member",
        "rusm://c:1/n?role=member",
        "rusm://u@c/n?role=member",
        "rusm://c/%6e?role=member", /* need not be encoded */
        "rusm://c/%2f?role=member", /* lower-case digits */
        "rusm://c/%2?role=member",  /* cut short */
        "rusm://c/%",
        "rusm://c%2",
        "rusm://c/%00?role=member",
        "rusm://c/%0A?role=member",
        "rusm://c/%FF?role=member", /* no UTF-8 */
        "rusm://c/%2A?role=member", /* would look like a shared identity */
        "rusm://*/n?role=member",
        "rusm://c/a*?role=member",
        "rusm://c/a b?role=member",
        "rusm://c/Z\xc3\xbcrich?role=member",
    };
    struct rusmi_uri uri;

    (void)state;
    memset(&uri, 0x5a, sizeof(uri));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (rusmi_uri_decode(bad[i], strlen(bad[i]), &uri) != RUSM_ECERT) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_int_equal((unsigned char)uri.cluster[0], 0x5a);
    assert_int_equal(rusmi_uri_decode("rusm://c/n\0?role=member", 23, &uri), RUSM_ECERT);
}

static void test_too_long_names_are_refused(void **state)
{
    char text[RUSMI_URI_MAX];
    struct rusmi_uri uri;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "rusm://", 7);
    assert_int_equal(rusmi_uri_decode(text, 7 + RUSM_NAME_MAX, &uri), RUSM_OK);
    assert_int_equal(rusmi_uri_decode(text, 7 + RUSM_NAME_MAX + 1, &uri), RUSM_ECERT);
    assert_int_equal(rusmi_uri_decode(text, sizeof(text), &uri), RUSM_ECERT);
}

static void test_roles_have_names(void **state)
{
    rusm_role role = RUSM_ROLE_MEMBER;

    (void)state;
    assert_int_equal(rusm_role_parse("observer", &role), RUSM_OK);
    assert_int_equal(role, RUSM_ROLE_OBSERVER);
    assert_string_equal(rusm_role_name(RUSM_ROLE_OPERATOR), "operator");
    assert_int_equal(rusm_role_parse("boss", &role), RUSM_EINVAL);
    assert_int_equal(rusm_role_parse(NULL, &role), RUSM_EINVAL);
    assert_int_equal(role, RUSM_ROLE_OBSERVER);
    assert_string_equal(rusm_role_name((rusm_role)9), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_survive_encoding),
        cmocka_unit_test(test_longest_names_fit),
        cmocka_unit_test(test_bad_names_are_not_made),
        cmocka_unit_test(test_other_spellings_are_refused),
        cmocka_unit_test(test_too_long_names_are_refused),
        cmocka_unit_test(test_roles_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
