/* SPDX-License-Identifier: MIT */
/*
 * A mutex for critical sections of a few dozen instructions. Order of acquisition in this folder:
 * rusm_node.lock, then rusmi_link.lock; peers_lock, cids_lock and crowd_lock are leaves, taken last
 * and alone.
 */
#ifndef RUSMI_NODE_MUTEX_H
#define RUSMI_NODE_MUTEX_H

#include <pthread.h>

struct rusmi_mutex {
    pthread_mutex_t impl;
};

static inline void rusmi_mutex_init(struct rusmi_mutex *mutex)
{
    (void)pthread_mutex_init(&mutex->impl, NULL);
}

static inline void rusmi_mutex_fini(struct rusmi_mutex *mutex)
{
    (void)pthread_mutex_destroy(&mutex->impl);
}

static inline void rusmi_mutex_lock(struct rusmi_mutex *mutex)
{
    (void)pthread_mutex_lock(&mutex->impl);
}

static inline void rusmi_mutex_unlock(struct rusmi_mutex *mutex)
{
    (void)pthread_mutex_unlock(&mutex->impl);
}

#endif
