/* SPDX-License-Identifier: MIT */
/*
 * Revocation lists and the register of a CA. The first byte chooses: a list in DER, a file of lists
 * in PEM, or a register. Whatever is read as a list is one that can be searched and copied;
 * whatever is read as a register is written as it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "trust/crl.h"
#include "trust/register.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every entry is found, in order, and the copy holds the same. */
static void check(const rusm_crl *crl)
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

static void fuzz_pem(const char *text, size_t len)
{
    rusm_crl **list = NULL;
    size_t count = 0;

    if (rusmi_crl_parse_pem(text, len, "input", &list, &count) == RUSM_OK) {
        rusmi_assert(count > 0 && count <= RUSMI_CRL_COUNT_MAX);
        for (size_t i = 0; i < count; i++) {
            check(list[i]);
        }
        rusmi_crl_list_del(list, count);
    }
}

static void fuzz_register(const char *text)
{
    struct rusmi_register reg, again;
    char *first = NULL, *second = NULL;
    size_t first_len = 0, second_len = 0;

    rusmi_register_init(&reg);
    rusmi_register_init(&again);
    if (rusmi_register_decode(&reg, text, "input") == RUSM_OK) {
        rusmi_assert(rusmi_register_encode(&reg, &first, &first_len) == RUSM_OK);
        rusmi_assert(rusmi_register_decode(&again, first, "again") == RUSM_OK);
        rusmi_assert(again.count == reg.count && again.crl_number == reg.crl_number);
        rusmi_assert(rusmi_register_encode(&again, &second, &second_len) == RUSM_OK);
        rusmi_assert(first_len == second_len && memcmp(first, second, first_len) == 0);
    }
    rusmi_free(first);
    rusmi_free(second);
    rusmi_register_fini(&reg);
    rusmi_register_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rusm_crl *crl = NULL;
    char *text;

    if (size == 0) {
        return 0;
    }
    text = malloc(size);
    rusmi_assert(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0]) {
    case 'd':
        if (rusmi_crl_parse(text, size - 1, "input", &crl) == RUSM_OK) {
            check(crl);
            rusm_crl_del(crl);
        }
        break;
    case 'p':
        fuzz_pem(text, size - 1);
        break;
    default:
        fuzz_register(text);
        break;
    }
    free(text);
    return 0;
}
