/* SPDX-License-Identifier: MIT */
/*
 * Streams, sockets and blocking work with the caller's first allocation failing, then the second,
 * and so on until none is met: what fails says so, and leaves neither memory nor descriptors.
 */
#include "gen/heap_fixture_test.h"
#include "otp/fixture_test.h"

#include <dirent.h>
#include <rusm/otp/blocking.h>
#include <rusm/otp/stream.h>
#include <rusm/otp/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Run op, as a fresh process each time, with each allocation failing in turn. */
static void fail_each(struct fixture *fixture, rusm_err (*op)(void))
{
    size_t before = descriptors();
    bool met = true;
    int failed = 0;

    for (int n = 1; met; n++) {
        rusm_runtime_stats stats;
        rusm_err err;

        assert_int_equal(rusm_thread_enter(fixture->rt, "test"), RUSM_OK);
        fail_at = n;
        err = op();
        met = fail_at == 0;
        fail_at = 0;
        if (err != RUSM_OK && err != RUSM_ENOMEM) {
            fail_msg("allocation %d: %s (%s)", n, rusm_err_name(err), rusm_err_detail());
        }
        assert_true(met || err == RUSM_OK);
        failed += err != RUSM_OK;
        rusm_thread_leave();
        do {
            (void)sched_yield();
            assert_int_equal(rusm_runtime_get_stats(fixture->rt, &stats), RUSM_OK);
        } while (stats.processes != 0);
        assert_int_equal(descriptors(), before);
    }
    assert_true(failed > 0);
}

/* ---- what is tried --------------------------------------------------------------------------- */

static rusm_err op_stream(void)
{
    rusm_stream *writer, *reader, *taken;
    rusm_msg *msg;
    char buf[8];
    size_t n;
    rusm_err err = rusm_stream_new(100, &writer, &reader);

    if (err == RUSM_OK) {
        err = rusm_stream_send(rusm_self(), reader, "x", 1);
    }
    if (err == RUSM_OK) {
        err = rusm_receive(&msg, 0);
    }
    if (err != RUSM_OK) {
        return err;
    }
    taken = rusm_msg_take_stream(msg);
    rusm_msg_del(msg);
    err = rusm_stream_write(writer, "abc", 3, 0, NULL);
    if (taken == NULL) {
        assert_int_equal(err, RUSM_ECLOSED); /* it went with the message */
        return RUSM_ENOMEM;
    }
    assert_int_equal(err, RUSM_OK);
    assert_int_equal(rusm_stream_read(taken, buf, sizeof(buf), 0, &n), RUSM_OK);
    assert_int_equal(n, 3);
    return RUSM_OK;
}

static void serve(rusm_tcp *conn)
{
    char buf[8];
    size_t n;

    while (rusm_tcp_read(conn, buf, sizeof(buf), RUSM_INFINITY, &n) == RUSM_OK && n != 0) {
        (void)!rusm_tcp_write(conn, buf, n, RUSM_INFINITY, NULL);
    }
}

static rusm_err tcp_with(const char *host)
{
    char address[80], listened[64], buf[4];
    rusm_tcp *listener, *client, *server;
    rusm_err err;

    (void)snprintf(address, sizeof(address), "%s:0", host);
    err = rusm_tcp_listen(&listener, address);
    if (err != RUSM_OK) {
        return err;
    }
    (void)rusm_tcp_address(listener, listened, sizeof(listened));
    (void)snprintf(address, sizeof(address), "%s%s", host, strrchr(listened, ':'));
    err = rusm_tcp_connect(&client, address, TEST_LIMIT_MS);
    if (err == RUSM_OK) {
        err = rusm_tcp_accept(listener, TEST_LIMIT_MS, &server);
    }
    if (err == RUSM_OK) {
        err = rusm_tcp_spawn(server, serve, NULL, NULL);
    }
    if (err == RUSM_OK) {
        err = rusm_tcp_write(client, "abcd", 4, TEST_LIMIT_MS, NULL);
    }
    if (err == RUSM_OK) {
        err = rusm_tcp_read_exact(client, buf, 4, TEST_LIMIT_MS);
    }
    return err;
}

static rusm_err op_tcp(void)
{
    return tcp_with("127.0.0.1");
}

static rusm_err op_tcp_by_name(void)
{
    return tcp_with("localhost");
}

static void body_return(void *arg)
{
    (void)arg;
}

static rusm_err op_blocking(void)
{
    rusm_spawn_config cfg;
    rusm_ref ref;
    rusm_msg *msg;
    rusm_err err;

    rusm_spawn_config_init(&cfg);
    cfg.name = "worker";
    cfg.label = "worker";
    cfg.link = true;
    cfg.out_ref = &ref;
    err = rusm_spawn_blocking(NULL, body_return, NULL, &cfg, NULL);
    if (err == RUSM_OK) {
        err = rusm_receive(&msg, TEST_LIMIT_MS);
    }
    return err;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_streams_without_memory(void **state)
{
    fail_each(*state, op_stream);
}

static void test_tcp_without_memory(void **state)
{
    fail_each(*state, op_tcp);
}

static void test_tcp_by_name_without_memory(void **state)
{
    fail_each(*state, op_tcp_by_name);
}

static void test_blocking_work_without_memory(void **state)
{
    fail_each(*state, op_blocking);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_streams_without_memory),
        fixture_test(test_tcp_without_memory),
        fixture_test(test_tcp_by_name_without_memory),
        fixture_test(test_blocking_work_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
