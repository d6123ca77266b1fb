/* SPDX-License-Identifier: MIT */
/*
 * Readiness of many descriptors: epoll with a way to interrupt the one thread that waits.
 *
 * Keys are chosen by the caller and come back with the events; RUSMI_POLL_KEY_NONE is taken.
 * Functions return 0 or a positive errno value.
 */
#ifndef RUSMI_PLATFORM_POLL_H
#define RUSMI_PLATFORM_POLL_H

#include <rusm/types.h>

#include <stdbool.h>
#include <stddef.h>

struct rusmi_poll {
    int epoll_fd, wake_fd;
};

/* Bits of events, as RUSM_FD_READ and RUSM_FD_WRITE. */
#define RUSMI_POLL_READ  1u
#define RUSMI_POLL_WRITE 2u
/* Report once, then be silent until rusmi_poll_set is called again. */
#define RUSMI_POLL_ONCE     4u

#define RUSMI_POLL_KEY_NONE UINT64_MAX
#define RUSMI_POLL_MAX      64 /* keys that one wait returns at most */

int rusmi_poll_init(struct rusmi_poll *poll);
void rusmi_poll_fini(struct rusmi_poll *poll);
/* Watch fd for events, instead of what it was watched for. `known`: it probably is in already. */
int rusmi_poll_set(struct rusmi_poll *poll, int fd, unsigned events, uint64_t key, bool known);
void rusmi_poll_remove(struct rusmi_poll *poll, int fd);
/*
 * Wait until deadline (0: do not wait, UINT64_MAX: for ever) and write the keys of what is ready;
 * returns how many. Errors on a descriptor count as ready. One thread at a time.
 */
size_t rusmi_poll_wait(struct rusmi_poll *poll, rusm_time now, rusm_time deadline,
                       uint64_t keys[RUSMI_POLL_MAX]);
/* Make the present or the next rusmi_poll_wait return. Any thread. */
void rusmi_poll_wake(struct rusmi_poll *poll);

#endif
