/* SPDX-License-Identifier: MIT */
/*
 * The part of a CA that takes certificates back: revoking, and making the lists that tell of it.
 * What was revoked is in the register (trust/register.h); a list is made from it whenever one is
 * asked for, so there is nothing to get out of step.
 *
 * Any thread.
 */
#include "base/mem.h"
#include "platform/wall.h"
#include "trust/ca.h"
#include "trust/cert.h"
#include "trust/crl.h"
#include "trust/file.h"

#include <gnutls/gnutls.h>
#include <rusm/otp/driver.h>
#include <string.h>

#define DAY_S    ((int64_t)86400)
#define CRL_DAYS 30
/* The last second that X.509 can name: the end of 9999 (RFC 5280, section 4.1.2.5). */
#define TIME_MAX_S INT64_C(253402300799)

/* ---- reasons */

static const struct {
    rusm_revoke_reason reason;
    const char *name;
} reasons[] = {
    {RUSM_REVOKE_UNSPECIFIED, "unspecified"}, {RUSM_REVOKE_KEY_COMPROMISE, "key-compromise"},
    {RUSM_REVOKE_SUPERSEDED, "superseded"},   {RUSM_REVOKE_CESSATION, "cessation"},
    {RUSM_REVOKE_WITHDRAWN, "withdrawn"},
};

#define REASONS (sizeof(reasons) / sizeof(reasons[0]))

const char *rusm_revoke_reason_name(rusm_revoke_reason reason)
{
    for (size_t i = 0; i < REASONS; i++) {
        if (reasons[i].reason == reason) {
            return reasons[i].name;
        }
    }
    return "unknown";
}

rusm_err rusm_revoke_reason_parse(const char *name, rusm_revoke_reason *out_reason)
{
    for (size_t i = 0; name != NULL && i < REASONS; i++) {
        if (strcmp(reasons[i].name, name) == 0) {
            *out_reason = reasons[i].reason;
            return RUSM_OK;
        }
    }
    return rusm_set_err_detail(RUSM_EINVAL,
                               "a reason is unspecified, key-compromise, superseded, cessation or "
                               "withdrawn, not \"%s\"",
                               name == NULL ? "" : name);
}

/* ---- serial numbers */

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/*
 * Read a serial number as DER has it: no leading zeros but the one that keeps it positive. Colons
 * stand between bytes, as other tools print them. False: it is none.
 */
static bool parse_serial(const char *text, unsigned char out[RUSMI_SERIAL_MAX], size_t *out_len)
{
    unsigned char bytes[RUSMI_SERIAL_MAX + 1] = {0}; /* the first stays 0 */
    size_t len = 1, first = 0;

    while (*text != '\0') {
        int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);

        if (low < 0 || len == sizeof(bytes)) {
            return false;
        }
        bytes[len++] = (unsigned char)(16 * high + low);
        text += 2;
        text += *text == ':' && text[1] != '\0' ? 1 : 0;
    }
    if (len == 1) {
        return false;
    }
    while (first + 1 < len && bytes[first] == 0 && (bytes[first + 1] & 0x80) == 0) {
        first++;
    }
    if (len - first > RUSMI_SERIAL_MAX) {
        return false;
    }
    memcpy(out, bytes + first, len - first);
    *out_len = len - first;
    return true;
}

static void format_serial(const unsigned char *serial, size_t len, char *out_text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        out_text[2 * i] = digits[serial[i] >> 4];
        out_text[2 * i + 1] = digits[serial[i] & 15];
    }
    out_text[2 * len] = '\0';
}

/* ---- revoking */

static rusm_err check_arguments(const rusm_ca *ca, const char *what, rusm_revoke_reason reason)
{
    if (ca == NULL || what == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "ca and what is revoked may not be NULL");
    }
    if (strcmp(rusm_revoke_reason_name(reason), "unknown") == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "there is no reason %d", (int)reason);
    }
    return RUSM_OK;
}

static void revoke(rusm_issued_info *record, rusm_revoke_reason reason, int64_t now_s)
{
    record->revoked_at = now_s;
    record->reason = reason;
}

/* Keep what was revoked; in memory alone it is kept already. */
static rusm_err finish(const rusm_ca *ca, size_t count, size_t *out_count)
{
    rusm_err err = count == 0 ? RUSM_OK : rusmi_register_commit(ca->reg);

    if (err == RUSM_OK && out_count != NULL) {
        *out_count = count;
    }
    return err;
}

rusm_err rusm_ca_revoke_node(const rusm_ca *ca, const char *node, rusm_revoke_reason reason,
                             size_t *out_count)
{
    rusm_err err = check_arguments(ca, node, reason);
    int64_t now_s = rusmi_wall_s();
    size_t count = 0, known = 0;

    if (err == RUSM_OK) {
        err = rusmi_register_begin(ca->reg);
    }
    if (err != RUSM_OK) {
        return err;
    }
    for (size_t i = 0; i < ca->reg->count; i++) {
        rusm_issued_info *record = &ca->reg->records[i];

        if (node[0] == '\0' || strcmp(record->node, node) != 0) {
            continue;
        }
        known++;
        if (record->revoked_at == 0 && record->not_after >= now_s) {
            revoke(record, reason, now_s);
            count++;
        }
    }
    err = known == 0
              ? rusm_set_err_detail(RUSM_ENONAME,
                                    "the CA of cluster %s knows no certificate of node \"%s\"",
                                    ca->info.cluster, node)
              : finish(ca, count, out_count);
    rusmi_register_end(ca->reg);
    return err;
}

static rusm_err revoke_serial(const rusm_ca *ca, const char *serial, rusm_revoke_reason reason,
                              size_t *out_count)
{
    struct rusmi_register *reg = ca->reg;
    rusm_issued_info stranger = {.role = RUSM_ROLE_MEMBER};
    int64_t now_s = rusmi_wall_s();
    rusm_err err;

    for (size_t i = 0; i < reg->count; i++) {
        if (strcmp(reg->records[i].serial, serial) == 0) {
            bool fresh = reg->records[i].revoked_at == 0;

            if (fresh) {
                revoke(&reg->records[i], reason, now_s);
            }
            return finish(ca, fresh ? 1 : 0, out_count);
        }
    }
    memcpy(stranger.serial, serial, strlen(serial) + 1);
    revoke(&stranger, reason, now_s);
    err = rusmi_register_add(reg, &stranger, now_s);
    return err == RUSM_OK ? finish(ca, 1, out_count) : err;
}

rusm_err rusm_ca_revoke_serial(const rusm_ca *ca, const char *serial, rusm_revoke_reason reason,
                               size_t *out_count)
{
    unsigned char bytes[RUSMI_SERIAL_MAX];
    char text[2 * RUSMI_SERIAL_MAX + 1];
    rusm_err err = check_arguments(ca, serial, reason);
    size_t len = 0;

    if (err == RUSM_OK && !parse_serial(serial, bytes, &len)) {
        err = rusm_set_err_detail(RUSM_EINVAL,
                                  "\"%s\" is no serial number: 1 to %d bytes in hexadecimal",
                                  serial, RUSMI_SERIAL_MAX);
    }
    if (err == RUSM_OK) {
        err = rusmi_register_begin(ca->reg);
    }
    if (err != RUSM_OK) {
        return err;
    }
    format_serial(bytes, len, text);
    err = revoke_serial(ca, text, reason, out_count);
    rusmi_register_end(ca->reg);
    return err;
}

ptrdiff_t rusm_ca_list(const rusm_ca *ca, size_t skip, rusm_issued_info *infos, size_t infos_max)
{
    size_t count = 0;
    rusm_err err;

    if (ca == NULL || infos == NULL || infos_max == 0) {
        return rusm_set_err_detail(RUSM_EINVAL, "a list needs a CA and room for records");
    }
    err = rusmi_register_begin(ca->reg);
    if (err != RUSM_OK) {
        return err;
    }
    while (count < infos_max && skip + count < ca->reg->count) {
        infos[count] = ca->reg->records[skip + count];
        count++;
    }
    rusmi_register_end(ca->reg);
    return (ptrdiff_t)count;
}

/* ---- lists */

void rusm_crl_config_init(rusm_crl_config *cfg)
{
    *cfg = (rusm_crl_config){.size = sizeof(*cfg)};
}

static rusm_err choose_dates(const rusm_crl_config *cfg, struct rusmi_crl_spec *spec)
{
    rusm_crl_config defaults;

    rusm_crl_config_init(&defaults);
    if (cfg == NULL) {
        cfg = &defaults;
    } else if (cfg->size != sizeof(*cfg)) {
        return rusm_set_err_detail(RUSM_EINVAL, "cfg was not filled by rusm_crl_config_init()");
    }
    spec->this_update = cfg->this_update != 0 ? cfg->this_update : rusmi_wall_s();
    spec->next_update =
        cfg->next_update != 0 ? cfg->next_update : spec->this_update + CRL_DAYS * DAY_S;
    if (spec->this_update < 0 || spec->next_update <= spec->this_update ||
        spec->next_update > TIME_MAX_S) {
        return rusm_set_err_detail(RUSM_EINVAL,
                                   "a revocation list holds from 1970 or later to a later time");
    }
    return RUSM_OK;
}

/* The entries of a list, on the heap. */
static rusm_err collect(const struct rusmi_register *reg, struct rusmi_revoked **out_revoked,
                        size_t *out_count)
{
    struct rusmi_revoked *revoked = rusmi_zalloc_array(reg->count + 1, sizeof(*revoked));
    size_t count = 0;

    if (revoked == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "%s", rusm_err_text(RUSM_ENOMEM));
    }
    for (size_t i = 0; i < reg->count; i++) {
        const rusm_issued_info *record = &reg->records[i];
        size_t len = 0;

        if (record->revoked_at != 0 && parse_serial(record->serial, revoked[count].serial, &len)) {
            revoked[count].serial_len = (unsigned char)len;
            revoked[count++].when_s = record->revoked_at;
        }
    }
    *out_revoked = revoked;
    *out_count = count;
    return RUSM_OK;
}

rusm_err rusm_ca_crl(const rusm_ca *ca, const rusm_crl_config *cfg, rusm_crl **out_crl)
{
    struct rusmi_crl_spec spec = {.issuer = NULL};
    struct rusmi_revoked *revoked = NULL;
    rusm_crl *crl = NULL;
    rusm_err err;

    if (ca == NULL || out_crl == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "ca and out_crl may not be NULL");
    }
    err = choose_dates(cfg, &spec);
    if (err == RUSM_OK) {
        err = rusmi_register_begin(ca->reg);
    }
    if (err != RUSM_OK) {
        return err;
    }
    spec.issuer = ca->crt;
    spec.issuer_key = ca->key;
    spec.number = ca->reg->crl_number + 1;
    err = collect(ca->reg, &revoked, &spec.revoked_count);
    spec.revoked = revoked;
    if (err == RUSM_OK) {
        err = rusmi_crl_build(&spec, &crl);
    }
    if (err == RUSM_OK) {
        ca->reg->crl_number++;
        err = rusmi_register_commit(ca->reg);
    }
    rusmi_register_end(ca->reg);
    rusmi_free(revoked);
    if (err != RUSM_OK) {
        rusm_crl_del(crl);
        return err;
    }
    *out_crl = crl;
    return RUSM_OK;
}

rusm_err rusm_crl_save(const rusm_crl *crl, const char *path)
{
    gnutls_datum_t pem = {NULL, 0};
    rusm_err err;

    if (crl == NULL || path == NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "crl and path may not be NULL");
    }
    err = rusmi_crl_export(crl, &pem);
    if (err == RUSM_OK) {
        err = rusmi_file_replace(path, pem.data, pem.size, 0644);
    }
    gnutls_free(pem.data);
    return err;
}
