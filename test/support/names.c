/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/names.h"

struct support_three support_three_start(struct support_world *world)
{
    struct support_three nodes = {.a = support_node_start(world, "a"),
                                  .b = support_node_start(world, "b"),
                                  .c = support_node_start(world, "c")};

    support_connect(nodes.a, nodes.b);
    support_connect(nodes.b, nodes.c);
    support_connect(nodes.c, nodes.a);
    return nodes;
}

void support_publish(struct support_node *node, const char *name, rusm_pid pid)
{
    assert_int_equal(rusm_register_global(node->node, name, pid), RUSM_OK);
}

struct name_wish {
    struct support_node *node;
    const char *name;
    rusm_pid pid;
};

static bool name_is(void *arg)
{
    const struct name_wish *wish = arg;
    rusm_pid pid = RUSM_PID_NONE;
    rusm_err err = rusm_whereis_global(wish->node->node, wish->name, &pid);

    return err == (rusm_pid_is_none(wish->pid) ? RUSM_ENONAME : RUSM_OK) &&
           rusm_pid_equal(pid, wish->pid);
}

bool support_name_is(struct support_node *node, const char *name, rusm_pid pid)
{
    struct name_wish wish = {.node = node, .name = name, .pid = pid};

    return name_is(&wish);
}

void support_name_wait(struct support_node *node, const char *name, rusm_pid pid)
{
    struct name_wish wish = {.node = node, .name = name, .pid = pid};

    if (!support_wait(name_is, &wish)) {
        fail_msg("node %s does not know the owner of %s", rusm_node_name(node->node), name);
    }
}

void support_name_wait_all(const struct support_three *nodes, const char *name, rusm_pid pid)
{
    support_name_wait(nodes->a, name, pid);
    support_name_wait(nodes->b, name, pid);
    support_name_wait(nodes->c, name, pid);
}

size_t support_names(struct support_node *node)
{
    static rusm_name_info infos[300];
    uint64_t cursor = 0;
    size_t count = 0;

    do {
        ptrdiff_t n = rusm_name_list(node->node, &cursor, infos, 300);

        assert_true(n >= 0);
        count += (size_t)n;
    } while (cursor != 0);
    return count;
}

struct names_wish {
    struct support_node *node;
    size_t count;
};

static bool names_are(void *arg)
{
    const struct names_wish *wish = arg;

    return support_names(wish->node) == wish->count;
}

void support_names_wait(struct support_node *node, size_t count)
{
    struct names_wish wish = {.node = node, .count = count};

    if (!support_wait(names_are, &wish)) {
        fail_msg("node %s lists %zu names, not %zu", rusm_node_name(node->node),
                 support_names(node), count);
    }
}
