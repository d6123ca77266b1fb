/* SPDX-License-Identifier: MIT */
/**
 * @file
 * TCP for processes: calls that suspend the calling process only. Usually one process accepts and
 * one serves each connection.
 *
 * A socket belongs to the process that made it, or to which it was given: it is closed when that
 * process ends. For other descriptors there is rusm_wait_fd().
 */
#ifndef RUSM_OTP_TCP_H
#define RUSM_OTP_TCP_H

#include <rusm/err.h>
#include <rusm/otp/process.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** A listening or connected socket. */
typedef struct rusm_tcp rusm_tcp;

/**
 * Listen on "host:port", "[v6]:port" or ":port" (all addresses); port 0 chooses one.
 *
 * host may be an address or a name; a name is looked up on a thread of its own meanwhile.
 *
 * Threads: in context.
 * Errors:  RUSM_EINVAL   the address is not valid
 *          RUSM_ENONAME  the name is not known
 *          RUSM_ESYS     rusm_err_detail() has the system's words
 *          RUSM_ENOMEM, RUSM_ENOCONTEXT, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_listen(rusm_tcp **out_listener, const char *address);

/** The address of this end as "host:port" into buf. Returns the length without NUL, as snprintf
 * does. */
RUSM_API size_t rusm_tcp_address(const rusm_tcp *tcp, char *buf, size_t buf_len);

/** The address of the other end of a connection; empty for a listener. Returns as
 * rusm_tcp_address(). */
RUSM_API size_t rusm_tcp_peer(const rusm_tcp *tcp, char *buf, size_t buf_len);

/**
 * Wait for a connection.
 *
 * A connection that was lost before it was accepted is passed over. When the OS process has no more
 * descriptors or memory, the call waits, 10 ms to 1 s, and tries again: an acceptor never ends for
 * such a reason; rusm_runtime_stats.accepts_delayed counts it.
 *
 * Owns:    the caller owns *out_conn.
 * Threads: the process that owns the listener.
 * Errors:  RUSM_ETIMEOUT, RUSM_EKILLED, RUSM_ENOCONTEXT, RUSM_EINVAL
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_accept(rusm_tcp *listener, int64_t timeout_ms,
                                                  rusm_tcp **out_conn);

/**
 * Connect to "host:port". All addresses of a name are tried in order; each may take its share of
 * the time that is left.
 *
 * Both ends of a connection have TCP_NODELAY set: what is written goes out at once.
 *
 * Errors:  RUSM_ETIMEOUT, RUSM_EREFUSED nobody listens there; others as rusm_tcp_listen()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_connect(rusm_tcp **out_conn, const char *address,
                                                   int64_t timeout_ms);

/**
 * Read between 1 and len bytes. *out_len 0 with RUSM_OK: the other end has closed.
 *
 * Threads: the process that owns the connection.
 * Errors:  RUSM_ETIMEOUT
 *          RUSM_ECLOSED  the connection was reset
 *          RUSM_ESYS, RUSM_ENOMEM, RUSM_EINVAL, RUSM_ENOCONTEXT, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_read(rusm_tcp *conn, void *buf, size_t len,
                                                int64_t timeout_ms, size_t *out_len);

/** Read exactly len bytes. Errors: as rusm_tcp_read(); RUSM_ECLOSED if the other end closes before.
 * After RUSM_ETIMEOUT what was read is lost: close. */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_read_exact(rusm_tcp *conn, void *buf, size_t len,
                                                      int64_t timeout_ms);

/**
 * Write len bytes, all of them. out_written (may be NULL) says how many the system took, also on an
 * error. Never raises SIGPIPE.
 *
 * Errors:  as rusm_tcp_read()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_write(rusm_tcp *conn, const void *data, size_t len,
                                                 int64_t timeout_ms, size_t *out_written);

/** Say that nothing more will be written; reading goes on. Errors: RUSM_ECLOSED, RUSM_EINVAL,
 * RUSM_ENOCONTEXT */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_shutdown(rusm_tcp *conn);

/** Close a socket; NULL is allowed. Threads: the process that owns it. */
RUSM_API void rusm_tcp_close(rusm_tcp *tcp);

/**
 * Spawn a process that owns conn and runs fn(conn): one process per connection. conn is closed when
 * it ends, also if that is before it runs. A listener can be handed over in the same way. cfg may
 * be NULL.
 *
 * Owns:    takes conn on RUSM_OK; on any error the caller still owns it.
 * Threads: the process that owns conn.
 * Errors:  as rusm_spawn_with()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_tcp_spawn(rusm_tcp *conn, void (*fn)(rusm_tcp *conn),
                                                 const rusm_spawn_config *cfg, rusm_pid *out_pid);

/** The descriptor, for setsockopt(2) and the like; non-blocking, and still the library's. */
RUSM_API int rusm_tcp_fd(const rusm_tcp *tcp);

RUSM_END_DECLS

#endif
