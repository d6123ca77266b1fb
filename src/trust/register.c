/* SPDX-License-Identifier: MIT */
#include "trust/register.h"

#include "base/mem.h"
#include "trust/file.h"
#include "trust/uri.h"

#include <inttypes.h>
#include <rusm/otp/driver.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "ca.issued"
#define HEADER    "rusm-issued 1 "

/* The longest line: a serial, three numbers, a reason, a name with every byte encoded. */
#define LINE_MAX_LEN (RUSMI_URI_MAX + 256)

static rusm_err fail_memory(void)
{
    return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
}

void rusmi_register_init(struct rusmi_register *reg)
{
    *reg = (struct rusmi_register){.folder_fd = -1};
    rusmi_lock_init(&reg->lock);
}

static void clear(struct rusmi_register *reg)
{
    rusmi_free(reg->records);
    reg->records = NULL;
    reg->count = reg->room = 0;
}

void rusmi_register_fini(struct rusmi_register *reg)
{
    clear(reg);
    rusmi_free(reg->folder);
    reg->folder = NULL;
    rusmi_lock_fini(&reg->lock);
}

void rusmi_register_bind(struct rusmi_register *reg, char *folder)
{
    rusmi_lock_take(&reg->lock);
    if (reg->folder == NULL) {
        clear(reg);
        reg->folder = folder;
        folder = NULL;
    }
    rusmi_lock_give(&reg->lock);
    rusmi_free(folder);
}

/* ---- text */

static rusm_err grow(struct rusmi_register *reg)
{
    size_t more = reg->room == 0 ? 16 : 2 * reg->room;
    rusm_issued_info *grown = rusmi_realloc(reg->records, more * sizeof(*grown));

    if (grown == NULL) {
        return fail_memory();
    }
    reg->records = grown;
    reg->room = more;
    return RUSM_OK;
}

rusm_err rusmi_register_encode(const struct rusmi_register *reg, char **out_text, size_t *out_len)
{
    size_t size = 64, len;
    char *text;

    /* One pass to measure, one to write, with the same words. */
    for (int pass = 0;; pass++) {
        char line[LINE_MAX_LEN], uri[RUSMI_URI_MAX];

        text = pass == 0 ? NULL : rusmi_alloc(size);
        if (pass == 1 && text == NULL) {
            return fail_memory();
        }
        len = (size_t)snprintf(line, sizeof(line), HEADER "%" PRIu64 "\n", reg->crl_number);
        if (pass == 1) {
            memcpy(text, line, len);
        }
        for (size_t i = 0; i < reg->count; i++) {
            const rusm_issued_info *record = &reg->records[i];
            struct rusmi_uri name;
            size_t line_len;

            (void)snprintf(uri, sizeof(uri), "-");
            if (rusmi_uri_make(&name, record->cluster, record->node, record->role) == RUSM_OK) {
                rusmi_uri_encode(&name, uri);
            }
            line_len = (size_t)snprintf(line, sizeof(line), "%s %" PRId64 " %" PRId64 " %s %s\n",
                                        record->serial, record->not_after, record->revoked_at,
                                        rusm_revoke_reason_name(record->reason), uri);
            if (pass == 1) {
                memcpy(text + len, line, line_len);
            }
            len += line_len;
        }
        if (pass == 1) {
            break;
        }
        size = len + 1;
    }
    text[len] = '\0';
    *out_text = text;
    *out_len = len;
    return RUSM_OK;
}

/* A whole number and the space behind it. */
static bool take_number(const char **at, int64_t *out)
{
    char *end;
    long long number;

    if (**at < '0' || **at > '9') {
        return false;
    }
    number = strtoll(*at, &end, 10); /* what is too large becomes the largest */
    if (*end != ' ') {
        return false;
    }
    *out = (int64_t)number;
    *at = end + 1;
    return true;
}

/* The bytes up to the next `stop`, as a text of its own. */
static bool take_word(const char **at, char stop, char *buf, size_t buf_size)
{
    const char *end = strchr(*at, stop);
    size_t len = end == NULL ? 0 : (size_t)(end - *at);

    if (len == 0 || len >= buf_size || memchr(*at, '\n', len) != NULL) {
        return false;
    }
    memcpy(buf, *at, len);
    buf[len] = '\0';
    *at = end + 1;
    return true;
}

static bool decode_line(const char **at, rusm_issued_info *out)
{
    rusm_issued_info record = {.role = RUSM_ROLE_MEMBER};
    char reason[32], uri[RUSMI_URI_MAX];
    struct rusmi_uri name;

    if (!take_word(at, ' ', record.serial, sizeof(record.serial)) ||
        strspn(record.serial, "0123456789abcdef") != strlen(record.serial) ||
        strlen(record.serial) % 2 != 0 || !take_number(at, &record.not_after) ||
        !take_number(at, &record.revoked_at) || !take_word(at, ' ', reason, sizeof(reason)) ||
        rusm_revoke_reason_parse(reason, &record.reason) != RUSM_OK ||
        !take_word(at, '\n', uri, sizeof(uri))) {
        return false;
    }
    if (strcmp(uri, "-") != 0) {
        if (rusmi_uri_decode(uri, strlen(uri), &name) != RUSM_OK || name.is_ca) {
            return false;
        }
        memcpy(record.cluster, name.cluster, sizeof(record.cluster));
        memcpy(record.node, name.node, sizeof(record.node));
        record.role = name.role;
    }
    *out = record;
    return true;
}

rusm_err rusmi_register_decode(struct rusmi_register *reg, const char *text, const char *where)
{
    const char *at = text;
    char *end = NULL;
    size_t line = 1;
    rusm_err err = RUSM_OK;

    if (strncmp(at, HEADER, strlen(HEADER)) == 0) {
        reg->crl_number = strtoull(at + strlen(HEADER), &end, 10);
    }
    if (end == NULL || *end != '\n') {
        return rusm_set_err_detail(RUSM_ECERT, "%s: no list of issued certificates", where);
    }
    for (at = end + 1; err == RUSM_OK && *at != '\0';) {
        rusm_issued_info record;

        line++;
        if (!decode_line(&at, &record)) {
            return rusm_set_err_detail(RUSM_ECERT, "%s: line %zu is damaged", where, line);
        }
        if (reg->count == RUSMI_ISSUED_MAX) {
            return rusm_set_err_detail(RUSM_ECERT, "%s: more than %zu certificates", where,
                                       RUSMI_ISSUED_MAX);
        }
        if (reg->count == reg->room) {
            err = grow(reg);
        }
        if (err == RUSM_OK) {
            reg->records[reg->count++] = record;
        }
    }
    return err;
}

/* ---- use */

static rusm_err load(struct rusmi_register *reg)
{
    char *path = rusmi_file_path(reg->folder, FILE_NAME, "");
    struct rusmi_file file = {0};
    rusm_err err = RUSM_OK;

    clear(reg);
    reg->crl_number = 0;
    if (path == NULL) {
        return fail_memory();
    }
    if (rusmi_file_exists(path)) {
        err = rusmi_file_read_max(path, (RUSMI_ISSUED_MAX + 1) * LINE_MAX_LEN, &file);
        if (err == RUSM_OK) {
            err = rusmi_register_decode(reg, file.data, path);
        }
        rusmi_file_fini(&file);
    }
    rusmi_free(path);
    return err;
}

rusm_err rusmi_register_begin(struct rusmi_register *reg)
{
    rusm_err err = RUSM_OK;

    rusmi_lock_take(&reg->lock);
    if (reg->folder != NULL) {
        err = rusmi_folder_lock(reg->folder, &reg->folder_fd);
        if (err == RUSM_OK) {
            err = load(reg);
        }
    }
    if (err != RUSM_OK) {
        rusmi_register_end(reg);
    }
    return err;
}

rusm_err rusmi_register_commit(struct rusmi_register *reg)
{
    char *path, *text = NULL;
    size_t len = 0;
    rusm_err err;

    if (reg->folder == NULL) {
        return RUSM_OK;
    }
    err = rusmi_register_encode(reg, &text, &len);
    if (err != RUSM_OK) {
        return err;
    }
    path = rusmi_file_path(reg->folder, FILE_NAME, "");
    err = path == NULL ? fail_memory() : rusmi_file_replace(path, text, len, 0600);
    rusmi_free(path);
    rusmi_free(text);
    return err;
}

void rusmi_register_end(struct rusmi_register *reg)
{
    if (reg->folder != NULL) {
        clear(reg);
        rusmi_folder_unlock(reg->folder_fd);
        reg->folder_fd = -1;
    }
    rusmi_lock_give(&reg->lock);
}

/* Certificates that ended long ago can do no harm: their dates alone refuse them. */
static void prune(struct rusmi_register *reg, int64_t now_s)
{
    size_t kept = 0;

    for (size_t i = 0; i < reg->count; i++) {
        int64_t end = reg->records[i].not_after;

        if (end == 0 || now_s - end <= RUSMI_ISSUED_KEEP_S) {
            reg->records[kept++] = reg->records[i];
        }
    }
    reg->count = kept;
}

rusm_err rusmi_register_add(struct rusmi_register *reg, const rusm_issued_info *record,
                            int64_t now_s)
{
    rusm_err err = RUSM_OK;

    prune(reg, now_s);
    if (reg->count == RUSMI_ISSUED_MAX) {
        return rusm_set_err_detail(
            RUSM_EFULL,
            "the CA has a list of %zu certificates that have not ended; make "
            "a new CA",
            RUSMI_ISSUED_MAX);
    }
    if (reg->count == reg->room) {
        err = grow(reg);
    }
    if (err == RUSM_OK) {
        reg->records[reg->count++] = *record;
    }
    return err;
}
