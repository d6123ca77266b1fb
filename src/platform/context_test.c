/* SPDX-License-Identifier: MIT */
/* The switch between stacks: what is kept, who is told, and that a stack can be used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/context.h"
#include "platform/stack.h"
#include "platform/vm.h"

#define STACK_LEN ((size_t)256 * 1024)

struct play {
    struct rusmi_context main, other;
    uint64_t value;
    int turns;
};

static void *stacks;

static int map_stacks(void **state)
{
    bool guarded;

    (void)state;
    stacks = rusmi_stacks_map(2, STACK_LEN, &guarded);
    return stacks == NULL || !guarded ? -1 : 0;
}

static int unmap_stacks(void **state)
{
    (void)state;
    rusmi_stacks_unmap(stacks, 2, STACK_LEN);
    return 0;
}

static void start(struct play *play, void (*fn)(void *))
{
    rusmi_context_init(&play->other, (char *)stacks + rusmi_vm_page(), (char *)stacks + STACK_LEN,
                       fn, play);
}

static void body_add(void *arg)
{
    struct play *play = arg;
    /* Enough live values that callee-saved registers hold some of them across the switch. */
    uint64_t a = play->value, b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13;
    double x = (double)a / 7;

    for (;;) {
        play->value = a + b + c + d + e + f;
        rusmi_context_switch(&play->other, &play->main);
        if (x != (double)a / 7) {
            play->value = 0;
        }
        a++;
        b += 3;
        c += 5;
        d += 7;
        e += 11;
        f += 13;
        x = (double)a / 7;
        if (++play->turns == 1000) {
            rusmi_context_leave(&play->other, &play->main);
        }
    }
}

static void test_switching_there_and_back_keeps_locals(void **state)
{
    struct play play = {.value = 2};
    uint64_t mine = 17, expected = 2 * (1 + 3 + 5 + 7 + 11 + 13);

    (void)state;
    rusmi_context_init_thread(&play.main);
    start(&play, body_add);
    while (play.turns < 1000) {
        rusmi_context_switch(&play.main, &play.other);
        if (play.turns < 1000) {
            assert_int_equal(play.value, expected);
        }
        expected += 1 + 3 + 5 + 7 + 11 + 13;
        mine += 3;
    }
    assert_int_equal(mine, 17 + 3 * 1001);
    rusmi_context_fini(&play.other);
}

static void body_deep(void *arg, int depth)
{
    struct play *play = arg;
    volatile char frame[256];

    frame[0] = (char)depth;
    frame[255] = (char)depth;
    if (depth > 0) {
        body_deep(arg, depth - 1);
    }
    play->turns += frame[0] == frame[255];
    rusmi_context_leave(&play->other, &play->main);
}

static void body_leave_from_the_depth(void *arg)
{
    body_deep(arg, 100);
}

/* A stack that was left in the middle of its frames is as good as new. */
static void test_stack_is_used_again_after_it_was_left(void **state)
{
    struct play play = {.value = 2};

    (void)state;
    rusmi_context_init_thread(&play.main);
    for (int i = 1; i <= 50; i++) {
        start(&play, body_leave_from_the_depth);
        rusmi_context_switch(&play.main, &play.other);
        rusmi_context_fini(&play.other);
        assert_int_equal(play.turns, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switching_there_and_back_keeps_locals),
        cmocka_unit_test(test_stack_is_used_again_after_it_was_left),
    };

    return cmocka_run_group_tests(tests, map_stacks, unmap_stacks);
}
