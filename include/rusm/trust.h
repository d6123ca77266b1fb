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

/**
 * A cluster's certificate authority, with its private key. It remembers what it issued and revoked:
 * in the file `ca.issued` of the folder that it was loaded from or first saved to, else in memory.
 * Threads: any; several programs may use one folder.
 */
typedef struct rusm_ca rusm_ca;

/** What a node proves itself with: certificate, private key, the CA certificates that it trusts,
 * and their revocation lists. Immutable. */
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
 * Save a CA as `ca.pem` (0644) and `ca.key` (0600), and what it issued as `ca.issued` (0600), in a
 * folder, which is made if missing. Existing files are never overwritten: RUSM_EEXIST, and nothing
 * is written. A CA that was not kept in a folder is from now on.
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
 * use signed by ca. Serial, node, role and end are recorded with the CA; what can not be recorded
 * is not issued.
 *
 * Owns:    the caller owns the identity and frees it with rusm_identity_del(). cfg may be NULL.
 * Threads: any. Blocks while the key is made and, with a folder, for its file.
 * Limits:  node has 1 to RUSM_NAME_MAX bytes of UTF-8 and is not "*"; a CA has at most 16,384
 *          certificates that have not ended
 * Errors:  RUSM_EINVAL, RUSM_EFULL, RUSM_ENOMEM, RUSM_ECERT
 *          RUSM_ESYS    the CA's folder can not be written
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_issue(const rusm_ca *ca, const char *node,
                                                const rusm_issue_config *cfg,
                                                rusm_identity **out_identity);

/** Why a certificate was revoked (RFC 5280, section 5.3.1). It is kept with the CA; revocation
 * lists do not carry it. */
typedef enum rusm_revoke_reason {
    RUSM_REVOKE_UNSPECIFIED = 0,
    RUSM_REVOKE_KEY_COMPROMISE = 1, /**< somebody else may have the key */
    RUSM_REVOKE_SUPERSEDED = 4,     /**< another certificate took its place */
    RUSM_REVOKE_CESSATION = 5,      /**< the node is no more */
    RUSM_REVOKE_WITHDRAWN = 9,      /**< it may no longer take part */
} rusm_revoke_reason;

/** The name of a reason, such as "key-compromise". Owns: nothing; the text is constant. */
RUSM_API const char *rusm_revoke_reason_name(rusm_revoke_reason reason);

/** Find a reason by its name. Errors: RUSM_EINVAL */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_revoke_reason_parse(const char *name,
                                                           rusm_revoke_reason *out_reason);

/** What a CA knows of a certificate that it issued. */
typedef struct rusm_issued_info {
    char serial[64];                 /**< hexadecimal */
    char cluster[RUSM_NAME_MAX + 1]; /**< empty if only its serial is known */
    char node[RUSM_NAME_MAX + 1];    /**< empty if only its serial is known */
    rusm_role role;
    int64_t not_after;  /**< seconds since 1970; 0: not known */
    int64_t revoked_at; /**< seconds since 1970; 0: it is not revoked */
    rusm_revoke_reason reason;
} rusm_issued_info;

/**
 * List what a CA issued, the oldest first, from number `skip` on. What ended more than 90 days ago
 * is no longer known.
 *
 * Threads: any. Blocks for the CA's file.
 * Returns: how many records were written, 0 at the end, or a negative rusm_err: RUSM_EINVAL,
 *          RUSM_ESYS, RUSM_ECERT (the file is damaged), RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK ptrdiff_t rusm_ca_list(const rusm_ca *ca, size_t skip,
                                                rusm_issued_info *infos, size_t infos_max);

/**
 * Revoke every certificate of a node, whatever its role, that has not ended and is not revoked yet.
 * It takes effect where a newer list of rusm_ca_crl() is loaded.
 *
 * Owns:    out_count, which may be NULL, takes how many were revoked; 0 if all were before.
 * Threads: any. Blocks for the CA's file.
 * Errors:  RUSM_ENONAME  no certificate is known for that node
 *          RUSM_EINVAL, RUSM_ESYS, RUSM_ECERT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_revoke_node(const rusm_ca *ca, const char *node,
                                                      rusm_revoke_reason reason, size_t *out_count);

/**
 * Revoke one certificate by its serial number in hexadecimal, with or without colons. One that the
 * CA does not know (issued elsewhere, or before it kept a record) is revoked as well.
 *
 * Limits:  1 to 20 bytes
 * Owns, Threads, Errors: as rusm_ca_revoke_node(); RUSM_EINVAL  no serial number; RUSM_EFULL
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_revoke_serial(const rusm_ca *ca, const char *serial,
                                                        rusm_revoke_reason reason,
                                                        size_t *out_count);

/** A certificate revocation list: X.509 version 2, signed by a CA (RFC 5280, section 5). Immutable;
 * threads: any. */
typedef struct rusm_crl rusm_crl;

/** What a revocation list says. */
typedef struct rusm_crl_info {
    char cluster[RUSM_NAME_MAX + 1]; /**< of the CA that made it, as its issuer's name says */
    uint64_t number;                 /**< grows with each list of a CA */
    int64_t this_update;             /**< seconds since 1970 */
    int64_t next_update;             /**< seconds since 1970: a newer one should be there by then */
    size_t revoked_count;
} rusm_crl_info;

/** How a revocation list is made. Fill it with rusm_crl_config_init() first. */
typedef struct rusm_crl_config {
    size_t size;         /**< sizeof(rusm_crl_config), set by init */
    int64_t this_update; /**< seconds since 1970; 0: now */
    int64_t next_update; /**< seconds since 1970; 0: 30 days after this_update */
} rusm_crl_config;

/** Fill cfg with the defaults. Threads: any. */
RUSM_API void rusm_crl_config_init(rusm_crl_config *cfg);

/**
 * Make the list of what a CA revoked, with the next number.
 *
 * Owns:    the caller owns the list and frees it with rusm_crl_del(). cfg may be NULL.
 * Threads: any. Blocks for the CA's file.
 * Errors:  RUSM_EINVAL, RUSM_ESYS, RUSM_ECERT, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_ca_crl(const rusm_ca *ca, const rusm_crl_config *cfg,
                                              rusm_crl **out_crl);

/** Write a list as PEM (0644). A file of that name is replaced, at once and whole: lists are made
 * to be renewed. Threads: any. Errors: RUSM_EINVAL, RUSM_ESYS, RUSM_ENOMEM */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_crl_save(const rusm_crl *crl, const char *path);

/** What a list says. Threads: any. */
RUSM_API void rusm_crl_get_info(const rusm_crl *crl, rusm_crl_info *out_info);

/** Free a list; NULL is allowed. */
RUSM_API void rusm_crl_del(rusm_crl *crl);

/** What the first list of a PEM file says; its signature is not looked at. Errors: RUSM_ESYS,
 * RUSM_ECERT (damaged, or no list), RUSM_ENOMEM */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_crl_read(const char *path, rusm_crl_info *out_info);

/**
 * Make one identity that all nodes of a small trusted cluster share: a fresh CA and one certificate
 * under which any node name is allowed. Whoever holds it may claim any name of the cluster.
 *
 * Owns, Threads, Errors: as rusm_ca_issue().
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_identity_generate(rusm_identity **out_identity,
                                                         const char *cluster);

/**
 * Load an identity from `<name>.pem`, `<name>.key`, `ca.pem` and, if it is there, `crl.pem` in a
 * folder.
 *
 * An expired certificate loads: its peers refuse it, and rusm_identity_get_info() shows it.
 * `ca.pem` may hold several CAs of the cluster: all are trusted. `crl.pem` may hold a revocation
 * list of each; a list that none of them signed is refused, one whose next update has passed is not
 * (see crl_strict in rusm/cluster/node.h).
 *
 * Limits:  name contains no slash, does not begin with a dot and is not "ca"
 * Errors:  as rusm_ca_load(); RUSM_EINVAL  name can not name files
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_identity_load(rusm_identity **out_identity,
                                                     const char *folder, const char *name);

/**
 * The same certificate and key with other trust anchors and revocation lists: what `ca.pem` and
 * `crl.pem` are to rusm_identity_load(), for programs that keep no files.
 *
 * Owns:    the caller owns the new identity; everything is copied.
 * Threads: any.
 * Limits:  1 to 64 CAs, one of which issued the certificate; 0 to 64 lists
 * Errors:  RUSM_EINVAL  too many, or a CA of another cluster
 *          RUSM_ECERT   no CA issued the certificate, or one of the lists
 *          RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_identity_with_trust(
    const rusm_identity *identity, const rusm_ca *const *cas, size_t cas_len,
    const rusm_crl *const *crls, size_t crls_len, rusm_identity **out_identity);

/** Save an identity as rusm_identity_load() reads it; key file 0600. An equal `ca.pem` may exist.
 * Revocation lists are not saved: they are the CA's to hand out. Errors: as rusm_ca_save() */
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
