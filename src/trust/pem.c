/* SPDX-License-Identifier: MIT */
/*
 * The part of trust/cert.h that turns certificates and keys into PEM (RFC 7468) and back. A key
 * passes through no buffer that is not wiped.
 */
#include "base/mem.h"
#include "trust/armor.h"
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

/* Find and decode the key block of a file: PKCS #8, or the older forms that OpenSSL still writes.
 */
static rusm_err decode_key(const char *text, const char *path, uint8_t *out_der, size_t *out_len)
{
    static const char *const labels[] = {"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"};

    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        rusm_err err = rusmi_armor_decode(text, labels[i], out_der, out_len);

        if (err == RUSM_OK) {
            return RUSM_OK;
        }
        if (err == RUSM_ECERT) {
            break;
        }
    }
    if (strstr(text, "ENCRYPTED") != NULL) {
        return rusm_set_err_detail(RUSM_ECERT,
                                   "%s: the key is encrypted; rusm reads plain PEM keys", path);
    }
    return rusm_set_err_detail(RUSM_ECERT, "%s: damaged, or no PEM private key", path);
}

static rusm_err parse_key(const struct rusmi_file *file, const char *path,
                          gnutls_x509_privkey_t *out_key)
{
    uint8_t *der = rusmi_alloc(file->len + 1);
    gnutls_datum_t datum = {der, 0};
    gnutls_x509_privkey_t key = NULL;
    size_t len = 0;
    rusm_err err;
    int code;

    if (der == NULL) {
        return rusmi_cert_fail(GNUTLS_E_MEMORY_ERROR, path);
    }
    err = decode_key(file->data, path, der, &len);
    datum.size = (unsigned)len;
    if (err == RUSM_OK) {
        code = gnutls_x509_privkey_init(&key);
        if (code >= 0) {
            code = gnutls_x509_privkey_import2(key, &datum, GNUTLS_X509_FMT_DER, NULL,
                                               GNUTLS_PKCS_PLAIN);
        }
        if (code < 0) {
            err = code == GNUTLS_E_MEMORY_ERROR
                      ? rusmi_cert_fail(code, path)
                      : rusm_set_err_detail(RUSM_ECERT, "%s: damaged private key: %s", path,
                                            gnutls_strerror(code));
        }
    }
    gnutls_memset(der, 0, file->len + 1);
    rusmi_free(der);
    if (err != RUSM_OK) {
        gnutls_x509_privkey_deinit(key);
        return err;
    }
    *out_key = key;
    return RUSM_OK;
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

rusm_err rusmi_key_export(gnutls_x509_privkey_t key, struct rusmi_file *out_pem)
{
    gnutls_datum_t der = {NULL, 0};
    int code =
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN, &der);
    char *text = code < 0 ? NULL : rusmi_alloc(RUSMI_ARMOR_SIZE(der.size));

    if (text != NULL) {
        out_pem->data = text;
        out_pem->len = rusmi_armor_encode(der.data, der.size, "PRIVATE KEY", text);
    }
    if (code >= 0) {
        gnutls_memset(der.data, 0, der.size);
        gnutls_free(der.data);
    }
    if (text == NULL) {
        return rusmi_cert_fail(code < 0 ? code : GNUTLS_E_MEMORY_ERROR,
                               "cannot write the key as PEM");
    }
    return RUSM_OK;
}
