/* SPDX-License-Identifier: MIT */
/* How supervisors start, stop and restart their children: strategies, intensity, back-off. */
#include "gen/supervisor_fixture_test.h"

/* ---- starting and stopping ------------------------------------------------------------------- */

static void test_children_start_in_order_and_stop_in_reverse(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 4);
        /* They are spawned in order; which of them runs first is the scheduler's choice. */
        assert_int_equal(strlen(kit.line), strlen("+a +b +c +d"));
        kit.line[0] = '\0';
        assert_int_equal(count_of(sup).active, 4);
        stop(sup);
        assert_said("-d -c -b -a");
        assert_int_equal(exit_of(sup, NULL), RUSM_EAGAIN);
    }
}

static void test_failed_start_stops_those_before_it(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup = RUSM_PID_NONE;
        rusm_msg *msg;

        kit_open(seed);
        specs_init(specs, 4);
        for (unsigned i = 0; i < 4; i++) {
            specs[i].fn = NULL;
            specs[i].start = patient_start;
        }
        workers[2].start_err = RUSM_EAUTH;
        rusm_supervisor_config_init(&cfg);
        cfg.name = "boss";
        cfg.children = specs;
        cfg.children_len = 4;
        assert_int_equal(rusm_supervisor_start(&cfg, &sup), RUSM_EAUTH);
        assert_string_equal(rusm_err_detail(), "c would not start");
        assert_true(rusm_pid_is_none(sup));
        assert_said("+a +b !c -b -a");
        /* Nothing is left of it: no exit, no down, and the name is free. */
        settle();
        assert_int_equal(rusm_receive(&msg, 0), RUSM_ETIMEOUT);
        workers[2].start_err = RUSM_OK;
        assert_int_equal(rusm_supervisor_start(&cfg, &sup), RUSM_OK);
        assert_said("+a +b +c +d");
        stop(sup);
        assert_int_equal(unexpected(), 0);
    }
}

static void test_shutdown_that_takes_too_long_is_a_kill(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[3];
        rusm_supervisor_config cfg;
        rusm_time begun;
        rusm_pid sup;

        kit_open(seed);
        specs_init(specs, 3);
        workers[0].linger_ms = 300;
        workers[1].stubborn = true;
        workers[2].stubborn = true;
        specs[1].shutdown_ms = 700;
        specs[2].shutdown_ms = 0;
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, specs, 3);
        kit.line[0] = '\0';
        begun = rusm_test_now(kit.pool);
        stop(sup);
        assert_said("-c -b -a");
        assert_in_range(rusm_test_now(kit.pool) - begun, 1000 * NS_PER_MS, 1003 * NS_PER_MS);
    }
}

static void test_infinite_shutdown_waits(void **state)
{
    rusm_child_spec specs[1];
    rusm_supervisor_config cfg;
    rusm_pid sup;

    (void)state;
    kit_open(1);
    specs_init(specs, 1);
    specs[0].shutdown_ms = INFINITE;
    workers[0].linger_ms = 3600000;
    rusm_supervisor_config_init(&cfg);
    sup = open_with(&cfg, specs, 1);
    assert_int_equal(rusm_supervisor_stop(sup, 3500000), RUSM_ETIMEOUT);
    assert_true(rusm_is_alive(workers[0].pid));
    pass_ms(100100);
    assert_said("+a -a");
    assert_false(rusm_is_alive(sup));
    assert_int_equal(exit_of(sup, NULL), RUSM_EAGAIN);
    kit_close();
}

/* ---- strategies ------------------------------------------------------------------------------ */

static void check_strategy(rusm_strategy strategy, const char *expected)
{
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = strategy;
        sup = open_patiently(&cfg, specs, 4);
        assert_said("+a +b +c +d");
        tell(&workers[1], "c");
        assert_said(expected);
        assert_int_equal(count_of(sup).restarts, 1);
        assert_int_equal(count_of(sup).active, 4);
        stop(sup);
        assert_said("-d -c -b -a");
        assert_int_equal(unexpected(), 0);
    }
}

static void test_one_for_one_restarts_that_child(void **state)
{
    (void)state;
    check_strategy(RUSM_ONE_FOR_ONE, "-b +b");
}

static void test_one_for_all_restarts_all(void **state)
{
    (void)state;
    check_strategy(RUSM_ONE_FOR_ALL, "-b -d -c -a +a +b +c +d");
}

static void test_rest_for_one_restarts_those_after_it(void **state)
{
    (void)state;
    check_strategy(RUSM_REST_FOR_ONE, "-b -d -c +b +c +d");
}

static void test_restart_types(void **state)
{
    static const struct {
        rusm_restart restart;
        const char *how;
        const char *said;
        uint64_t specs, active;
    } cases[] = {
        {RUSM_PERMANENT, "c", "-a +a", 1, 1}, {RUSM_PERMANENT, "n", "-a +a", 1, 1},
        {RUSM_PERMANENT, "s", "-a +a", 1, 1}, {RUSM_TRANSIENT, "c", "-a +a", 1, 1},
        {RUSM_TRANSIENT, "n", "-a", 1, 0},    {RUSM_TRANSIENT, "s", "-a", 1, 0},
        {RUSM_TEMPORARY, "c", "-a", 0, 0},    {RUSM_TEMPORARY, "n", "-a", 0, 0},
        {RUSM_TEMPORARY, "s", "-a", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rusm_child_spec specs[1];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(i);
        specs_init(specs, 1);
        specs[0].restart = cases[i].restart;
        rusm_supervisor_config_init(&cfg);
        sup = open_with(&cfg, specs, 1);
        assert_said("+a");
        tell(&workers[0], cases[i].how);
        assert_said(cases[i].said);
        assert_int_equal(count_of(sup).specs, cases[i].specs);
        assert_int_equal(count_of(sup).active, cases[i].active);
        stop(sup);
        kit_close();
    }
}

/* In a group, a temporary child that is stopped is forgotten, others that had ended are started. */
static void test_group_restart_forgets_temporary_and_starts_ended(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        specs_init(specs, 4);
        specs[0].restart = RUSM_TEMPORARY;
        specs[1].restart = RUSM_TRANSIENT;
        specs[3].restart = RUSM_TEMPORARY;
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = RUSM_ONE_FOR_ALL;
        sup = open_with(&cfg, specs, 4);
        tell(&workers[1], "n");
        assert_int_equal(count_of(sup).active, 3);
        kit.line[0] = '\0';
        tell(&workers[2], "c");
        assert_int_equal(strncmp(kit.line, "-c -d -a ", 9), 0);
        assert_int_equal(count_of(sup).specs, 2);
        assert_int_equal(count_of(sup).active, 2);
        assert_int_equal(workers[1].starts, 2);
        stop(sup);
    }
}

static void test_unlinked_child_is_still_noticed(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        static const char both[] = "uc";
        rusm_pid sup;
        rusm_msg *msg;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 1);
        /* 'u' unlinks from the sender of the message: let it look like the supervisor's. */
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(rusm_msg_new(&msg, 1), RUSM_OK);
            *(char *)rusm_msg_data(msg) = both[i];
            rusm_msg_set_sender(msg, sup);
            assert_int_equal(rusm_deliver(kit.rt, workers[0].pid.serial, msg), RUSM_OK);
        }
        settle();
        assert_said("+a -a +a");
        stop(sup);
    }
}

/* ---- intensity ------------------------------------------------------------------------------- */

/* 3 restarts within 5 s: the fourth is one too many while the first is not more than 5 s ago. */
static void check_border(int64_t wait_ms, bool gives_up)
{
    for_seeds(seed)
    {
        char text[RUSM_REASON_TEXT_MAX];
        rusm_pid sup;

        kit_open(seed);
        sup = open_simply(RUSM_ONE_FOR_ONE, 2);
        tell(&workers[0], "c");
        pass_ms(1000);
        tell(&workers[1], "c");
        tell(&workers[0], "c");
        pass_ms(wait_ms - 1000);
        kit.line[0] = '\0';
        tell(&workers[1], "c");
        if (gives_up) {
            assert_said("-b -a");
            assert_false(rusm_is_alive(sup));
            assert_int_equal(exit_of(sup, text), RUSM_REASON_SHUTDOWN);
            assert_string_equal(text, "too many restarts, the last of 'b'");
        } else {
            assert_said("-b +b");
            assert_int_equal(count_of(sup).restarts, 4);
            tell(&workers[1],
                 "c"); /* the two others are still in the window: one more is allowed? */
            assert_false(rusm_is_alive(sup));
            assert_int_equal(exit_of(sup, NULL), RUSM_REASON_SHUTDOWN);
        }
    }
}

static void test_restarts_within_the_window_are_too_many(void **state)
{
    (void)state;
    check_border(2000, true);
}

static void test_border_belongs_to_the_window(void **state)
{
    (void)state;
    check_border(5000, true);
}

static void test_restart_past_the_window_is_forgotten(void **state)
{
    (void)state;
    check_border(5001, false);
}

static void test_no_restart_allowed_means_none(void **state)
{
    rusm_child_spec specs[2];
    rusm_supervisor_config cfg;
    rusm_pid sup;

    (void)state;
    kit_open(1);
    specs_init(specs, 2);
    rusm_supervisor_config_init(&cfg);
    cfg.max_restarts = 0;
    sup = open_with(&cfg, specs, 2);
    kit.line[0] = '\0';
    tell(&workers[0], "c");
    assert_said("-a -b");
    assert_int_equal(exit_of(sup, NULL), RUSM_REASON_SHUTDOWN);
    kit_close();
}

static void test_restart_that_fails_is_tried_again_and_counted(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[2];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        sup = open_patiently(&cfg, specs, 2);
        kit.line[0] = '\0';
        workers[0].start_fails = 2;
        tell(&workers[0], "c");
        assert_said("-a !a !a +a");
        assert_int_equal(count_of(sup).restarts, 3);
        workers[0].start_fails = 1;
        tell(&workers[0], "c");
        assert_said("-a -b");
        assert_int_equal(exit_of(sup, NULL), RUSM_REASON_SHUTDOWN);
    }
}

static void test_restart_of_all_that_fails_begins_again(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[3];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = RUSM_ONE_FOR_ALL;
        sup = open_patiently(&cfg, specs, 3);
        kit.line[0] = '\0';
        workers[1].start_fails = 1;
        tell(&workers[2], "c");
        assert_said("-c -b -a +a !b -a +a +b +c");
        stop(sup);
    }
}

static void test_restart_of_the_rest_that_fails_goes_on_there(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[3];
        rusm_supervisor_config cfg;
        rusm_pid sup;

        kit_open(seed);
        rusm_supervisor_config_init(&cfg);
        cfg.strategy = RUSM_REST_FOR_ONE;
        sup = open_patiently(&cfg, specs, 3);
        kit.line[0] = '\0';
        workers[1].start_fails = 1;
        tell(&workers[0], "c");
        assert_said("-a -c -b +a !b +b +c");
        stop(sup);
    }
}

/* A child whose name is taken can not start; once it is free it does. */
static void test_restart_waits_for_its_name(void **state)
{
    rusm_child_spec specs[1];
    rusm_spawn_config spawn;
    rusm_supervisor_config cfg;
    rusm_pid sup, found;

    (void)state;
    kit_open(1);
    specs_init(specs, 1);
    rusm_spawn_config_init(&spawn);
    spawn.name = "clerk";
    specs[0].spawn = &spawn;
    rusm_supervisor_config_init(&cfg);
    cfg.max_restarts = 100;
    cfg.backoff_min_ms = 100;
    cfg.backoff_max_ms = 100;
    sup = open_with(&cfg, specs, 1);
    assert_int_equal(rusm_whereis(NULL, "clerk", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, workers[0].pid));
    assert_int_equal(rusm_unregister(NULL, "clerk"), RUSM_OK);
    assert_int_equal(rusm_register(NULL, "clerk", rusm_self()), RUSM_OK);
    tell(&workers[0], "c");
    pass_ms(450);
    assert_said("+a -a");
    assert_int_equal(count_of(sup).active, 0);
    assert_int_equal(rusm_unregister(NULL, "clerk"), RUSM_OK);
    pass_ms(101);
    assert_said("+a");
    assert_int_equal(rusm_whereis(NULL, "clerk", &found), RUSM_OK);
    assert_true(rusm_pid_equal(found, workers[0].pid));
    stop(sup);
    kit_close();
}

/* ---- back-off -------------------------------------------------------------------------------- */

static void test_backoff_doubles_and_is_forgotten(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[2];
        rusm_pid sup;

        kit_open(seed);
        sup = open_with_backoff(RUSM_ONE_FOR_ONE, specs, 2);
        assert_int_equal(crash_and_wait(&workers[0]), 0);
        assert_int_equal(crash_and_wait(&workers[0]), 100);
        assert_int_equal(crash_and_wait(&workers[0]), 200);
        assert_int_equal(crash_and_wait(&workers[0]), 400);
        assert_int_equal(crash_and_wait(&workers[1]), 0); /* another's is its own */
        assert_int_equal(crash_and_wait(&workers[0]), 500);
        pass_ms(497);
        assert_int_equal(crash_and_wait(&workers[0]), 500);
        pass_ms(501);
        assert_int_equal(crash_and_wait(&workers[0]), 0);
        assert_int_equal(crash_and_wait(&workers[0]), 100);
        assert_int_equal(count_of(sup).restarts, 9);
        stop(sup);
    }
}

static void test_supervisor_answers_while_a_child_waits(void **state)
{
    rusm_child_spec specs[2];
    rusm_child_info infos[2];
    uint64_t cursor = 0;
    rusm_pid sup, pid;

    (void)state;
    kit_open(3);
    sup = open_with_backoff(RUSM_ONE_FOR_ONE, specs, 2);
    assert_int_equal(crash_and_wait(&workers[0]), 0);
    tell(&workers[0], "c");
    assert_int_equal(count_of(sup).active, 1);
    assert_int_equal(rusm_supervisor_list(sup, &cursor, infos, 2, CALL_MS), 2);
    assert_true(infos[0].is_waiting);
    assert_true(rusm_pid_is_none(infos[0].pid));
    assert_false(infos[1].is_waiting);
    /* By request it is restarted at once. */
    assert_int_equal(rusm_supervisor_restart_child(sup, "a", CALL_MS, &pid), RUSM_OK);
    assert_true(rusm_pid_equal(pid, workers[0].pid));
    pass_ms(1000);
    assert_int_equal(workers[0].starts, 3);
    assert_int_equal(count_of(sup).active, 2);
    stop(sup);
    kit_close();
}

static void test_group_waits_together(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_pid sup;

        kit_open(seed);
        sup = open_with_backoff(RUSM_REST_FOR_ONE, specs, 4);
        assert_int_equal(crash_and_wait(&workers[1]), 0);
        kit.line[0] = '\0';
        tell(&workers[1], "c");
        assert_said("-b -d -c");
        assert_int_equal(count_of(sup).active, 1);
        pass_ms(101);
        assert_said("+b +c +d");
        /* What waits is included when one before it is restarted. */
        tell(&workers[1], "c");
        tell(&workers[0], "c");
        assert_said("-b -d -c -a +a +b +c +d");
        pass_ms(1000);
        assert_said("");
        stop(sup);
    }
}

/* Who terminates the child that a group waits for does not leave the others behind. */
static void test_wait_is_passed_on(void **state)
{
    (void)state;
    for_seeds(seed)
    {
        rusm_child_spec specs[4];
        rusm_pid sup;

        kit_open(seed);
        sup = open_with_backoff(RUSM_REST_FOR_ONE, specs, 4);
        assert_int_equal(crash_and_wait(&workers[1]), 0);
        tell(&workers[1], "c");
        kit.line[0] = '\0';
        assert_int_equal(rusm_supervisor_terminate_child(sup, "b", CALL_MS), RUSM_OK);
        assert_int_equal(rusm_supervisor_delete_child(sup, "c", CALL_MS), RUSM_OK);
        pass_ms(101);
        assert_said("+d");
        assert_int_equal(count_of(sup).specs, 3);
        stop(sup);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_children_start_in_order_and_stop_in_reverse),
        cmocka_unit_test(test_failed_start_stops_those_before_it),
        cmocka_unit_test(test_shutdown_that_takes_too_long_is_a_kill),
        cmocka_unit_test(test_infinite_shutdown_waits),
        cmocka_unit_test(test_one_for_one_restarts_that_child),
        cmocka_unit_test(test_one_for_all_restarts_all),
        cmocka_unit_test(test_rest_for_one_restarts_those_after_it),
        cmocka_unit_test(test_restart_types),
        cmocka_unit_test(test_group_restart_forgets_temporary_and_starts_ended),
        cmocka_unit_test(test_unlinked_child_is_still_noticed),
        cmocka_unit_test(test_restarts_within_the_window_are_too_many),
        cmocka_unit_test(test_border_belongs_to_the_window),
        cmocka_unit_test(test_restart_past_the_window_is_forgotten),
        cmocka_unit_test(test_no_restart_allowed_means_none),
        cmocka_unit_test(test_restart_that_fails_is_tried_again_and_counted),
        cmocka_unit_test(test_restart_of_all_that_fails_begins_again),
        cmocka_unit_test(test_restart_of_the_rest_that_fails_goes_on_there),
        cmocka_unit_test(test_restart_waits_for_its_name),
        cmocka_unit_test(test_backoff_doubles_and_is_forgotten),
        cmocka_unit_test(test_supervisor_answers_while_a_child_waits),
        cmocka_unit_test(test_group_waits_together),
        cmocka_unit_test(test_wait_is_passed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
