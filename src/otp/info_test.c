/* SPDX-License-Identifier: MIT */
/* Looking at processes: what a record shows, and listings in pages while processes come and go. */
#include "otp/kit_fixture_test.h"

#include <rusm/otp/info.h>

static void body_rich(void *arg)
{
    rusm_ref ref;

    (void)arg;
    assert_non_null(rusm_alloc(1000));
    assert_int_equal(rusm_register(NULL, "rich", rusm_self()), RUSM_OK);
    assert_int_equal(rusm_link(kit.self), RUSM_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rusm_monitor(kit.self, &ref), RUSM_OK);
    }
    assert_int_equal(rusm_sleep(RUSM_INFINITY), RUSM_OK);
}

static void record(void)
{
    rusm_spawn_config cfg;
    rusm_process_info info;
    rusm_ref ref;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.label = "label";
    cfg.trap_exit = true;
    cfg.mailbox_max = 2;
    assert_int_equal(rusm_spawn_with(kit.rt, body_rich, NULL, &cfg, &pid), RUSM_OK);
    assert_int_equal(kit_info(pid).state, RUSM_PROCESS_RUNNABLE);
    kit_settle();
    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rusm_send(pid, "x", 1), i < 2 ? RUSM_OK : RUSM_EFULL);
    }
    kit_settle();
    info = kit_info(pid);
    assert_true(rusm_pid_equal(info.pid, pid));
    assert_int_equal(info.state, RUSM_PROCESS_WAITING);
    assert_int_equal(info.mailbox_len, 2);
    assert_int_equal(info.dropped, 3);
    assert_int_equal(info.links, 1);
    assert_int_equal(info.monitors, 3);
    assert_int_equal(info.monitored_by, 1);
    assert_true(info.heap_bytes >= 1000);
    assert_true(info.memory_bytes > info.heap_bytes);
    assert_true(info.reductions > 0);
    assert_true(info.trap_exit);
    assert_int_equal(info.function, (uint64_t)(uintptr_t)body_rich);
    assert_string_equal(info.label, "label");
    assert_string_equal(info.name, "rich");
    info = kit_info(kit.self);
    assert_int_equal(info.state, RUSM_PROCESS_THREAD);
    assert_int_equal(info.function, 0);
    assert_int_equal(info.links, 1);
    assert_int_equal(info.monitored_by, 3);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_process_get_info(pid, &info), RUSM_ENOPROC);
    assert_int_equal(rusm_process_get_info(kit.self, NULL), RUSM_EINVAL);
    info = kit_info(kit.self);
    assert_int_equal(info.links, 0);
    assert_int_equal(info.monitored_by, 0);
}

static void test_a_record_shows_what_a_process_has(void **state)
{
    (void)state;
    kit_each_seed(record);
}

/* ---- ties ------------------------------------------------------------------------------------ */

static size_t count_ties(const rusm_process_tie *ties, ptrdiff_t len, rusm_process_tie_kind kind,
                         rusm_pid other)
{
    size_t found = 0;

    for (ptrdiff_t i = 0; i < len; i++) {
        found += ties[i].kind == kind && rusm_pid_equal(ties[i].other, other) ? 1 : 0;
        assert_int_equal(rusm_ref_equal(ties[i].ref, (rusm_ref){0, 0}),
                         ties[i].kind == RUSM_PROCESS_TIE_LINK);
    }
    return found;
}

static void ties_of_both(void)
{
    rusm_pid pid = kit_spawn(body_rich, NULL), others[20];
    rusm_process_tie ties[64];
    rusm_ref ref;

    kit_settle();
    assert_int_equal(rusm_monitor(pid, &ref), RUSM_OK);
    assert_int_equal(rusm_process_get_ties(pid, ties, 64), 5);
    assert_int_equal(count_ties(ties, 5, RUSM_PROCESS_TIE_LINK, kit.self), 1);
    assert_int_equal(count_ties(ties, 5, RUSM_PROCESS_TIE_MONITORS, kit.self), 3);
    assert_int_equal(count_ties(ties, 5, RUSM_PROCESS_TIE_MONITORED, kit.self), 1);
    assert_true(rusm_ref_equal(ties[4].ref, ref));
    /* Seen from the other side, with so many that the table has chains. */
    for (int i = 0; i < 20; i++) {
        others[i] = kit_spawn(kit_body_wait, NULL);
        assert_int_equal(rusm_link(others[i]), RUSM_OK);
    }
    assert_int_equal(rusm_process_get_ties(kit.self, ties, 64), 25);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(count_ties(ties, 25, RUSM_PROCESS_TIE_LINK, others[i]), 1);
    }
    assert_int_equal(count_ties(ties, 25, RUSM_PROCESS_TIE_LINK, pid), 1);
    assert_int_equal(count_ties(ties, 25, RUSM_PROCESS_TIE_MONITORS, pid), 1);
    assert_int_equal(count_ties(ties, 25, RUSM_PROCESS_TIE_MONITORED, pid), 3);
    memset(ties, 0, sizeof(ties));
    assert_int_equal(rusm_process_get_ties(kit.self, ties, 10), 25); /* there are more */
    assert_true(rusm_pid_is_none(ties[10].other));
    assert_false(rusm_pid_is_none(ties[9].other));
    assert_int_equal(rusm_process_get_ties(kit.self, NULL, 0), 25);
    assert_int_equal(rusm_process_get_ties(kit.self, NULL, 1), RUSM_EINVAL);
    assert_int_equal(rusm_process_get_ties(RUSM_PID_NONE, ties, 1), RUSM_ENOPROC);
}

static void test_ties_are_shown_from_both_sides(void **state)
{
    (void)state;
    kit_each_seed(ties_of_both);
}

/* ---- pages ----------------------------------------------------------------------------------- */

#define STAYING 300

static void pages(void)
{
    static rusm_pid staying[STAYING];
    unsigned seen[STAYING] = {0};
    rusm_process_info infos[7];
    uint64_t cursor = 0;

    for (int i = 0; i < STAYING; i++) {
        staying[i] = kit_spawn(kit_body_wait, NULL);
        (void)kit_spawn(kit_body_return, NULL);
    }
    do {
        ptrdiff_t got = rusm_process_list(kit.rt, &cursor, infos, 7);

        assert_in_range(got, 0, 7);
        for (ptrdiff_t i = 0; i < got; i++) {
            for (int j = 0; j < STAYING; j++) {
                seen[j] += rusm_pid_equal(infos[i].pid, staying[j]) ? 1 : 0;
            }
        }
        (void)rusm_test_run(kit.pool, 5); /* others end, and begin, meanwhile */
        (void)kit_spawn(kit_body_return, NULL);
    } while (cursor != 0);
    for (int j = 0; j < STAYING; j++) {
        assert_int_equal(seen[j], 1);
    }
    assert_int_equal(rusm_process_list(kit.rt, NULL, infos, 7), RUSM_EINVAL);
    assert_int_equal(rusm_process_list(kit.rt, &cursor, infos, 0), RUSM_EINVAL);
}

static void test_pages_show_each_that_stays_once(void **state)
{
    (void)state;
    kit_open(5);
    pages();
    kit_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_shows_what_a_process_has),
        cmocka_unit_test(test_ties_are_shown_from_both_sides),
        cmocka_unit_test(test_pages_show_each_that_stays_once),
    };

    return cmocka_run_group_tests_name("info", tests, NULL, NULL);
}
