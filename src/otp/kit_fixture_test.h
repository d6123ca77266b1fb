/* SPDX-License-Identifier: MIT */
/*
 * What the tests of signals share: a body that runs on a deterministic pool once per seed, with the
 * testing thread entered into the runtime and trapping exits. Its blocking calls step the pool, so
 * nothing here waits for real time.
 */
#ifndef RUSMI_OTP_KIT_FIXTURE_TEST_H
#define RUSMI_OTP_KIT_FIXTURE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <rusm/test.h>
#include <stdio.h>
#include <string.h>

/* Seeds that each test is run with. */
#define KIT_SEEDS 40u
/* More steps than any of these tests needs. */
#define KIT_STEPS 100000u

struct kit {
    rusm_pool *pool;
    rusm_runtime *rt;
    rusm_pid self; /* the testing thread */
    uint64_t seed;
};

static struct kit kit;

static inline void kit_open(uint64_t seed)
{
    rusm_runtime_config cfg;

    kit.seed = seed;
    assert_int_equal(rusm_test_pool_new(&kit.pool, seed, NULL), RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = kit.pool;
    cfg.name = "test";
    assert_int_equal(rusm_runtime_new(&kit.rt, &cfg), RUSM_OK);
    assert_int_equal(rusm_thread_enter(kit.rt, "test"), RUSM_OK);
    kit.self = rusm_self();
    assert_false(rusm_trap_exit(true));
}

static inline void kit_close(void)
{
    rusm_thread_leave();
    rusm_runtime_del(kit.rt);
    rusm_pool_del(kit.pool);
}

static inline void kit_each_seed(void (*body)(void))
{
    for (uint64_t seed = 1; seed <= KIT_SEEDS; seed++) {
        kit_open(seed);
        body();
        kit_close();
    }
}

/* Run all that can run. */
static inline void kit_settle(void)
{
    assert_true(rusm_test_run(kit.pool, KIT_STEPS) < KIT_STEPS);
}

/* The next message of the thread, which must come. */
static inline rusm_msg *kit_receive(void)
{
    rusm_msg *msg = NULL;

    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    return msg;
}

/* Nothing is in the thread's mailbox, and nothing will come. */
static inline void kit_silence(void)
{
    rusm_msg *msg;

    kit_settle();
    assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
}

/* The next message is an exit or down of pid with that reason. Returns its text, in a buffer. */
static inline const char *kit_expect(rusm_msg_kind kind, rusm_pid pid, rusm_reason_kind reason)
{
    static char text[RUSM_REASON_TEXT_MAX];
    rusm_msg *msg = kit_receive();

    assert_int_equal(rusm_msg_get_kind(msg), kind);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_non_null(rusm_msg_reason(msg));
    assert_int_equal(rusm_msg_reason(msg)->kind, reason);
    assert_int_equal(rusm_msg_len(msg), 0);
    memcpy(text, rusm_msg_reason(msg)->text, sizeof(text));
    rusm_msg_del(msg);
    return text;
}

static inline void kit_expect_data(rusm_pid pid, const char *data)
{
    rusm_msg *msg = kit_receive();

    assert_int_equal(rusm_msg_get_kind(msg), RUSM_MSG_DATA);
    assert_true(rusm_pid_equal(rusm_msg_sender(msg), pid));
    assert_int_equal(rusm_msg_len(msg), strlen(data));
    assert_memory_equal(rusm_msg_data(msg), data, strlen(data));
    assert_null(rusm_msg_reason(msg));
    rusm_msg_del(msg);
}

/* A process that waits for a message, for ever. */
static inline void kit_body_wait(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    for (;;) {
        (void)!rusm_receive(&msg, RUSM_INFINITY);
        rusm_msg_del(msg);
    }
}

static inline void kit_body_return(void *arg)
{
    (void)arg;
}

static inline rusm_pid kit_spawn(rusm_process_fn fn, void *arg)
{
    rusm_pid pid;

    assert_int_equal(rusm_spawn(kit.rt, fn, arg, &pid), RUSM_OK);
    return pid;
}

static inline rusm_process_info kit_info(rusm_pid pid)
{
    rusm_process_info info;

    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_OK);
    return info;
}

#endif
