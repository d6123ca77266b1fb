/* SPDX-License-Identifier: MIT */
/*
 * Supervisors under random requests, crashes and failing starts, several at once, in random orders:
 * whatever happens, in the end the children that should run do, nothing else does, and what the
 * supervisor says of them is so. A failure prints its seed.
 */
#include "gen/supervisor_fixture_test.h"

#define WORLDS 150u
#define ROUNDS 20u

/* What is expected of each worker. */
static struct {
    bool has_spec[WORKERS];
    bool may_rest[WORKERS]; /* it was terminated, so that it need not run */
    rusm_pid sup;
    uint64_t seed;
} model;

static unsigned below(unsigned limit)
{
    return (unsigned)rusm_test_random(kit.pool, limit);
}

static void spec_of(rusm_child_spec *spec, unsigned index)
{
    rusm_child_spec_init(spec);
    spec->id = workers[index].id;
    spec->arg = &workers[index];
    spec->fn = index % 2 == 0 ? worker_main : NULL;
    spec->start = index % 2 == 0 ? NULL : worker_start;
    spec->shutdown_ms = index == 4 ? 0 : 100;
}

static void world_open(uint64_t seed)
{
    rusm_child_spec specs[WORKERS];
    rusm_supervisor_config cfg;

    kit_open(seed);
    memset(&model, 0, sizeof(model));
    rusm_supervisor_config_init(&cfg);
    model.seed = seed;
    cfg.strategy = (rusm_strategy)below(3);
    cfg.max_restarts = UINT32_MAX;
    cfg.backoff_min_ms = below(2) * 50;
    cfg.backoff_max_ms = 200;
    for (unsigned i = 0; i < WORKERS; i++) {
        spec_of(&specs[i], i);
        workers[i].linger_ms = below(3) * 40;
        workers[i].stubborn = below(8) == 0;
        model.has_spec[i] = i < WORKERS - 2;
    }
    model.sup = open_with(&cfg, specs, WORKERS - 2);
}

/* Asks for something while others do; a process of its own, so that many ask at once. */
struct request {
    unsigned what, worker;
    rusm_err err;
};

static void request_main(void *arg)
{
    struct request *self = arg;
    const char *id = workers[self->worker].id;
    rusm_child_spec spec;
    rusm_child_count count;

    switch (self->what) {
    case 0:
        spec_of(&spec, self->worker);
        self->err = rusm_supervisor_start_child(model.sup, &spec, NULL, CALL_MS, NULL);
        break;
    case 1:
        self->err = rusm_supervisor_terminate_child(model.sup, id, CALL_MS);
        break;
    case 2:
        self->err = rusm_supervisor_restart_child(model.sup, id, CALL_MS, NULL);
        break;
    case 3:
        self->err = rusm_supervisor_delete_child(model.sup, id, CALL_MS);
        break;
    default:
        self->err = rusm_supervisor_count(model.sup, CALL_MS, &count);
        break;
    }
}

/* What the model learns from an answer. */
static void request_done(const struct request *request)
{
    bool ok = request->err == RUSM_OK;

    switch (request->what) {
    case 0:
        assert_true(ok == !model.has_spec[request->worker] || request->err == RUSM_EREFUSED);
        model.has_spec[request->worker] = model.has_spec[request->worker] || ok;
        model.may_rest[request->worker] = model.may_rest[request->worker] && !ok;
        break;
    case 1:
        assert_int_equal(request->err, model.has_spec[request->worker] ? RUSM_OK : RUSM_ENONAME);
        model.may_rest[request->worker] = true;
        break;
    case 2:
        assert_true((request->err == RUSM_ENONAME) == !model.has_spec[request->worker]);
        model.may_rest[request->worker] = model.may_rest[request->worker] && !ok;
        break;
    case 3:
        assert_true((request->err == RUSM_ENONAME) == !model.has_spec[request->worker]);
        model.has_spec[request->worker] = model.has_spec[request->worker] && !ok;
        break;
    default:
        assert_true(ok);
        break;
    }
}

/* Crash some, refuse some starts, ask for one thing, and let some time pass in between. */
static void world_round(void)
{
    struct request request = {.what = below(6), .worker = below(WORKERS), .err = RUSM_EAGAIN};

    for (unsigned i = below(4); i > 0; i--) {
        const struct worker *worker = &workers[below(WORKERS)];

        (void)!rusm_send(worker->pid, "c", 1);
    }
    if (below(3) == 0) {
        workers[below(WORKERS)].start_fails = 1 + below(2);
    }
    assert_int_equal(rusm_spawn(NULL, request_main, &request, NULL), RUSM_OK);
    (void)rusm_test_run(kit.pool, below(40));
    for (unsigned i = below(3); i > 0; i--) {
        (void)!rusm_kill(workers[below(WORKERS)].pid);
    }
    pass_ms(below(2) == 0 ? 30 : 2000);
    while (request.err == RUSM_EAGAIN) {
        pass_ms(50);
    }
    request_done(&request);
}

static uint64_t processes(void)
{
    rusm_runtime_stats stats;

    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    return stats.processes;
}

/* Once all is quiet. */
static void world_check(void)
{
    rusm_child_info infos[WORKERS];
    uint64_t cursor = 0, active = 0;
    ptrdiff_t len;

    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].start_fails = 0;
    }
    pass_ms(5000);
    len = rusm_supervisor_list(model.sup, &cursor, infos, WORKERS, CALL_MS);
    for (ptrdiff_t i = 0; i < len; i++) {
        unsigned worker = (unsigned)(infos[i].id[0] - 'a');

        assert_true(model.has_spec[worker]);
        assert_false(infos[i].is_waiting);
        if (!rusm_pid_is_none(infos[i].pid)) {
            active++;
            assert_true(rusm_is_alive(infos[i].pid));
            assert_true(rusm_pid_equal(infos[i].pid, workers[worker].pid));
        } else {
            assert_true(model.may_rest[worker]);
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        len -= model.has_spec[i] ? 1 : 0;
    }
    assert_int_equal(len, 0);
    assert_int_equal(count_of(model.sup).active, active);
    assert_int_equal(processes(), 2 + active); /* this thread, the supervisor, the children */
    assert_int_equal(unexpected(), 0);
}

static void test_random_worlds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        world_open(seed);
        for (unsigned round = 0; round < ROUNDS; round++) {
            world_round();
        }
        world_check();
        stop(model.sup);
        assert_int_equal(processes(), 1);
        kit_close();
    }
}

static int print_seed(void **state)
{
    (void)state;
    if (kit.pool != NULL) {
        print_message("the world of seed %llu failed\n", (unsigned long long)model.seed);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_worlds, print_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
