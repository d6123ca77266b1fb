/* SPDX-License-Identifier: MIT */
/* What a CA and the certificates it issues look like to any X.509 implementation. */
#include "trust/ca.h"

#include "platform/wall.h"
#include "trust/cert.h"
#include "trust/identity.h"

#include <gnutls/gnutls.h>
#include <rusm/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DAY_S ((int64_t)86400)

static rusm_ca *make_ca(const char *cluster, unsigned days)
{
    rusm_ca *ca = NULL;

    assert_int_equal(rusm_ca_generate(&ca, cluster, days), RUSM_OK);
    return ca;
}

static void assert_only_uri(gnutls_x509_crt_t crt, const char *expected)
{
    char text[256] = "";
    size_t len = sizeof(text);

    assert_int_equal(gnutls_x509_crt_get_subject_alt_name(crt, 0, text, &len, NULL),
                     GNUTLS_SAN_URI);
    assert_string_equal(text, expected);
    len = sizeof(text);
    assert_int_equal(gnutls_x509_crt_get_subject_alt_name(crt, 1, text, &len, NULL),
                     GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
}

static void test_ca_certificate_is_a_ca_for_leaves_only(void **state)
{
    rusm_ca *ca = make_ca("prod", 30);
    unsigned critical = 0, is_ca = 0, usage = 0, bits = 0;
    int pathlen = -1;

    (void)state;
    assert_true(gnutls_x509_crt_get_basic_constraints(ca->crt, &critical, &is_ca, &pathlen) >= 0);
    assert_true(critical && is_ca && pathlen == 0);
    assert_true(gnutls_x509_crt_get_key_usage(ca->crt, &usage, NULL) >= 0);
    assert_int_equal(usage, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    assert_int_equal(gnutls_x509_crt_get_pk_algorithm(ca->crt, &bits), GNUTLS_PK_ECDSA);
    assert_int_equal(bits, 256);
    assert_true(gnutls_x509_crt_check_issuer(ca->crt, ca->crt));
    assert_only_uri(ca->crt, "rusm://prod");
    assert_string_equal(rusm_ca_cluster(ca), "prod");
    rusm_ca_del(ca);
}

static void test_serials_are_16_random_bytes(void **state)
{
    rusm_ca *a = make_ca("prod", 30), *b = make_ca("prod", 30);
    rusm_cert_info of_a, of_b;

    (void)state;
    rusm_ca_get_info(a, &of_a);
    rusm_ca_get_info(b, &of_b);
    assert_int_equal(strlen(of_a.serial), 32);
    assert_string_not_equal(of_a.serial, of_b.serial);
    assert_string_not_equal(of_a.fingerprint, of_b.fingerprint);
    rusm_ca_del(a);
    rusm_ca_del(b);
}

static void test_ca_arguments_are_checked(void **state)
{
    rusm_ca *ca = NULL;
    char name[RUSM_NAME_MAX + 2];

    (void)state;
    memset(name, 'a', sizeof(name));
    name[RUSM_NAME_MAX + 1] = '\0';
    assert_int_equal(rusm_ca_generate(&ca, "", 1), RUSM_EINVAL);
    assert_int_equal(rusm_ca_generate(&ca, name, 1), RUSM_EINVAL);
    assert_int_equal(rusm_ca_generate(&ca, NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_ca_generate(&ca, "c", 0), RUSM_EINVAL);
    assert_int_equal(rusm_ca_generate(&ca, "c", 36501), RUSM_EINVAL);
    assert_non_null(strstr(rusm_err_detail(), "36501"));
    assert_null(ca);
    rusm_ca_del(NULL);
}

static void test_a_ca_of_the_longest_name_and_time_issues(void **state)
{
    char name[RUSM_NAME_MAX + 1];
    rusm_identity *identity = NULL;
    rusm_cert_info info;
    rusm_ca *ca;

    (void)state;
    memset(name, '%', sizeof(name));
    name[RUSM_NAME_MAX] = '\0';
    ca = make_ca(name, 36500);
    assert_int_equal(rusm_ca_issue(ca, name, NULL, &identity), RUSM_OK);
    rusm_identity_get_info(identity, &info);
    assert_string_equal(info.cluster, name);
    assert_string_equal(info.node, name);
    rusm_ca_get_info(ca, &info);
    assert_true(info.not_after - rusmi_wall_s() > 36499 * DAY_S); /* beyond 2050: the other form */
    rusm_identity_del(identity);
    rusm_ca_del(ca);
}

static void test_issued_certificate_is_for_both_ends_of_tls(void **state)
{
    rusm_ca *ca = make_ca("prod", 30);
    rusm_identity *identity = NULL;
    unsigned char ski[64], aki[64];
    size_t ski_len = sizeof(ski), aki_len = sizeof(aki), len;
    unsigned usage = 0, status = 0;
    gnutls_x509_crt_t crt;
    char oid[64];

    (void)state;
    assert_int_equal(rusm_ca_issue(ca, "london", NULL, &identity), RUSM_OK);
    crt = identity->parts.crt;
    assert_int_equal(gnutls_x509_crt_get_ca_status(crt, NULL), 0);
    assert_true(gnutls_x509_crt_get_key_usage(crt, &usage, NULL) >= 0);
    assert_int_equal(usage, GNUTLS_KEY_DIGITAL_SIGNATURE);
    len = sizeof(oid);
    assert_true(gnutls_x509_crt_get_key_purpose_oid(crt, 0, oid, &len, NULL) >= 0);
    assert_string_equal(oid, GNUTLS_KP_TLS_WWW_CLIENT);
    len = sizeof(oid);
    assert_true(gnutls_x509_crt_get_key_purpose_oid(crt, 1, oid, &len, NULL) >= 0);
    assert_string_equal(oid, GNUTLS_KP_TLS_WWW_SERVER);
    assert_only_uri(crt, "rusm://prod/london?role=member");
    assert_true(gnutls_x509_crt_get_subject_key_id(ca->crt, ski, &ski_len, NULL) >= 0);
    assert_true(gnutls_x509_crt_get_authority_key_id(crt, aki, &aki_len, NULL) >= 0);
    assert_int_equal(ski_len, aki_len);
    assert_memory_equal(ski, aki, ski_len);
    /* With the dates, and by GnuTLS's own judgement. */
    assert_true(gnutls_x509_crt_verify(crt, &ca->crt, 1, 0, &status) >= 0);
    assert_int_equal(status, 0);
    rusm_identity_del(identity);
    rusm_ca_del(ca);
}

static void test_every_identity_has_its_own_key(void **state)
{
    rusm_ca *ca = make_ca("prod", 30);
    rusm_identity *a = NULL, *b = NULL;

    (void)state;
    assert_int_equal(rusm_ca_issue(ca, "london", NULL, &a), RUSM_OK);
    assert_int_equal(rusm_ca_issue(ca, "london", NULL, &b), RUSM_OK);
    assert_true(rusmi_key_matches(a->parts.key, a->parts.crt));
    assert_false(rusmi_key_matches(a->parts.key, b->parts.crt));
    assert_false(rusmi_key_matches(a->parts.key, ca->crt));
    rusm_identity_del(a);
    rusm_identity_del(b);
    rusm_ca_del(ca);
}

static void test_default_dates_end_with_the_ca(void **state)
{
    rusm_ca *short_ca = make_ca("prod", 10), *long_ca = make_ca("prod", 3650);
    rusm_identity *a = NULL, *b = NULL;
    rusm_cert_info info, of_ca;
    int64_t now_s = rusmi_wall_s();

    (void)state;
    assert_int_equal(rusm_ca_issue(short_ca, "a", NULL, &a), RUSM_OK);
    assert_int_equal(rusm_ca_issue(long_ca, "b", NULL, &b), RUSM_OK);
    rusm_ca_get_info(short_ca, &of_ca);
    rusm_identity_get_info(a, &info);
    assert_int_equal(info.not_after, of_ca.not_after);
    rusm_identity_get_info(b, &info);
    assert_true(info.not_before < now_s && info.not_before >= now_s - 3700);
    assert_true(info.not_after >= now_s + 365 * DAY_S && info.not_after < now_s + 366 * DAY_S);
    rusm_identity_del(a);
    rusm_identity_del(b);
    rusm_ca_del(short_ca);
    rusm_ca_del(long_ca);
}

static void test_asked_dates_and_role_are_kept(void **state)
{
    rusm_ca *ca = make_ca("prod", 30);
    rusm_identity *identity = NULL;
    rusm_issue_config cfg;
    rusm_cert_info info;

    (void)state;
    rusm_issue_config_init(&cfg);
    cfg.role = RUSM_ROLE_OBSERVER;
    cfg.not_before = 1000000000;
    cfg.not_after = 1000000001;
    assert_int_equal(rusm_ca_issue(ca, "eve", &cfg, &identity), RUSM_OK);
    rusm_identity_get_info(identity, &info);
    assert_int_equal(info.not_before, 1000000000);
    assert_int_equal(info.not_after, 1000000001);
    assert_int_equal(info.role, RUSM_ROLE_OBSERVER);
    assert_string_equal(info.node, "eve");
    assert_string_equal(info.cluster, "prod");
    assert_false(info.shared || info.is_ca);
    rusm_identity_del(identity);
    rusm_ca_del(ca);
}

static void refuse_issue(const rusm_ca *ca, const char *node, const rusm_issue_config *cfg,
                         const char *detail)
{
    rusm_identity *identity = NULL;

    assert_int_equal(rusm_ca_issue(ca, node, cfg, &identity), RUSM_EINVAL);
    if (strstr(rusm_err_detail(), detail) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", detail, rusm_err_detail());
    }
    assert_null(identity);
}

static void test_issue_arguments_are_checked(void **state)
{
    rusm_ca *ca = make_ca("prod", 30);
    rusm_issue_config cfg;

    (void)state;
    refuse_issue(ca, "*", NULL, "shared");
    refuse_issue(ca, "", NULL, "node name");
    refuse_issue(ca, "a\tb", NULL, "node name");
    rusm_issue_config_init(&cfg);
    cfg.role = (rusm_role)7;
    refuse_issue(ca, "n", &cfg, "role 7");
    rusm_issue_config_init(&cfg);
    cfg.not_after = ca->info.not_after + 1;
    refuse_issue(ca, "n", &cfg, "outlive its CA");
    rusm_issue_config_init(&cfg);
    cfg.not_before = cfg.not_after = 1000000000;
    refuse_issue(ca, "n", &cfg, "before it ends");
    rusm_issue_config_init(&cfg);
    cfg.not_before = -5;
    refuse_issue(ca, "n", &cfg, "1970");
    memset(&cfg, 0, sizeof(cfg));
    refuse_issue(ca, "n", &cfg, "rusm_issue_config_init");
    rusm_ca_del(ca);
}

static void test_shared_identity_names_no_node(void **state)
{
    rusm_identity *identity = NULL;
    rusm_cert_info info;

    (void)state;
    assert_int_equal(rusm_identity_generate(&identity, "home"), RUSM_OK);
    rusm_identity_get_info(identity, &info);
    assert_true(info.shared);
    assert_string_equal(info.node, "*");
    assert_string_equal(info.cluster, "home");
    assert_only_uri(identity->parts.crt, "rusm://home/*?role=member");
    rusm_identity_del(identity);
    identity = NULL;
    assert_int_equal(rusm_identity_generate(&identity, ""), RUSM_EINVAL);
    assert_null(identity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ca_certificate_is_a_ca_for_leaves_only),
        cmocka_unit_test(test_serials_are_16_random_bytes),
        cmocka_unit_test(test_ca_arguments_are_checked),
        cmocka_unit_test(test_a_ca_of_the_longest_name_and_time_issues),
        cmocka_unit_test(test_issued_certificate_is_for_both_ends_of_tls),
        cmocka_unit_test(test_every_identity_has_its_own_key),
        cmocka_unit_test(test_default_dates_end_with_the_ca),
        cmocka_unit_test(test_asked_dates_and_role_are_kept),
        cmocka_unit_test(test_issue_arguments_are_checked),
        cmocka_unit_test(test_shared_identity_names_no_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
