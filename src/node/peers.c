/* SPDX-License-Identifier: MIT */
/*
 * The links that are up, found by node name (members) and by incarnation (operators too, so that
 * they can be answered). Each table holds a reference, so what a lookup returns stays valid for the
 * caller.
 */
#include "node/link.h"

#include "base/assert.h"

#include <string.h>

void rusmi_peers_add(struct rusmi_link *link)
{
    rusm_node *node = link->node;
    bool listed = false;

    rusmi_lock_take(&node->peers_lock);
    if (rusmi_map_find(&node->by_incarnation, &link->incarnation, sizeof(link->incarnation)) ==
            NULL &&
        rusmi_map_insert(&node->by_incarnation, &link->by_incarnation, &link->incarnation,
                         sizeof(link->incarnation))) {
        listed = true;
        (void)rusmi_link_hold(link);
    }
    if (listed && !link->hidden) {
        /* The core has one link that is up for each name, so the name is free. */
        if (rusmi_map_insert(&node->by_name, &link->by_name, link->name, strlen(link->name))) {
            (void)rusmi_link_hold(link);
        } else {
            rusmi_map_remove(&node->by_incarnation, &link->by_incarnation);
            rusmi_link_drop(link);
            listed = false;
        }
    }
    link->listed = listed;
    rusmi_lock_give(&node->peers_lock);
}

void rusmi_peers_remove(struct rusmi_link *link)
{
    rusm_node *node = link->node;
    unsigned drops = 0;

    rusmi_lock_take(&node->peers_lock);
    if (link->listed) {
        link->listed = false;
        rusmi_map_remove(&node->by_incarnation, &link->by_incarnation);
        drops++;
        if (!link->hidden) {
            rusmi_map_remove(&node->by_name, &link->by_name);
            drops++;
        }
    }
    rusmi_lock_give(&node->peers_lock);
    for (; drops > 0; drops--) {
        rusmi_link_drop(link);
    }
}

struct rusmi_link *rusmi_peers_find(rusm_node *node, const char *name, size_t name_len)
{
    struct rusmi_map_entry *entry;
    struct rusmi_link *link = NULL;

    rusmi_lock_take(&node->peers_lock);
    entry = rusmi_map_find(&node->by_name, name, name_len);
    if (entry != NULL) {
        link = rusmi_link_hold(rusmi_container(entry, struct rusmi_link, by_name));
    }
    rusmi_lock_give(&node->peers_lock);
    return link;
}

struct rusmi_link *rusmi_peers_find_incarnation(rusm_node *node, uint64_t incarnation)
{
    struct rusmi_map_entry *entry;
    struct rusmi_link *link = NULL;

    rusmi_lock_take(&node->peers_lock);
    entry = rusmi_map_find(&node->by_incarnation, &incarnation, sizeof(incarnation));
#ifdef RUSMI_PLANT_STALE
    rusmi_map_each(&node->by_incarnation, any, position, following)
    {
        entry = entry != NULL ? entry : any;
    }
#endif
    if (entry != NULL) {
        link = rusmi_link_hold(rusmi_container(entry, struct rusmi_link, by_incarnation));
    }
    rusmi_lock_give(&node->peers_lock);
    return link;
}
