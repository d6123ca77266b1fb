/* SPDX-License-Identifier: MIT */
/*
 * What a process owns is given back when it ends, however it ends: blocks, messages, hooks. Counted
 * by what malloc() and free() are asked (the allocator is wrapped at link time).
 */
#include "otp/kit_fixture_test.h"

#include <stdatomic.h>
#include <stdlib.h>

/* ---- counting -------------------------------------------------------------------------------- */

static _Atomic long blocks; /* allocated and not freed, by the whole program */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *block);

static void *counted(void *block)
{
    (void)atomic_fetch_add(&blocks, block == NULL ? 0 : 1);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    return block == NULL ? counted(__real_realloc(NULL, size)) : __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *block)
{
    (void)atomic_fetch_sub(&blocks, block == NULL ? 0 : 1);
    __real_free(block);
}

/* Run body on a fresh pool; it must give back all it takes. */
static void without_leak(void (*body)(void))
{
    for (uint64_t seed = 1; seed <= KIT_SEEDS; seed++) {
        long before = atomic_load(&blocks);

        kit_open(seed);
        body();
        kit_close();
        assert_int_equal(atomic_load(&blocks), before);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void body_keep_blocks(void *arg)
{
    unsigned char *first = rusm_zalloc(100), *second = rusm_alloc(1), *third;

    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal((uintptr_t)first % _Alignof(max_align_t), 0);
    assert_int_equal((uintptr_t)second % _Alignof(max_align_t), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(first[i], 0);
        first[i] = (unsigned char)i;
    }
    third = rusm_alloc(10);
    assert_non_null(third);
    first = rusm_realloc(first, 100000);
    assert_non_null(first);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(first[i], i);
    }
    rusm_free(second);
    rusm_free(NULL);
    assert_int_equal(kit_info(rusm_self()).heap_bytes, 100010);
    assert_int_equal(rusm_send(kit.self, "held", 4), RUSM_OK);
    if (arg != NULL) {
        rusm_crash("with blocks");
    }
    kit_body_wait(NULL);
}

static void blocks_are_freed(void)
{
    static char crash;
    rusm_pid waits = kit_spawn(body_keep_blocks, NULL);
    rusm_pid ends = kit_spawn(body_keep_blocks, &crash);

    assert_int_equal(rusm_monitor(ends, NULL), RUSM_OK);
    assert_int_equal(rusm_monitor(waits, NULL), RUSM_OK);
    for (int i = 0; i < 3; i++) {
        rusm_msg_del(kit_receive());
    }
    assert_int_equal(rusm_kill(waits), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, waits, RUSM_REASON_KILLED);
}

static void test_blocks_are_freed_at_the_end(void **state)
{
    (void)state;
    without_leak(blocks_are_freed);
}

static void test_blocks_of_nobody_are_freed_by_hand(void **state)
{
    long before = atomic_load(&blocks);
    unsigned char *block = rusm_alloc(10);

    (void)state;
    assert_non_null(block);
    memset(block, 7, 10);
    block = rusm_realloc(block, 1000);
    assert_non_null(block);
    assert_int_equal(block[9], 7);
    assert_int_equal(atomic_load(&blocks), before + 1);
    rusm_free(block);
    assert_null(rusm_alloc(SIZE_MAX));
    assert_null(rusm_zalloc(SIZE_MAX - 8));
    block = rusm_realloc(NULL, 5);
    assert_non_null(block);
    assert_null(rusm_realloc(block, SIZE_MAX));
    rusm_free(block);
    assert_int_equal(atomic_load(&blocks), before);
}

/* A thread's blocks are freed when it leaves. */
static void thread_blocks(void)
{
    assert_non_null(rusm_alloc(1000));
    assert_non_null(rusm_realloc(rusm_alloc(10), 2000));
    assert_int_equal(kit_info(kit.self).heap_bytes, 3000);
}

static void test_blocks_of_a_thread_are_freed_when_it_leaves(void **state)
{
    (void)state;
    without_leak(thread_blocks);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void body_hold_messages(void *arg)
{
    rusm_msg *msg, *made;

    (void)arg;
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    assert_int_equal(rusm_receive(&msg, RUSM_INFINITY), RUSM_OK);
    assert_int_equal(rusm_msg_new(&made, 500), RUSM_OK);
    /* Given away, taken back on an error, deleted. */
    assert_int_equal(rusm_send_msg((rusm_pid){kit.self.incarnation, UINT64_MAX}, made),
                     RUSM_ENOPROC);
    assert_int_equal(rusm_msg_new(&made, 3), RUSM_OK);
    memcpy(rusm_msg_data(made), "abc", 3);
    assert_int_equal(rusm_send_msg(kit.self, made), RUSM_OK);
    assert_int_equal(rusm_msg_new(&made, 9), RUSM_OK);
    rusm_msg_del(made);
    kit_body_wait(NULL);
}

static bool never(const rusm_msg *msg, void *arg)
{
    (void)msg;
    (void)arg;
    return false;
}

static void body_never_receive(void *arg)
{
    rusm_msg *msg;

    (void)arg;
    (void)!rusm_receive_match(&msg, never, NULL, RUSM_INFINITY);
}

static void messages_are_freed(void)
{
    rusm_pid pid = kit_spawn(body_hold_messages, NULL), full;
    rusm_runtime_stats stats;

    assert_int_equal(rusm_send(pid, "one", 3), RUSM_OK);
    assert_int_equal(rusm_send(pid, "two", 3), RUSM_OK);
    kit_expect_data(pid, "abc");
    assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
    assert_int_equal(rusm_kill(pid), RUSM_OK);
    (void)kit_expect(RUSM_MSG_DOWN, pid, RUSM_REASON_KILLED);

    full = kit_spawn(body_never_receive, NULL);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rusm_send(full, "unread", 6), RUSM_OK);
    }
    kit_settle();
    assert_int_equal(rusm_send(full, "not yet seen", 12), RUSM_OK);
    assert_int_equal(rusm_kill(full), RUSM_OK);
    kit_settle();
    assert_int_equal(rusm_runtime_get_stats(kit.rt, &stats), RUSM_OK);
    assert_int_equal(stats.messages_unread, 11);
    assert_int_equal(rusm_send(kit.self, "unread by the thread", 20), RUSM_OK);
}

static void test_messages_held_and_unread_are_freed(void **state)
{
    (void)state;
    without_leak(messages_are_freed);
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static char heard[64];
static char letter_a[] = "a", letter_b[] = "b", letter_c[] = "c", letter_x[] = "x";
static char letter_thread[] = "thread";
static rusm_pid hooked;
static int *block_in_hook;

static void note(void *arg)
{
    rusm_pid found;

    (void)strncat(heard, arg, sizeof(heard) - strlen(heard) - 1);
    assert_true(rusm_pid_is_none(rusm_self()));
    /* Links and monitors have heard nothing yet, and its memory is there. */
    assert_int_equal(kit_info(kit.self).mailbox_len, 0);
    assert_int_equal(*block_in_hook, 4711);
    assert_true(rusm_is_alive(hooked));
    assert_int_equal(rusm_whereis(kit.rt, "hooked", &found), RUSM_OK);
}

static void body_hooks(void *arg)
{
    rusm_exit_hook hook;

    hooked = rusm_self();
    block_in_hook = rusm_alloc(sizeof(*block_in_hook));
    assert_non_null(block_in_hook);
    *block_in_hook = 4711;
    assert_int_equal(rusm_register(NULL, "hooked", hooked), RUSM_OK);
    assert_int_equal(rusm_at_exit(note, letter_a, NULL), RUSM_OK);
    assert_int_equal(rusm_at_exit(note, letter_x, &hook), RUSM_OK);
    assert_int_equal(rusm_at_exit(note, letter_b, NULL), RUSM_OK);
    assert_true(rusm_cancel_exit_hook(hook));
    assert_false(rusm_cancel_exit_hook(hook));
    assert_false(rusm_cancel_exit_hook((rusm_exit_hook){0}));
    assert_int_equal(rusm_at_exit(note, letter_c, NULL), RUSM_OK);
    assert_int_equal(rusm_at_exit(NULL, NULL, NULL), RUSM_EINVAL);
    switch (*(const char *)arg) {
    case 'r':
        return;
    case 'c':
        rusm_crash("hooks");
    default:
        kit_body_wait(NULL);
    }
}

static void hooks_run(void)
{
    static const char *const ways[] = {"return", "crash", "killed"};
    static const rusm_reason_kind reasons[] = {RUSM_REASON_NORMAL, RUSM_REASON_CRASHED,
                                               RUSM_REASON_KILLED};

    for (size_t i = 0; i < 3; i++) {
        rusm_pid pid, found;

        memset(heard, 0, sizeof(heard));
        pid = kit_spawn(body_hooks, (void *)(uintptr_t)ways[i]);
        assert_int_equal(rusm_link(pid), RUSM_OK);
        assert_int_equal(rusm_monitor(pid, NULL), RUSM_OK);
        kit_settle();
        if (i == 2) {
            assert_int_equal(rusm_kill(pid), RUSM_OK);
        }
        (void)kit_expect(RUSM_MSG_EXIT, pid, reasons[i]);
        assert_string_equal(heard, "cba");
        assert_int_equal(rusm_whereis(kit.rt, "hooked", &found), RUSM_ENONAME);
        (void)kit_expect(RUSM_MSG_DOWN, pid, reasons[i]);
    }
    assert_int_equal(rusm_at_exit(note, letter_thread, NULL), RUSM_OK);
    hooked = kit.self;
    block_in_hook = rusm_alloc(sizeof(int));
    assert_non_null(block_in_hook);
    *block_in_hook = 4711;
    assert_int_equal(rusm_register(NULL, "hooked", kit.self), RUSM_OK);
    memset(heard, 0, sizeof(heard));
}

static void test_hooks_run_last_first_before_anybody_hears(void **state)
{
    (void)state;
    without_leak(hooks_run);
    assert_string_equal(heard, "thread");
}

static void test_hooks_need_a_context(void **state)
{
    (void)state;
    assert_int_equal(rusm_at_exit(note, letter_x, NULL), RUSM_ENOCONTEXT);
    assert_false(rusm_cancel_exit_hook((rusm_exit_hook){1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_freed_at_the_end),
        cmocka_unit_test(test_blocks_of_nobody_are_freed_by_hand),
        cmocka_unit_test(test_blocks_of_a_thread_are_freed_when_it_leaves),
        cmocka_unit_test(test_messages_held_and_unread_are_freed),
        cmocka_unit_test(test_hooks_run_last_first_before_anybody_hears),
        cmocka_unit_test(test_hooks_need_a_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
