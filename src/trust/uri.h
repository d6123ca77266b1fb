/* SPDX-License-Identifier: MIT */
/*
 * The name in a certificate: `rusm://<cluster>/<node>?role=<role>` for the holder of a node's,
 * operator's or observer's certificate, `rusm://<cluster>` for a CA (docs/design/trust.md).
 *
 * Invariant: encoding is one to one. A byte is percent-encoded, with upper-case digits, exactly if
 * RFC 3986 does not call it unreserved, so every accepted text is the encoding of what it was
 * decoded to, and two certificates name the same holder exactly if their texts are equal. The one
 * bare `*` that is allowed is the node of a shared identity; no node can be called `*`.
 *
 * Pure: no heap, no I/O, any thread. The bytes come from strangers; the decoder is a fuzz target.
 */
#ifndef RUSMI_TRUST_URI_H
#define RUSMI_TRUST_URI_H

#include <rusm/err.h>
#include <rusm/trust.h>
#include <rusm/types.h>

/* "rusm://", two names with every byte encoded, "/", "?role=operator" and a NUL fit. */
#define RUSMI_URI_MAX 1600

struct rusmi_uri {
    char cluster[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1]; /* "*" if shared, empty for a CA */
    rusm_role role;
    bool is_ca;
    bool shared;
};

/* Fill out_uri for a holder; node "*" makes a shared one, NULL a CA. RUSM_EINVAL: a name is no
 * name, or the role is unknown. */
RUSM_MUST_CHECK rusm_err rusmi_uri_make(struct rusmi_uri *out_uri, const char *cluster,
                                        const char *node, rusm_role role);

/* Write the text of a uri that rusmi_uri_make or rusmi_uri_decode filled, with a NUL. */
void rusmi_uri_encode(const struct rusmi_uri *uri, char out_text[RUSMI_URI_MAX]);

/* Whether text has the scheme of our names, and so must be one. */
bool rusmi_uri_is_ours(const char *text, size_t len);

/* Read len bytes; RUSM_ECERT, and out_uri untouched, if they are not exactly one name. */
RUSM_MUST_CHECK rusm_err rusmi_uri_decode(const char *text, size_t len, struct rusmi_uri *out_uri);

#endif
