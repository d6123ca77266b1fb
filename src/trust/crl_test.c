/* SPDX-License-Identifier: MIT */
/* Revocation lists and the register that they are made from. */
#include "trust/crl.h"

#include "base/mem.h"
#include "platform/wall.h"
#include "trust/ca.h"
#include "trust/file.h"
#include "trust/identity.h"
#include "trust/proof.h"
#include "trust/register.h"
#include "trust/verify.h"

#include <dirent.h>
#include <rusm/err.h>
#include <rusm/otp/driver.h>
#include <rusm/trust.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(call) must((call), #call, __LINE__)

static void must(rusm_err err, const char *what, int line)
{
    if (err != RUSM_OK) {
        fail_msg("line %d: %s: %s (%s)", line, what, rusm_err_name(err), rusm_err_detail());
    }
}

static void assert_detail(const char *words)
{
    if (strstr(rusm_err_detail(), words) == NULL) {
        fail_msg("not in \"%s\": %s", rusm_err_detail(), words);
    }
}

struct fixture {
    char folder[64], path[128];
    rusm_ca *ca, *other;
};

static const char *in_folder(struct fixture *f, const char *name)
{
    (void)snprintf(f->path, sizeof(f->path), "%s/%s", f->folder, name);
    return f->path;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/rusm-crl-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    MUST(rusm_ca_generate(&f->ca, "prod", 30));
    MUST(rusm_ca_generate(&f->other, "prod", 30));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    DIR *dir = opendir(f->folder);
    struct dirent *entry;

    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2) {
            (void)unlink(in_folder(f, entry->d_name));
        }
    }
    (void)closedir(dir);
    (void)rmdir(f->folder);
    rusm_ca_del(f->ca);
    rusm_ca_del(f->other);
    free(f);
    return 0;
}

static rusm_identity *issue(const rusm_ca *ca, const char *node, rusm_cert_info *out_info)
{
    rusm_identity *identity = NULL;
    rusm_cert_info info;

    MUST(rusm_ca_issue(ca, node, NULL, &identity));
    rusm_identity_get_info(identity, out_info != NULL ? out_info : &info);
    return identity;
}

static void write_file(const char *path, const char *mode, const void *data, size_t len)
{
    FILE *file = fopen(path, mode);

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* Judge the certificate of one identity by another. */
static rusm_err judge(const rusm_identity *judged, const rusm_identity *by, bool strict, char *text)
{
    struct rusmi_verify_rules rules = {
        .peer_is_server = true, .crl_strict = strict, .now_s = rusmi_wall_s()};
    struct rusmi_peer_identity peer;
    gnutls_datum_t der;
    rusm_err err;

    assert_true(gnutls_x509_crt_export2(judged->parts.crt, GNUTLS_X509_FMT_DER, &der) >= 0);
    err = rusmi_verify_certificate(der.data, der.size, by, &rules, &peer, text,
                                   RUSMI_VERIFY_TEXT_MAX);
    gnutls_free(der.data);
    return err;
}

/* ---- lists */

static void test_a_list_says_what_was_asked_for(void **state)
{
    struct fixture *f = *state;
    rusm_crl_config cfg;
    rusm_crl_info info;
    rusm_crl *crl = NULL;

    rusm_crl_config_init(&cfg);
    cfg.this_update = 1700000000;
    cfg.next_update = 1700000777;
    MUST(rusm_ca_crl(f->ca, &cfg, &crl));
    rusm_crl_get_info(crl, &info);
    assert_int_equal(info.number, 1);
    assert_int_equal(info.this_update, 1700000000);
    assert_int_equal(info.next_update, 1700000777);
    assert_int_equal(info.revoked_count, 0);
    assert_string_equal(info.cluster, "prod");
    rusm_crl_del(crl);
    for (uint64_t n = 2; n < 300; n += 1) { /* past the numbers that need a leading zero */
        MUST(rusm_ca_crl(f->ca, NULL, &crl));
        rusm_crl_get_info(crl, &info);
        assert_int_equal(info.number, n);
        rusm_crl_del(crl);
    }
    assert_in_range(info.next_update - rusmi_wall_s(), 29 * 86400, 30 * 86400);
    cfg.next_update = cfg.this_update;
    assert_int_equal(rusm_ca_crl(f->ca, &cfg, &crl), RUSM_EINVAL);
    cfg.size = 1;
    assert_int_equal(rusm_ca_crl(f->ca, &cfg, &crl), RUSM_EINVAL);
}

static void test_revoked_serials_are_found_and_no_others(void **state)
{
    struct fixture *f = *state;
    rusm_cert_info infos[20];
    rusm_crl *crl = NULL;
    size_t count = 0;

    for (size_t i = 0; i < 20; i++) {
        rusm_identity_del(issue(f->ca, i % 2 == 0 ? "even" : "odd", &infos[i]));
    }
    MUST(rusm_ca_revoke_node(f->ca, "even", RUSM_REVOKE_CESSATION, &count));
    assert_int_equal(count, 10);
    MUST(rusm_ca_revoke_node(f->ca, "even", RUSM_REVOKE_CESSATION, &count));
    assert_int_equal(count, 0);
    MUST(rusm_ca_crl(f->ca, NULL, &crl));
    for (size_t i = 0; i < 20; i++) {
        unsigned char serial[RUSMI_SERIAL_MAX];

        for (size_t k = 0; k < 16; k++) {
            const char digits[3] = {infos[i].serial[2 * k], infos[i].serial[2 * k + 1], '\0'};
            char *end;

            serial[k] = (unsigned char)strtoul(digits, &end, 16);
            assert_ptr_equal(end, digits + 2);
        }
        assert_int_equal(rusmi_crl_find(crl, serial, 16) != NULL, i % 2 == 0);
        assert_null(rusmi_crl_find(crl, serial, 15));
        assert_null(rusmi_crl_find(crl, serial, RUSMI_SERIAL_MAX + 1));
    }
    rusm_crl_del(crl);
}

static void test_a_list_counts_only_if_an_anchor_signed_it(void **state)
{
    struct fixture *f = *state;
    rusm_identity *london = issue(f->ca, "london", NULL), *made = NULL;
    const rusm_ca *both[] = {f->ca, f->other};
    rusm_crl *crl = NULL, *forged = NULL;
    struct rusmi_crl_spec spec = {.number = 1};

    MUST(rusm_ca_crl(f->other, NULL, &crl));
    assert_int_equal(
        rusm_identity_with_trust(london, both, 1, (const rusm_crl *const *)&crl, 1, &made),
        RUSM_ECERT);
    assert_detail("not of a CA that is trusted here");
    MUST(rusm_identity_with_trust(london, both, 2, (const rusm_crl *const *)&crl, 1, &made));
    rusm_identity_del(made);
    rusm_crl_del(crl);
    /* The name of one CA, the key of another. */
    spec.issuer = f->ca->crt;
    spec.issuer_key = f->other->key;
    spec.this_update = rusmi_wall_s();
    spec.next_update = spec.this_update + 1000;
    MUST(rusmi_crl_build(&spec, &forged));
    assert_int_equal(
        rusm_identity_with_trust(london, both, 2, (const rusm_crl *const *)&forged, 1, &made),
        RUSM_ECERT);
    assert_detail("did not sign it");
    rusm_crl_del(forged);
    /* The same when its dates are past, which GnuTLS reports in the same word. */
    spec.this_update = 1700000000;
    spec.next_update = 1700000777;
    MUST(rusmi_crl_build(&spec, &forged));
    assert_int_equal(
        rusm_identity_with_trust(london, both, 2, (const rusm_crl *const *)&forged, 1, &made),
        RUSM_ECERT);
    rusm_crl_del(forged);
    rusm_identity_del(london);
}

static void test_a_revoked_certificate_is_refused(void **state)
{
    struct fixture *f = *state;
    const rusm_ca *cas[] = {f->other, f->ca};
    rusm_cert_info info;
    rusm_identity *tokyo = issue(f->ca, "tokyo", &info), *paris = issue(f->ca, "paris", NULL);
    rusm_identity *plain = issue(f->ca, "london", NULL), *london = NULL;
    rusm_crl *crls[2] = {NULL, NULL};
    rusm_crl_config overdue;
    char text[RUSMI_VERIFY_TEXT_MAX], words[128];

    MUST(rusm_ca_revoke_serial(f->ca, info.serial, RUSM_REVOKE_UNSPECIFIED, NULL));
    /* The same number revoked by another CA is another certificate. */
    MUST(rusm_ca_revoke_serial(f->other, "41", RUSM_REVOKE_UNSPECIFIED, NULL));
    rusm_crl_config_init(&overdue);
    overdue.this_update = 1700000000;
    overdue.next_update = 1700000777;
    MUST(rusm_ca_crl(f->ca, &overdue, &crls[0])); /* overdue, and still believed */
    MUST(rusm_ca_crl(f->other, NULL, &crls[1]));
    MUST(rusm_identity_with_trust(plain, cas, 2, (const rusm_crl *const *)crls, 2, &london));
    assert_int_equal(judge(tokyo, london, false, text), RUSM_EAUTH);
    (void)snprintf(words, sizeof(words),
                   "the certificate of \"tokyo\", serial %s, was revoked on 2", info.serial);
    assert_non_null(strstr(text, words));
    assert_int_equal(judge(paris, london, false, text), RUSM_OK);
    assert_int_equal(judge(paris, london, true, text), RUSM_EAUTH);
    assert_non_null(strstr(text, "held until 2023-11-14"));
    assert_int_equal(judge(paris, plain, true, text), RUSM_EAUTH);
    assert_non_null(strstr(text, "no revocation list"));
    rusm_identity_del(london);
    rusm_crl_del(crls[0]);
    MUST(rusm_ca_crl(f->ca, NULL, &crls[0]));
    MUST(rusm_identity_with_trust(plain, cas, 2, (const rusm_crl *const *)crls, 2, &london));
    assert_int_equal(judge(paris, london, true, text), RUSM_OK);
    assert_int_equal(judge(tokyo, london, true, text), RUSM_EAUTH);
    for (size_t i = 0; i < 2; i++) {
        rusm_crl_del(crls[i]);
    }
    rusm_identity_del(tokyo);
    rusm_identity_del(paris);
    rusm_identity_del(plain);
    rusm_identity_del(london);
}

static void test_trust_of_another_cluster_is_refused(void **state)
{
    struct fixture *f = *state;
    rusm_identity *london = issue(f->ca, "london", NULL), *made = NULL;
    const rusm_ca *cas[65] = {f->other};
    rusm_ca *elsewhere = NULL;

    assert_int_equal(rusm_identity_with_trust(london, cas, 1, NULL, 0, &made), RUSM_ECERT);
    assert_detail("none of the CAs issued the certificate of \"london\"");
    assert_int_equal(rusm_identity_with_trust(london, cas, 0, NULL, 0, &made), RUSM_EINVAL);
    assert_int_equal(rusm_identity_with_trust(london, cas, 65, NULL, 0, &made), RUSM_EINVAL);
    MUST(rusm_ca_generate(&elsewhere, "elsewhere", 30));
    cas[0] = elsewhere;
    assert_int_equal(rusm_identity_with_trust(london, cas, 1, NULL, 0, &made), RUSM_EINVAL);
    assert_detail("a CA of cluster elsewhere");
    rusm_ca_del(elsewhere);
    rusm_identity_del(london);
}

/* ---- files */

static void test_lists_are_loaded_with_an_identity(void **state)
{
    struct fixture *f = *state;
    rusm_cert_info info;
    rusm_identity *tokyo = issue(f->ca, "tokyo", &info), *london = issue(f->ca, "london", NULL);
    rusm_identity *loaded = NULL;
    char text[RUSMI_VERIFY_TEXT_MAX];
    rusm_crl *crl = NULL;
    struct stat st;

    MUST(rusm_identity_save(london, f->folder, "london"));
    MUST(rusm_ca_revoke_serial(f->ca, info.serial, RUSM_REVOKE_UNSPECIFIED, NULL));
    MUST(rusm_ca_crl(f->ca, NULL, &crl));
    MUST(rusm_crl_save(crl, in_folder(f, "crl.pem")));
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    MUST(rusm_identity_load(&loaded, f->folder, "london"));
    assert_int_equal(judge(tokyo, loaded, true, text), RUSM_EAUTH);
    rusm_identity_del(loaded);
    rusm_crl_del(crl);
    /* It is replaced, not refused. */
    MUST(rusm_ca_crl(f->ca, NULL, &crl));
    MUST(rusm_crl_save(crl, f->path));
    rusm_crl_del(crl);
    /* A list of a CA that is not trusted does not belong here. */
    MUST(rusm_ca_crl(f->other, NULL, &crl));
    MUST(rusm_crl_save(crl, f->path));
    rusm_crl_del(crl);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "london"), RUSM_ECERT);
    assert_detail("crl.pem: the revocation list is not of a CA that is trusted here");
    write_file(f->path, "w", "nothing", 7);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "london"), RUSM_ECERT);
    assert_detail("crl.pem: damaged, or no PEM revocation list");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "london"), RUSM_ECERT);
    assert_int_equal(rmdir(f->path), 0);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "crl"), RUSM_EINVAL);
    rusm_identity_del(tokyo);
    rusm_identity_del(london);
}

static void test_several_lists_and_cas_are_loaded(void **state)
{
    struct fixture *f = *state;
    const rusm_ca *cas[] = {f->ca, f->other};
    rusm_identity *london = issue(f->ca, "london", NULL), *both = NULL, *loaded = NULL;
    rusm_cert_info of_first, of_second;
    rusm_identity *first = issue(f->ca, "first", &of_first);
    rusm_identity *second = issue(f->other, "second", &of_second);
    char text[RUSMI_VERIFY_TEXT_MAX];

    MUST(rusm_identity_with_trust(london, cas, 2, NULL, 0, &both));
    MUST(rusm_identity_save(both, f->folder, "london"));
    assert_int_equal(judge(first, both, false, text), RUSM_OK);
    assert_int_equal(judge(second, both, false, text), RUSM_OK);
    MUST(rusm_ca_revoke_node(f->ca, "first", RUSM_REVOKE_UNSPECIFIED, NULL));
    MUST(rusm_ca_revoke_node(f->other, "second", RUSM_REVOKE_UNSPECIFIED, NULL));
    for (size_t i = 0; i < 2; i++) {
        gnutls_datum_t pem;
        rusm_crl *crl = NULL;

        MUST(rusm_ca_crl(cas[i], NULL, &crl));
        MUST(rusmi_crl_export(crl, &pem));
        write_file(in_folder(f, "crl.pem"), "a", pem.data, pem.size);
        gnutls_free(pem.data);
        rusm_crl_del(crl);
    }
    MUST(rusm_identity_load(&loaded, f->folder, "london"));
    assert_int_equal(judge(first, loaded, true, text), RUSM_EAUTH);
    assert_int_equal(judge(second, loaded, true, text), RUSM_EAUTH);
    assert_int_equal(judge(london, loaded, true, text), RUSM_OK);
    rusm_identity_del(london);
    rusm_identity_del(both);
    rusm_identity_del(loaded);
    rusm_identity_del(first);
    rusm_identity_del(second);
}

static void test_no_part_of_a_list_is_taken_for_one(void **state)
{
    struct fixture *f = *state;
    rusm_crl *crl = NULL, *part = NULL;
    gnutls_datum_t der;

    MUST(rusm_ca_revoke_serial(f->ca, "4142", RUSM_REVOKE_UNSPECIFIED, NULL));
    MUST(rusm_ca_crl(f->ca, NULL, &crl));
    assert_true(gnutls_x509_crl_export2(crl->crl, GNUTLS_X509_FMT_DER, &der) >= 0);
    for (size_t len = 0; len < der.size; len++) {
        assert_int_equal(rusmi_crl_parse(der.data, len, "part", &part), RUSM_ECERT);
        assert_null(part);
    }
    gnutls_free(der.data);
    rusm_crl_del(crl);
}

/* An indirect list: its entries may be another CA's certificates (RFC 5280, section 5.2.5). */
static void test_a_critical_extension_is_refused(void **state)
{
    static const char text[] = "-----BEGIN X509 CRL-----\n"
                               "MIIBDjCBtQIBATAKBggqhkjOPQQDAjBEMRgwFgYDVQQKEw9ydXNtIGNsdXN0ZXIg\n"
                               "Q0ExDTALBgNVBAMTBHByb2QxGTAXBgNVBAUTEDZmZTBiOWI5OGY3MjAwOTcXDTI2\n"
                               "MTEyMzA1NDc1MloXDTI2MTIyMzA1NDc1MlqgQDA+MB8GA1UdIwQYMBaAFG/gubmP\n"
                               "cgCXDbKbaCa+W7odk5PgMA8GA1UdHAEB/wQFMAOEAf8wCgYDVR0UBAMCAQEwCgYI\n"
                               "KoZIzj0EAwIDSAAwRQIgFZq8/LIQCmYRssQkkm2meu7qj/+H7cyzGIkn31/qVMAC\n"
                               "IQDEcXAc6XxPDDZW/AmwTaFtkBmtMfJjkHiloarZ/JWE+A==\n"
                               "-----END X509 CRL-----\n";
    rusm_crl **list = NULL;
    size_t count = 0;

    (void)state;
    assert_int_equal(rusmi_crl_parse_pem(text, sizeof(text) - 1, "indirect", &list, &count),
                     RUSM_ECERT);
    assert_detail("indirect: the revocation list has the critical extension 2.5.29.28");
}

/* ---- the register */

static void test_a_folder_remembers_what_was_issued(void **state)
{
    struct fixture *f = *state;
    rusm_issued_info infos[8];
    rusm_cert_info info, operator_info;
    rusm_issue_config cfg;
    rusm_identity *identity = NULL;
    rusm_ca *loaded = NULL, *beside = NULL;
    struct stat st;

    rusm_identity_del(issue(f->ca, "before", NULL)); /* and then it is kept in a folder */
    MUST(rusm_ca_save(f->ca, f->folder));
    rusm_identity_del(issue(f->ca, "after", &info));
    assert_int_equal(stat(in_folder(f, "ca.issued"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    MUST(rusm_ca_load(&loaded, f->folder));
    MUST(rusm_ca_load(&beside, f->folder));
    rusm_issue_config_init(&cfg);
    cfg.role = RUSM_ROLE_OPERATOR;
    MUST(rusm_ca_issue(beside, "op/100%", &cfg, &identity));
    rusm_identity_get_info(identity, &operator_info);
    rusm_identity_del(identity);
    MUST(rusm_ca_revoke_node(f->ca, "op/100%", RUSM_REVOKE_WITHDRAWN, NULL));
    assert_int_equal(rusm_ca_list(loaded, 0, infos, 8), 3);
    assert_string_equal(infos[0].node, "before");
    assert_string_equal(infos[1].node, "after");
    assert_string_equal(infos[1].serial, info.serial);
    assert_int_equal(infos[1].not_after, info.not_after);
    assert_int_equal(infos[1].revoked_at, 0);
    assert_string_equal(infos[2].node, "op/100%");
    assert_string_equal(infos[2].cluster, "prod");
    assert_string_equal(infos[2].serial, operator_info.serial);
    assert_int_equal(infos[2].role, RUSM_ROLE_OPERATOR);
    assert_int_equal(infos[2].reason, RUSM_REVOKE_WITHDRAWN);
    assert_true(infos[2].revoked_at > 0);
    assert_int_equal(rusm_ca_list(loaded, 2, infos, 8), 1);
    assert_int_equal(rusm_ca_list(loaded, 3, infos, 8), 0);
    assert_int_equal(rusm_ca_list(loaded, 0, infos, 0), RUSM_EINVAL);
    rusm_ca_del(loaded);
    rusm_ca_del(beside);
}

static void test_a_damaged_register_stops_issuing(void **state)
{
    static const char *const bad[] = {
        "",
        "rusm-issued 2 0\n",
        "rusm-issued 1 0",
        "rusm-issued 1 0\n4142 0 0 unspecified\n",
        "rusm-issued 1 0\n4142 0 0 unspecified -",
        "rusm-issued 1 0\n414 0 0 unspecified -\n",
        "rusm-issued 1 0\n41XY 0 0 unspecified -\n",
        "rusm-issued 1 0\n4142 -5 0 unspecified -\n",
        "rusm-issued 1 0\n4142 0 0 boredom -\n",
        "rusm-issued 1 0\n4142 0 0 unspecified rusm://prod/a?role=king\n",
        "rusm-issued 1 0\n4142 0 0 unspecified rusm://prod\n",
    };
    struct fixture *f = *state;
    rusm_identity *identity = NULL;
    rusm_crl *crl = NULL;
    rusm_issued_info info;

    MUST(rusm_ca_save(f->ca, f->folder));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(in_folder(f, "ca.issued"), "w", bad[i], strlen(bad[i]));
        assert_int_equal(rusm_ca_issue(f->ca, "a", NULL, &identity), RUSM_ECERT);
        assert_detail("ca.issued: ");
        assert_int_equal(rusm_ca_revoke_serial(f->ca, "41", RUSM_REVOKE_UNSPECIFIED, NULL),
                         RUSM_ECERT);
        assert_int_equal(rusm_ca_crl(f->ca, NULL, &crl), RUSM_ECERT);
        assert_int_equal(rusm_ca_list(f->ca, 0, &info, 1), RUSM_ECERT);
    }
    assert_null(identity);
    /* The folder is gone: nothing is issued that can not be recorded. */
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(unlink(in_folder(f, "ca.pem")), 0);
    assert_int_equal(unlink(in_folder(f, "ca.key")), 0);
    assert_int_equal(rmdir(f->folder), 0);
    assert_int_equal(rusm_ca_issue(f->ca, "a", NULL, &identity), RUSM_ESYS);
    assert_int_equal(mkdir(f->folder, 0700), 0);
}

static void test_the_register_is_bounded_and_forgets_the_ended(void **state)
{
    struct rusmi_register reg;
    rusm_issued_info info = {.serial = "4142", .not_after = 1000};
    int64_t now_s = 1000 + RUSMI_ISSUED_KEEP_S;

    (void)state;
    rusmi_register_init(&reg);
    for (size_t i = 0; i < RUSMI_ISSUED_MAX; i++) {
        MUST(rusmi_register_add(&reg, &info, now_s));
    }
    assert_int_equal(rusmi_register_add(&reg, &info, now_s), RUSM_EFULL);
    assert_detail("make a new CA");
    MUST(rusmi_register_add(&reg, &info, now_s + 1));
    assert_int_equal(reg.count, 1);
    rusmi_register_fini(&reg);
}

static void test_serial_numbers_are_read_as_they_are_printed(void **state)
{
    static const struct {
        const char *text, *kept; /* NULL: refused */
    } cases[] = {
        {"4142", "4142"},
        {"41:42", "4142"},
        {"00:00:41", "41"},
        {"aAfF", "00aaff"},
        {"00", "00"},
        {"7f00000000000000000000000000000000000001", "7f00000000000000000000000000000000000001"},
        {"", NULL},
        {"4", NULL},
        {"4g", NULL},
        {"41:", NULL},
        {":41", NULL},
        {"41::42", NULL},
        {"ff00000000000000000000000000000000000001", NULL},
        {"417f00000000000000000000000000000000000001", NULL},
    };
    struct fixture *f = *state;
    rusm_issued_info info;
    ptrdiff_t count = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rusm_err err = rusm_ca_revoke_serial(f->ca, cases[i].text, RUSM_REVOKE_UNSPECIFIED, NULL);

        if (cases[i].kept == NULL) {
            assert_int_equal(err, RUSM_EINVAL);
            continue;
        }
        MUST(err);
        if (i != 1) { /* the same as the first */
            assert_int_equal(rusm_ca_list(f->ca, (size_t)count++, &info, 1), 1);
            assert_string_equal(info.serial, cases[i].kept);
        }
    }
    assert_int_equal(rusm_ca_list(f->ca, (size_t)count, &info, 1), 0);
    assert_int_equal(rusm_ca_revoke_serial(f->ca, "41", (rusm_revoke_reason)2, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_ca_revoke_node(f->ca, "nobody", RUSM_REVOKE_UNSPECIFIED, NULL),
                     RUSM_ENONAME);
    assert_int_equal(rusm_ca_revoke_node(f->ca, "", RUSM_REVOKE_UNSPECIFIED, NULL), RUSM_ENONAME);
}

/* ---- proofs */

static void test_a_proof_holds_for_one_session_and_direction(void **state)
{
    struct fixture *f = *state;
    rusm_identity *london = issue(f->ca, "london", NULL), *tokyo = issue(f->ca, "tokyo", NULL);
    uint8_t binding[RUSMI_BINDING_LEN] = {1}, another[RUSMI_BINDING_LEN] = {2};
    struct rusmi_proof proof, of_tokyo;

    MUST(rusmi_proof_init(&proof, london, binding, true));
    MUST(rusmi_proof_init(&of_tokyo, tokyo, binding, true));
#define CHECK(cert, sig, bound, dialed)                                                            \
    rusmi_proof_check((cert).der.data, (cert).der.size, (sig).signature.data,                      \
                      (sig).signature.size, bound, dialed)
    assert_int_equal(CHECK(proof, proof, binding, true), RUSM_OK);
    assert_int_equal(CHECK(proof, proof, binding, false), RUSM_ECERT);
    assert_int_equal(CHECK(proof, proof, another, true), RUSM_ECERT);
    assert_int_equal(CHECK(of_tokyo, proof, binding, true), RUSM_ECERT);
    assert_int_equal(CHECK(proof, of_tokyo, binding, true), RUSM_ECERT);
    proof.der.data[proof.der.size - 1] ^= 1;
    assert_int_equal(CHECK(proof, proof, binding, true), RUSM_ECERT);
    assert_int_equal(rusmi_proof_check((const uint8_t *)"x", 1, proof.signature.data,
                                       proof.signature.size, binding, true),
                     RUSM_ECERT);
#undef CHECK
    rusmi_proof_fini(&proof);
    rusmi_proof_fini(&of_tokyo);
    rusm_identity_del(london);
    rusm_identity_del(tokyo);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_list_says_what_was_asked_for),
        T(test_revoked_serials_are_found_and_no_others),
        T(test_a_list_counts_only_if_an_anchor_signed_it),
        T(test_a_revoked_certificate_is_refused),
        T(test_trust_of_another_cluster_is_refused),
        T(test_lists_are_loaded_with_an_identity),
        T(test_several_lists_and_cas_are_loaded),
        T(test_no_part_of_a_list_is_taken_for_one),
        T(test_a_critical_extension_is_refused),
        T(test_a_folder_remembers_what_was_issued),
        T(test_a_damaged_register_stops_issuing),
        T(test_the_register_is_bounded_and_forgets_the_ended),
        T(test_serial_numbers_are_read_as_they_are_printed),
        T(test_a_proof_holds_for_one_session_and_direction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
