/* SPDX-License-Identifier: MIT */
/*
 * The stage of a test with bad peers: a target, a good node with a link to it over which a process
 * exchanges messages without end, and room for bad peers made by the test (raw_peer.h).
 *
 * support_attack() runs an attack while a node that was not there before joins the target and
 * exchanges messages with it, prints what the attack cost the target and how long the newcomer
 * took, and asserts the bound of the memory. Processor time is that of this OS process without the
 * attacking thread, so that of the nodes; memory is everybody's, so that a bound given by a test
 * contains what its own bad peers keep.
 *
 * Threading: the test's own thread.
 */
#ifndef RUSM_SUPPORT_SCENE_H
#define RUSM_SUPPORT_SCENE_H

#include "support/nodes.h"
#include "support/raw_peer.h"

#define SUPPORT_RAWS_MAX 512

struct support_scene {
    struct support_world *world;
    struct support_node *target, *good;
    struct support_raw *raws[SUPPORT_RAWS_MAX]; /* freed by the teardown */
    uint64_t bad;                               /* bad things done, counted by the test */
};

/* For cmocka; *state becomes the struct support_scene. cfg is the target's. */
int support_scene_setup(void **state, const rusm_node_config *cfg);
int support_scene_teardown(void **state);

/* A bad peer from an address of its own (127.x.y.z; NULL: as the good nodes) at scene->raws[i],
 * that has done nothing yet, that has done TLS, or whose link is up. */
struct support_raw *support_scene_dial(struct support_scene *scene, size_t i, const char *name,
                                       const char *from);
struct support_raw *support_scene_tls(struct support_scene *scene, const char *name);
struct support_raw *support_scene_up(struct support_scene *scene, const char *name);

/* What differs in the target's counters, and only what is named may. */
struct support_harm {
    uint64_t protocol_errors, timeouts, refused_auth, refused_duplicate, refused_full;
};

void support_expect_harm(struct support_scene *scene, struct support_harm harm);
/* The good link carries so many more messages. */
void support_expect_exchange(uint64_t more);
/* The good link is the target's only one, goes on, and has been up since before the attack. */
void support_expect_only_good(struct support_scene *scene);
/* The bad peer loses its link with that code, and its end is told to it in those words. */
void support_expect_loss(struct support_scene *scene, struct support_raw *raw,
                         enum rusmi_close_code code, const char *words, struct support_harm harm);

struct support_attack {
    const char *what;
    void (*turn)(struct support_scene *scene, void *arg); /* do some more of it */
    void *arg;
    uint64_t bad_min;  /* go on until so many bad things were done, also when the newcomer is in */
    size_t memory_max; /* bytes by which this OS process may have grown */
};

/* Run it. Fails if the newcomer does not come in or is not answered within SUPPORT_DEADLINE_MS. */
void support_attack(struct support_scene *scene, const struct support_attack *attack);

/* A member that lies, or does without end what it may, at scene->raws[0]. When it loses its link it
 * comes again at once. */
struct support_liar {
    void (*say)(struct support_scene *scene, struct support_liar *liar, struct support_raw *raw);
    void (*adjust)(struct rusmi_quic_config *cfg); /* NULL, or what is special about its QUIC */
    const char *address;                           /* that its hellos say; NULL: none */
    uint64_t number;                               /* for `say` */
    uint64_t links_lost;                           /* to a close by the target */
    bool begun;                                    /* for `say`, false on every new link */
    int64_t begun_id;
    char last_words[RUSMI_QUIC_TEXT_MAX]; /* of the target */
};

/* An attack of it, and what it lost by that. */
void support_lie(struct support_scene *scene, const char *what, struct support_liar *liar,
                 uint64_t bad_min, size_t memory_max);
/* Queue one frame so many times. */
void support_say(struct support_scene *scene, struct support_raw *raw,
                 const struct rusmi_frame *frame, unsigned count);

#endif
