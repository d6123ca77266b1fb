/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of ours fails once: the call then says so and leaves nothing behind. GnuTLS's
 * own allocations are out of reach here; its GNUTLS_E_MEMORY_ERROR takes the same paths.
 */
#include "trust/file.h"
#include "trust/identity.h"
#include "trust/proof.h"

#include <dirent.h>
#include <rusm/err.h>
#include <rusm/trust.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Linked with --wrap, so that base/mem.c comes here. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static int fail_at; /* the allocation that fails, from 1; 0: none */

static bool fails(void)
{
    return fail_at > 0 && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

static char folder[] = "/tmp/rusm-heap-XXXXXX";
static rusm_ca *ca;
static rusm_ca *kept; /* in the folder */
static rusm_crl *crl;
static rusm_identity *london;

static void clean_folder(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[512];

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            assert_int_equal(unlink(path), 0);
        }
    }
    (void)closedir(dir);
}

static rusm_err do_generate(void)
{
    rusm_ca *made = NULL;
    rusm_err err = rusm_ca_generate(&made, "c", 1);

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_ca_del(made);
    return err;
}

static rusm_err do_issue(void)
{
    rusm_identity *made = NULL;
    rusm_err err = rusm_ca_issue(ca, "n", NULL, &made);

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_identity_del(made);
    return err;
}

static rusm_err do_share(void)
{
    rusm_identity *made = NULL;
    rusm_err err = rusm_identity_generate(&made, "c");

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_identity_del(made);
    return err;
}

static rusm_err do_load(void)
{
    rusm_identity *made = NULL;
    rusm_err err = rusm_identity_load(&made, folder, "london");

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_identity_del(made);
    return err;
}

static rusm_err do_load_ca(void)
{
    rusm_ca *made = NULL;
    rusm_err err = rusm_ca_load(&made, folder);

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_ca_del(made);
    return err;
}

static rusm_err do_save(void)
{
    return rusm_identity_save(london, folder, "again");
}

static rusm_err do_read(void)
{
    char path[64];
    rusm_cert_info info;

    (void)snprintf(path, sizeof(path), "%s/ca.pem", folder);
    return rusm_cert_read(path, &info);
}

/* Each of these is done with a CA in memory and one in a folder; what it changes there does not
 * matter to the next attempt. */
static rusm_err do_revoke(void)
{
    rusm_err err = rusm_ca_revoke_serial(kept, "4142", RUSM_REVOKE_UNSPECIFIED, NULL);

    return err == RUSM_OK ? rusm_ca_revoke_node(kept, "london", RUSM_REVOKE_UNSPECIFIED, NULL)
                          : err;
}

static rusm_err do_list(void)
{
    rusm_issued_info info;
    ptrdiff_t got = rusm_ca_list(kept, 0, &info, 1);

    return got < 0 ? (rusm_err)got : RUSM_OK;
}

static rusm_err do_issue_kept(void)
{
    rusm_identity *made = NULL;
    rusm_err err = rusm_ca_issue(kept, "n", NULL, &made);

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_identity_del(made);
    return err;
}

static rusm_err do_crl(void)
{
    rusm_crl *made = NULL;
    rusm_err err = rusm_ca_crl(kept, NULL, &made);
    char path[64];

    assert_true((err == RUSM_OK) == (made != NULL));
    (void)snprintf(path, sizeof(path), "%s/crl.pem", folder);
    if (err == RUSM_OK) {
        err = rusm_crl_save(made, path);
    }
    rusm_crl_del(made);
    return err;
}

static rusm_err do_read_crl(void)
{
    char path[64];
    rusm_crl_info info;

    (void)snprintf(path, sizeof(path), "%s/crl.pem", folder);
    return rusm_crl_read(path, &info);
}

static rusm_err do_trust(void)
{
    const rusm_ca *cas[] = {kept};
    rusm_identity *made = NULL;
    rusm_err err =
        rusm_identity_with_trust(london, cas, 1, (const rusm_crl *const *)&crl, 1, &made);

    assert_true((err == RUSM_OK) == (made != NULL));
    rusm_identity_del(made);
    return err;
}

static rusm_err do_proof(void)
{
    uint8_t binding[RUSMI_BINDING_LEN] = {0};
    struct rusmi_proof proof = {.der = {NULL, 0}};
    rusm_err err = rusmi_proof_init(&proof, london, binding, true);

    if (err == RUSM_OK) {
        err = rusmi_proof_check(proof.der.data, proof.der.size, proof.signature.data,
                                proof.signature.size, binding, true);
    }
    rusmi_proof_fini(&proof);
    return err;
}

static void test_each_failed_allocation_is_survived(void **state)
{
    static rusm_err (*const calls[])(void) = {
        do_generate, do_issue, do_share,      do_load, do_load_ca,  do_save,  do_read,
        do_revoke,   do_list,  do_issue_kept, do_crl,  do_read_crl, do_trust, do_proof};

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        rusm_err err = RUSM_ENOMEM;
        int n = 0;

        while (err != RUSM_OK) {
            fail_at = ++n;
            err = calls[i]();
            fail_at = 0;
            if (err != RUSM_OK && err != RUSM_ENOMEM) {
                fail_msg("call %zu, allocation %d: %s", i, n, rusm_err_detail());
            }
            assert_true(n < 100);
        }
        assert_true(n > 1); /* at least one allocation did fail */
    }
}

static int setup(void **state)
{
    char path[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(rusm_ca_generate(&ca, "prod", 30), RUSM_OK);
    assert_int_equal(rusm_ca_issue(ca, "london", NULL, &london), RUSM_OK);
    assert_int_equal(rusm_ca_save(ca, folder), RUSM_OK);
    assert_int_equal(rusm_ca_load(&kept, folder), RUSM_OK);
    assert_int_equal(rusm_identity_save(london, folder, "london"), RUSM_OK);
    assert_int_equal(rusm_ca_revoke_serial(kept, "41", RUSM_REVOKE_UNSPECIFIED, NULL), RUSM_OK);
    assert_int_equal(rusm_ca_crl(kept, NULL, &crl), RUSM_OK);
    /* Loading reads it as well. */
    (void)snprintf(path, sizeof(path), "%s/crl.pem", folder);
    assert_int_equal(rusm_crl_save(crl, path), RUSM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clean_folder();
    assert_int_equal(rmdir(folder), 0);
    rusm_identity_del(london);
    rusm_ca_del(ca);
    rusm_ca_del(kept);
    rusm_crl_del(crl);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_failed_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
