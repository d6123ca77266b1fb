/* SPDX-License-Identifier: MIT */
/* The lifecycle log: what each level shows, what a flood leaves, the census, and its lines. */
#include "otp/log.h"

#include "otp/census.h"
#include "otp/kit_fixture_test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <rusm/otp/log.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define ENTRIES_MAX 1000

/* What the log function was given. */
static struct {
    _Atomic(uint32_t) len;
    _Atomic(uint32_t) inside; /* calls at this moment */
    struct entry {
        rusm_log_event event;
        rusm_log_level level;
        rusm_pid pid;
        rusm_reason_kind reason;
        uint64_t number;
        int64_t change;
        char label[RUSM_NAME_MAX + 1];
        char text[200];
    } entries[ENTRIES_MAX];
} seen;

static void note(void *arg, const rusm_log_entry *entry)
{
    uint32_t at = atomic_load(&seen.len);
    struct entry *to = &seen.entries[at];

    assert_ptr_equal(arg, &seen);
    assert_int_equal(atomic_fetch_add(&seen.inside, 1), 0);
    assert_int_equal(entry->size, sizeof(*entry));
    assert_string_equal(entry->runtime, "test");
    assert_true(entry->at_ns <= rusm_now());
    assert_true(at < ENTRIES_MAX);
    *to = (struct entry){.event = entry->event,
                         .level = entry->level,
                         .pid = entry->pid,
                         .reason = entry->reason == NULL ? RUSM_REASON_NOPROC : entry->reason->kind,
                         .number = entry->number,
                         .change = entry->change};
    (void)snprintf(to->label, sizeof(to->label), "%s", entry->label);
    (void)snprintf(to->text, sizeof(to->text), "%s", entry->text);
    (void)atomic_fetch_sub(&seen.inside, 1);
    atomic_store(&seen.len, at + 1);
}

static void begin(rusm_log_level level)
{
    atomic_store(&seen.len, 0);
    rusm_log_set_fn(note, &seen);
    assert_int_equal(rusm_log_set_level(kit.rt, level), RUSM_OK);
}

static void each_seed(void (*body)(void))
{
    kit_each_seed(body);
    rusm_log_set_fn(NULL, NULL);
}

static rusm_pid spawn_labelled(rusm_process_fn fn, const char *label)
{
    rusm_spawn_config cfg;
    rusm_pid pid;

    rusm_spawn_config_init(&cfg);
    cfg.label = label;
    assert_int_equal(rusm_spawn_with(kit.rt, fn, NULL, &cfg, &pid), RUSM_OK);
    return pid;
}

static void body_crash(void *arg)
{
    (void)arg;
    rusm_crash("disk is full");
}

static const struct entry *expect(uint32_t at, rusm_log_event event, rusm_log_level level,
                                  rusm_pid pid, const char *label, const char *text)
{
    const struct entry *entry = &seen.entries[at];

    assert_true(at < atomic_load(&seen.len));
    assert_int_equal(entry->event, event);
    assert_int_equal(entry->level, level);
    assert_true(rusm_pid_equal(entry->pid, pid));
    assert_string_equal(entry->label, label);
    assert_string_equal(entry->text, text);
    return entry;
}

/* ---- levels ---------------------------------------------------------------------------------- */

/* One of each: a crash and a kill without label, then with one, an orderly end with and without. */
static rusm_pid live_and_die(const char *label)
{
    rusm_pid pid = label == NULL ? kit_spawn(body_crash, NULL) : spawn_labelled(body_crash, label);

    kit_settle();
    return pid;
}

static void levels(void)
{
    for (int level = RUSM_LOG_OFF; level <= RUSM_LOG_SPAWN; level++) {
        rusm_pid crashed, killed, ended;
        uint32_t at = 0;

        begin((rusm_log_level)level);
        crashed = live_and_die(NULL);
        killed = spawn_labelled(kit_body_wait, "victim");
        assert_int_equal(rusm_kill(killed), RUSM_OK);
        kit_settle();
        ended = spawn_labelled(kit_body_return, "guest");
        (void)kit_spawn(kit_body_return, NULL);
        kit_settle();
        if (level >= RUSM_LOG_CRASH) {
            (void)expect(at++, RUSM_LOG_EVENT_EXIT, RUSM_LOG_CRASH, crashed, "",
                         "crashed: disk is full");
            assert_int_equal(seen.entries[0].reason, RUSM_REASON_CRASHED);
        }
        if (level >= RUSM_LOG_SPAWN) {
            (void)expect(at++, RUSM_LOG_EVENT_SPAWN, RUSM_LOG_SPAWN, killed, "victim", "started");
        }
        if (level >= RUSM_LOG_KILL) {
            (void)expect(at++, RUSM_LOG_EVENT_EXIT, RUSM_LOG_KILL, killed, "victim", "killed");
        }
        if (level >= RUSM_LOG_SPAWN) {
            (void)expect(at++, RUSM_LOG_EVENT_SPAWN, RUSM_LOG_SPAWN, ended, "guest", "started");
        }
        if (level >= RUSM_LOG_EXIT) {
            (void)expect(at++, RUSM_LOG_EVENT_EXIT, RUSM_LOG_EXIT, ended, "guest", "normal");
        }
        assert_int_equal(atomic_load(&seen.len), at);
    }
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_OFF), RUSM_OK);
}

static void test_each_level_includes_those_before(void **state)
{
    (void)state;
    each_seed(levels);
}

/* What was never spawned is never heard of. */
static void failed_spawn(void)
{
    rusm_spawn_config cfg;

    begin(RUSM_LOG_SPAWN);
    assert_int_equal(rusm_register(kit.rt, "taken", kit.self), RUSM_OK);
    rusm_spawn_config_init(&cfg);
    cfg.label = "late";
    cfg.name = "taken";
    assert_int_equal(rusm_spawn_with(kit.rt, kit_body_return, NULL, &cfg, NULL), RUSM_EEXIST);
    kit_settle();
    assert_int_equal(atomic_load(&seen.len), 0);
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_OFF), RUSM_OK);
}

static void test_a_spawn_that_fails_is_not_logged(void **state)
{
    (void)state;
    each_seed(failed_spawn);
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    kit_open(1);
    assert_int_equal(rusm_log_set_level(kit.rt, (rusm_log_level)5), RUSM_EINVAL);
    assert_int_equal(rusm_log_set_census(kit.rt, -1), RUSM_EINVAL);
    rusm_thread_leave();
    assert_int_equal(rusm_log_set_level(NULL, RUSM_LOG_OFF), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_log_set_census(NULL, 1), RUSM_ENOCONTEXT);
    assert_int_equal(rusm_log_set_census(kit.rt, 0), RUSM_OK);
    kit_close();
}

/* ---- a flood --------------------------------------------------------------------------------- */

static void flood(void)
{
    begin(RUSM_LOG_CRASH);
    for (int i = 0; i < 250; i++) {
        (void)kit_spawn(body_crash, NULL);
    }
    kit_settle();
    assert_int_equal(atomic_load(&seen.len), RUSMI_LOG_RATE);
    (void)rusm_test_advance(kit.pool, 1000);
    assert_int_equal(atomic_load(&seen.len), RUSMI_LOG_RATE + 1);
    (void)expect(RUSMI_LOG_RATE, RUSM_LOG_EVENT_NOTE, RUSM_LOG_CRASH, RUSM_PID_NONE, "",
                 "150 more");
    assert_int_equal(seen.entries[RUSMI_LOG_RATE].number, 250 - RUSMI_LOG_RATE);
    /* The next second has its own. */
    (void)live_and_die(NULL);
    assert_int_equal(atomic_load(&seen.len), RUSMI_LOG_RATE + 2);
    (void)rusm_test_advance(kit.pool, 5000);
    assert_int_equal(atomic_load(&seen.len), RUSMI_LOG_RATE + 2);
    /* What is withheld when the runtime ends is told, too. */
    for (int i = 0; i < 250; i++) {
        (void)kit_spawn(body_crash, NULL);
    }
    kit_settle();
}

static void test_a_flood_is_cut_and_counted(void **state)
{
    uint32_t len;

    (void)state;
    kit_open(1);
    flood();
    kit_close();
    rusm_log_set_fn(NULL, NULL);
    len = atomic_load(&seen.len);
    assert_int_equal(seen.entries[len - 1].event, RUSM_LOG_EVENT_NOTE);
    assert_int_equal(seen.entries[len - 1].number, 150);
}

/* ---- the log function ------------------------------------------------------------------------ */

static rusm_pid listener;
static unsigned heard;

/* It sends what it hears to a process, spawns, and fails to log what it causes. */
static void tell_listener(void *arg, const rusm_log_entry *entry)
{
    (void)arg;
    assert_true(rusm_pid_is_none(rusm_self()));
    heard++;
    if (entry->event != RUSM_LOG_EVENT_NOTE) {
        assert_int_equal(rusm_send(listener, entry->label, strlen(entry->label)), RUSM_OK);
        (void)spawn_labelled(kit_body_return, "inner");
    }
}

static void body_spawner(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        (void)spawn_labelled(kit_body_wait, "outer");
        assert_false(rusm_pid_is_none(rusm_self()));
    }
}

static void talkative(void)
{
    listener = kit.self;
    heard = 0;
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_SPAWN), RUSM_OK);
    rusm_log_set_fn(tell_listener, NULL);
    (void)kit_spawn(body_spawner, NULL);
    for (int i = 0; i < 5; i++) {
        rusm_msg *msg = kit_receive();

        while (rusm_msg_len(msg) == 5 && memcmp(rusm_msg_data(msg), "inner", 5) == 0) {
            rusm_msg_del(msg); /* their ends, which others see */
            msg = kit_receive();
        }
        assert_int_equal(rusm_msg_len(msg), 5);
        assert_memory_equal(rusm_msg_data(msg), "outer", 5);
        assert_true(rusm_pid_is_none(rusm_msg_sender(msg)));
        rusm_msg_del(msg);
    }
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_OFF), RUSM_OK);
    rusm_log_set_fn(NULL, NULL);
    kit_settle();
    assert_true(heard >= 5);
}

static void test_a_log_function_may_send_and_spawn(void **state)
{
    (void)state;
    kit_each_seed(talkative);
}

static void switch_off(void *arg, const rusm_log_entry *entry)
{
    (void)arg;
    (void)entry;
    assert_true(rusm_pid_is_none(rusm_self()));
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_OFF), RUSM_OK);
    heard++;
}

/* By a thread that has entered: it is in no process there, either. */
static void switched_off(void)
{
    heard = 0;
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_SPAWN), RUSM_OK);
    rusm_log_set_fn(switch_off, NULL);
    (void)spawn_labelled(kit_body_wait, "first");
    (void)spawn_labelled(kit_body_wait, "second");
    rusm_log_set_fn(NULL, NULL);
    assert_int_equal(heard, 1);
    assert_true(rusm_pid_equal(rusm_self(), kit.self));
}

static void test_a_log_function_may_switch_the_log_off(void **state)
{
    (void)state;
    kit_each_seed(switched_off);
}

/* ---- standard error -------------------------------------------------------------------------- */

static void fill(int fd)
{
    char bytes[4096] = {0};
    int flags = fcntl(fd, F_GETFL);

    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, bytes, sizeof(bytes)) > 0) {
    }
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
}

static void drain(int fd, char *last, size_t last_len)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    while (poll(&ready, 1, 0) == 1) {
        ssize_t got = read(fd, last, last_len - 1);

        assert_true(got > 0);
        last[got] = '\0';
    }
}

/* What nobody reads is not waited for, and is told when somebody does. */
static void test_a_full_standard_error_stops_nobody(void **state)
{
    char last[8192] = "";
    int ends[2], before = dup(STDERR_FILENO);

    (void)state;
    assert_true(before >= 0);
    assert_int_equal(pipe(ends), 0);
    kit_open(1);
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_CRASH), RUSM_OK);
    fill(ends[1]);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)live_and_die("unheard");
    drain(ends[0], last, sizeof(last));
    assert_null(strstr(last, "unheard"));
    (void)rusm_test_advance(kit.pool, 3000);
    (void)live_and_die("heard");
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    drain(ends[0], last, sizeof(last));
    assert_non_null(strstr(last, "1 more"));
    assert_non_null(strstr(last, "heard"));
    kit_close();
    (void)close(before);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* ---- the census ------------------------------------------------------------------------------ */

static const struct entry *find_census(uint32_t from, const char *label)
{
    for (uint32_t i = from; i < atomic_load(&seen.len); i++) {
        if (seen.entries[i].event == RUSM_LOG_EVENT_CENSUS &&
            strcmp(seen.entries[i].label, label) == 0) {
            return &seen.entries[i];
        }
    }
    return NULL;
}

static void census(void)
{
    rusm_pid early = spawn_labelled(kit_body_wait, "cook"), cooks[3];
    const struct entry *entry;

    begin(RUSM_LOG_EXIT);
    assert_int_equal(rusm_log_set_census(kit.rt, 100), RUSM_OK);
    for (int i = 0; i < 3; i++) {
        cooks[i] = spawn_labelled(kit_body_wait, "cook");
    }
    (void)spawn_labelled(kit_body_wait, "waiter");
    (void)rusm_test_advance(kit.pool, 250);
    assert_int_equal(atomic_load(&seen.len), 2); /* once, as nothing changed since */
    entry = find_census(0, "cook");
    assert_non_null(entry);
    assert_int_equal(entry->number, 3);
    assert_int_equal(entry->change, 3);
    assert_string_equal(entry->text, "3 alive (+3)");
    assert_non_null(find_census(0, "waiter"));
    assert_int_equal(rusm_kill(early), RUSM_OK); /* it was not counted */
    (void)rusm_test_advance(kit.pool, 200);
    assert_null(find_census(2, "cook"));
    assert_int_equal(rusm_log_set_census(kit.rt, 0), RUSM_OK);
    assert_int_equal(rusm_kill(cooks[0]), RUSM_OK);
    (void)rusm_test_advance(kit.pool, 1000);
    assert_null(find_census(2, "cook"));
    assert_int_equal(rusm_log_set_census(kit.rt, 50), RUSM_OK);
    (void)rusm_test_advance(kit.pool, 60);
    entry = find_census(2, "cook");
    assert_non_null(entry);
    assert_int_equal(entry->number, 2);
    assert_int_equal(entry->change, -1);
    assert_string_equal(entry->text, "2 alive (-1)");
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_OFF), RUSM_OK);
}

static void test_the_census_tells_what_changed(void **state)
{
    (void)state;
    each_seed(census);
}

static void test_labels_beyond_the_limit_are_counted_together(void **state)
{
    struct rusmi_census *table = rusmi_census_new(2, 1, 2);
    const char *label;
    uint32_t cursor = 0;
    uint64_t alive;
    int64_t change;
    uint16_t a, others;

    (void)state;
    assert_non_null(table);
    a = rusmi_census_begin(table, "a");
    assert_int_equal(rusmi_census_begin(table, "a"), a);
    assert_int_not_equal(rusmi_census_begin(table, "b"), a);
    others = rusmi_census_begin(table, "c");
    assert_int_equal(rusmi_census_begin(table, "d"), others);
    rusmi_census_end(table, a);
    assert_true(rusmi_census_next(table, &cursor, &label, &alive, &change));
    assert_string_equal(label, "(others)");
    assert_int_equal(alive, 2);
    assert_true(rusmi_census_next(table, &cursor, &label, &alive, &change));
    assert_string_equal(label, "a");
    assert_int_equal(alive, 1);
    assert_true(rusmi_census_next(table, &cursor, &label, &alive, &change));
    assert_string_equal(label, "b");
    assert_false(rusmi_census_next(table, &cursor, &label, &alive, &change));
    rusmi_census_end(table, a);
    cursor = 0;
    assert_true(rusmi_census_next(table, &cursor, &label, &alive, &change));
    assert_string_equal(label, "a");
    assert_int_equal(change, -1);
    assert_false(rusmi_census_next(table, &cursor, &label, &alive, &change));
    rusmi_census_del(table);
    rusmi_census_del(NULL);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static const char *format(const rusm_log_entry *entry, bool colour, size_t max)
{
    static char line[600];

    line[rusmi_log_format(entry, "12:34:56.789", colour, line, max)] = '\0';
    return line;
}

static void test_lines_are_aligned_and_tame(void **state)
{
    rusm_reason reason = rusm_reason_crashed("x");
    rusm_log_entry entry = {.size = sizeof(entry),
                            .event = RUSM_LOG_EVENT_EXIT,
                            .level = RUSM_LOG_CRASH,
                            .runtime = "london",
                            .pid = {1, 42},
                            .label = "worker",
                            .reason = &reason,
                            .text = "crashed: one\ntwo\033[2J"};

    (void)state;
    assert_string_equal(format(&entry, false, 500),
                        "12:34:56.789  CRASH   <london.42>               worker                "
                        "crashed: one\\ntwo\\x1b[2J\n");
    assert_string_equal(format(&entry, true, 500),
                        "12:34:56.789  \033[1;31mCRASH   \033[0m<london.42>               "
                        "worker                crashed: one\\ntwo\\x1b[2J\n");
    entry.event = RUSM_LOG_EVENT_CENSUS;
    entry.pid = RUSM_PID_NONE;
    entry.label = "k\xc3\xb6\x63h"; /* four characters */
    entry.text = "3 alive (+3)";
    assert_string_equal(format(&entry, false, 500),
                        "12:34:56.789  CENSUS  london                    "
                        "k\xc3\xb6\x63h                  3 alive (+3)\n");
    assert_int_equal(strlen(format(&entry, false, 40)), 40);
}

/* ---- threads --------------------------------------------------------------------------------- */

static _Atomic(uint32_t) spin_on;

static void body_hold(void *arg)
{
    (void)arg;
    while (atomic_load(&spin_on) != 0) {
    }
}

static void test_who_holds_a_scheduler_is_named(void **state)
{
    rusm_runtime_config cfg;
    rusm_runtime_stats stats;
    rusm_spawn_config how;
    rusm_pid pid;

    (void)state;
    rusm_runtime_config_init(&cfg);
    cfg.name = "test";
    assert_int_equal(rusm_runtime_new(&kit.rt, &cfg), RUSM_OK);
    begin(RUSM_LOG_CRASH);
    atomic_store(&spin_on, 1);
    rusm_spawn_config_init(&how);
    how.label = "glutton";
    assert_int_equal(rusm_spawn_with(kit.rt, body_hold, NULL, &how, &pid), RUSM_OK);
    while (atomic_load(&seen.len) == 0) {
        (void)sched_yield();
    }
    atomic_store(&spin_on, 0);
    rusm_log_set_fn(NULL, NULL); /* from here on `seen` stays as it is */
    assert_int_equal(seen.entries[0].event, RUSM_LOG_EVENT_LONG);
    assert_int_equal(seen.entries[0].level, RUSM_LOG_CRASH);
    assert_true(rusm_pid_equal(seen.entries[0].pid, pid));
    assert_string_equal(seen.entries[0].label, "glutton");
    assert_true(seen.entries[0].number >= 10);
    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    assert_true(stats.schedulers_held >= 1);
    rusm_runtime_del(kit.rt);
}

static void *change_settings(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        rusm_log_set_fn(note, &seen);
        assert_int_equal(rusm_log_set_level(kit.rt, (rusm_log_level)(i % 5)), RUSM_OK);
        assert_int_equal(rusm_log_set_census(kit.rt, i % 3), RUSM_OK);
        if (atomic_load(&seen.len) > ENTRIES_MAX / 2) {
            rusm_log_set_fn(NULL, NULL);
            atomic_store(&seen.len, 0); /* it does not run any more */
        }
    }
    return NULL;
}

/* Settings change while processes start and end; each is counted off that was counted on. */
static void test_settings_change_at_any_time(void **state)
{
    rusm_runtime_config cfg;
    pthread_t thread;
    uint32_t ended = 0;

    (void)state;
    rusm_runtime_config_init(&cfg);
    cfg.name = "test";
    assert_int_equal(rusm_runtime_new(&kit.rt, &cfg), RUSM_OK);
    begin(RUSM_LOG_OFF);
    assert_int_equal(pthread_create(&thread, NULL, change_settings, NULL), 0);
    while (ended++ < 2000) {
        (void)spawn_labelled(kit_body_return, "guest");
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rusm_log_set_level(kit.rt, RUSM_LOG_OFF), RUSM_OK);
    rusm_runtime_del(kit.rt);
    rusm_log_set_fn(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_level_includes_those_before),
        cmocka_unit_test(test_a_spawn_that_fails_is_not_logged),
        cmocka_unit_test(test_misuse_is_refused),
        cmocka_unit_test(test_a_flood_is_cut_and_counted),
        cmocka_unit_test(test_a_log_function_may_send_and_spawn),
        cmocka_unit_test(test_a_log_function_may_switch_the_log_off),
        cmocka_unit_test(test_a_full_standard_error_stops_nobody),
        cmocka_unit_test(test_the_census_tells_what_changed),
        cmocka_unit_test(test_labels_beyond_the_limit_are_counted_together),
        cmocka_unit_test(test_lines_are_aligned_and_tame),
        cmocka_unit_test(test_who_holds_a_scheduler_is_named),
        cmocka_unit_test(test_settings_change_at_any_time),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
