/* SPDX-License-Identifier: MIT */
/*
 * Identities that no honest CA would issue, for peers that must be refused. They are built with
 * GnuTLS directly, because the library cannot be talked into making them.
 *
 * Every one trusts the given CA, so that the bad peer itself raises no objection, and tells its own
 * node that it is the member `node` of the CA's cluster (rusm_identity_get_info()), so that the
 * node starts. Anything that fails here ends the test program: it is a fault of the test.
 */
#ifndef RUSM_SUPPORT_CERTS_H
#define RUSM_SUPPORT_CERTS_H

#include <rusm/trust.h>

enum support_bad {
    SUPPORT_BAD_FOREIGN_CA,     /* all in order, but from another CA of a cluster of that name */
    SUPPORT_BAD_SELF_SIGNED,    /* all in order, but signed by its own key */
    SUPPORT_BAD_FORGED_ISSUER,  /* names the CA as its issuer; signed by another key */
    SUPPORT_BAD_NO_CERT,        /* shows no certificate; of use for a client only */
    SUPPORT_BAD_EXPIRED,        /* ended a day ago */
    SUPPORT_BAD_NOT_YET_VALID,  /* begins tomorrow */
    SUPPORT_BAD_CLIENT_ONLY,    /* no serverAuth: to be refused as a server */
    SUPPORT_BAD_SERVER_ONLY,    /* no clientAuth: to be refused as a client */
    SUPPORT_BAD_NO_PURPOSE,     /* no extendedKeyUsage */
    SUPPORT_BAD_KEY_USAGE,      /* keyAgreement alone; GnuTLS uses it only with a priority of
                                   %DEBUG_ALLOW_KEY_USAGE_VIOLATIONS */
    SUPPORT_BAD_NO_USAGE,       /* no keyUsage extension */
    SUPPORT_BAD_CA_AS_LEAF,     /* the certificate and key of the CA itself */
    SUPPORT_BAD_SIGNING_LEAF,   /* a node's certificate that may sign others */
    SUPPORT_BAD_NO_NAME,        /* a DNS name, but no rusm URI */
    SUPPORT_BAD_TWO_NAMES,      /* two rusm URIs */
    SUPPORT_BAD_MALFORMED_NAME, /* a rusm URI with an unknown role */
    SUPPORT_BAD_OTHER_CLUSTER,  /* from the CA, for a cluster "elsewhere" */
    SUPPORT_BAD_OTHER_NODE,     /* from the CA, for a node "impostor": refused only after hello */
    SUPPORT_BAD_WEAK_KEY,       /* RSA of 1,024 bits */
    SUPPORT_GOOD_RSA,           /* RSA of 2,048 bits: unusual, and to be let in */
    SUPPORT_BAD_COUNT
};

/* The name of a kind, for messages. */
const char *support_bad_name(enum support_bad kind);

/* Make one; free it with rusm_identity_del(). */
rusm_identity *support_identity_bad(enum support_bad kind, const rusm_ca *ca, const char *node);

/* A CA that began and ended in the past, and an identity of node from it that has not ended. */
void support_ca_expired(const char *cluster, const char *node, rusm_ca **out_ca,
                        rusm_identity **out_identity);

#endif
