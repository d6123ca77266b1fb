/* SPDX-License-Identifier: MIT */
#include "trust/proof.h"

#include "base/mem.h"
#include "trust/cert.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <rusm/otp/driver.h>
#include <string.h>

static const char context[] = "rusm certificate on a live link, version 1";

/* What is signed, on the heap: context with its NUL, direction, binding, certificate. */
static uint8_t *statement(const uint8_t *der, size_t der_len,
                          const uint8_t binding[RUSMI_BINDING_LEN], bool dialed, size_t *out_len)
{
    size_t len = sizeof(context) + 1 + RUSMI_BINDING_LEN + der_len;
    uint8_t *bytes = rusmi_alloc(len), *at = bytes;

    if (bytes == NULL) {
        return NULL;
    }
    memcpy(at, context, sizeof(context));
    at += sizeof(context);
    *at++ = dialed ? 1 : 0;
    memcpy(at, binding, RUSMI_BINDING_LEN);
    memcpy(at + RUSMI_BINDING_LEN, der, der_len);
    *out_len = len;
    return bytes;
}

static int sign(const rusm_identity *own, const gnutls_datum_t *data, gnutls_datum_t *out)
{
    gnutls_digest_algorithm_t hash = GNUTLS_DIG_SHA256;
    gnutls_privkey_t key = NULL;
    gnutls_pubkey_t public_key = NULL;
    unsigned mandatory = 0;
    int code = gnutls_privkey_init(&key);

    if (code >= 0) {
        code = gnutls_pubkey_init(&public_key);
    }
    if (code >= 0) {
        code = gnutls_privkey_import_x509(key, own->parts.key, GNUTLS_PRIVKEY_IMPORT_COPY);
    }
    if (code >= 0) {
        code = gnutls_pubkey_import_x509(public_key, own->parts.crt, 0);
    }
    if (code >= 0) {
        code = gnutls_pubkey_get_preferred_hash_algorithm(public_key, &hash, &mandatory);
    }
    if (code >= 0) {
        code = gnutls_privkey_sign_data(key, hash, 0, data, out);
    }
    gnutls_pubkey_deinit(public_key);
    gnutls_privkey_deinit(key);
    return code;
}

rusm_err rusmi_proof_init(struct rusmi_proof *proof, const rusm_identity *own,
                          const uint8_t binding[RUSMI_BINDING_LEN], bool dialed)
{
    struct rusmi_proof made = {.der = {NULL, 0}};
    gnutls_datum_t data = {NULL, 0};
    size_t len = 0;
    int code = gnutls_x509_crt_export2(own->parts.crt, GNUTLS_X509_FMT_DER, &made.der);

    if (code >= 0) {
        data.data = statement(made.der.data, made.der.size, binding, dialed, &len);
        data.size = (unsigned)len;
        code = data.data == NULL ? GNUTLS_E_MEMORY_ERROR : sign(own, &data, &made.signature);
    }
    rusmi_free(data.data);
    if (code < 0) {
        rusmi_proof_fini(&made);
        return rusmi_cert_fail(code, "cannot sign with the key of the certificate");
    }
    *proof = made;
    return RUSM_OK;
}

void rusmi_proof_fini(struct rusmi_proof *proof)
{
    gnutls_free(proof->der.data);
    gnutls_free(proof->signature.data);
    *proof = (struct rusmi_proof){.der = {NULL, 0}};
}

static int check(gnutls_x509_crt_t crt, const gnutls_datum_t *data, const gnutls_datum_t *signature)
{
    gnutls_digest_algorithm_t hash = GNUTLS_DIG_SHA256;
    gnutls_pubkey_t key = NULL;
    unsigned mandatory = 0;
    int code = gnutls_pubkey_init(&key);

    if (code >= 0) {
        code = gnutls_pubkey_import_x509(key, crt, 0);
    }
    if (code >= 0) {
        code = gnutls_pubkey_get_preferred_hash_algorithm(key, &hash, &mandatory);
    }
    if (code >= 0) {
        gnutls_pk_algorithm_t kind =
            (gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(key, NULL);

        code = gnutls_pubkey_verify_data2(key, gnutls_pk_to_sign(kind, hash), 0, data, signature);
    }
    gnutls_pubkey_deinit(key);
    return code;
}

rusm_err rusmi_proof_check(const uint8_t *der, size_t der_len, const uint8_t *signature,
                           size_t signature_len, const uint8_t binding[RUSMI_BINDING_LEN],
                           bool dialed)
{
    /* Only read. */
    const gnutls_datum_t raw = {(unsigned char *)(uintptr_t)der, (unsigned)der_len};
    const gnutls_datum_t sig = {(unsigned char *)(uintptr_t)signature, (unsigned)signature_len};
    gnutls_datum_t data = {NULL, 0};
    gnutls_x509_crt_t crt = NULL;
    size_t len = 0;
    int code = gnutls_x509_crt_init(&crt);

    if (code >= 0) {
        code = gnutls_x509_crt_import(crt, &raw, GNUTLS_X509_FMT_DER);
    }
    if (code >= 0) {
        data.data = statement(der, der_len, binding, dialed, &len);
        data.size = (unsigned)len;
        code = data.data == NULL ? GNUTLS_E_MEMORY_ERROR : check(crt, &data, &sig);
    }
    rusmi_free(data.data);
    gnutls_x509_crt_deinit(crt);
    return code < 0 ? rusmi_cert_fail(code, "not signed with the certificate's key") : RUSM_OK;
}
