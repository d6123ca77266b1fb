/* SPDX-License-Identifier: MIT */
/* Drivers: posts, descriptors, timers, closing; and processes that wait for descriptors. */
#include "otp/fixture_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct machine {
    struct fixture *fixture;
    rusm_driver *driver;
    void (*step)(struct machine *machine, rusm_time now_ns); /* NULL: count only */
    int fd, events;
    rusm_time at;
    _Atomic(uint64_t) runs, closed, seen;
    _Atomic(int) inside; /* runs at this moment */
    _Atomic(int) overlap;
    _Atomic(uint64_t) posted; /* what posters have written */
};

static void machine_run(void *arg, rusm_time now_ns)
{
    struct machine *machine = arg;

    if (atomic_fetch_add(&machine->inside, 1) != 0) {
        atomic_store(&machine->overlap, 1);
    }
    if (machine->step != NULL) {
        machine->step(machine, now_ns);
    }
    atomic_store(&machine->seen, atomic_load(&machine->posted));
    (void)atomic_fetch_add(&machine->runs, 1);
    (void)atomic_fetch_sub(&machine->inside, 1);
    rusm_waiter_wake(machine->fixture->done);
}

static void machine_closed(void *arg)
{
    struct machine *machine = arg;
    struct fixture *fixture = machine->fixture;

    if (atomic_load(&machine->inside) != 0) {
        atomic_store(&machine->overlap, 1);
    }
    (void)atomic_fetch_add(&machine->closed, 1); /* after this, the test may reuse *machine */
    rusm_waiter_wake(fixture->done);
}

static void machine_open(struct machine *machine, struct fixture *fixture,
                         void (*step)(struct machine *machine, rusm_time now_ns))
{
    rusm_driver_config cfg = {.size = sizeof(cfg),
                              .label = "machine",
                              .run = machine_run,
                              .closed = machine_closed,
                              .arg = machine};

    memset(machine, 0, sizeof(*machine));
    machine->fixture = fixture;
    machine->step = step;
    machine->fd = -1;
    assert_int_equal(rusm_driver_new(&machine->driver, fixture->rt, &cfg), RUSM_OK);
}

static void machine_close(struct machine *machine)
{
    rusm_driver_close(machine->driver);
    fixture_wait_count(machine->fixture, &machine->closed, 1);
    assert_int_equal(atomic_load(&machine->overlap), 0);
}

static void test_config_is_checked(void **state)
{
    struct fixture *fixture = *state;
    rusm_driver *driver = NULL;
    rusm_driver_config cfg = {.size = sizeof(cfg), .run = machine_run, .closed = machine_closed};

    assert_int_equal(rusm_driver_new(&driver, NULL, &cfg), RUSM_EINVAL);
    cfg.run = NULL;
    assert_int_equal(rusm_driver_new(&driver, fixture->rt, &cfg), RUSM_EINVAL);
    cfg.run = machine_run;
    cfg.size = 0;
    assert_int_equal(rusm_driver_new(&driver, fixture->rt, &cfg), RUSM_EINVAL);
    cfg.size = sizeof(cfg);
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_driver_new(&driver, fixture->rt, &cfg), RUSM_ECLOSED);
    assert_null(driver);
}

static void test_post_from_a_thread_runs_the_driver(void **state)
{
    struct machine machine;

    machine_open(&machine, *state, NULL);
    for (uint64_t i = 1; i <= 100; i++) {
        rusm_driver_post(machine.driver);
        fixture_wait_count(*state, &machine.runs, i);
        fixture_until(atomic_load(&machine.inside) == 0);
    }
    machine_close(&machine);
}

static void *post_many(void *arg)
{
    struct machine *machine = arg;

    for (int i = 0; i < 20000; i++) {
        (void)atomic_fetch_add(&machine->posted, 1);
        rusm_driver_post(machine->driver);
    }
    return NULL;
}

static void body_post_many(void *arg)
{
    struct machine *machine = arg;

    for (int i = 0; i < 20000; i++) {
        (void)atomic_fetch_add(&machine->posted, 1);
        rusm_driver_post(machine->driver);
        if (i % 100 == 0) {
            rusm_yield();
        }
    }
    fixture_count(machine->fixture);
}

/* Whatever was written before a post is seen by a run after it, and runs never overlap. */
static void test_post_storm_misses_nothing_and_never_overlaps(void **state)
{
    struct fixture *fixture = *state;
    struct machine machine;
    pthread_t threads[2];
    rusm_pid pid;

    machine_open(&machine, fixture, NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &machine), 0);
        assert_int_equal(rusm_spawn(fixture->rt, body_post_many, &machine, &pid), RUSM_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    fixture_wait_count(fixture, &fixture->count, 2);
    fixture_until(atomic_load(&machine.seen) == 80000);
    machine_close(&machine);
}

/* ---- closing ---- */

static void step_close(struct machine *machine, rusm_time now_ns)
{
    (void)now_ns;
    if (atomic_load(&machine->runs) == 2) {
        rusm_driver_close(machine->driver);
    } else {
        rusm_driver_post(machine->driver);
    }
}

static void test_driver_posts_and_closes_itself(void **state)
{
    struct machine machine;

    machine_open(&machine, *state, step_close);
    rusm_driver_post(machine.driver);
    fixture_wait_count(*state, &machine.closed, 1);
    assert_int_equal(atomic_load(&machine.runs), 3);
    assert_int_equal(atomic_load(&machine.overlap), 0);
}

static void test_closed_comes_once_and_last(void **state)
{
    struct fixture *fixture = *state;
    struct machine machines[200];

    for (int i = 0; i < 200; i++) {
        machine_open(&machines[i], fixture, NULL);
        rusm_driver_set_timer(machines[i].driver, rusm_now() + (rusm_time)i * 10000);
        rusm_driver_post(machines[i].driver);
    }
    for (int i = 0; i < 200; i++) {
        rusm_driver_close(machines[i].driver);
    }
    for (int i = 0; i < 200; i++) {
        fixture_wait_count(fixture, &machines[i].closed, 1);
        assert_int_equal(atomic_load(&machines[i].overlap), 0);
    }
    assert_int_equal(rusm_runtime_stop(fixture->rt, TEST_LIMIT_MS), RUSM_OK);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(atomic_load(&machines[i].closed), 1);
    }
}

/* ---- timers ---- */

static void step_timer(struct machine *machine, rusm_time now_ns)
{
    if (now_ns < machine->at) {
        return;
    }
    (void)atomic_fetch_add(&machine->posted, 1);
    if (atomic_load(&machine->posted) < 5) {
        machine->at = rusm_now() + 2000000;
        rusm_driver_set_timer(machine->driver, machine->at);
    } else {
        rusm_driver_set_timer(machine->driver, 0);
    }
}

static void test_timer_runs_the_driver_again_and_again(void **state)
{
    struct machine machine;

    machine_open(&machine, *state, step_timer);
    machine.at = rusm_now() + 2000000;
    rusm_driver_set_timer(machine.driver, machine.at);
    fixture_wait_count(*state, &machine.posted, 5);
    machine_close(&machine);
    assert_int_equal(atomic_load(&machine.posted), 5);
}

static void step_pull_in(struct machine *machine, rusm_time now_ns)
{
    if (machine->at == 0) {
        machine->at = now_ns + 3000000;
        rusm_driver_set_timer(machine->driver, machine->at);
    } else if (now_ns >= machine->at) {
        (void)atomic_fetch_add(&machine->posted, 1);
        rusm_driver_set_timer(machine->driver, 0);
    }
}

/* A timer that has led to a run is over: it does not lead to another. */
static void test_timer_fires_once(void **state)
{
    struct machine machine, later;

    machine_open(&machine, *state, NULL);
    machine_open(&later, *state, NULL);
    rusm_driver_set_timer(machine.driver, rusm_now() + 1000000);
    fixture_wait_count(*state, &machine.runs, 1);
    for (uint64_t i = 1; i <= 3; i++) {
        rusm_driver_post(later.driver);
        fixture_wait_count(*state, &later.runs, i);
        fixture_until(atomic_load(&later.inside) == 0);
    }
    machine_close(&later);
    machine_close(&machine);
    assert_int_equal(atomic_load(&machine.runs), 1);
}

/* An earlier time replaces one that was far away. */
static void test_timer_is_replaced_by_an_earlier_one(void **state)
{
    struct machine machine;

    machine_open(&machine, *state, step_pull_in);
    rusm_driver_set_timer(machine.driver, rusm_now() + (rusm_time)3600 * 1000000000u);
    rusm_driver_post(machine.driver);
    fixture_wait_count(*state, &machine.posted, 1);
    machine_close(&machine);
}

/* ---- descriptors ---- */

static void step_drain(struct machine *machine, rusm_time now_ns)
{
    uint64_t value;

    (void)now_ns;
    /* One read a run: what is left over must lead to another run. */
    if (read(machine->fd, &value, 1) == 1) {
        (void)atomic_fetch_add(&machine->posted, 1);
    }
}

static void step_detach(struct machine *machine, rusm_time now_ns)
{
    (void)now_ns;
    if (machine->events == 0) {
        (void)!rusm_driver_set_fd(machine->driver, machine->fd, 0);
        (void)atomic_fetch_add(&machine->posted, 1000000);
    }
}

static void test_descriptor_is_level_triggered(void **state)
{
    struct fixture *fixture = *state;
    struct machine machine;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    machine_open(&machine, fixture, step_drain);
    machine.fd = fds[0];
    assert_int_equal(rusm_driver_set_fd(machine.driver, fds[0], RUSM_FD_READ), RUSM_OK);
    assert_int_equal(write(fds[1], "0123456789", 10), 10);
    fixture_wait_count(fixture, &machine.posted, 10);
    assert_int_equal(write(fds[1], "0123456789", 10), 10);
    fixture_wait_count(fixture, &machine.posted, 20);
    /* Taken out in a run, as the contract asks. */
    fixture_until(atomic_load(&machine.inside) == 0);
    machine.step = step_detach;
    rusm_driver_post(machine.driver);
    fixture_wait_count(fixture, &machine.posted, 1000000);
    machine_close(&machine);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void test_descriptors_that_cannot_be_polled_are_refused(void **state)
{
    struct machine machine;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    machine_open(&machine, *state, NULL);
    assert_int_equal(rusm_driver_set_fd(machine.driver, fd, RUSM_FD_READ), RUSM_ESYS);
    (void)close(fd);
    assert_int_equal(rusm_driver_set_fd(machine.driver, fd, RUSM_FD_READ), RUSM_ESYS);
    assert_int_equal(rusm_driver_set_fd(machine.driver, fd, 0), RUSM_OK);
    machine_close(&machine);
}

/* ---- processes that wait for descriptors ---- */

struct reader {
    struct fixture *fixture;
    int fd;
    int64_t timeout_ms;
    unsigned events;
    rusm_err err;
};

static void body_wait_fd(void *arg)
{
    struct reader *reader = arg;

    reader->err = rusm_wait_fd(reader->fd, reader->events, reader->timeout_ms);
    fixture_count(reader->fixture);
}

static void test_process_waits_for_a_descriptor(void **state)
{
    struct fixture *fixture = *state;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct reader reader = {fixture, fd, RUSM_INFINITY, RUSM_FD_READ, RUSM_OK};
    struct reader second = {fixture, fd, RUSM_INFINITY, RUSM_FD_READ, RUSM_OK};
    uint64_t one = 1;
    rusm_pid pid;

    for (uint64_t round = 0; round < 20; round++) {
        reader.err = RUSM_EPROTO;
        assert_int_equal(rusm_spawn(fixture->rt, body_wait_fd, &reader, &pid), RUSM_OK);
        fixture_until(fixture_state(pid) == RUSM_PROCESS_WAITING);
        assert_int_equal(rusm_spawn(fixture->rt, body_wait_fd, &second, NULL), RUSM_OK);
        fixture_wait_count(fixture, &fixture->count, 2 * round + 1);
        assert_int_equal(second.err, RUSM_EINVAL);
        assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
        fixture_wait_count(fixture, &fixture->count, 2 * round + 2);
        assert_int_equal(reader.err, RUSM_OK);
        assert_int_equal(read(fd, &one, sizeof(one)), sizeof(one));
        one = 1;
    }
    (void)close(fd);
}

static void test_waiting_for_a_descriptor_can_fail(void **state)
{
    struct fixture *fixture = *state;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fds[2];

    assert_int_equal(rusm_thread_enter(fixture->rt, NULL), RUSM_OK);
    assert_int_equal(rusm_wait_fd(fd, RUSM_FD_READ, 5), RUSM_ETIMEOUT);
    assert_int_equal(rusm_wait_fd(fd, RUSM_FD_WRITE, TEST_LIMIT_MS), RUSM_OK);
    assert_int_equal(rusm_wait_fd(fd, 0, 0), RUSM_EINVAL);
    assert_int_equal(rusm_wait_fd(fd, 8, 0), RUSM_EINVAL);
    assert_int_equal(rusm_wait_fd(file, RUSM_FD_READ, 0), RUSM_ESYS);
    assert_int_equal(rusm_wait_fd(123456, RUSM_FD_READ, 0), RUSM_ESYS);
    /* An end of file is an event like any other. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    (void)close(fds[1]);
    assert_int_equal(rusm_wait_fd(fds[0], RUSM_FD_READ, TEST_LIMIT_MS), RUSM_OK);
    rusm_thread_leave();
    (void)close(fds[0]);
    (void)close(fd);
    (void)close(file);
}

/* ---- I/O goes on while processes hold every scheduler ---- */

static void body_hold(void *arg)
{
    struct machine *machine = arg;

    while (atomic_load(&machine->posted) < 100) {
    }
    fixture_count(machine->fixture);
}

static void io_goes_on(struct fixture *fixture, int holders)
{
    struct machine machine, timed;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    machine_open(&machine, fixture, step_drain);
    machine.fd = fds[0];
    machine_open(&timed, fixture, step_timer);
    timed.at = rusm_now() + 30000000;
    assert_int_equal(rusm_driver_set_fd(machine.driver, fds[0], RUSM_FD_READ), RUSM_OK);
    rusm_driver_set_timer(timed.driver, timed.at);
    for (int i = 0; i < holders; i++) {
        assert_int_equal(rusm_spawn(fixture->rt, body_hold, &machine, NULL), RUSM_OK);
    }
    fixture_wait_count(fixture, &timed.posted, 5);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(write(fds[1], "x", 1), 1);
        fixture_wait_count(fixture, &machine.posted, (uint64_t)i + 1);
    }
    fixture_wait_count(fixture, &fixture->count, (uint64_t)holders);
    fixture_until(atomic_load(&machine.inside) == 0);
    machine.step = step_detach;
    rusm_driver_post(machine.driver);
    fixture_wait_count(fixture, &machine.posted, 1000000);
    machine_close(&machine);
    machine_close(&timed);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void test_io_goes_on_while_a_process_holds_one_thread(void **state)
{
    io_goes_on(*state, 1);
}

static void test_io_goes_on_while_processes_hold_every_thread(void **state)
{
    io_goes_on(*state, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_config_is_checked),
        fixture_test(test_post_from_a_thread_runs_the_driver),
        fixture_test(test_post_storm_misses_nothing_and_never_overlaps),
        fixture_test(test_driver_posts_and_closes_itself),
        fixture_test(test_closed_comes_once_and_last),
        fixture_test(test_timer_runs_the_driver_again_and_again),
        fixture_test(test_timer_fires_once),
        fixture_test(test_timer_is_replaced_by_an_earlier_one),
        fixture_test(test_descriptor_is_level_triggered),
        fixture_test(test_descriptors_that_cannot_be_polled_are_refused),
        fixture_test(test_process_waits_for_a_descriptor),
        fixture_test(test_waiting_for_a_descriptor_can_fail),
        fixture_test(test_io_goes_on_while_a_process_holds_one_thread),
        fixture_test(test_io_goes_on_while_processes_hold_every_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
