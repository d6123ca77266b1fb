/* SPDX-License-Identifier: MIT */
/*
 * Texts with addresses: a spec of rusm_node_join(), and the file that one names. Pure but for the
 * names of interfaces in link-local addresses; any thread.
 */
#ifndef RUSMI_NODE_ADDRESSES_H
#define RUSMI_NODE_ADDRESSES_H

#include "platform/udp.h"

#include <rusm/cluster/membership.h>

/* A text may be so long; of a longer one the whole lines that fit are read. */
#define RUSMI_ADDRESSES_TEXT_MAX ((size_t)256 * 1024)

/* Each once, in its one spelling, in the order of the text. */
struct rusmi_addresses {
    char text[RUSM_JOIN_ADDRESSES_MAX][RUSM_ADDRESS_MAX];
    size_t len;
    bool more; /* there were more than fit */
};

/* Add an address; one that is there already, or finds no room (see more), changes nothing. */
void rusmi_addresses_add(struct rusmi_addresses *addresses, const struct rusmi_address *address);
bool rusmi_addresses_has(const struct rusmi_addresses *addresses, const char *text);
/*
 * Add those in a text, separated by blanks, commas and lines; `#` begins a comment. What is no
 * address is passed over: the error detail tells of the first one (its line too, if lines are to be
 * numbered) or that the text is too long, and false is returned.
 */
bool rusmi_addresses_read(struct rusmi_addresses *addresses, const char *text, size_t text_len,
                          bool numbered);

#endif
