/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Certificates of a cluster: its CA, the identities of its nodes, and PEM files of both. It is part
 * of librusm-cluster and opens no connection.
 *
 * A certificate names its holder by one URI in subjectAltName:
 * `rusm://<cluster>/<node>?role=<role>`, cluster and node percent-encoded (RFC 3986). A shared
 * identity has `*` as its node.
 */
#ifndef RUSM_TRUST_H
#define RUSM_TRUST_H

#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** A cluster's certificate authority, with its private key. Immutable after it was made; threads:
 * any. */
typedef struct rusm_ca rusm_ca;

/** What a node proves itself with: certificate, private key, and the CA certificates that it
 * trusts. Immutable. */
typedef struct rusm_identity rusm_identity;

/** What the holder of a certificate may do. Values appear on the wire. */
typedef enum rusm_role {
    RUSM_ROLE_MEMBER = 0,   /**< a node of the cluster */
    RUSM_ROLE_OPERATOR = 1, /**< attaches to look, send, spawn and kill; is no node */
    RUSM_ROLE_OBSERVER = 2, /**< attaches to look; is no node */
} rusm_role;

/** The name of a role: "member", "operator", "observer". Owns: nothing; the text is constant. */
RUSM_API const char *rusm_role_name(rusm_role role);

/** Find a role by its name. Errors: RUSM_EINVAL */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_role_parse(const char *name, rusm_role *out_role);

/**
 * Generate a CA for a cluster: ECDSA P-256, random serial, self-signed, for certificates only.
 *
 * Owns:    the caller owns the CA and frees it with rusm_ca_del().
 * Threads: any. Blocks while the key is made (milliseconds).
 * Limits:  cluster has 1 to RUSM_NAME_MAX bytes of UTF-8; valid_days 1 to 36,500
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ECERT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_generate(rusm_ca **out_ca, const char *cluster,
                                                   unsigned valid_days);

/**
 * Load a CA from `ca.pem` and `ca.key` in a folder.
 *
 * Errors:  RUSM_ESYS    a file can not be read
 *          RUSM_ECERT   a file is damaged, the key is not the certificate's, it is no rusm CA, or
 *                       others than the owner may read the key
 *          RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_load(rusm_ca **out_ca, const char *folder);

/**
 * Save a CA as `ca.pem` (0644) and `ca.key` (0600) in a folder, which is made if missing. Existing
 * files are never overwritten: RUSM_EEXIST, and nothing is written.
 *
 * Errors:  RUSM_EEXIST, RUSM_ESYS
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_save(const rusm_ca *ca, const char *folder);

/** Free a CA and wipe its key; NULL is allowed. */
RUSM_API void rusm_ca_del(rusm_ca *ca);

/** The cluster that a CA is for. Owns: nothing; valid as long as the CA. */
RUSM_API const char *rusm_ca_cluster(const rusm_ca *ca);

/** How an identity is issued. Fill it with rusm_issue_config_init() first. */
typedef struct rusm_issue_config {
    size_t size;        /**< sizeof(rusm_issue_config), set by init */
    rusm_role role;     /**< RUSM_ROLE_MEMBER */
    int64_t not_before; /**< seconds since 1970; 0: now, less an hour for clocks that differ */
    int64_t not_after; /**< seconds since 1970; 0: 365 days from now, or the CA's own end if that is
                          earlier; a later one is refused */
} rusm_issue_config;

/** Fill cfg with the defaults. Threads: any. */
RUSM_API void rusm_issue_config_init(rusm_issue_config *cfg);

/**
 * Issue an identity for one node: its own ECDSA P-256 key, and a certificate for client and server
 * use signed by ca.
 *
 * Owns:    the caller owns the identity and frees it with rusm_identity_del(). cfg may be NULL.
 * Threads: any. Blocks while the key is made.
 * Limits:  node has 1 to RUSM_NAME_MAX bytes of UTF-8 and is not "*"
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ECERT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_issue(const rusm_ca *ca, const char *node,
                                                const rusm_issue_config *cfg,
                                                rusm_identity **out_identity);

/**
 * Make one identity that all nodes of a small trusted cluster share: a fresh CA and one certificate
 * under which any node name is allowed. Whoever holds it may claim any name of the cluster.
 *
 * Owns, Threads, Errors: as rusm_ca_issue().
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_identity_generate(rusm_identity **out_identity,
                                                         const char *cluster);

/**
 * Load an identity from `<name>.pem`, `<name>.key` and `ca.pem` in a folder.
 *
 * An expired certificate loads: its peers refuse it, and rusm_identity_get_info() shows it.
 * `ca.pem` may hold several CAs of the cluster: all are trusted.
 *
 * Limits:  name contains no slash, does not begin with a dot and is not "ca"
 * Errors:  as rusm_ca_load(); RUSM_EINVAL  name can not name files
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_identity_load(rusm_identity **out_identity,
                                                     const char *folder, const char *name);

/** Save an identity as rusm_identity_load() reads it; key file 0600. An equal `ca.pem` may exist.
 * Errors: as rusm_ca_save() */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_identity_save(const rusm_identity *identity,
                                                     const char *folder, const char *name);

/** Take another reference. Threads: any. */
RUSM_API rusm_identity *rusm_identity_hold(rusm_identity *identity);
/** Give a reference back; the last one frees it and wipes the key. NULL is allowed. Threads: any.
 */
RUSM_API void rusm_identity_del(rusm_identity *identity);

/** What a certificate says. */
typedef struct rusm_cert_info {
    char cluster[RUSM_NAME_MAX + 1];
    char node[RUSM_NAME_MAX + 1]; /**< "*" for a shared identity, empty for a CA */
    rusm_role role;
    bool is_ca;
    bool shared;
    int64_t not_before;   /**< seconds since 1970 */
    int64_t not_after;    /**< seconds since 1970 */
    char serial[64];      /**< hexadecimal */
    char fingerprint[65]; /**< SHA-256 of the certificate, hexadecimal */
} rusm_cert_info;

/** What the certificate of an identity says. Threads: any. */
RUSM_API void rusm_identity_get_info(const rusm_identity *identity, rusm_cert_info *out_info);

/** What the certificate of a CA says. Threads: any. */
RUSM_API void rusm_ca_get_info(const rusm_ca *ca, rusm_cert_info *out_info);

/** What a PEM certificate file says. Errors: RUSM_ESYS, RUSM_ECERT (damaged, or no rusm
 * certificate), RUSM_ENOMEM */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_cert_read(const char *path, rusm_cert_info *out_info);

RUSM_END_DECLS

#endif
