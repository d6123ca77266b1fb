/* SPDX-License-Identifier: MIT */
/* What supervisors hear of while they do something: requests, strangers, the end of their parent;
 * and children that come and go at run time. */
#include "gen/supervisor_fixture_test.h"

/* ---- the end of others ----------------------------------------------------------------------- */

static void test_end_of_parent_stops_everything(void **state)
{
    static const char *const moments[] = {"idle", "back-off", "shutdown"};
    const rusm_reason why = rusm_reason_crashed("parent");

    (void)state;
    for (unsigned moment = 0; moment < 3; moment++) {
        for_seeds(seed)
        {
            rusm_child_spec specs[2];
            rusm_pid sup;

            kit_open(seed);
            sup = open_with_backoff(RUSM_ONE_FOR_ONE, specs, 2);
            if (strcmp(moments[moment], "back-off") == 0) {
                (void)crash_and_wait(&workers[0]);
                tell(&workers[0], "c");
                kit.line[0] = '\0';
            } else if (strcmp(moments[moment], "shutdown") == 0) {
                workers[0].linger_ms = 2000;
                assert_int_equal(rusm_supervisor_terminate_child(sup, "a", 1000), RUSM_ETIMEOUT);
                kit.line[0] = '\0';
            } else {
                kit.line[0] = '\0';
            }
            assert_int_equal(rusm_exit_process(sup, &why), RUSM_OK);
            settle();
            if (moment == 2) {
                assert_said(""); /* the one that it waits for is not cut short */
                pass_ms(1001);
                assert_said("-a -b");
            } else {
                assert_said(moment == 0 ? "-b -a" : "-b");
            }
            assert_false(rusm_is_alive(sup));
            assert_int_equal(exit_of(sup, NULL), RUSM_REASON_CRASHED);
        }
    }
}

static void short_lived_parent(void *arg)
{
    rusm_child_spec specs[3];
    rusm_supervisor_config cfg;

    (void)arg;
    specs_init(specs, 3);
    for (unsigned i = 0; i < 3; i++) {
        specs[i].fn = NULL;
        specs[i].start = slow_start;
    }
    rusm_supervisor_config_init(&cfg);
    cfg.name = "boss";
    cfg.children = specs;
    cfg.children_len = 3;
    assert_int_equal(rusm_supervisor_start(&cfg, NULL), RUSM_OK);
    fail();
}

static void test_end_of_parent_during_start(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid parent, sup;

        kit_open(seed);
        assert_int_equal(rusm_spawn(NULL, short_lived_parent, NULL, &parent), RUSM_OK);
        pass_ms(1500);
        assert_int_equal(rusm_whereis(NULL, "boss", &sup), RUSM_OK);
        assert_said("+a");
        assert_int_equal(rusm_kill(parent), RUSM_OK);
        pass_ms(501);
        assert_false(rusm_is_alive(sup)); /* the second had begun to start, and was stopped */
        assert_int_equal(workers[2].starts, 0);
        assert_false(rusm_is_alive(workers[0].pid));
        assert_false(rusm_is_alive(workers[1].pid));
    }
}

static void test_thread_that_leaves_is_a_parent_that_ends(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 2);
        kit.line[0] = '\0';
        rusm_thread_leave();
        settle();
        assert_said("-b -a");
        assert_false(rusm_is_alive(sup));
    }
}

static void test_killed_supervisor_takes_its_children_along(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 3);
        assert_int_equal(rusm_kill(sup), RUSM_OK);
        settle();
        for (unsigned i = 0; i < 3; i++) {
            assert_false(rusm_is_alive(workers[i].pid));
            assert_int_equal(workers[i].starts, 1);
        }
        assert_int_equal(exit_of(sup, NULL), RUSM_REASON_KILLED);
    }
}

/* ---- while it is at something else ----------------------------------------------------------- */

static void sibling_crasher(void *arg)
{
    (void)arg;
    assert_int_equal(rusm_send(workers[1].pid, "c", 1), RUSM_OK);
    assert_int_equal(rusm_send(workers[2].pid, "n", 1), RUSM_OK);
}

struct asker {
    rusm_pid sup;
    rusm_err err;
    rusm_child_count count;
};

static void asker_main(void *arg)
{
    struct asker *self = arg;

    self->err = rusm_supervisor_count(self->sup, INFINITE, &self->count);
}

static void test_what_happens_during_a_stop_is_handled_afterwards(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        struct asker asker = {.err = RUSM_EAGAIN};
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 3);
        workers[0].linger_ms = 2000;
        assert_int_equal(rusm_supervisor_terminate_child(sup, "a", 100), RUSM_ETIMEOUT);
        kit.line[0] = '\0';
        asker.sup = sup;
        assert_int_equal(rusm_spawn(NULL, asker_main, &asker, NULL), RUSM_OK);
        assert_int_equal(rusm_spawn(NULL, sibling_crasher, NULL, NULL), RUSM_OK);
        settle();
        assert_int_equal(strlen(kit.line), strlen("-b -c"));
        assert_int_equal(asker.err, RUSM_EAGAIN);
        pass_ms(2000);
        assert_int_equal(strncmp(kit.line + 6, "-a +", 4), 0);
        assert_int_equal(asker.err, RUSM_OK);
        assert_int_equal(asker.count.active, 2);
        assert_int_equal(asker.count.restarts, 2);
        assert_int_equal(count_of(sup).specs, 3);
        stop(sup);
    }
}

static void stranger_main(void *arg)
{
    const rusm_reason why = rusm_reason_crashed("nonsense");
    const rusm_pid *sup = arg;

    assert_int_equal(rusm_exit_process(*sup, &why), RUSM_OK);
    assert_int_equal(rusm_send(*sup, "hello", 5), RUSM_OK);
    assert_int_equal(rusm_cast(*sup, "hello", 5), RUSM_OK);
    assert_int_equal(rusm_link(*sup), RUSM_OK);
    rusm_crash("as well");
}

static void test_strangers_are_ignored_and_counted(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_msg *reply;
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ALL, 2);
        kit.line[0] = '\0';
        assert_int_equal(rusm_spawn(NULL, stranger_main, &sup, NULL), RUSM_OK);
        settle();
        assert_said("");
        assert_int_equal(unexpected(), 4);
        /* A call that is no request is answered, so that nobody waits for nothing. */
        assert_int_equal(rusm_call(sup, "what?", 5, CALL_MS, &reply), RUSM_OK);
        rusm_msg_del(reply);
        assert_int_equal(count_of(sup).active, 2);
        stop(sup);
    }
}

/* A child's own exit signal to its supervisor is no end of the child. */
static void impostor_main(void *arg)
{
    const rusm_reason why = rusm_reason_make(RUSM_REASON_SHUTDOWN);
    rusm_pid *sup = arg;
    rusm_msg *msg;

    assert_int_equal(rusm_exit_process(*sup, &why), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, INFINITE), RUSM_OK);
}

static void test_exit_signal_of_a_child_is_not_its_end(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec spec;
        rusm_pid sup, child;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 1);
        rusm_child_spec_init(&spec);
        spec.id = "impostor";
        spec.fn = impostor_main;
        spec.arg = &sup;
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, &child), RUSM_OK);
        settle();
        assert_int_equal(count_of(sup).active, 2);
        assert_true(rusm_is_alive(child));
        stop(sup);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void test_requests(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup, pid = RUSM_PID_NONE;

        kit_open(seed);
        specs_init(specs, 4);
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, specs, 2);
        specs[2].is_supervisor = true;
        assert_int_equal(rusm_supervisor_start_child(sup, &specs[2], NULL, CALL_MS, &pid), RUSM_OK);
        settle();
        assert_true(rusm_pid_equal(pid, workers[2].pid));
        assert_int_equal(rusm_supervisor_start_child(sup, &specs[1], NULL, CALL_MS, &pid),
                         RUSM_EEXIST);
        assert_int_equal(rusm_supervisor_start_child(sup, NULL, NULL, CALL_MS, &pid), RUSM_EINVAL);
        assert_int_equal(count_of(sup).supervisors, 1);

        kit.line[0] = '\0';
        assert_int_equal(rusm_supervisor_restart_child(sup, "b", CALL_MS, NULL), RUSM_EEXIST);
        assert_int_equal(rusm_supervisor_delete_child(sup, "b", CALL_MS), RUSM_EEXIST);
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_said("-b");
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(count_of(sup).specs, 3);
        assert_int_equal(count_of(sup).active, 2);
        assert_int_equal(rusm_supervisor_restart_child(sup, "b", CALL_MS, &pid), RUSM_OK);
        settle();
        assert_said("+b");
        assert_true(rusm_pid_equal(pid, workers[1].pid));
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(rusm_supervisor_delete_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(rusm_supervisor_delete_child(sup, "b", CALL_MS), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_restart_child(sup, "b", CALL_MS, NULL), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_terminate_pid(sup, workers[0].pid, CALL_MS), RUSM_EINVAL);
        assert_int_equal(count_of(sup).restarts, 0);

        /* A child that does not start is not added. */
        specs[3].fn = NULL;
        specs[3].start = worker_start;
        workers[3].start_err = RUSM_EPERM;
        assert_int_equal(rusm_supervisor_start_child(sup, &specs[3], NULL, CALL_MS, &pid),
                         RUSM_EPERM);
        assert_string_equal(rusm_err_detail(), "d would not start");
        assert_int_equal(count_of(sup).specs, 2);
        kit.line[0] = '\0';
        stop(sup);
        assert_said("-c -a");
        assert_int_equal(rusm_supervisor_count(sup, CALL_MS, &(rusm_child_count){0}), RUSM_ENOPROC);
        assert_int_equal(rusm_supervisor_stop(sup, CALL_MS), RUSM_ENOPROC);
    }
}

static void test_bad_configs_are_refused(void **state)
{
    rusm_child_spec specs[2], good;
    rusm_supervisor_config cfg, bad;
    rusm_pid sup = RUSM_PID_NONE;
    char long_id[RUSM_NAME_MAX + 2];

    (void)state;
    kit_open(1);
#define refuse(config)                                                                             \
    do {                                                                                           \
        assert_int_equal(rusm_supervisor_start((config), &sup), RUSM_EINVAL);                      \
        assert_true(rusm_pid_is_none(sup));                                                        \
    } while (0)
    specs_init(specs, 2);
    good = specs[1];
    rusm_supervisor_config_init(&cfg);
    cfg.children = specs;
    cfg.children_len = 2;
    refuse(NULL);
    bad = cfg, bad.size = 1;
    refuse(&bad);
    bad = cfg, bad.strategy = (rusm_strategy)4;
    refuse(&bad);
    bad = cfg, bad.strategy = RUSM_SIMPLE_ONE_FOR_ONE;
    refuse(&bad);
    bad = cfg, bad.seconds = 0;
    refuse(&bad);
    bad = cfg, bad.backoff_min_ms = 2, bad.backoff_max_ms = 1;
    refuse(&bad);
    bad = cfg, bad.name = "";
    refuse(&bad);
    bad = cfg, bad.children = NULL;
    refuse(&bad);
    specs[1].id = "a";
    refuse(&cfg);
    assert_string_equal(rusm_err_detail(), "two children have the id 'a'");
    specs[1] = good, specs[1].id = NULL;
    refuse(&cfg);
    memset(long_id, 'x', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    specs[1] = good, specs[1].id = long_id;
    refuse(&cfg);
    specs[1] = good, specs[1].start = worker_start;
    refuse(&cfg);
    specs[1] = good, specs[1].fn = NULL;
    refuse(&cfg);
    specs[1] = good, specs[1].restart = (rusm_restart)3;
    refuse(&cfg);
    specs[1] = good, specs[1].shutdown_ms = -2;
    refuse(&cfg);
    specs[1] = good, specs[1].size = 0;
    refuse(&cfg);
    specs[1] = good, specs[1].spawn = &(rusm_spawn_config){0};
    refuse(&cfg);
#undef refuse
    assert_int_equal(rusm_supervisor_stop(RUSM_PID_NONE, 0), RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_terminate_child(rusm_self(), "", 0), RUSM_EINVAL);
    assert_int_equal(rusm_supervisor_list(rusm_self(), NULL, NULL, 0, 0), RUSM_EINVAL);
    assert_said("");
    kit_close();
}

static void test_list_in_pages(void **state)
{
    rusm_child_info infos[7];
    rusm_child_spec spec;
    rusm_supervisor_config cfg;
    uint64_t cursor = 0, seen = 0, pages = 0;
    char id[32];
    rusm_pid sup;

    (void)state;
    kit_open(1);
    rusm_supervisor_config_init(&cfg);
    sup = open_with(&cfg, NULL, 0);
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof(id), "child %u", i);
        rusm_child_spec_init(&spec);
        spec.id = id;
        spec.fn = worker_main;
        spec.arg = &workers[0];
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, NULL), RUSM_OK);
    }
    do {
        ptrdiff_t len = rusm_supervisor_list(sup, &cursor, infos, 7, CALL_MS);

        assert_in_range(len, 1, 7);
        for (ptrdiff_t i = 0; i < len; i++) {
            (void)snprintf(id, sizeof(id), "child %u", (unsigned)seen++);
            assert_string_equal(infos[i].id, id);
            assert_true(rusm_is_alive(infos[i].pid));
        }
        if (++pages == 3) { /* the one that is next goes away, and another comes at the end */
            assert_int_equal(rusm_supervisor_terminate_child(sup, "child 21", CALL_MS), RUSM_OK);
            assert_int_equal(rusm_supervisor_delete_child(sup, "child 21", CALL_MS), RUSM_OK);
            seen++;
        }
    } while (cursor != 0);
    assert_int_equal(seen, 100);
    stop(sup);
    kit_close();
}

/* Who asked goes away; the supervisor goes on with what it was asked, from its own copy. */
static void gone_asker(void *arg)
{
    const rusm_pid *sup = arg;
    char id[] = "b";
    char label[] = "label of b";
    rusm_spawn_config spawn;
    rusm_child_spec spec;

    rusm_spawn_config_init(&spawn);
    spawn.label = label;
    rusm_child_spec_init(&spec);
    spec.id = id;
    spec.start = slow_start;
    spec.arg = &workers[1];
    spec.spawn = &spawn;
    assert_int_equal(rusm_supervisor_start_child(*sup, &spec, NULL, 500, NULL), RUSM_ETIMEOUT);
    memset(id, 'x', sizeof(id) - 1);
    memset(label, 'x', sizeof(label) - 1);
}

static void test_request_outlives_who_asked(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_info infos[2];
        uint64_t cursor = 0;
        rusm_pid sup, asker;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 1);
        assert_int_equal(rusm_spawn(NULL, gone_asker, &sup, &asker), RUSM_OK);
        pass_ms(600);
        assert_false(rusm_is_alive(asker));
        pass_ms(401);
        assert_said("+a +b");
        assert_int_equal(rusm_supervisor_list(sup, &cursor, infos, 2, CALL_MS), 2);
        assert_string_equal(infos[1].id, "b");
        stop(sup);
    }
}

/* ---- simple_one_for_one ---------------------------------------------------------------------- */

static rusm_pid open_dynamic(rusm_restart restart, int64_t shutdown_ms)
{
    rusm_supervisor_config cfg;
    rusm_child_spec template;

    rusm_child_spec_init(&template);
    template.fn = worker_main;
    template.restart = restart;
    template.shutdown_ms = shutdown_ms;
    rusm_supervisor_config_init(&cfg);
    cfg.strategy = RUSM_SIMPLE_ONE_FOR_ONE;
    return open_with(&cfg, &template, 1);
}

static rusm_pid add(rusm_pid sup, unsigned worker)
{
    rusm_pid pid;

    assert_int_equal(rusm_supervisor_start_child(sup, NULL, &workers[worker], CALL_MS, &pid),
                     RUSM_OK);
    settle();
    return pid;
}

static void test_dynamic_children(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec spec;
        rusm_pid sup, first;

        kit_open(seed);
        sup = open_dynamic(RUSM_TRANSIENT, 5000);
        assert_int_equal(count_of(sup).specs, 0);
        first = add(sup, 0);
        assert_true(rusm_pid_equal(first, workers[0].pid));
        (void)add(sup, 1);
        (void)add(sup, 2);
        assert_said("+a +b +c");
        tell(&workers[0], "c"); /* restarted with its own argument */
        assert_said("-a +a");
        tell(&workers[1], "n"); /* forgotten */
        assert_said("-b");
        assert_int_equal(count_of(sup).specs, 2);
        assert_int_equal(rusm_supervisor_terminate_pid(sup, first, CALL_MS), RUSM_ENONAME);
        assert_int_equal(rusm_supervisor_terminate_pid(sup, workers[0].pid, CALL_MS), RUSM_OK);
        assert_said("-a");
        assert_int_equal(count_of(sup).specs, 1);
        specs_init(&spec, 1);
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, NULL), RUSM_EINVAL);
        stop(sup);
        assert_said("-c");
    }
}

/* One shutdown for all of them together. */
static void test_dynamic_children_stop_together(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_time begun;
        rusm_pid sup;

        kit_open(seed);
        sup = open_dynamic(RUSM_TEMPORARY, 1000);
        for (unsigned i = 0; i < WORKERS; i++) {
            workers[i].linger_ms = 600;
            (void)add(sup, i);
        }
        workers[3].stubborn = true;
        begun = rusm_test_now(kit.pool);
        stop(sup);
        assert_in_range(rusm_test_now(kit.pool) - begun, 1000 * NS_PER_MS, 1002 * NS_PER_MS);
        for (unsigned i = 0; i < WORKERS; i++) {
            assert_false(rusm_is_alive(workers[i].pid));
        }
        assert_int_equal(unexpected(), 0);
    }
}

/* ---- supervisors of supervisors -------------------------------------------------------------- */

static rusm_err nested_start(void *arg, rusm_pid *out_pid)
{
    rusm_child_spec specs[WORKERS];
    rusm_supervisor_config cfg;
    unsigned first = (unsigned)(uintptr_t)arg;

    specs_init(specs, WORKERS);
    rusm_supervisor_config_init(&cfg);
    cfg.children = specs + first;
    cfg.children_len = 2;
    cfg.max_restarts = 1;
    return rusm_supervisor_start(&cfg, out_pid);
}

static void test_supervisors_of_supervisors(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[2];
        rusm_supervisor_config cfg;
        rusm_pid top;

        kit_open(seed);
        for (unsigned i = 0; i < 2; i++) {
            rusm_child_spec_init(&specs[i]);
            specs[i].id = i == 0 ? "left" : "right";
            specs[i].start = nested_start;
            specs[i].arg = (void *)(uintptr_t)(2 * i);
            specs[i].is_supervisor = true;
            specs[i].shutdown_ms = INFINITE;
        }
        rusm_supervisor_config_init(&cfg);
        top = open_with(&cfg, specs, 2);
        assert_int_equal(count_of(top).supervisors, 2);
        kit.line[0] = '\0';
        /* One below gives up: the one above starts it again, with all below it. */
        tell(&workers[3], "c");
        assert_said("-d +d");
        tell(&workers[3], "c");
        assert_int_equal(strncmp(kit.line, "-d -c +", 7), 0);
        assert_int_equal(workers[2].starts, 2);
        assert_int_equal(workers[3].starts, 3);
        assert_int_equal(count_of(top).restarts, 1);
        kit.line[0] = '\0';
        stop(top);
        assert_said("-d -c -b -a");
        assert_int_equal(unexpected(), 0);
    }
}

/* ---- start functions ------------------------------------------------------------------------- */

/* Its child has ended before it returns: how, is known from the link. */
static rusm_err hasty_start(void *arg, rusm_pid *out_pid)
{
    rusm_err err = worker_start(arg, out_pid);

    while (err == RUSM_OK && ((struct worker *)arg)->starts == 0) {
        rusm_yield();
    }
    if (err == RUSM_OK) {
        assert_int_equal(rusm_send(*out_pid, "n", 1), RUSM_OK);
        while (rusm_is_alive(*out_pid)) {
            rusm_yield();
        }
    }
    return err;
}

static void test_child_that_ends_during_its_start(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec spec;
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        specs_init(&spec, 1);
        spec.fn = NULL;
        spec.start = hasty_start;
        spec.restart = RUSM_TRANSIENT;
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, &spec, 1);
        assert_said("+a -a");
        assert_int_equal(count_of(sup).restarts, 0);
        assert_int_equal(count_of(sup).specs, 1);
        stop(sup);
        assert_int_equal(unexpected(), 0);
    }
}

static rusm_err wrong_start(void *arg, rusm_pid *out_pid)
{
    *out_pid = *(const rusm_pid *)arg;
    return RUSM_OK;
}

static void test_start_must_give_a_new_process(void **state)
{
    rusm_pid sup, self, none = RUSM_PID_NONE;
    const rusm_pid *wrong[3];
    rusm_child_spec spec;

    (void)state;
    kit_open(1);
    sup = open_simply(RUSM_ONE_FOR_ONE, 1);
    self = rusm_self();
    wrong[0] = &sup, wrong[1] = &self, wrong[2] = &none;
    for (unsigned i = 0; i < 4; i++) {
        rusm_child_spec_init(&spec);
        spec.id = "wrong";
        spec.start = wrong_start;
        spec.arg = i == 3 ? (void *)&workers[0].pid : (void *)(uintptr_t)wrong[i];
        assert_int_equal(rusm_supervisor_start_child(sup, &spec, NULL, CALL_MS, NULL), RUSM_EINVAL);
    }
    assert_int_equal(count_of(sup).specs, 1);
    assert_said("+a");
    stop(sup);
    kit_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_of_parent_stops_everything),
        cmocka_unit_test(test_end_of_parent_during_start),
        cmocka_unit_test(test_thread_that_leaves_is_a_parent_that_ends),
        cmocka_unit_test(test_killed_supervisor_takes_its_children_along),
        cmocka_unit_test(test_what_happens_during_a_stop_is_handled_afterwards),
        cmocka_unit_test(test_strangers_are_ignored_and_counted),
        cmocka_unit_test(test_exit_signal_of_a_child_is_not_its_end),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_bad_configs_are_refused),
        cmocka_unit_test(test_list_in_pages),
        cmocka_unit_test(test_request_outlives_who_asked),
        cmocka_unit_test(test_dynamic_children),
        cmocka_unit_test(test_dynamic_children_stop_together),
        cmocka_unit_test(test_supervisors_of_supervisors),
        cmocka_unit_test(test_child_that_ends_during_its_start),
        cmocka_unit_test(test_start_must_give_a_new_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
