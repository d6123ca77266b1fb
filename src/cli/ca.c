/* SPDX-License-Identifier: MIT */
/* rusm ca: making certificates, taking them back, and showing what they say. Nothing here touches
 * the network. */
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/text.h"

#include <dirent.h>
#include <errno.h>
#include <rusm/otp/driver.h>
#include <rusm/trust.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CA_DAYS 3650u
#define DAY_S   ((int64_t)86400)

/* ---- showing */

static void json_info(struct rusmi_json *json, const char *path, const rusm_cert_info *info)
{
    rusmi_json_begin_object(json, NULL);
    rusmi_json_text(json, "file", path);
    rusmi_json_text(json, "kind", info->is_ca ? "ca" : "identity");
    rusmi_json_text(json, "cluster", info->cluster);
    rusmi_json_text(json, "node", info->is_ca || info->shared ? NULL : info->node);
    rusmi_json_text(json, "role", info->is_ca ? NULL : rusm_role_name(info->role));
    rusmi_json_bool(json, "shared", info->shared);
    rusmi_json_integer(json, "not_before", info->not_before);
    rusmi_json_integer(json, "not_after", info->not_after);
    rusmi_json_text(json, "serial", info->serial);
    rusmi_json_text(json, "fingerprint", info->fingerprint);
    rusmi_json_end(json);
}

static void print_line(const char *title, const char *text)
{
    char clean[4 * (RUSM_NAME_MAX + 1)];

    (void)rusmi_text_clean(text, clean, sizeof(clean));
    (void)printf("%-12s %s\n", title, clean);
}

static void print_info(const char *path, const rusm_cert_info *info)
{
    char begin[RUSMI_TEXT_SHORT], end[RUSMI_TEXT_SHORT], valid[3 * RUSMI_TEXT_SHORT];
    int64_t now = (int64_t)time(NULL);

    rusmi_text_date(info->not_before, begin);
    rusmi_text_date(info->not_after, end);
    (void)snprintf(valid, sizeof(valid), "%s to %s%s", begin, end,
                   now > info->not_after    ? ", expired"
                   : now < info->not_before ? ", not yet"
                                            : "");
    print_line("file", path);
    print_line("cluster", info->cluster);
    if (info->is_ca) {
        print_line("kind", "certificate authority");
    } else {
        print_line("node", info->shared ? "any (shared identity)" : info->node);
        print_line("role", rusm_role_name(info->role));
    }
    print_line("valid", valid);
    print_line("serial", info->serial);
    print_line("fingerprint", info->fingerprint);
}

/* What `ca show` is about to print: all of it to one JSON list, or in blocks. */
struct show {
    bool as_json;
    struct rusmi_json json;
    size_t shown;
    enum rusmi_exit code;
};

static void json_crl(struct rusmi_json *json, const char *path, const rusm_crl_info *info)
{
    rusmi_json_begin_object(json, NULL);
    rusmi_json_text(json, "file", path);
    rusmi_json_text(json, "kind", "crl");
    rusmi_json_text(json, "cluster", info->cluster);
    rusmi_json_number(json, "number", info->number);
    rusmi_json_integer(json, "this_update", info->this_update);
    rusmi_json_integer(json, "next_update", info->next_update);
    rusmi_json_number(json, "revoked", info->revoked_count);
    rusmi_json_end(json);
}

static void show_crl(struct show *show, const char *path, const rusm_crl_info *info)
{
    char made_on[RUSMI_TEXT_SHORT], due[RUSMI_TEXT_SHORT], text[3 * RUSMI_TEXT_SHORT];

    if (show->as_json) {
        json_crl(&show->json, path, info);
        return;
    }
    rusmi_text_date(info->this_update, made_on);
    rusmi_text_date(info->next_update, due);
    print_line("file", path);
    print_line("cluster", info->cluster);
    (void)snprintf(text, sizeof(text), "revocation list %llu", (unsigned long long)info->number);
    print_line("kind", text);
    (void)snprintf(text, sizeof(text), "made %s, next due %s%s", made_on, due,
                   (int64_t)time(NULL) > info->next_update ? ", overdue" : "");
    print_line("valid", text);
    (void)snprintf(text, sizeof(text), "%zu", info->revoked_count);
    print_line("revoked", text);
}

/* A blank line between blocks. */
static void show_next(struct show *show)
{
    if (!show->as_json && show->shown > 0) {
        (void)putchar('\n');
    }
    show->shown++;
}

static void show_file(struct show *show, const char *path)
{
    rusm_crl_info crl;
    rusm_cert_info info;
    rusm_err err;

    if (rusm_crl_read(path, &crl) == RUSM_OK) {
        show_next(show);
        show_crl(show, path, &crl);
        return;
    }
    err = rusm_cert_read(path, &info);
    if (err != RUSM_OK) {
        show->code = rusmi_fail(err);
        return;
    }
    show_next(show);
    if (show->as_json) {
        json_info(&show->json, path, &info);
    } else {
        print_info(path, &info);
    }
}

static int is_pem(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > 4 && strcmp(entry->d_name + len - 4, ".pem") == 0;
}

static void show_folder(struct show *show, const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_pem, alphasort);

    if (count <= 0) {
        rusmi_say("%s: %s", folder, count == 0 ? "no *.pem files" : strerror(errno));
        show->code = count == 0 ? RUSMI_EXIT_NOT_FOUND : RUSMI_EXIT_FAILED;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];

        (void)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        show_file(show, path);
        free(entries[i]);
    }
    free((void *)entries);
}

enum rusmi_exit rusmi_run_ca_show(const struct rusmi_args *args)
{
    struct show show = {.as_json = args->json, .code = RUSMI_EXIT_OK};

    rusmi_json_init(&show.json, stdout);
    if (show.as_json) {
        rusmi_json_begin_array(&show.json, NULL);
    }
    for (size_t i = 0; i < args->operands.len; i++) {
        const char *path = args->operands.items[i];
        struct stat st;

        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            show_folder(&show, path);
        } else {
            show_file(&show, path);
        }
    }
    if (show.as_json) {
        rusmi_json_end(&show.json);
    }
    return show.code;
}

/* ---- making */

/* Tell what was written: FOLDER/NAME.pem and .key. */
static void made(const struct rusmi_args *args, const char *folder, const char *name,
                 const rusm_cert_info *info)
{
    char path[4096], date[RUSMI_TEXT_SHORT];
    struct rusmi_json json;

    (void)snprintf(path, sizeof(path), "%s/%s.pem", folder, name);
    if (args->json) {
        rusmi_json_init(&json, stdout);
        json_info(&json, path, info);
        return;
    }
    rusmi_text_date(info->not_after, date);
    if (info->is_ca) {
        (void)printf("CA of cluster %s, until %s: %s/%s.pem, %s/%s.key\n", info->cluster, date,
                     folder, name, folder, name);
    } else {
        (void)printf("%s %s of cluster %s, until %s: %s/%s.pem, %s/%s.key\n",
                     info->shared ? "shared" : rusm_role_name(info->role),
                     info->shared ? "identity" : info->node, info->cluster, date, folder, name,
                     folder, name);
    }
}

enum rusmi_exit rusmi_run_ca_init(const struct rusmi_args *args)
{
    unsigned days = args->days != 0 ? (unsigned)args->days : CA_DAYS;
    rusm_ca *ca = NULL;
    rusm_cert_info info;
    rusm_err err = rusm_ca_generate(&ca, args->operands.items[0], days);

    if (err == RUSM_OK) {
        err = rusm_ca_save(ca, args->ca);
    }
    if (err != RUSM_OK) {
        rusm_ca_del(ca);
        return rusmi_fail(err);
    }
    rusm_ca_get_info(ca, &info);
    rusm_ca_del(ca);
    made(args, args->ca, "ca", &info);
    return RUSMI_EXIT_OK;
}

/* Save identity, which is freed, and tell; err is that of making it. */
static enum rusmi_exit save(const struct rusmi_args *args, const char *folder, const char *name,
                            rusm_identity *identity, rusm_err err)
{
    rusm_cert_info info;

    if (err == RUSM_OK) {
        err = rusm_identity_save(identity, folder, name);
    }
    if (err != RUSM_OK) {
        rusm_identity_del(identity);
        return rusmi_fail(err);
    }
    rusm_identity_get_info(identity, &info);
    rusm_identity_del(identity);
    made(args, folder, name, &info);
    return RUSMI_EXIT_OK;
}

enum rusmi_exit rusmi_run_ca_issue(const struct rusmi_args *args)
{
    const char *node = args->operands.items[0];
    rusm_issue_config cfg;
    rusm_identity *identity = NULL;
    rusm_ca *ca = NULL;
    rusm_err err = rusm_ca_load(&ca, args->ca);

    if (err != RUSM_OK) {
        return rusmi_fail(err);
    }
    rusm_issue_config_init(&cfg);
    cfg.role = args->role;
    if (args->days != 0) {
        cfg.not_after = (int64_t)time(NULL) + (int64_t)args->days * DAY_S;
    }
    err = rusm_ca_issue(ca, node, &cfg, &identity);
    rusm_ca_del(ca);
    return save(args, args->out != NULL ? args->out : args->ca,
                args->file != NULL ? args->file : node, identity, err);
}

enum rusmi_exit rusmi_run_ca_share(const struct rusmi_args *args)
{
    rusm_identity *identity = NULL;
    rusm_err err = rusm_identity_generate(&identity, args->operands.items[0]);

    return save(args, args->out != NULL ? args->out : ".",
                args->file != NULL ? args->file : "shared", identity, err);
}

/* ---- taking back */

/* A name first: that a node has the name of a serial number is odd, and its own doing. */
static rusm_err revoke(const rusm_ca *ca, const char *what, rusm_revoke_reason reason,
                       size_t *out_count)
{
    rusm_err err = rusm_ca_revoke_node(ca, what, reason, out_count), by_serial;
    char unknown[512];

    if (err != RUSM_ENONAME) {
        return err;
    }
    (void)snprintf(unknown, sizeof(unknown), "%s", rusm_err_detail());
    by_serial = rusm_ca_revoke_serial(ca, what, reason, out_count);
    return by_serial == RUSM_EINVAL ? rusm_set_err_detail(err, "%s", unknown) : by_serial;
}

enum rusmi_exit rusmi_run_ca_revoke(const struct rusmi_args *args)
{
    const char *what = args->operands.items[0];
    rusm_revoke_reason reason = RUSM_REVOKE_UNSPECIFIED;
    struct rusmi_json json;
    rusm_ca *ca = NULL;
    size_t count = 0;
    rusm_err err;

    if (rusm_revoke_reason_parse(args->reason, &reason) != RUSM_OK) {
        rusmi_say("--reason: %s", rusm_err_detail());
        return RUSMI_EXIT_USAGE;
    }
    err = rusm_ca_load(&ca, args->ca);
    if (err == RUSM_OK) {
        err = revoke(ca, what, reason, &count);
    }
    if (err != RUSM_OK) {
        rusm_ca_del(ca);
        return rusmi_fail(err);
    }
    if (args->json) {
        rusmi_json_init(&json, stdout);
        rusmi_json_begin_object(&json, NULL);
        rusmi_json_text(&json, "cluster", rusm_ca_cluster(ca));
        rusmi_json_text(&json, "what", what);
        rusmi_json_number(&json, "revoked", count);
        rusmi_json_end(&json);
    } else if (count == 0) {
        (void)printf("nothing to revoke: it was before, or has ended\n");
    } else {
        (void)printf("%zu revoked; next: rusm ca crl --ca %s\n", count, args->ca);
    }
    rusm_ca_del(ca);
    return RUSMI_EXIT_OK;
}

enum rusmi_exit rusmi_run_ca_crl(const struct rusmi_args *args)
{
    rusm_crl_config cfg;
    rusm_crl_info info;
    char path[4096], due[RUSMI_TEXT_SHORT];
    struct rusmi_json json;
    rusm_crl *crl = NULL;
    rusm_ca *ca = NULL;
    rusm_err err = rusm_ca_load(&ca, args->ca);

    if (args->out != NULL) {
        (void)snprintf(path, sizeof(path), "%s", args->out);
    } else {
        (void)snprintf(path, sizeof(path), "%s/crl.pem", args->ca);
    }
    rusm_crl_config_init(&cfg);
    if (args->days != 0) {
        cfg.next_update = (int64_t)time(NULL) + (int64_t)args->days * DAY_S;
    }
    if (err == RUSM_OK) {
        err = rusm_ca_crl(ca, &cfg, &crl);
    }
    rusm_ca_del(ca);
    if (err == RUSM_OK) {
        err = rusm_crl_save(crl, path);
    }
    if (err != RUSM_OK) {
        rusm_crl_del(crl);
        return rusmi_fail(err);
    }
    rusm_crl_get_info(crl, &info);
    rusm_crl_del(crl);
    if (args->json) {
        rusmi_json_init(&json, stdout);
        json_crl(&json, path, &info);
    } else {
        rusmi_text_date(info.next_update, due);
        (void)printf("revocation list %llu of cluster %s, %zu revoked, next due %s: %s\n",
                     (unsigned long long)info.number, info.cluster, info.revoked_count, due, path);
    }
    return RUSMI_EXIT_OK;
}

/* ---- listing */

static void list_row(struct rusmi_table *table, const rusm_issued_info *info)
{
    char end[RUSMI_TEXT_SHORT] = "", revoked[RUSMI_TEXT_SHORT] = "";

    if (info->not_after != 0) {
        rusmi_text_date(info->not_after, end);
    }
    if (info->revoked_at != 0) {
        rusmi_text_date(info->revoked_at, revoked);
    }
    rusmi_table_cell(table, "%s", info->node);
    rusmi_table_cell(table, "%s", info->node[0] == '\0' ? "" : rusm_role_name(info->role));
    rusmi_table_cell(table, "%s", end);
    rusmi_table_cell(table, "%s", revoked);
    rusmi_table_cell(table, "%s",
                     info->revoked_at == 0 ? "" : rusm_revoke_reason_name(info->reason));
    rusmi_table_cell(table, "%s", info->serial);
}

static void list_object(struct rusmi_json *json, const rusm_issued_info *info)
{
    rusmi_json_begin_object(json, NULL);
    rusmi_json_text(json, "node", info->node[0] == '\0' ? NULL : info->node);
    rusmi_json_text(json, "role", info->node[0] == '\0' ? NULL : rusm_role_name(info->role));
    rusmi_json_integer(json, "not_after", info->not_after);
    rusmi_json_integer(json, "revoked_at", info->revoked_at);
    rusmi_json_text(json, "reason",
                    info->revoked_at == 0 ? NULL : rusm_revoke_reason_name(info->reason));
    rusmi_json_text(json, "serial", info->serial);
    rusmi_json_end(json);
}

enum rusmi_exit rusmi_run_ca_list(const struct rusmi_args *args)
{
    static const struct rusmi_column columns[] = {{"NODE", false},   {"ROLE", false},
                                                  {"UNTIL", false},  {"REVOKED", false},
                                                  {"REASON", false}, {"SERIAL", false}};
    rusm_issued_info infos[64];
    struct rusmi_table table;
    struct rusmi_json json;
    rusm_ca *ca = NULL;
    size_t done = 0;
    ptrdiff_t got = rusm_ca_load(&ca, args->ca);

    if (got < 0) {
        return rusmi_fail((rusm_err)got);
    }
    rusmi_table_init(&table, stdout, columns, sizeof(columns) / sizeof(columns[0]));
    rusmi_json_init(&json, stdout);
    if (args->json) {
        rusmi_json_begin_array(&json, NULL);
    }
    while ((got = rusm_ca_list(ca, done, infos, sizeof(infos) / sizeof(infos[0]))) > 0) {
        for (ptrdiff_t i = 0; i < got; i++) {
            if (args->json) {
                list_object(&json, &infos[i]);
            } else {
                list_row(&table, &infos[i]);
            }
        }
        if (!args->json && !rusmi_table_flush(&table)) {
            got = rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
            break;
        }
        done += (size_t)got;
    }
    rusmi_table_fini(&table);
    rusm_ca_del(ca);
    if (got < 0) {
        return rusmi_fail((rusm_err)got);
    }
    if (args->json) {
        rusmi_json_end(&json);
    }
    return RUSMI_EXIT_OK;
}
