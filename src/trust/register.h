/* SPDX-License-Identifier: MIT */
/*
 * What a CA has issued and revoked: the serial, holder and end of each certificate, when and why it
 * was revoked, and the number of the last revocation list.
 *
 * A CA that lives in memory alone keeps it there; one that was loaded from a folder, or saved to
 * one, keeps it in the file `ca.issued` of that folder, which is the truth: it is read again for
 * every use and replaced whole, so that several programs may issue and revoke at the same time.
 *
 * Invariant: between begin and end nobody else looks at or changes the register, in this program
 * (lock) or another (flock(2) on the folder). What was changed counts from a successful commit on.
 *
 * Any thread; blocks for the files.
 */
#ifndef RUSMI_TRUST_REGISTER_H
#define RUSMI_TRUST_REGISTER_H

#include "platform/lock.h"

#include <rusm/err.h>
#include <rusm/trust.h>

/* Certificates that a register holds; those that ended long ago make room for others. */
#define RUSMI_ISSUED_MAX ((size_t)16384)

/* A certificate that ended so long ago leaves the register, and with it revocation lists: far
 * longer than RFC 5280 (section 3.3) asks for. */
#define RUSMI_ISSUED_KEEP_S ((int64_t)90 * 86400)

struct rusmi_register {
    struct rusmi_lock lock;
    /* under lock */
    char *folder; /* NULL: in memory alone */
    int folder_fd;
    rusm_issued_info *records; /* between begin and end only, if there is a folder */
    size_t count, room;
    uint64_t crl_number; /* of the last list; 0: none was made */
};

void rusmi_register_init(struct rusmi_register *reg);
void rusmi_register_fini(struct rusmi_register *reg);
/* From now on the register is kept in this folder, unless it is in another; takes the text, which
 * is on the heap. Not between begin and end. */
void rusmi_register_bind(struct rusmi_register *reg, char *folder);

/* On an error there is nothing to end. RUSM_ESYS, RUSM_ECERT (damaged), RUSM_ENOMEM */
RUSM_MUST_CHECK rusm_err rusmi_register_begin(struct rusmi_register *reg);
/* Keep what was changed since begin. RUSM_ESYS, RUSM_ENOMEM: the folder holds what it held. */
RUSM_MUST_CHECK rusm_err rusmi_register_commit(struct rusmi_register *reg);
void rusmi_register_end(struct rusmi_register *reg);

/* Between begin and end: add a record. RUSM_EFULL, RUSM_ENOMEM */
RUSM_MUST_CHECK rusm_err rusmi_register_add(struct rusmi_register *reg,
                                            const rusm_issued_info *record, int64_t now_s);

/* The file's text, on the heap with a NUL; cluster is that of the names in it. RUSM_ENOMEM */
RUSM_MUST_CHECK rusm_err rusmi_register_encode(const struct rusmi_register *reg, char **out_text,
                                               size_t *out_len);
/* Fill an empty register from a NUL-terminated text. RUSM_ECERT with a detail that begins with
 * `where`, RUSM_ENOMEM; what was read until then is to be freed with rusmi_register_fini(). */
RUSM_MUST_CHECK rusm_err rusmi_register_decode(struct rusmi_register *reg, const char *text,
                                               const char *where);

#endif
