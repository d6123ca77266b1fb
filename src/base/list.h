/* SPDX-License-Identifier: MIT */
/*
 * A circular doubly linked list through nodes embedded in the elements. A node that is in no list
 * points at itself, so removing it twice is harmless. Nothing is allocated; the caller locks.
 */
#ifndef RUSMI_BASE_LIST_H
#define RUSMI_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct rusmi_list {
    struct rusmi_list *next, *prev;
};

/* The element of type `type` whose field `field` is this node. */
#define rusmi_container(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

static inline void rusmi_list_init(struct rusmi_list *node)
{
    node->next = node->prev = node;
}

static inline bool rusmi_list_empty(const struct rusmi_list *list)
{
    return list->next == list;
}

/* Put node, which is in no list, at the end. */
static inline void rusmi_list_push(struct rusmi_list *list, struct rusmi_list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

/* Put node, which is in no list, at the front. */
static inline void rusmi_list_push_front(struct rusmi_list *list, struct rusmi_list *node)
{
    rusmi_list_push(list->next, node);
}

static inline void rusmi_list_remove(struct rusmi_list *node)
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    rusmi_list_init(node);
}

/* Take the first node out; NULL if the list is empty. */
static inline struct rusmi_list *rusmi_list_pop(struct rusmi_list *list)
{
    struct rusmi_list *node = list->next;

    if (node == list) {
        return NULL;
    }
    rusmi_list_remove(node);
    return node;
}

#endif
