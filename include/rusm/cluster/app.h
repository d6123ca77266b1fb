/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Applications: shared objects that `rusm node start --load app.so` runs inside a node.
 */
#ifndef RUSM_CLUSTER_APP_H
#define RUSM_CLUSTER_APP_H

#include <rusm/cluster/node.h>
#include <rusm/err.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** The layout of rusm_app; a node loads only applications with its own number. */
#define RUSM_APP_ABI 1u

/** An application. */
typedef struct rusm_app {
    uint32_t abi;        /**< RUSM_APP_ABI */
    const char *name;    /**< for logs */
    const char *version; /**< for logs */
    /**
     * Register factories and start processes. Called once, on an ordinary thread that has entered
     * the node's runtime, after the node was bound and before it connects. An error stops the node
     * with rusm_err_detail() as the reason.
     */
    rusm_err (*start)(rusm_node *node, void **out_state);
    /** Called once when the node stops, after its processes have ended; may be NULL. */
    void (*stop)(void *state);
} rusm_app;

/**
 * The one entry point of an application's shared object: `const rusm_app *rusm_app_main(void)`.
 *
 * Owns:    nothing; the record must stay valid while the object is loaded.
 */
RUSM_API const rusm_app *rusm_app_main(void);

/** The name of that entry point, for dlsym(3). */
#define RUSM_APP_ENTRY "rusm_app_main"

RUSM_END_DECLS

#endif
