/* SPDX-License-Identifier: MIT */
/*
 * What is read of certificates, from peers and from files; the first byte chooses:
 *
 *     0  a revocation list in DER     1  revocation lists in PEM     2  the register of a CA
 *     3  a certificate that a peer shows on a link that is up, with its proof
 *
 * No bytes crash it; what is refused is refused with a sentence; no certificate is taken from a
 * stranger; a register that decodes survives encoding; a list that is taken can be searched and
 * copied.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "trust/crl.h"
#include "trust/proof.h"
#include "trust/register.h"
#include "trust/verify.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 2026-01-01 */
#define NOW_S ((int64_t)1767225600)

static void check_detail(void)
{
    rusmi_assert(rusm_err_detail()[0] != '\0');
}

/* Every entry is found, and the copy holds as many. */
static void check_crl(const rusm_crl *crl)
{
    rusm_crl **copy = NULL;

    for (size_t i = 0; i < crl->info.revoked_count; i++) {
        const struct rusmi_revoked *entry = &crl->revoked[i];
        const struct rusmi_revoked *found = rusmi_crl_find(crl, entry->serial, entry->serial_len);

        rusmi_assert(found != NULL && found->serial_len == entry->serial_len);
        rusmi_assert(memcmp(found->serial, entry->serial, entry->serial_len) == 0);
    }
    if (rusmi_crl_list_copy(&crl, 1, &copy) == RUSM_OK) {
        rusmi_assert(copy[0]->info.revoked_count == crl->info.revoked_count);
        rusmi_crl_list_del(copy, 1);
    }
}

static void crl_der(const uint8_t *data, size_t size)
{
    rusm_crl *crl;

    if (rusmi_crl_parse(data, size, "fuzz", &crl) == RUSM_OK) {
        check_crl(crl);
        rusm_crl_del(crl);
    } else {
        check_detail();
    }
}

static void crl_pem(const char *text, size_t size)
{
    rusm_crl **list;
    size_t count;

    if (rusmi_crl_parse_pem(text, size, "fuzz", &list, &count) == RUSM_OK) {
        rusmi_assert(count >= 1 && count <= RUSMI_CRL_COUNT_MAX);
        for (size_t i = 0; i < count; i++) {
            check_crl(list[i]);
        }
        rusmi_crl_list_del(list, count);
    } else {
        check_detail();
    }
}

static void ca_register(const char *text)
{
    struct rusmi_register first, second;
    char *once = NULL, *twice = NULL;
    size_t len, again;

    rusmi_register_init(&first);
    rusmi_register_init(&second);
    if (rusmi_register_decode(&first, text, "fuzz") == RUSM_OK) {
        rusmi_assert(rusmi_register_encode(&first, &once, &len) == RUSM_OK);
        rusmi_assert(rusmi_register_decode(&second, once, "fuzz") == RUSM_OK);
        rusmi_assert(second.count == first.count && second.crl_number == first.crl_number);
        rusmi_assert(rusmi_register_encode(&second, &twice, &again) == RUSM_OK);
        rusmi_assert(len == again && memcmp(once, twice, len) == 0);
        rusmi_free(once);
        rusmi_free(twice);
    } else {
        check_detail();
    }
    rusmi_register_fini(&first);
    rusmi_register_fini(&second);
}

static void peer_certificate(const uint8_t *data, size_t size)
{
    static rusm_identity *own; /* made once: keys take time */
    static const uint8_t binding[RUSMI_BINDING_LEN];
    const struct rusmi_verify_rules rules = {.now_s = NOW_S};
    struct rusmi_peer_identity peer;
    size_t signature_len = size / 4;
    char text[512] = "";

    if (own == NULL) {
        rusmi_assert(rusm_identity_generate(&own, "testnet") == RUSM_OK);
    }
    memset(&peer, 0, sizeof(peer));
    rusmi_assert(rusmi_verify_certificate(data, size, own, &rules, &peer, text, sizeof(text)) !=
                 RUSM_OK);
    rusmi_assert(text[0] != '\0');
    (void)!rusmi_proof_check(data, size - signature_len, data + size - signature_len, signature_len,
                             binding, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t what = size == 0 ? 0 : data[0] % 4;
    char *text;

    data += size == 0 ? 0 : 1;
    size -= size == 0 ? 0 : 1;
    text = malloc(size + 1); /* of its exact size, so that reads past the end are seen */
    rusmi_assert(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    switch (what) {
    case 0:
        crl_der(data, size);
        break;
    case 1:
        crl_pem(text, size);
        break;
    case 2:
        if (memchr(text, '\0', size) == NULL) {
            ca_register(text);
        }
        break;
    default:
        peer_certificate(data, size);
        break;
    }
    free(text);
    return 0;
}
