/* SPDX-License-Identifier: MIT */
/*
 * TCP: see rusm/otp/tcp.h and docs/design/io.md.
 *
 * Every call tries the system first, and waits for the descriptor only if that would block. A
 * socket belongs to its owner by an exit hook, from before it has a descriptor on: so a process may
 * be ended wherever it waits. Handing it over moves the hook to the new process before that runs.
 *
 * A record is used by its owner alone; only who owns it may be asked by anybody.
 */
#include <rusm/otp/tcp.h>

#include "base/mem.h"
#include "gen/io.h"
#include "gen/tcp_address.h"
#include "otp/sched.h"
#include "platform/tcp.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/memory.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* How long an accept waits when the system is short of something: doubled each time. */
#define DELAY_MIN_MS 10
#define DELAY_MAX_MS 1000
/* "[v6%scope]:port" always fits (platform/udp.h). */
#define TEXT_MAX 80

struct rusm_tcp {
    int fd; /* -1: not yet */
    bool listens;
    /* Who owns it; while it is handed over the serial is 0. Atomic as anybody may ask, and relaxed:
     * only the owner's own answer is yes. */
    _Atomic uint64_t incarnation, serial;
    rusm_exit_hook hook;       /* of the owner */
    void (*fn)(rusm_tcp *tcp); /* of the process that it is handed over to */
};

/* ---- sockets and their owners ---------------------------------------------------------------- */

static void set_owner(rusm_tcp *tcp, rusm_pid pid)
{
    /* relaxed, both: see struct rusm_tcp */
    atomic_store_explicit(&tcp->incarnation, pid.incarnation, memory_order_relaxed);
    atomic_store_explicit(&tcp->serial, pid.serial, memory_order_relaxed);
}

static bool is_owner(const rusm_tcp *tcp, rusm_pid pid)
{
    /* relaxed, both: see struct rusm_tcp */
    return atomic_load_explicit(&tcp->incarnation, memory_order_relaxed) == pid.incarnation &&
           atomic_load_explicit(&tcp->serial, memory_order_relaxed) == pid.serial;
}

/* The hook of an owner that ends. */
static void tcp_end(void *arg)
{
    rusm_tcp *tcp = arg;

    if (tcp->fd >= 0) {
        rusmi_tcp_close(tcp->fd);
    }
    rusmi_free(tcp);
}

/* A record of the caller's, without a descriptor. */
static rusm_err tcp_new(rusm_tcp **out_tcp, bool listens)
{
    rusm_tcp *tcp = rusmi_zalloc(sizeof(*tcp));
    rusm_err err;

    if (tcp == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    tcp->fd = -1;
    tcp->listens = listens;
    set_owner(tcp, rusm_self());
    err = rusm_at_exit(tcp_end, tcp, &tcp->hook);
    if (err != RUSM_OK) {
        rusmi_free(tcp);
        return err;
    }
    *out_tcp = tcp;
    return RUSM_OK;
}

/* NULL is allowed. */
static void tcp_del(rusm_tcp *tcp)
{
    if (tcp != NULL && rusm_cancel_exit_hook(tcp->hook)) {
        tcp_end(tcp);
    }
}

void rusm_tcp_close(rusm_tcp *tcp)
{
    if (tcp != NULL && is_owner(tcp, rusm_self())) {
        tcp_del(tcp);
    }
}

/* Whether the caller is one that can have sockets. */
static rusm_err check_context(void)
{
    struct rusmi_process *self = rusmi_process_self();

    if (self == NULL) {
        return rusm_set_err_detail(RUSM_ENOCONTEXT, "%s", rusm_err_text(RUSM_ENOCONTEXT));
    }
    if (self->pool->kit != NULL) {
        return rusm_set_err_detail(RUSM_EINVAL, "a pool of the test kit has no sockets");
    }
    return RUSM_OK;
}

static rusm_err check(const rusm_tcp *tcp, bool listens)
{
    rusm_err err = check_context();

    if (err != RUSM_OK) {
        return err;
    }
    if (tcp == NULL || tcp->listens != listens || !is_owner(tcp, rusm_self())) {
        return rusm_set_err_detail(RUSM_EINVAL, "it is not a %s of the caller",
                                   listens ? "listener" : "connection");
    }
    return RUSM_OK;
}

/* Wait until the system may have more to say. */
static rusm_err wait_ready(const rusm_tcp *tcp, unsigned events, rusm_time deadline)
{
    rusm_err err = rusm_wait_fd(tcp->fd, events, rusmi_time_left(deadline));

    if (err == RUSM_ETIMEOUT) {
        (void)rusm_set_err_detail(err, "the other end did nothing in time");
    } else if (err == RUSM_EKILLED) {
        (void)rusm_set_err_detail(err, "%s", rusm_err_text(err));
    }
    return err;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* As snprintf: the length, and as much as fits. */
static size_t give_text(const char *text, char *buf, size_t buf_len)
{
    int len = snprintf(buf, buf_len, "%s", text);

    return len < 0 ? 0 : (size_t)len;
}

size_t rusm_tcp_address(const rusm_tcp *tcp, char *buf, size_t buf_len)
{
    struct rusmi_address address;
    char text[TEXT_MAX] = "";

    if (tcp != NULL && rusmi_tcp_local_address(tcp->fd, &address) == 0) {
        rusmi_tcp_format(&address, text, sizeof(text));
    }
    return give_text(text, buf, buf_len);
}

size_t rusm_tcp_peer(const rusm_tcp *tcp, char *buf, size_t buf_len)
{
    struct rusmi_address address;
    char text[TEXT_MAX] = "";

    if (tcp != NULL && rusmi_tcp_peer_address(tcp->fd, &address) == 0) {
        rusmi_tcp_format(&address, text, sizeof(text));
    }
    return give_text(text, buf, buf_len);
}

int rusm_tcp_fd(const rusm_tcp *tcp)
{
    return tcp == NULL ? -1 : tcp->fd;
}

/* ---- listening ------------------------------------------------------------------------------- */

/* Whether the next address of the host may do where this one did not: the machine has none of that
 * family. A port that is taken stays taken. */
static bool may_try_next(int rc)
{
    return rc == EAFNOSUPPORT || rc == EADDRNOTAVAIL || rc == EPROTONOSUPPORT;
}

rusm_err rusm_tcp_listen(rusm_tcp **out_listener, const char *address)
{
    struct rusmi_tcp_addresses addresses;
    rusm_tcp *listener;
    rusm_err err = check_context();
    int rc = EADDRNOTAVAIL;

    if (err == RUSM_OK && (out_listener == NULL || address == NULL)) {
        err = rusm_set_err_detail(RUSM_EINVAL, "a listener needs an address");
    }
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_checkpoint();
    err = rusmi_tcp_resolve(address, true, RUSMI_NEVER, &addresses);
    if (err == RUSM_OK) {
        err = tcp_new(&listener, true);
    }
    if (err != RUSM_OK) {
        return err;
    }
    for (size_t i = 0; i < addresses.len && may_try_next(rc); i++) {
        rc = rusmi_tcp_listen(&addresses.list[i], &listener->fd);
    }
    if (rc != 0) {
        tcp_del(listener);
        return rusm_set_err_detail(RUSM_ESYS, "listening on %.100s: %s", address, strerror(rc));
    }
    *out_listener = listener;
    return RUSM_OK;
}

/* The system is short of something: let time pass, more each time. */
static rusm_err accept_later(int64_t *delay_ms, rusm_time deadline)
{
    int64_t left_ms = rusmi_time_left(deadline);

    if (left_ms == 0) {
        return rusm_set_err_detail(RUSM_ETIMEOUT, "no connection could be accepted in time");
    }
    *delay_ms = *delay_ms == 0 ? DELAY_MIN_MS : *delay_ms * 2;
    *delay_ms = *delay_ms > DELAY_MAX_MS ? DELAY_MAX_MS : *delay_ms;
    (void)atomic_fetch_add(&rusmi_process_self()->runtime->accepts_delayed, 1);
    return rusm_sleep(left_ms > 0 && left_ms < *delay_ms ? left_ms : *delay_ms);
}

/* One try, into conn, which is made if there is none yet: nothing of it is lost if the caller is
 * ended while it waits. */
static enum rusmi_tcp_trouble accept_one(const rusm_tcp *listener, rusm_tcp **conn)
{
    if (*conn == NULL && tcp_new(conn, false) != RUSM_OK) {
        return RUSMI_TCP_SHORT;
    }
    return rusmi_tcp_trouble(rusmi_tcp_accept(listener->fd, &(*conn)->fd));
}

rusm_err rusm_tcp_accept(rusm_tcp *listener, int64_t timeout_ms, rusm_tcp **out_conn)
{
    rusm_err err = check(listener, true);
    rusm_time deadline = rusmi_deadline(timeout_ms);
    rusm_tcp *conn = NULL;
    int64_t delay_ms = 0;

    if (err == RUSM_OK && out_conn == NULL) {
        err = rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to put the connection");
    }
    while (err == RUSM_OK) {
        rusm_bump_reductions(1);
        rusmi_checkpoint();
        switch (accept_one(listener, &conn)) {
        case RUSMI_TCP_FINE:
            *out_conn = conn;
            return RUSM_OK;
        case RUSMI_TCP_AGAIN:
            err = wait_ready(listener, RUSM_FD_READ, deadline);
            if (err == RUSM_OK) {
                delay_ms = 0;
            } else if (err == RUSM_ENOMEM || err == RUSM_ESYS) {
                err = accept_later(&delay_ms, deadline);
            }
            break;
        case RUSMI_TCP_LOST:
            break;
        case RUSMI_TCP_SHORT:
            err = accept_later(&delay_ms, deadline);
            break;
        case RUSMI_TCP_WRONG:
            err = rusm_set_err_detail(RUSM_EINVAL, "the descriptor of the listener is not its own");
            break;
        }
    }
    tcp_del(conn);
    return err;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Try one address. *out_rc 0 with RUSM_OK: connected; else errno, and the next may do. */
static rusm_err connect_one(rusm_tcp *conn, const struct rusmi_address *address, rusm_time deadline,
                            int *out_rc)
{
    rusm_err err = RUSM_OK;
    int rc = rusmi_tcp_connect(address, &conn->fd);

    if (rc == EINPROGRESS) {
        err = wait_ready(conn, RUSM_FD_WRITE, deadline);
        rc = err == RUSM_OK ? rusmi_tcp_connected(conn->fd) : ETIMEDOUT;
    }
    if (rc != 0 && conn->fd >= 0) {
        rusmi_tcp_close(conn->fd);
        conn->fd = -1;
    }
    *out_rc = rc;
    return err == RUSM_ETIMEOUT ? RUSM_OK : err;
}

/* The time of one address: its share of what is left, so that one that does not answer leaves some
 * to the others. */
static rusm_time share(rusm_time deadline, size_t addresses)
{
    rusm_time now = rusm_now();

    return deadline == RUSMI_NEVER || now >= deadline ? deadline
                                                      : now + (deadline - now) / addresses;
}

static rusm_err connect_any(rusm_tcp *conn, const struct rusmi_tcp_addresses *addresses,
                            rusm_time deadline, int *out_rc)
{
    *out_rc = EADDRNOTAVAIL;
    for (size_t i = 0; i < addresses->len; i++) {
        int rc;
        rusm_err err =
            connect_one(conn, &addresses->list[i], share(deadline, addresses->len - i), &rc);

        if (err != RUSM_OK) {
            return err;
        }
        /* That one of them refused says more than what the others did. */
        if (rc == 0 || *out_rc != ECONNREFUSED) {
            *out_rc = rc;
        }
        if (rc == 0) {
            break;
        }
    }
    return RUSM_OK;
}

static rusm_err connect_failed(const char *address, int rc)
{
    rusm_err err = rc == ECONNREFUSED ? RUSM_EREFUSED : rc == ETIMEDOUT ? RUSM_ETIMEOUT : RUSM_ESYS;

    return rusm_set_err_detail(err, "connecting to %.100s: %s", address, strerror(rc));
}

rusm_err rusm_tcp_connect(rusm_tcp **out_conn, const char *address, int64_t timeout_ms)
{
    struct rusmi_tcp_addresses addresses;
    rusm_time deadline = rusmi_deadline(timeout_ms);
    rusm_err err = check_context();
    rusm_tcp *conn;
    int rc;

    if (err == RUSM_OK && (out_conn == NULL || address == NULL)) {
        err = rusm_set_err_detail(RUSM_EINVAL, "a connection needs an address");
    }
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_checkpoint();
    err = rusmi_tcp_resolve(address, false, deadline, &addresses);
    if (err == RUSM_OK) {
        err = tcp_new(&conn, false);
    }
    if (err != RUSM_OK) {
        return err;
    }
    err = connect_any(conn, &addresses, deadline, &rc);
    if (err == RUSM_OK && rc != 0) {
        err = connect_failed(address, rc);
    }
    if (err != RUSM_OK) {
        tcp_del(conn);
        return err;
    }
    *out_conn = conn;
    return RUSM_OK;
}

/* ---- reading and writing --------------------------------------------------------------------- */

static rusm_err io_failed(const char *what, int rc)
{
    bool lost =
        rc == ECONNRESET || rc == EPIPE || rc == ENOTCONN || rc == ECONNABORTED || rc == ETIMEDOUT;

    return rusm_set_err_detail(lost ? RUSM_ECLOSED : RUSM_ESYS, "%s: %s", what, strerror(rc));
}

static rusm_err read_some(rusm_tcp *conn, void *buf, size_t len, rusm_time deadline,
                          size_t *out_len)
{
    for (;;) {
        int rc = rusmi_tcp_read(conn->fd, buf, len, out_len);
        rusm_err err;

        if (rc == 0) {
            return RUSM_OK;
        }
        if (rc != EAGAIN) {
            return io_failed("reading", rc);
        }
        err = wait_ready(conn, RUSM_FD_READ, deadline);
        if (err != RUSM_OK) {
            return err;
        }
    }
}

static rusm_err check_read(const rusm_tcp *conn, const void *buf, size_t len)
{
    rusm_err err = check(conn, false);

    if (err == RUSM_OK && (buf == NULL || len == 0)) {
        err = rusm_set_err_detail(RUSM_EINVAL, "there is nowhere to read to");
    }
    if (err == RUSM_OK) {
        /* Before anything is moved, here and in the write: who ends here has moved nothing. */
        rusm_bump_reductions(rusmi_work_of(len));
        rusmi_checkpoint();
    }
    return err;
}

rusm_err rusm_tcp_read(rusm_tcp *conn, void *buf, size_t len, int64_t timeout_ms, size_t *out_len)
{
    rusm_err err = check_read(conn, out_len == NULL ? NULL : buf, len);
    size_t n;

    if (err == RUSM_OK) {
        err = read_some(conn, buf, len, rusmi_deadline(timeout_ms), &n);
    }
    if (err == RUSM_OK) {
        *out_len = n;
    }
    return err;
}

rusm_err rusm_tcp_read_exact(rusm_tcp *conn, void *buf, size_t len, int64_t timeout_ms)
{
    rusm_err err = check_read(conn, buf, len);
    rusm_time deadline = rusmi_deadline(timeout_ms);
    size_t done = 0;

    while (err == RUSM_OK && done < len) {
        size_t n;

        err = read_some(conn, (char *)buf + done, len - done, deadline, &n);
        if (err == RUSM_OK && n == 0) {
            err = rusm_set_err_detail(RUSM_ECLOSED, "the other end closed after %zu of %zu bytes",
                                      done, len);
        } else if (err == RUSM_OK) {
            done += n;
        }
    }
    return err;
}

static rusm_err write_all(rusm_tcp *conn, const char *data, size_t len, rusm_time deadline,
                          size_t *out_written)
{
    rusm_err err = RUSM_OK;

    while (err == RUSM_OK && *out_written < len) {
        size_t n;
        int rc = rusmi_tcp_write(conn->fd, data + *out_written, len - *out_written, &n);

        if (rc == 0) {
            *out_written += n;
        } else if (rc == EAGAIN) {
            err = wait_ready(conn, RUSM_FD_WRITE, deadline);
        } else {
            err = io_failed("writing", rc);
        }
    }
    return err;
}

rusm_err rusm_tcp_write(rusm_tcp *conn, const void *data, size_t len, int64_t timeout_ms,
                        size_t *out_written)
{
    rusm_err err = check(conn, false);
    size_t written = 0;

    if (err == RUSM_OK && data == NULL && len != 0) {
        err = rusm_set_err_detail(RUSM_EINVAL, "there are no bytes to write");
    }
    if (err == RUSM_OK) {
        rusm_bump_reductions(rusmi_work_of(len));
        rusmi_checkpoint();
        err = write_all(conn, data, len, rusmi_deadline(timeout_ms), &written);
    }
    if (out_written != NULL) {
        *out_written = written;
    }
    return err;
}

rusm_err rusm_tcp_shutdown(rusm_tcp *conn)
{
    rusm_err err = check(conn, false);
    int rc;

    if (err != RUSM_OK) {
        return err;
    }
    rc = rusmi_tcp_shutdown(conn->fd);
    return rc == 0 ? RUSM_OK : io_failed("shutting down", rc);
}

/* ---- handing over ---------------------------------------------------------------------------- */

static void tcp_main(void *arg)
{
    rusm_tcp *tcp = arg;

    set_owner(tcp, rusm_self());
    tcp->fn(tcp);
}

rusm_err rusm_tcp_spawn(rusm_tcp *conn, void (*fn)(rusm_tcp *conn), const rusm_spawn_config *cfg,
                        rusm_pid *out_pid)
{
    rusm_pid self = rusm_self();
    rusm_err err = check_context();

    if (err == RUSM_OK && (conn == NULL || fn == NULL || !is_owner(conn, self))) {
        err = rusm_set_err_detail(RUSM_EINVAL,
                                  "it needs a socket of the caller, and a function to serve it");
    }
    if (err != RUSM_OK) {
        return err;
    }
    rusmi_checkpoint();
    conn->fn = fn;
    /* From the spawn on it is another's, and may be gone already when that returns. */
    set_owner(conn, (rusm_pid){self.incarnation, 0});
    err = rusmi_spawn_more(NULL, tcp_main, conn, cfg,
                           &(struct rusmi_spawn_more){.hook = &conn->hook}, out_pid);
    if (err != RUSM_OK) {
        set_owner(conn, self);
    }
    return err;
}
