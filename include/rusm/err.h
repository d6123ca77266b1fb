/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Error codes of every rusm call and their texts. An exit reason of a process is not an error code:
 * see rusm/otp/process.h.
 */
#ifndef RUSM_ERR_H
#define RUSM_ERR_H

#include <rusm/types.h>

RUSM_BEGIN_DECLS

/* Values are never reused: they appear on the wire (docs/wire.md) and in logs. */
#define RUSM_ERR_MAP(X)                                                                            \
    X(RUSM_EINVAL, -1, "invalid argument")                                                         \
    X(RUSM_ENOMEM, -2, "out of memory")                                                            \
    X(RUSM_EFULL, -3, "a configured limit is reached")                                             \
    X(RUSM_ENOPROC, -4, "no such process")                                                         \
    X(RUSM_EPROTO, -5, "the peer broke the wire protocol")                                         \
    X(RUSM_EAUTH, -6, "the peer is not allowed into the cluster")                                  \
    X(RUSM_ETIMEOUT, -7, "the time allowed has passed")                                            \
    X(RUSM_ENONODE, -8, "no such node is connected")                                               \
    X(RUSM_ENONAME, -9, "no process has this name")                                                \
    X(RUSM_EEXIST, -10, "the name is already taken")                                               \
    X(RUSM_EAGAIN, -11, "it would block")                                                          \
    X(RUSM_ECLOSED, -12, "it is closed or shutting down")                                          \
    X(RUSM_ENOLINK, -13, "the link to the node was lost")                                          \
    X(RUSM_ENOFACTORY, -14, "the node has no such factory")                                        \
    X(RUSM_EFACTORY, -15, "the factory failed")                                                    \
    X(RUSM_EMSGSIZE, -16, "the message is larger than the limit")                                  \
    X(RUSM_ENOCONTEXT, -17, "the caller is neither a process nor an entered thread")               \
    X(RUSM_EKILLED, -18, "the calling process is being killed")                                    \
    X(RUSM_ESYS, -19, "a system call failed")                                                      \
    X(RUSM_EREFUSED, -20, "the peer refused")                                                      \
    X(RUSM_EPERM, -21, "the role in the certificate does not allow this")                          \
    X(RUSM_ECERT, -22, "the certificate or key is not usable")

/** What a call returns: RUSM_OK or a negative code. */
typedef enum rusm_err {
    RUSM_OK = 0,
#define X(name, value, text) name = value,
    RUSM_ERR_MAP(X)
#undef X
} rusm_err;

/**
 * The text of an error code.
 *
 * Owns:    nothing; the text is constant. An unknown code gives "unknown error".
 * Threads: any. Never blocks.
 * Errors:  none
 */
RUSM_API const char *rusm_err_text(int err);

/** The symbol of an error code, such as "RUSM_EINVAL"; "RUSM_E?" for an unknown one. See
 * rusm_err_text(). */
RUSM_API const char *rusm_err_name(int err);

/**
 * What exactly went wrong in the last call of this process (or ordinary thread) that returned an
 * error.
 *
 * A sentence for people, such as `london refused us: the certificate expired on 2026-01-01`. Where
 * a call has nothing to add, it is the text of the code.
 *
 * Owns:    nothing; valid until the next failing rusm call of the same process or thread.
 * Threads: any. Each process and each thread has its own.
 * Errors:  none
 */
RUSM_API const char *rusm_err_detail(void);

RUSM_END_DECLS

#endif
