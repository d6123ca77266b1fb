/* SPDX-License-Identifier: MIT */
/*
 * The part of trust/cert.h that turns certificates and keys into PEM (RFC 7468) and back. A key
 * passes through no buffer that is not wiped.
 */
#include "base/mem.h"
#include "trust/cert.h"
#include "trust/file.h"

#include <gnutls/gnutls.h>
#include <rusm/otp/driver.h>
#include <string.h>

/* More trust anchors than any cluster rotates through; a bound for what a file can make us do. */
#define CERT_COUNT_MAX 64

void rusmi_cert_list_del(gnutls_x509_crt_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        gnutls_x509_crt_deinit(list[i]);
    }
    rusmi_free(list);
}

static rusm_err parse_list(const struct rusmi_file *file, const char *path,
                           gnutls_x509_crt_t **out_list, size_t *out_count)
{
    const gnutls_datum_t pem = {(unsigned char *)file->data, (unsigned)file->len};
    gnutls_x509_crt_t *parsed = NULL, *list;
    unsigned count = 0;
    int code = gnutls_x509_crt_list_import2(&parsed, &count, &pem, GNUTLS_X509_FMT_PEM, 0);

    if (code == GNUTLS_E_MEMORY_ERROR) {
        return rusmi_cert_fail(code, path);
    }
    if (code < 0) {
        return rusm_set_err_detail(RUSM_ECERT, "%s: damaged, or no PEM certificate: %s", path,
                                   gnutls_strerror(code));
    }
    list = rusmi_zalloc_array(count, sizeof(*list));
    if (list == NULL || count > CERT_COUNT_MAX) {
        for (unsigned i = 0; i < count; i++) {
            gnutls_x509_crt_deinit(parsed[i]);
        }
        gnutls_free(parsed);
        rusmi_free(list);
        return count > CERT_COUNT_MAX
                   ? rusm_set_err_detail(RUSM_ECERT, "%s: %u certificates; at most %d are read",
                                         path, count, CERT_COUNT_MAX)
                   : rusmi_cert_fail(GNUTLS_E_MEMORY_ERROR, path);
    }
    memcpy(list, parsed, count * sizeof(*list));
    gnutls_free(parsed);
    *out_list = list;
    *out_count = count;
    return RUSM_OK;
}

rusm_err rusmi_cert_load(const char *path, gnutls_x509_crt_t **out_list, size_t *out_count)
{
    struct rusmi_file file = {0};
    rusm_err err = rusmi_file_read(path, false, &file);

    if (err == RUSM_OK) {
        err = parse_list(&file, path, out_list, out_count);
    }
    rusmi_file_fini(&file);
    return err;
}

static rusm_err parse_key(const struct rusmi_file *file, const char *path,
                          gnutls_x509_privkey_t *out_key)
{
    const gnutls_datum_t pem = {(unsigned char *)file->data, (unsigned)file->len};
    gnutls_x509_privkey_t key = NULL;
    int code = gnutls_x509_privkey_init(&key);

    if (code >= 0) {
        code = gnutls_x509_privkey_import2(key, &pem, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    }
    if (code >= 0) {
        *out_key = key;
        return RUSM_OK;
    }
    gnutls_x509_privkey_deinit(key);
    if (code == GNUTLS_E_MEMORY_ERROR) {
        return rusmi_cert_fail(code, path);
    }
    if (strstr(file->data, "ENCRYPTED") != NULL) {
        return rusm_set_err_detail(RUSM_ECERT,
                                   "%s: the key is encrypted; rusm reads plain PEM keys", path);
    }
    return rusm_set_err_detail(RUSM_ECERT, "%s: damaged, or no PEM private key: %s", path,
                               gnutls_strerror(code));
}

rusm_err rusmi_key_load(const char *path, gnutls_x509_privkey_t *out_key)
{
    struct rusmi_file file = {0};
    rusm_err err = rusmi_file_read(path, true, &file);

    if (err == RUSM_OK) {
        err = parse_key(&file, path, out_key);
    }
    rusmi_file_fini(&file);
    return err;
}

rusm_err rusmi_cert_export(gnutls_x509_crt_t crt, gnutls_datum_t *out_pem)
{
    int code = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, out_pem);

    return code < 0 ? rusmi_cert_fail(code, "cannot write the certificate as PEM") : RUSM_OK;
}

rusm_err rusmi_key_export(gnutls_x509_privkey_t key, gnutls_datum_t *out_pem)
{
    int code = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                                 out_pem);

    return code < 0 ? rusmi_cert_fail(code, "cannot write the key as PEM") : RUSM_OK;
}

void rusmi_key_pem_wipe(gnutls_datum_t *pem)
{
    if (pem->data != NULL) {
        gnutls_memset(pem->data, 0, pem->size);
        gnutls_free(pem->data);
    }
    pem->data = NULL;
    pem->size = 0;
}
