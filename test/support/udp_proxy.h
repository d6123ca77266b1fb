/* SPDX-License-Identifier: MIT */
/*
 * A network between two nodes that a test can cut: a thread that forwards UDP datagrams between
 * whoever dials its address and one target, each dialer by a socket of its own.
 *
 * Cut, it drops everything in both directions and counts it: for the ends that is a peer that fell
 * silent without a word. Threading: the functions here belong to the test's own thread.
 */
#ifndef RUSM_SUPPORT_UDP_PROXY_H
#define RUSM_SUPPORT_UDP_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct support_proxy;

/* target: the numeric address of a node. */
struct support_proxy *support_proxy_new(const char *target);
void support_proxy_del(struct support_proxy *proxy);
/* Where to dial. */
const char *support_proxy_address(const struct support_proxy *proxy);
/* Drop everything from now on, or no longer. */
void support_proxy_cut(struct support_proxy *proxy, bool cut);
/* Drop every so many-th batch of datagrams that came at once; 0: none. */
void support_proxy_lose(struct support_proxy *proxy, unsigned every);
/* Batches of datagrams forwarded and dropped so far. */
uint64_t support_proxy_forwarded(const struct support_proxy *proxy);
uint64_t support_proxy_dropped(const struct support_proxy *proxy);

#endif
