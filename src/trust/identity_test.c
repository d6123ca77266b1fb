/* SPDX-License-Identifier: MIT */
/* PEM files: what is saved loads again, what is damaged or unsafe is refused by name and reason. */
#include "trust/identity.h"

#include "support/certs.h"
#include "trust/ca.h"
#include "trust/cert.h"
#include "trust/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <rusm/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* An empty folder, a CA and an identity of it, for each test. */
struct fixture {
    char folder[64];
    char path[512];
    rusm_ca *ca;
    rusm_identity *london;
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
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/rusm-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    assert_int_equal(rusm_ca_generate(&f->ca, "prod", 30), RUSM_OK);
    assert_int_equal(rusm_ca_issue(f->ca, "london", NULL, &f->london), RUSM_OK);
    *state = f;
    return 0;
}

/* Call fn for each entry of the folder; returns how many there are. */
static int each_file(struct fixture *f, void (*fn)(const char *path))
{
    DIR *dir = opendir(f->folder);
    struct dirent *entry;
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            count++;
            if (fn != NULL) {
                fn(in_folder(f, entry->d_name));
            }
        }
    }
    (void)closedir(dir);
    return count;
}

static void remove_path(const char *path)
{
    assert_int_equal(remove(path), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    (void)each_file(f, remove_path);
    assert_int_equal(rmdir(f->folder), 0);
    rusm_identity_del(f->london);
    rusm_ca_del(f->ca);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
    FILE *file = fopen(in_folder(f, name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(f->path, 0600), 0);
}

static void copy_file(struct fixture *f, const char *from, const char *to)
{
    struct rusmi_file file = {0};

    assert_int_equal(rusmi_file_read(in_folder(f, from), false, &file), RUSM_OK);
    write_file(f, to, file.data);
    rusmi_file_fini(&file);
}

static unsigned mode_of(struct fixture *f, const char *name)
{
    struct stat st;

    assert_int_equal(stat(in_folder(f, name), &st), 0);
    return (unsigned)st.st_mode & 07777;
}

static void assert_detail(const char *a, const char *b)
{
    if (strstr(rusm_err_detail(), a) == NULL || strstr(rusm_err_detail(), b) == NULL) {
        fail_msg("\"%s\" and \"%s\" are not both in \"%s\"", a, b, rusm_err_detail());
    }
}

static void refuse_load(struct fixture *f, const char *name, rusm_err err, const char *a,
                        const char *b)
{
    rusm_identity *identity = NULL;

    assert_int_equal(rusm_identity_load(&identity, f->folder, name), err);
    assert_null(identity);
    assert_detail(a, b);
}

static void refuse_load_ca(struct fixture *f, rusm_err err, const char *a, const char *b)
{
    rusm_ca *ca = NULL;

    assert_int_equal(rusm_ca_load(&ca, f->folder), err);
    assert_null(ca);
    assert_detail(a, b);
}

/* Not memcmp: there is padding. */
static void assert_same_info(const rusm_cert_info *a, const rusm_cert_info *b)
{
    assert_string_equal(a->cluster, b->cluster);
    assert_string_equal(a->node, b->node);
    assert_string_equal(a->serial, b->serial);
    assert_string_equal(a->fingerprint, b->fingerprint);
    assert_int_equal(a->role, b->role);
    assert_int_equal(a->not_before, b->not_before);
    assert_int_equal(a->not_after, b->not_after);
    assert_true(a->is_ca == b->is_ca && a->shared == b->shared);
}

static void save_both(struct fixture *f)
{
    assert_int_equal(rusm_ca_save(f->ca, f->folder), RUSM_OK);
    assert_int_equal(rusm_identity_save(f->london, f->folder, "london"), RUSM_OK);
}

static void test_a_saved_ca_loads_and_issues(void **state)
{
    struct fixture *f = *state;
    rusm_identity *tokyo = NULL;
    rusm_cert_info a, b;
    rusm_ca *ca = NULL;
    unsigned status = 1;

    assert_int_equal(rusm_ca_save(f->ca, f->folder), RUSM_OK);
    assert_int_equal(rusm_ca_load(&ca, f->folder), RUSM_OK);
    rusm_ca_get_info(f->ca, &a);
    rusm_ca_get_info(ca, &b);
    assert_same_info(&a, &b);
    assert_int_equal(rusm_ca_issue(ca, "tokyo", NULL, &tokyo), RUSM_OK);
    assert_true(rusmi_identity_judge(f->london, tokyo->parts.crt, &status) >= 0);
    assert_int_equal(status, 0);
    rusm_identity_del(tokyo);
    rusm_ca_del(ca);
}

static void test_a_saved_identity_loads(void **state)
{
    struct fixture *f = *state;
    rusm_identity *loaded = NULL;
    rusm_cert_info a, b;

    assert_int_equal(rusm_identity_save(f->london, f->folder, "london"), RUSM_OK);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "london"), RUSM_OK);
    rusm_identity_get_info(f->london, &a);
    rusm_identity_get_info(loaded, &b);
    assert_same_info(&a, &b);
    assert_true(rusmi_key_matches(loaded->parts.key, f->london->parts.crt));
    rusm_identity_del(loaded);
}

static void test_a_shared_identity_survives_files(void **state)
{
    struct fixture *f = *state;
    rusm_identity *shared = NULL, *loaded = NULL;
    rusm_cert_info info;

    assert_int_equal(rusm_identity_generate(&shared, "home"), RUSM_OK);
    assert_int_equal(rusm_identity_save(shared, f->folder, "home"), RUSM_OK);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "home"), RUSM_OK);
    rusm_identity_get_info(loaded, &info);
    assert_true(info.shared);
    rusm_identity_del(shared);
    rusm_identity_del(loaded);
}

static void test_an_expired_identity_loads(void **state)
{
    struct fixture *f = *state;
    rusm_identity *old = NULL, *loaded = NULL;
    rusm_issue_config cfg;

    rusm_issue_config_init(&cfg);
    cfg.not_before = 1000000000;
    cfg.not_after = 1000000001;
    assert_int_equal(rusm_ca_issue(f->ca, "old", &cfg, &old), RUSM_OK);
    assert_int_equal(rusm_identity_save(old, f->folder, "old"), RUSM_OK);
    assert_int_equal(rusm_identity_load(&loaded, f->folder, "old"), RUSM_OK);
    rusm_identity_del(old);
    rusm_identity_del(loaded);
}

static void test_modes_do_not_depend_on_the_umask(void **state)
{
    struct fixture *f = *state;
    mode_t old = umask(0);

    save_both(f);
    assert_int_equal(mode_of(f, "ca.key"), 0600);
    assert_int_equal(mode_of(f, "london.key"), 0600);
    (void)umask(0777);
    assert_int_equal(rusm_identity_save(f->london, f->folder, "again"), RUSM_OK);
    (void)umask(old);
    assert_int_equal(mode_of(f, "ca.pem"), 0644);
    assert_int_equal(mode_of(f, "again.pem"), 0644);
    assert_int_equal(mode_of(f, "again.key"), 0600);
}

static void test_a_missing_folder_is_made(void **state)
{
    struct fixture *f = *state;
    char sub[96];
    rusm_ca *ca = NULL;

    (void)snprintf(sub, sizeof(sub), "%s/new", f->folder);
    assert_int_equal(rusm_ca_save(f->ca, sub), RUSM_OK);
    assert_int_equal(rusm_ca_load(&ca, sub), RUSM_OK);
    rusm_ca_del(ca);
    remove_path(in_folder(f, "new/ca.pem"));
    remove_path(in_folder(f, "new/ca.key"));
    remove_path(in_folder(f, "new/ca.issued"));
    (void)snprintf(sub, sizeof(sub), "%s/no/parent", f->folder);
    assert_int_equal(rusm_ca_save(f->ca, sub), RUSM_ESYS);
    assert_detail("no/parent", strerror(ENOENT));
}

static void test_existing_files_are_never_overwritten(void **state)
{
    struct fixture *f = *state;

    write_file(f, "ca.pem", "precious");
    assert_int_equal(rusm_ca_save(f->ca, f->folder), RUSM_EEXIST);
    assert_detail("ca.pem", "never overwritten");
    assert_int_equal(each_file(f, NULL), 1); /* no ca.key, no temporary file */
    remove_path(in_folder(f, "ca.pem"));
    write_file(f, "london.key", "precious");
    assert_int_equal(rusm_identity_save(f->london, f->folder, "london"), RUSM_EEXIST);
    assert_detail("london.key", "never overwritten");
    assert_int_equal(each_file(f, NULL), 1);
}

static void test_a_dangling_link_is_not_followed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(symlink("elsewhere", in_folder(f, "ca.key")), 0);
    assert_int_equal(rusm_ca_save(f->ca, f->folder), RUSM_EEXIST);
    assert_int_equal(each_file(f, NULL), 1);
}

static void test_an_equal_ca_file_may_exist(void **state)
{
    struct fixture *f = *state;
    rusm_identity *tokyo = NULL, *stranger = NULL;

    save_both(f); /* the identity meets the ca.pem of the CA */
    assert_int_equal(rusm_ca_issue(f->ca, "tokyo", NULL, &tokyo), RUSM_OK);
    assert_int_equal(rusm_identity_save(tokyo, f->folder, "tokyo"), RUSM_OK);
    assert_int_equal(each_file(f, NULL), 7); /* with what the CA has issued */
    assert_int_equal(rusm_identity_generate(&stranger, "prod"), RUSM_OK);
    assert_int_equal(rusm_identity_save(stranger, f->folder, "stranger"), RUSM_EEXIST);
    assert_detail("ca.pem", "other contents");
    assert_int_equal(each_file(f, NULL), 7);
    rusm_identity_del(tokyo);
    rusm_identity_del(stranger);
}

static void test_names_that_leave_the_folder_are_refused(void **state)
{
    static const char *const bad[] = {"", "..", ".x", "a/b", "/etc/passwd", "ca"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(rusm_identity_save(f->london, f->folder, bad[i]), RUSM_EINVAL);
        refuse_load(f, bad[i], RUSM_EINVAL, "cannot name identity files", bad[i]);
    }
    assert_int_equal(each_file(f, NULL), 0);
}

static void test_a_key_that_others_may_read_is_refused(void **state)
{
    static const mode_t bad[] = {0640, 0604, 0620, 0602, 0644};
    struct fixture *f = *state;

    save_both(f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(chmod(in_folder(f, "london.key"), bad[i]), 0);
        refuse_load(f, "london", RUSM_ECERT, "london.key", "chmod 600");
        assert_int_equal(chmod(in_folder(f, "ca.key"), bad[i]), 0);
        refuse_load_ca(f, RUSM_ECERT, "ca.key", "chmod 600");
    }
}

static void test_missing_files_are_named(void **state)
{
    struct fixture *f = *state;

    refuse_load(f, "london", RUSM_ESYS, "london.pem", strerror(ENOENT));
    refuse_load_ca(f, RUSM_ESYS, "ca.pem", strerror(ENOENT));
    save_both(f);
    remove_path(in_folder(f, "london.key"));
    refuse_load(f, "london", RUSM_ESYS, "london.key", strerror(ENOENT));
    assert_int_equal(rusm_identity_save(f->london, f->folder, "again"), RUSM_OK);
    remove_path(in_folder(f, "ca.pem"));
    refuse_load(f, "again", RUSM_ESYS, "ca.pem", strerror(ENOENT));
}

static void test_damaged_files_are_named(void **state)
{
    struct fixture *f = *state;
    struct rusmi_file file = {0};

    save_both(f);
    assert_int_equal(rusmi_file_read(in_folder(f, "london.pem"), false, &file), RUSM_OK);
    file.data[file.len / 2] = '!';
    write_file(f, "london.pem", file.data);
    rusmi_file_fini(&file);
    refuse_load(f, "london", RUSM_ECERT, "london.pem", "damaged");
    write_file(f, "london.pem", "");
    refuse_load(f, "london", RUSM_ECERT, "london.pem", "damaged");
    write_file(f, "ca.key", "-----BEGIN PRIVATE KEY-----\nMIG\n");
    refuse_load_ca(f, RUSM_ECERT, "ca.key", "damaged");
    write_file(f, "ca.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG\n");
    refuse_load_ca(f, RUSM_ECERT, "ca.key", "encrypted");
    write_file(f, "ca.pem", "no PEM at all");
    refuse_load_ca(f, RUSM_ECERT, "ca.pem", "damaged");
}

/* A file that ends before its END line never loads, wherever it was cut. */
static void test_no_prefix_of_a_certificate_or_key_loads(void **state)
{
    static const char *const names[] = {"ca.pem", "ca.key"};
    struct fixture *f = *state;

    assert_int_equal(rusm_ca_save(f->ca, f->folder), RUSM_OK);
    for (int i = 0; i < 2; i++) {
        struct rusmi_file file = {0};
        char *text;

        assert_int_equal(rusmi_file_read(in_folder(f, names[i]), false, &file), RUSM_OK);
        text = strdup(file.data);
        assert_non_null(text);
        for (size_t cut = (size_t)(strstr(text, "-----END") - text); cut > 0;
             cut -= cut < 37 ? cut : 37) {
            rusm_ca *ca = NULL;

            text[cut] = '\0';
            write_file(f, names[i], text);
            assert_int_equal(rusm_ca_load(&ca, f->folder), RUSM_ECERT);
        }
        write_file(f, names[i], file.data);
        free(text);
        rusmi_file_fini(&file);
    }
}

static void test_what_is_no_file_is_refused_at_once(void **state)
{
    struct fixture *f = *state;

    save_both(f);
    remove_path(in_folder(f, "london.pem"));
    assert_int_equal(mkfifo(in_folder(f, "london.pem"), 0600), 0);
    refuse_load(f, "london", RUSM_ECERT, "london.pem", "not a regular file");
    remove_path(in_folder(f, "london.pem"));
    assert_int_equal(mkdir(in_folder(f, "london.pem"), 0700), 0);
    refuse_load(f, "london", RUSM_ECERT, "london.pem", "not a regular file");
}

static void test_a_file_that_is_too_large_is_refused(void **state)
{
    struct fixture *f = *state;

    save_both(f);
    assert_int_equal(truncate(in_folder(f, "ca.pem"), (off_t)RUSMI_FILE_MAX + 1), 0);
    refuse_load_ca(f, RUSM_ECERT, "ca.pem", "too large");
}

static void test_files_that_do_not_belong_together_are_refused(void **state)
{
    struct fixture *f = *state;
    rusm_identity *tokyo = NULL, *home = NULL;

    save_both(f);
    assert_int_equal(rusm_ca_issue(f->ca, "tokyo", NULL, &tokyo), RUSM_OK);
    assert_int_equal(rusm_identity_save(tokyo, f->folder, "tokyo"), RUSM_OK);
    copy_file(f, "tokyo.key", "london.key");
    refuse_load(f, "london", RUSM_ECERT, "london.key", "not the key of");
    copy_file(f, "tokyo.key", "ca.key");
    refuse_load_ca(f, RUSM_ECERT, "ca.key", "not the key of");
    copy_file(f, "tokyo.pem", "ca.pem");
    refuse_load_ca(f, RUSM_ECERT, "ca.pem", "not of a CA");
    refuse_load(f, "tokyo", RUSM_ECERT, "ca.pem", "not of a CA");
    remove_path(in_folder(f, "ca.pem"));
    assert_int_equal(rusm_identity_generate(&home, "home"), RUSM_OK);
    assert_int_equal(rusm_identity_save(home, f->folder, "home"), RUSM_OK);
    refuse_load(f, "tokyo", RUSM_ECERT, "ca.pem", "cluster home");
    rusm_identity_del(tokyo);
    rusm_identity_del(home);
}

static void test_a_certificate_that_may_not_sign_is_refused(void **state)
{
    static const enum support_bad kinds[] = {SUPPORT_BAD_KEY_USAGE, SUPPORT_BAD_NO_USAGE};
    struct fixture *f = *state;

    assert_int_equal(rusm_ca_save(f->ca, f->folder), RUSM_OK);
    for (size_t i = 0; i < 2; i++) {
        rusm_identity *bad = support_identity_bad(kinds[i], f->ca, "bad");

        assert_int_equal(rusm_identity_save(bad, f->folder, "bad"), RUSM_OK);
        refuse_load(f, "bad", RUSM_ECERT, "bad.pem", "digitalSignature, which TLS needs");
        remove_path(in_folder(f, "bad.pem"));
        remove_path(in_folder(f, "bad.key"));
        rusm_identity_del(bad);
    }
}

static void test_a_certificate_of_another_ca_is_refused(void **state)
{
    struct fixture *f = *state;
    rusm_ca *other = NULL;

    save_both(f);
    remove_path(in_folder(f, "ca.pem"));
    remove_path(in_folder(f, "ca.key"));
    assert_int_equal(rusm_ca_generate(&other, "prod", 30), RUSM_OK);
    assert_int_equal(rusm_ca_save(other, f->folder), RUSM_OK);
    refuse_load(f, "london", RUSM_ECERT, "london.pem", "not issued by the CA in");
    rusm_ca_del(other);
}

static void test_certificates_that_are_not_rusms_are_refused(void **state)
{
    static const enum support_bad kinds[] = {SUPPORT_BAD_NO_NAME, SUPPORT_BAD_TWO_NAMES,
                                             SUPPORT_BAD_MALFORMED_NAME, SUPPORT_BAD_SIGNING_LEAF,
                                             SUPPORT_BAD_WEAK_KEY};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        rusm_identity *bad = support_identity_bad(kinds[i], f->ca, "bad");
        rusm_identity *loaded = NULL;

        assert_int_equal(rusm_identity_save(bad, f->folder, "bad"), RUSM_OK);
        assert_int_equal(rusm_identity_load(&loaded, f->folder, "bad"), RUSM_ECERT);
        assert_detail("bad.pem", "");
        remove_path(in_folder(f, "bad.pem"));
        remove_path(in_folder(f, "bad.key"));
        rusm_identity_del(bad);
    }
}

static void test_several_anchors_survive_files(void **state)
{
    struct fixture *f = *state;
    struct rusmi_file first = {0}, second = {0};
    rusm_identity *both = NULL, *tokyo = NULL;
    rusm_ca *next = NULL, *none = NULL;
    unsigned status = 1;
    char *text;

    /* The next CA of the cluster is trusted before anything is issued by it. */
    save_both(f);
    assert_int_equal(rusmi_file_read(in_folder(f, "ca.pem"), false, &first), RUSM_OK);
    remove_path(in_folder(f, "ca.pem"));
    remove_path(in_folder(f, "ca.key"));
    assert_int_equal(rusm_ca_generate(&next, "prod", 30), RUSM_OK);
    assert_int_equal(rusm_ca_save(next, f->folder), RUSM_OK);
    assert_int_equal(rusmi_file_read(in_folder(f, "ca.pem"), false, &second), RUSM_OK);
    text = calloc(1, first.len + second.len + 1);
    assert_non_null(text);
    memcpy(text, second.data, second.len);
    memcpy(text + second.len, first.data, first.len);
    write_file(f, "ca.pem", text);

    assert_int_equal(rusm_identity_load(&both, f->folder, "london"), RUSM_OK);
    assert_int_equal(rusm_ca_issue(next, "tokyo", NULL, &tokyo), RUSM_OK);
    assert_true(rusmi_identity_judge(both, tokyo->parts.crt, &status) >= 0);
    assert_int_equal(status, 0);
    assert_int_equal(rusm_identity_save(both, f->folder, "again"), RUSM_OK); /* ca.pem is equal */
    assert_int_equal(rusm_ca_load(&none, f->folder), RUSM_ECERT);
    assert_detail("ca.pem", "2 certificates");
    free(text);
    rusmi_file_fini(&first);
    rusmi_file_fini(&second);
    rusm_identity_del(both);
    rusm_identity_del(tokyo);
    rusm_ca_del(next);
}

static void test_cert_read_tells_what_a_file_says(void **state)
{
    struct fixture *f = *state;
    rusm_cert_info info, expected;

    save_both(f);
    assert_int_equal(rusm_cert_read(in_folder(f, "ca.pem"), &info), RUSM_OK);
    rusm_ca_get_info(f->ca, &expected);
    assert_same_info(&info, &expected);
    assert_true(info.is_ca);
    assert_int_equal(rusm_cert_read(in_folder(f, "london.pem"), &info), RUSM_OK);
    assert_string_equal(info.node, "london");
    assert_int_equal(rusm_cert_read(in_folder(f, "london.key"), &info), RUSM_ECERT);
    assert_detail("london.key", "no PEM certificate");
    assert_int_equal(rusm_cert_read(in_folder(f, "nothing"), &info), RUSM_ESYS);
    assert_string_equal(info.node, "london"); /* untouched */
}

static void test_references_keep_an_identity(void **state)
{
    struct fixture *f = *state;
    rusm_identity *held = rusm_identity_hold(f->london);
    rusm_cert_info info;

    rusm_identity_del(held);
    rusm_identity_get_info(f->london, &info);
    assert_string_equal(info.node, "london");
    rusm_identity_del(NULL);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_saved_ca_loads_and_issues),
        T(test_a_saved_identity_loads),
        T(test_a_shared_identity_survives_files),
        T(test_an_expired_identity_loads),
        T(test_modes_do_not_depend_on_the_umask),
        T(test_a_missing_folder_is_made),
        T(test_existing_files_are_never_overwritten),
        T(test_a_dangling_link_is_not_followed),
        T(test_an_equal_ca_file_may_exist),
        T(test_names_that_leave_the_folder_are_refused),
        T(test_a_key_that_others_may_read_is_refused),
        T(test_missing_files_are_named),
        T(test_damaged_files_are_named),
        T(test_no_prefix_of_a_certificate_or_key_loads),
        T(test_what_is_no_file_is_refused_at_once),
        T(test_a_file_that_is_too_large_is_refused),
        T(test_files_that_do_not_belong_together_are_refused),
        T(test_a_certificate_that_may_not_sign_is_refused),
        T(test_a_certificate_of_another_ca_is_refused),
        T(test_certificates_that_are_not_rusms_are_refused),
        T(test_several_anchors_survive_files),
        T(test_cert_read_tells_what_a_file_says),
        T(test_references_keep_an_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
