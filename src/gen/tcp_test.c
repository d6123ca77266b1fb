/* SPDX-License-Identifier: MIT */
/*
 * TCP on loopback: bytes, ends, errors, who owns a socket, and what is left when a process is
 * killed: after each test this OS process has the descriptors that it had before.
 */
#include "otp/fixture_test.h"

#include "platform/tcp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <rusm/otp/blocking.h>
#include <rusm/otp/link.h>
#include <rusm/otp/tcp.h>
#include <rusm/test.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 200

static struct fixture *fixture;
static size_t descriptors_before;

static size_t descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

/* The testing thread is a process of the runtime, and so may use sockets itself. */
static int setup(void **state)
{
    (void)fixture_setup(state);
    fixture = *state;
    descriptors_before = descriptors();
    assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
    return 0;
}

static int teardown(void **state)
{
    rusm_thread_leave();
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(descriptors(), descriptors_before);
    return fixture_teardown(state);
}

#define tcp_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A listener of the caller, and its address. */
static rusm_tcp *listen_here(char address[64])
{
    rusm_tcp *listener;

    assert_int_equal(rusm_tcp_listen(&listener, "127.0.0.1:0"), RUSM_OK);
    assert_true(rusm_tcp_address(listener, address, 64) < 64);
    assert_memory_equal(address, "127.0.0.1:", 10);
    return listener;
}

/* A connection between two sockets of the caller. */
static void connect_pair(rusm_tcp **out_one, rusm_tcp **out_other)
{
    char address[64];
    rusm_tcp *listener = listen_here(address);

    assert_int_equal(rusm_tcp_connect(out_one, address, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_tcp_accept(listener, TEST_LIMIT_MS, out_other), RUSM_OK);
    rusm_tcp_close(listener);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void test_bytes_go_both_ways_and_each_end_has_its_addresses(void **state)
{
    char address[64], peer[64], buf[16];
    rusm_tcp *listener, *client, *server;
    size_t n;

    (void)state;
    listener = listen_here(address);
    assert_int_equal(rusm_tcp_peer(listener, peer, sizeof(peer)), 0);
    assert_string_equal(peer, "");
    assert_int_equal(rusm_tcp_connect(&client, address, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_tcp_accept(listener, TEST_LIMIT_MS, &server), RUSM_OK);
    assert_int_equal(rusm_tcp_peer(client, peer, sizeof(peer)), strlen(address));
    assert_string_equal(peer, address);
    (void)rusm_tcp_peer(server, peer, sizeof(peer));
    (void)rusm_tcp_address(client, address, sizeof(address));
    assert_string_equal(peer, address);
    assert_int_equal(rusm_tcp_address(client, buf, 4), strlen(address));
    assert_string_equal(buf, "127");
    assert_int_equal(rusm_tcp_write(client, "hello", 5, TEST_LIMIT_MS, &n), RUSM_OK);
    assert_int_equal(n, 5);
    assert_int_equal(rusm_tcp_read_exact(server, buf, 5, TEST_LIMIT_MS), RUSM_OK);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(rusm_tcp_write(server, "hi", 2, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_shutdown(server), RUSM_OK);
    assert_int_equal(rusm_tcp_read(client, buf, sizeof(buf), TEST_LIMIT_MS, &n), RUSM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(rusm_tcp_read(client, buf, sizeof(buf), TEST_LIMIT_MS, &n), RUSM_OK);
    assert_int_equal(n, 0);
    assert_int_equal(rusm_tcp_write(client, "on", 2, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_read(server, buf, sizeof(buf), TEST_LIMIT_MS, &n), RUSM_OK);
    assert_int_equal(n, 2);
    assert_true((fcntl(rusm_tcp_fd(client), F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(rusm_tcp_fd(server), F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(rusm_tcp_fd(server), F_GETFD) & FD_CLOEXEC) != 0);
    rusm_tcp_close(server);
    rusm_tcp_close(client);
    rusm_tcp_close(listener);
    rusm_tcp_close(NULL);
}

static void test_waits_end_at_their_time(void **state)
{
    static char much[1 << 16];
    char address[64], buf[4];
    rusm_tcp *listener, *client, *server, *none = NULL;
    size_t n = 7, total = 0;

    (void)state;
    listener = listen_here(address);
    assert_int_equal(rusm_tcp_accept(listener, 0, &none), RUSM_ETIMEOUT);
    assert_int_equal(rusm_tcp_accept(listener, 5, &none), RUSM_ETIMEOUT);
    assert_null(none);
    rusm_tcp_close(listener);
    connect_pair(&client, &server);
    assert_int_equal(rusm_tcp_read(client, buf, 4, 0, &n), RUSM_ETIMEOUT);
    assert_int_equal(rusm_tcp_read(client, buf, 4, 5, &n), RUSM_ETIMEOUT);
    assert_int_equal(n, 7);
    assert_int_equal(rusm_tcp_write(server, "ab", 2, 0, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_read_exact(client, buf, 4, 5), RUSM_ETIMEOUT);
    while (rusm_tcp_write(client, much, sizeof(much), 5, &n) == RUSM_OK) {
        total += n;
        assert_true(total < (size_t)1 << 30);
    }
    assert_true(n < sizeof(much));
    assert_int_equal(rusm_tcp_write(client, much, sizeof(much), 0, &n), RUSM_ETIMEOUT);
}

static void test_an_end_that_closes_early_is_told(void **state)
{
    const struct linger reset = {1, 0};
    rusm_tcp *client, *server;
    char buf[8];
    size_t n;
    rusm_err err;

    (void)state;
    connect_pair(&client, &server);
    assert_int_equal(rusm_tcp_write(server, "abc", 3, TEST_LIMIT_MS, NULL), RUSM_OK);
    rusm_tcp_close(server);
    assert_int_equal(rusm_tcp_read_exact(client, buf, 8, TEST_LIMIT_MS), RUSM_ECLOSED);
    rusm_tcp_close(client);
    connect_pair(&client, &server);
    assert_int_equal(setsockopt(rusm_tcp_fd(server), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)),
                     0);
    rusm_tcp_close(server);
    assert_int_equal(rusm_tcp_read(client, buf, 8, TEST_LIMIT_MS, &n), RUSM_ECLOSED);
    do {
        err = rusm_tcp_write(client, "x", 1, TEST_LIMIT_MS, NULL); /* and no SIGPIPE */
    } while (err == RUSM_OK);
    assert_int_equal(err, RUSM_ECLOSED);
    rusm_tcp_close(client);
}

/* ---- a process for each connection ----------------------------------------------------------- */

static void serve_echo(rusm_tcp *conn)
{
    char buf[100];
    size_t n;

    while (rusm_tcp_read(conn, buf, sizeof(buf), RUSM_INFINITY, &n) == RUSM_OK && n != 0) {
        assert_int_equal(rusm_tcp_write(conn, buf, n, RUSM_INFINITY, NULL), RUSM_OK);
    }
}

/* The address of the acceptor, for those who connect to it. */
static char echo_address[64];

static void echo_acceptor(void *arg)
{
    rusm_tcp *listener, *conn;

    (void)arg;
    assert_int_equal(rusm_tcp_listen(&listener, "127.0.0.1:0"), RUSM_OK);
    (void)rusm_tcp_address(listener, echo_address, sizeof(echo_address));
    fixture_count(fixture);
    for (;;) {
        assert_int_equal(rusm_tcp_accept(listener, RUSM_INFINITY, &conn), RUSM_OK);
        assert_int_equal(rusm_tcp_spawn(conn, serve_echo, NULL, NULL), RUSM_OK);
    }
}

static void echo_client(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg;
    char text[32], back[32];
    rusm_tcp *conn;

    assert_int_equal(rusm_tcp_connect(&conn, echo_address, TEST_LIMIT_MS), RUSM_OK);
    for (unsigned i = 0; i < 10; i++) {
        int len = snprintf(text, sizeof(text), "client %u says %u", number, i);

        assert_int_equal(rusm_tcp_write(conn, text, (size_t)len, TEST_LIMIT_MS, NULL), RUSM_OK);
        assert_int_equal(rusm_tcp_read_exact(conn, back, (size_t)len, TEST_LIMIT_MS), RUSM_OK);
        assert_memory_equal(text, back, (size_t)len);
    }
    fixture_count(fixture);
}

static void test_two_hundred_clients_get_their_bytes_back(void **state)
{
    rusm_pid acceptor;

    (void)state;
    assert_int_equal(rusm_spawn(fixture->rt, echo_acceptor, NULL, &acceptor), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    for (uintptr_t i = 0; i < CONNECTIONS; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, echo_client, (void *)i, NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &fixture->count, 1 + CONNECTIONS);
    assert_true(rusm_is_alive(acceptor));
}

/* ---- a slow reader --------------------------------------------------------------------------- */

static _Atomic(uint64_t) flood_written;

static void flood(rusm_tcp *conn)
{
    static char much[1 << 20];

    for (int i = 0; i < 8; i++) {
        size_t n;

        assert_int_equal(rusm_tcp_write(conn, much, sizeof(much), RUSM_INFINITY, &n), RUSM_OK);
        (void)atomic_fetch_add(&flood_written, n);
    }
    fixture_count(fixture);
}

static void test_a_slow_reader_suspends_the_writer(void **state)
{
    rusm_tcp *client, *server;
    static char buf[1 << 16];
    size_t n, total = 0;
    rusm_pid pid;

    (void)state;
    atomic_store(&flood_written, 0);
    connect_pair(&client, &server);
    assert_int_equal(rusm_tcp_spawn(server, flood, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_tcp_write(server, "x", 1, 0, NULL), RUSM_EINVAL); /* no longer ours */
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    assert_true(atomic_load(&flood_written) < (uint64_t)8 << 20);
    for (;;) {
        assert_int_equal(rusm_tcp_read(client, buf, sizeof(buf), TEST_LIMIT_MS, &n), RUSM_OK);
        if (n == 0) {
            break; /* it has ended, and its socket with it */
        }
        total += n;
    }
    assert_int_equal(total, (size_t)8 << 20);
    fixture_wait_count(fixture, &fixture->count, 1);
}

/* ---- killed wherever it waits ---------------------------------------------------------------- */

static void wait_to_read(rusm_tcp *conn)
{
    char buf[4];
    size_t n;

    (void)!rusm_tcp_read(conn, buf, sizeof(buf), RUSM_INFINITY, &n);
    abort();
}

static void wait_to_write(rusm_tcp *conn)
{
    static char much[1 << 20];

    for (;;) {
        (void)!rusm_tcp_write(conn, much, sizeof(much), RUSM_INFINITY, NULL);
    }
}

static void wait_to_accept(rusm_tcp *listener)
{
    rusm_tcp *conn;

    (void)!rusm_tcp_accept(listener, RUSM_INFINITY, &conn);
    abort();
}

/* Kill whoever owns `tcp`, once it waits, and see that others hear of it. */
static void kill_waiting(rusm_tcp *tcp, void (*fn)(rusm_tcp *tcp), rusm_tcp *other)
{
    static char buf[1 << 16];
    rusm_spawn_config cfg;
    rusm_pid pid;
    rusm_ref ref;
    rusm_msg *msg;
    size_t n = 1;

    rusm_spawn_config_init(&cfg);
    cfg.out_ref = &ref;
    assert_int_equal(rusm_tcp_spawn(tcp, fn, &cfg, &pid), RUSM_OK);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DOWN);
    assert_int_equal(rusm_msg_reason(msg)->kind, RUSM_REASON_KILLED);
    rusm_msg_del(msg);
    while (other != NULL && n != 0) {
        assert_int_equal(rusm_tcp_read(other, buf, sizeof(buf), TEST_LIMIT_MS, &n), RUSM_OK);
    }
    rusm_tcp_close(other);
}

static void test_a_process_killed_while_it_waits_leaves_no_descriptor(void **state)
{
    char address[64];
    rusm_tcp *one, *other, *listener;

    (void)state;
    connect_pair(&one, &other);
    kill_waiting(one, wait_to_read, other);
    connect_pair(&one, &other);
    kill_waiting(one, wait_to_write, other);
    listener = listen_here(address);
    kill_waiting(listener, wait_to_accept, NULL);
    /* A down comes after the sockets are closed, so the port is free. */
    assert_int_equal(rusm_tcp_listen(&listener, address), RUSM_OK);
    rusm_tcp_close(listener);
    assert_int_equal(descriptors(), descriptors_before);
}

/* A listener whose queue is full: who connects waits. */
static int full_listener(char address[64], int *out_filler)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sin);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    *out_filler = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(*out_filler, (struct sockaddr *)&sin, sizeof(sin)), 0);
    (void)snprintf(address, 64, "127.0.0.1:%u", (unsigned)ntohs(sin.sin_port));
    return fd;
}

static void connect_forever(void *arg)
{
    rusm_tcp *conn;

    (void)!rusm_tcp_connect(&conn, arg, RUSM_INFINITY);
    abort();
}

static void test_a_connect_waits_and_ends_in_time_or_by_a_kill(void **state)
{
    char address[64];
    int filler, fd = full_listener(address, &filler);
    rusm_tcp *conn = NULL;
    rusm_pid pid;

    (void)state;
    assert_int_equal(rusm_tcp_connect(&conn, address, 20), RUSM_ETIMEOUT);
    assert_int_equal(rusm_tcp_connect(&conn, address, 0), RUSM_ETIMEOUT);
    assert_null(conn);
    assert_int_equal(rusm_spawn(fixture->rt, connect_forever, address, &pid), RUSM_OK);
    fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    fixture_until(!rusm_is_alive(pid));
    (void)close(filler);
    (void)close(fd);
}

/* Handed over by one who is killed at once, to one who is killed before it runs. */
static void hold(rusm_tcp *conn)
{
    wait_to_read(conn);
}

static void spawn_and_kill(rusm_tcp *conn)
{
    rusm_pid pid;

    assert_int_equal(rusm_tcp_spawn(conn, hold, NULL, &pid), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
}

static void test_a_process_killed_before_it_runs_closes_what_it_was_given(void **state)
{
    rusm_tcp *one, *other;
    char buf[4];
    size_t n = 1;

    (void)state;
    for (int i = 0; i < 50; i++) {
        connect_pair(&one, &other);
        assert_int_equal(rusm_tcp_spawn(one, spawn_and_kill, NULL, NULL), RUSM_OK);
        assert_int_equal(rusm_tcp_read(other, buf, sizeof(buf), TEST_LIMIT_MS, &n), RUSM_OK);
        assert_int_equal(n, 0);
        rusm_tcp_close(other);
    }
}

static void test_a_socket_that_could_not_be_handed_over_is_still_the_callers(void **state)
{
    rusm_tcp *one, *other;
    rusm_spawn_config cfg;
    char buf[4];

    (void)state;
    connect_pair(&one, &other);
    assert_int_equal(rusm_spawn(fixture->rt, echo_acceptor, NULL, NULL), RUSM_OK);
    rusm_spawn_config_init(&cfg);
    cfg.label = "\n";
    assert_int_equal(rusm_tcp_spawn(one, hold, &cfg, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_spawn(one, NULL, NULL, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_spawn(NULL, hold, NULL, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_write(one, "a", 1, 0, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_read_exact(other, buf, 1, TEST_LIMIT_MS), RUSM_OK);
}

/* ---- trouble of the system ------------------------------------------------------------------- */

static void accept_and_serve(rusm_tcp *listener)
{
    rusm_tcp *conn;

    assert_int_equal(rusm_tcp_accept(listener, RUSM_INFINITY, &conn), RUSM_OK);
    serve_echo(conn);
}

static uint64_t delayed(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
    return stats.accepts_delayed;
}

static void test_an_acceptor_outlives_a_lack_of_descriptors(void **state)
{
    struct rlimit before, low;
    char address[64], buf[4];
    rusm_tcp *listener, *conn, *none = NULL;
    rusm_pid pid;

    (void)state;
    listener = listen_here(address);
    assert_int_equal(rusm_tcp_connect(&conn, address, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 3; /* those that are open stay open; no new one fits */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(rusm_tcp_accept(listener, 25, &none), RUSM_ETIMEOUT);
    assert_null(none);
    assert_true(delayed() >= 2);
    assert_int_equal(rusm_tcp_spawn(listener, accept_and_serve, NULL, &pid), RUSM_OK);
    fixture_until(delayed() >= 4);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rusm_tcp_write(conn, "abcd", 4, TEST_LIMIT_MS, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_read_exact(conn, buf, 4, TEST_LIMIT_MS), RUSM_OK);
    assert_true(rusm_is_alive(pid));
}

static void test_a_connection_lost_before_its_accept_is_passed_over(void **state)
{
    const struct linger reset = {1, 0};
    rusm_tcp *listener, *lost, *conn, *server;
    char address[64], buf[4];

    (void)state;
    listener = listen_here(address);
    assert_int_equal(rusm_tcp_connect(&lost, address, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(setsockopt(rusm_tcp_fd(lost), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)),
                     0);
    rusm_tcp_close(lost);
    assert_int_equal(rusm_tcp_connect(&conn, address, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_tcp_write(conn, "a", 1, TEST_LIMIT_MS, NULL), RUSM_OK);
    do {
        assert_int_equal(rusm_tcp_accept(listener, TEST_LIMIT_MS, &server), RUSM_OK);
    } while (rusm_tcp_read_exact(server, buf, 1, TEST_LIMIT_MS) != RUSM_OK);
}

static void test_errors_of_accept_are_told_apart(void **state)
{
    static const int lost[] = {EINTR,     ECONNABORTED, EPROTO,       EPERM,      ENETDOWN,
                               EHOSTDOWN, ENONET,       EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH};
    static const int shortage[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
    static const int wrong[] = {EBADF, EINVAL, ENOTSOCK};

    (void)state;
    assert_int_equal(rusmi_tcp_trouble(0), RUSMI_TCP_FINE);
    assert_int_equal(rusmi_tcp_trouble(EAGAIN), RUSMI_TCP_AGAIN);
    for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
        assert_int_equal(rusmi_tcp_trouble(lost[i]), RUSMI_TCP_LOST);
    }
    for (size_t i = 0; i < sizeof(shortage) / sizeof(shortage[0]); i++) {
        assert_int_equal(rusmi_tcp_trouble(shortage[i]), RUSMI_TCP_SHORT);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(rusmi_tcp_trouble(wrong[i]), RUSMI_TCP_WRONG);
    }
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void test_addresses_that_are_not_valid_are_refused(void **state)
{
    static const char *const bad[] = {
        "",         "127.0.0.1",     "127.0.0.1:",     "127.0.0.1:x", "127.0.0.1:65536", "::1:80",
        "[::1:80",  "[::1]80",       "[nonsense]:80",  "a b:80",      "host/path:80",    "h:-1",
        "h:000001", "127.0.0.1:80 ", "127.0.0.1:80:80"};
    rusm_tcp *tcp = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(rusm_tcp_listen(&tcp, bad[i]), RUSM_EINVAL);
        assert_int_equal(rusm_tcp_connect(&tcp, bad[i], 0), RUSM_EINVAL);
    }
    assert_int_equal(rusm_tcp_connect(&tcp, ":80", 0), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_connect(&tcp, "127.0.0.1:0", 0), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_listen(&tcp, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_listen(NULL, ":0"), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_connect(&tcp, NULL, 0), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_connect(NULL, "127.0.0.1:1", 0), RUSM_EINVAL);
    assert_null(tcp);
}

static void test_names_are_looked_up(void **state)
{
    char address[64], named[80];
    rusm_tcp *listener, *conn, *none = NULL;

    (void)state;
    assert_int_equal(rusm_tcp_listen(&listener, "localhost:0"), RUSM_OK);
    (void)rusm_tcp_address(listener, address, sizeof(address));
    (void)snprintf(named, sizeof(named), "localhost%s", strrchr(address, ':'));
    assert_int_equal(rusm_tcp_connect(&conn, named, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_tcp_connect(&none, "no..name:80", TEST_LIMIT_MS), RUSM_ENONAME);
    assert_non_null(strstr(rusm_err_detail(), "no..name"));
    assert_null(none);
}

static void test_without_a_host_all_addresses_are_listened_on(void **state)
{
    char address[64], local[80], peer[64];
    rusm_tcp *listener, *conn, *server;

    (void)state;
    assert_int_equal(rusm_tcp_listen(&listener, ":0"), RUSM_OK);
    (void)rusm_tcp_address(listener, address, sizeof(address));
    (void)snprintf(local, sizeof(local), "127.0.0.1%s", strrchr(address, ':'));
    assert_int_equal(rusm_tcp_connect(&conn, local, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_tcp_accept(listener, TEST_LIMIT_MS, &server), RUSM_OK);
    (void)rusm_tcp_peer(server, peer, sizeof(peer));
    assert_memory_equal(peer, "127.0.0.1:", 10); /* not as an address of the newer family */
    if (address[0] == '[') {
        (void)snprintf(local, sizeof(local), "[::1]%s", strrchr(address, ':'));
        assert_int_equal(rusm_tcp_connect(&conn, local, TEST_LIMIT_MS), RUSM_OK);
        assert_int_equal(rusm_tcp_accept(listener, TEST_LIMIT_MS, &server), RUSM_OK);
        (void)rusm_tcp_peer(server, peer, sizeof(peer));
        assert_memory_equal(peer, "[::1]:", 6);
    }
}

static void test_refused_and_taken_ports_are_told(void **state)
{
    char address[64];
    rusm_tcp *listener = listen_here(address), *tcp = NULL;

    (void)state;
    assert_int_equal(rusm_tcp_listen(&tcp, address), RUSM_ESYS);
    assert_non_null(strstr(rusm_err_detail(), strerror(EADDRINUSE)));
    rusm_tcp_close(listener);
    assert_int_equal(rusm_tcp_connect(&tcp, address, TEST_LIMIT_MS), RUSM_EREFUSED);
    assert_non_null(strstr(rusm_err_detail(), address));
    assert_null(tcp);
}

/* ---- mistakes -------------------------------------------------------------------------------- */

struct mistake {
    rusm_tcp *listener, *conn;
};

static void use_others_sockets(void *arg)
{
    struct mistake *mistake = arg;
    rusm_tcp *conn;
    char buf[4];
    size_t n = 5;

    assert_int_equal(rusm_tcp_accept(mistake->listener, 0, &conn), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_read(mistake->conn, buf, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_write(mistake->conn, "a", 1, 0, &n), RUSM_EINVAL);
    assert_int_equal(n, 0);
    assert_int_equal(rusm_tcp_shutdown(mistake->conn), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_spawn(mistake->conn, hold, NULL, NULL), RUSM_EINVAL);
    rusm_tcp_close(mistake->conn);
    rusm_tcp_close(mistake->listener);
    fixture_count(fixture);
}

static void test_mistakes_are_refused_and_change_nothing(void **state)
{
    char address[64], buf[4];
    struct mistake mistake;
    rusm_tcp *conn, *other;
    size_t n;

    (void)state;
    mistake.listener = listen_here(address);
    connect_pair(&conn, &other);
    mistake.conn = conn;
    assert_int_equal(rusm_spawn(fixture->rt, use_others_sockets, &mistake, NULL), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    assert_int_equal(rusm_tcp_accept(conn, 0, &other), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_accept(mistake.listener, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_read(mistake.listener, buf, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_write(mistake.listener, buf, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_read(conn, buf, 0, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_read(conn, NULL, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_read(conn, buf, 4, 0, NULL), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_read_exact(conn, NULL, 4, 0), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_write(conn, NULL, 4, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_write(NULL, "a", 1, 0, &n), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_shutdown(mistake.listener), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_fd(NULL), -1);
    assert_int_equal(rusm_tcp_address(NULL, buf, sizeof(buf)), 0);
    assert_int_equal(rusm_tcp_write(conn, "ab", 2, 0, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_read_exact(other, buf, 2, TEST_LIMIT_MS), RUSM_OK);
}

static void test_outside_a_context_and_in_the_test_kit_there_are_no_sockets(void **state)
{
    rusm_runtime_config cfg;
    rusm_pool *pool;
    rusm_runtime *rt;
    rusm_tcp *tcp;

    (void)state;
    rusm_thread_leave();
    assert_int_equal(rusm_tcp_listen(&tcp, "127.0.0.1:0"), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_tcp_connect(&tcp, "127.0.0.1:1", 0), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_tcp_shutdown(NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_tcp_spawn(NULL, hold, NULL, NULL), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_test_pool_new(&pool, 1, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = pool;
    assert_int_equal(rusm_runtime_new(&rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(rt, NULL), RUSM_OK);
    assert_int_equal(rusm_tcp_listen(&tcp, "127.0.0.1:0"), RUSM_EINVAL);
    assert_int_equal(rusm_tcp_connect(&tcp, "127.0.0.1:1", 0), RUSM_EINVAL);
    rusm_thread_leave();
    rusm_runtime_del(rt);
    rusm_pool_del(pool);
}

/* ---- many, killed at any moment -------------------------------------------------------------- */

static void test_clients_and_servers_killed_at_random_leave_nothing(void **state)
{
    rusm_pid clients[40];
    uint64_t seed = 88172645463325252u;

    (void)state;
    assert_int_equal(rusm_spawn(fixture->rt, echo_acceptor, NULL, NULL), RUSM_OK);
    fixture_wait_count(fixture, &fixture->count, 1);
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < 40; i++) {
            assert_int_equal(rusm_spawn(fixture->rt, echo_client, (void *)i, &clients[i]), RUSM_OK);
        }
        for (size_t i = 0; i < 40; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            for (uint64_t pause = seed % 5; pause > 0; pause--) {
                (void)sched_yield();
            }
            (void)!rusm_kill(clients[i]);
        }
    }
    for (size_t i = 0; i < 40; i++) {
        fixture_until(!rusm_is_alive(clients[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        tcp_test(test_bytes_go_both_ways_and_each_end_has_its_addresses),
        tcp_test(test_waits_end_at_their_time),
        tcp_test(test_an_end_that_closes_early_is_told),
        tcp_test(test_two_hundred_clients_get_their_bytes_back),
        tcp_test(test_a_slow_reader_suspends_the_writer),
        tcp_test(test_a_process_killed_while_it_waits_leaves_no_descriptor),
        tcp_test(test_a_connect_waits_and_ends_in_time_or_by_a_kill),
        tcp_test(test_a_process_killed_before_it_runs_closes_what_it_was_given),
        tcp_test(test_a_socket_that_could_not_be_handed_over_is_still_the_callers),
        tcp_test(test_an_acceptor_outlives_a_lack_of_descriptors),
        tcp_test(test_a_connection_lost_before_its_accept_is_passed_over),
        cmocka_unit_test(test_errors_of_accept_are_told_apart),
        tcp_test(test_addresses_that_are_not_valid_are_refused),
        tcp_test(test_names_are_looked_up),
        tcp_test(test_without_a_host_all_addresses_are_listened_on),
        tcp_test(test_refused_and_taken_ports_are_told),
        tcp_test(test_mistakes_are_refused_and_change_nothing),
        tcp_test(test_outside_a_context_and_in_the_test_kit_there_are_no_sockets),
        tcp_test(test_clients_and_servers_killed_at_random_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
