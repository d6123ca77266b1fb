/* SPDX-License-Identifier: MIT */
/* From the value of --identity to an identity: DIR/NAME, or DIR where the name is known. */
#ifndef RUSMI_CLI_IDENTITY_H
#define RUSMI_CLI_IDENTITY_H

#include <rusm/trust.h>

/*
 * Load what --identity names. If path is a folder, the files in it are those of name, which may be
 * NULL: then that is an error. The detail of an error is set.
 */
RUSM_MUST_CHECK rusm_err rusmi_identity_open(const char *path, const char *name,
                                             rusm_identity **out_identity);

#endif
