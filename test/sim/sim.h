/* SPDX-License-Identifier: MIT */
/*
 * The simulator: many nodes in one OS process, on virtual time and a virtual network, everything
 * drawn from one seed (docs/design/simulation.md).
 *
 * What runs is what ships: processes, schedulers (the deterministic pool of rusm/test.h), nodes,
 * the protocol core, order and credit, codecs. Replaced, by the linker (--wrap, see
 * test/CMakeLists.txt), are sockets (sim_udp.c), QUIC with its TLS (sim_quic.c, sim_packet.c), and
 * where numbers and the time of a node come from (sim_drive.c).
 *
 * A *life* is one incarnation of a node, from its bind to its crash. Its clock has an offset to the
 * pool's, which clock jumps enlarge.
 *
 * All is done by one thread, and a process gives way only inside rusm calls, so what is told to the
 * checkers beside a call is told at the moment of the call.
 */
#ifndef RUSM_SIM_SIM_H
#define RUSM_SIM_SIM_H

#include "base/list.h"
#include "base/prng.h"

#include <rusm/otp/driver.h>
#include <rusm/rusm.h>
#include <rusm/test.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_NODES_MAX 50
#define SIM_PORT      4000 /* where every node listens */
#define SIM_MS        ((rusm_time)1000000)
#define SIM_S         ((rusm_time)1000000000)
#define SIM_NAME_LEN  24

/* Of each node: the smallest that there is. */
#define SIM_MEMORY_MAX ((uint64_t)128 * 1024 * 1024)

struct rusmi_quic_conn;
struct sim_life;
struct sim_pair;
struct sim_worker;

/* ---- what a run is --------------------------------------------------------------------------- */

struct sim_options {
    uint64_t seed;
    unsigned steps, nodes;
    bool verbose;
};

/* Limits and manners of one run, drawn from the seed. */
struct sim_profile {
    uint32_t tick_ms, hello_ms;
    size_t queue_bytes_max;
    uint32_t mailbox_high;
    uint64_t window, streams_max;
    uint32_t loss_ppm, dup_ppm, late_ppm; /* of every path, always */
    rusm_time delay_ns, jitter_ns;
    unsigned workers; /* on each node */
    uint32_t big_ppm; /* of messages: as large as a big one */
    size_t big_len;
    uint32_t fault_ppm; /* of steps */
    uint32_t crash_ppm; /* of faults */
    bool mesh;          /* nodes find each other by themselves; else they are told to dial */
    uint32_t old_ppm;   /* of lives: they speak version 1 of the protocol only */
    bool dated;         /* certificates last for seconds */
};

struct sim_life {
    struct sim_life *next; /* all lives of the run */
    unsigned index;        /* of its node */
    unsigned number;       /* of all lives, from 1 */
    rusm_runtime *rt;
    rusm_node *node;
    uint64_t incarnation;
    rusm_time offset;    /* of its clock */
    bool cut;            /* crashed: what it sends vanishes, and what it does no longer counts */
    bool paused;         /* the whole OS process: drivers and processes */
    rusm_time hogged;    /* none of its processes gives way until then, but its drivers run */
    rusm_time hog_until; /* so does this one alone */
    const struct sim_proc *hog;
    bool old;           /* speaks version 1 of the protocol only */
    int64_t cert_until; /* its certificate in seconds since 1970; 0: it has shown none yet */
    bool left;          /* the cluster, in peace or not */
    rusm_time paused_until;
    struct rusmi_list drivers;
    struct sim_worker *workers; /* profile.workers of them */
};

struct sim_node {
    unsigned index;
    char name[SIM_NAME_LEN];
    char address[32];
    rusm_identity *identity;
    struct sim_life *life; /* NULL while it is down */
    rusm_time down_until;
    rusm_time leaves_at; /* it has been told to leave: when it ends; 0: it has not */
};

struct sim_world {
    struct sim_options options;
    struct sim_profile profile;
    rusm_pool *pool;
    rusm_runtime *control; /* the simulator's own thread has entered it */
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_life *lives;
    unsigned lives_len;
    struct rusmi_prng rng;     /* steps and faults */
    struct rusmi_prng net;     /* the network's */
    struct rusmi_prng work;    /* the processes' */
    struct rusmi_prng entropy; /* what the library takes for randomness of the system */
    uint64_t refs;             /* given so far */
    bool healed;               /* no more faults */
    bool quiet;                /* no more work */
    uint64_t step;
    /* What there was: printed when many seeds have passed. */
    struct sim_totals {
        uint64_t messages, lost, links, crashes, faults, processes, downs, exits, calls, conflicts,
            node_events, group_events, streams, datagrams;
    } totals;
};

extern struct sim_world *sim;

/* Run one seed to its end; a finding ends the program. Returns the hash of the run's trace. */
uint64_t sim_run(const struct sim_options *options);

static inline uint64_t sim_below(struct rusmi_prng *rng, uint64_t bound)
{
    return rusmi_prng_below(rng, bound);
}

/* Whether something happens that happens ppm times in a million. */
static inline bool sim_chance(struct rusmi_prng *rng, uint32_t ppm)
{
    return rusmi_prng_below(rng, 1000000) < ppm;
}

/* ---- sim_trace.c ----------------------------------------------------------------------------- */

void sim_trace_reset(void);
/* A line of what happened: part of the hash, kept for a failure, printed if asked for. */
void sim_trace(const char *format, ...) RUSM_PRINTF(1, 2);
/* A number that belongs to what happened: part of the hash alone. */
void sim_mix(uint64_t number);
uint64_t sim_hash(void);
/* A finding: print it, the last lines and the command that repeats the run, and end the program. */
RUSM_NORETURN void sim_fail(const char *format, ...) RUSM_PRINTF(1, 2);

#define sim_check(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            sim_fail(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* ---- sim_drive.c: drivers, clocks, randomness ------------------------------------------------ */

/* The life whose code runs now: that of a driver, of a process, or the one that was set; or NULL.
 */
struct sim_life *sim_here(void);
/* For what the simulator's thread does in the name of a life; returns what was set before. */
struct sim_life *sim_set_here(struct sim_life *life);
struct sim_life *sim_life_of(const rusm_runtime *rt);
/* Let those processes go on that were kept from running, and may again. */
void sim_procs_free(void);
/* Whether processes of a life may have to be kept from running, from now on. */
void sim_procs_watch(bool on);
/* Let all drivers of a life run: after a pause, or a jump of its clock. */
void sim_drivers_post(struct sim_life *life);

/* ---- sim_net.c: the network between hosts ---------------------------------------------------- */

struct sim_address {
    uint16_t node, port;
};

/* The way from one node to another; each direction is its own. */
struct sim_path {
    bool blocked;
    uint32_t loss_ppm, dup_ppm, late_ppm;
    rusm_time delay_ns, jitter_ns;
    uint64_t rate; /* bytes a second; 0: no limit */
    rusm_time busy_until;
};

void sim_net_start(void);
void sim_net_stop(void);
struct sim_path *sim_net_path(unsigned from, unsigned to);
void sim_net_send(struct sim_address from, struct sim_address to, const void *data, size_t len);

/* ---- sim_quic.c ------------------------------------------------------------------------------ */

/* A number that both ends of a connection have alike, and no other connection has. */
uint64_t sim_conn_key(const struct rusmi_quic_conn *conn);

/* ---- sim_udp.c: sockets ---------------------------------------------------------------------- */

void sim_udp_start(void);
void sim_udp_stop(void);
/* A datagram has arrived at the host of `to`. */
void sim_udp_arrived(struct sim_address from, struct sim_address to, const void *data, size_t len);
/* rusm_driver_set_fd() of a life's driver. */
rusm_err sim_udp_watch(int fd, unsigned events, rusm_driver *driver);
/* After a run of a driver: descriptors of its that are ready still. */
void sim_udp_again(const struct sim_life *life, rusm_driver *driver);

/* ---- sim_world.c: nodes ---------------------------------------------------------------------- */

/* The life of that incarnation, or NULL. */
struct sim_life *sim_life_by_incarnation(uint64_t incarnation);
/* Whether what two lives say to each other is version 2 of the protocol: a life also has it with
 * itself. */
bool sim_is_modern(const struct sim_life *a, const struct sim_life *b);
/* Some life that is up; NULL if there is none. */
struct sim_life *sim_life_draw(struct rusmi_prng *rng);
/* Let a process of that life dial another node. */
void sim_dial(struct sim_life *life, unsigned to);

/* ---- sim_work.c: what processes do ----------------------------------------------------------- */

/* A place for a process of a life; when its process has ended another takes it. */
struct sim_worker {
    struct sim_life *life;
    unsigned slot;
    struct sim_proc *proc; /* NULL before it runs and after its end */
    bool spawned;
};

void sim_work_start(struct sim_life *life);
/* Let some processes do something. */
void sim_work_step(void);
/* Fill the places that are free. */
void sim_work_refill(struct sim_life *life);

/* ---- sim_check.c: what is known of processes, links and messages, and what must hold --------- */

/* A process of the workload. */
struct sim_proc {
    struct sim_proc *next;
    unsigned id; /* from 1 */
    rusm_pid pid;
    struct sim_life *life;
    struct sim_worker *worker; /* or NULL: spawned by a factory */
    bool ended, listens;
    bool busy;            /* with what it was told to do */
    bool births;          /* it has asked for processes that are linked to it */
    bool bereft;          /* spawned so, it has heard of the end of who asked */
    rusm_time gave_up_at; /* when it last gave up waiting for such a process */
    rusm_reason reason;   /* once it has ended */
    rusm_time begun_at, ended_at;
    rusm_exit_watch watch;
    struct sim_proc *same; /* in its chain of the table by pid */
    size_t place;          /* among those that live */
};

/* What a message was sent to. */
enum sim_way {
    SIM_TO_PID,
    SIM_TO_NAME,
    SIM_TO_GLOBAL,
    SIM_TO_GROUP,
};

/* A message that is being sent: its place in the ledger. */
struct sim_ticket {
    struct sim_pair *pair;
    uint32_t id; /* of the pair */
    uint64_t number;
};

void sim_check_start(void);
void sim_check_stop(void);
/* A process of the workload has begun, or has been spawned, whatever comes first. */
struct sim_proc *sim_proc_begin(rusm_pid pid, struct sim_life *life, struct sim_worker *worker);
struct sim_proc *sim_proc_find(rusm_pid pid);
/* Some process that lives, or (dead) any that ever was; NULL if there is none. */
struct sim_proc *sim_proc_draw(bool dead);
/* Some process of that life that lives; NULL if there is none. */
struct sim_proc *sim_proc_of(const struct sim_life *life);
/* A message from me is about to be sent; fills data with what it is to say. */
struct sim_ticket sim_sending(struct sim_proc *me, enum sim_way way, const struct sim_proc *to,
                              const char *node, const char *name, uint8_t *data, size_t len);
/* It was sent, or not. */
void sim_sent(struct sim_proc *me, struct sim_ticket ticket, rusm_err err);
/* It was a call, which returned so. */
void sim_called(struct sim_ticket ticket, rusm_err err);
/* The shortest message that has room for its place in the ledger. */
#define SIM_MESSAGE_MIN 24u
void sim_received(struct sim_proc *me, const rusm_msg *msg);
/* The same for what is no message of bytes: its sender and its place in the ledger. */
void sim_arrived(struct sim_proc *me, rusm_pid sender, uint32_t id, uint64_t number);
/* The number of the link between two nodes, the same on both sides; 0: `from` lists none. */
uint64_t sim_session(const struct sim_life *from, const struct sim_life *to);
/* me was told of the end of a process while that link was up: all that it sent me came before. */
void sim_check_before_end(const struct sim_proc *ended, const struct sim_proc *me,
                          uint64_t session);
/* me was told that the link to a process is lost: what was sent on it does not come any more. */
void sim_check_cut(const struct sim_proc *gone, const struct sim_proc *me, uint64_t session);

/* ---- sim_names.c: who claims which global name ----------------------------------------------- */

void sim_names_stop(void);
/* me is about to register a name, and did or did not; sync: all peers were asked. */
void sim_registering(struct sim_proc *me, const char *name);
void sim_registered(struct sim_proc *me, const char *name, bool sync, rusm_err err);
void sim_unregistering(struct sim_proc *me, const char *name);
/* me was told that it lost a name. */
void sim_conflict(struct sim_proc *me, const rusm_msg *msg);
const char *sim_check_names(void);

/* ---- sim_live.c: signs of life --------------------------------------------------------------- */

void sim_live_start(void);
void sim_live_stop(void);
/* Something is, or just was, wrong between two nodes, or with one. */
void sim_disturbed(unsigned a, unsigned b);
void sim_disturbed_node(unsigned index);
/* Whether nothing was wrong between two nodes since then, and for a tick before. */
bool sim_was_calm(unsigned a, unsigned b, rusm_time since);
/* A link with the node of that name is given up, because its certificate has expired. */
void sim_cert_expired(const char *name);
/* A node has crashed. */
void sim_live_crashed(const struct sim_life *gone);
/* A node gave a link up because the peer was silent. */
void sim_live_lost(const struct sim_life *from, const struct sim_life *to);
/* Looked at after each step. */
void sim_live_check(void);

/* ---- sim_groups.c ---------------------------------------------------------------------------- */

void sim_groups_stop(void);
void sim_group_join(struct sim_proc *me);
void sim_group_leave(struct sim_proc *me);
void sim_group_send(struct sim_proc *me, size_t len);
void sim_group_watch(struct sim_proc *me);
/* A message of kind JOIN or LEAVE. */
void sim_group_event(struct sim_proc *me, const rusm_msg *msg);
const char *sim_check_groups(void);

/* ---- sim_streams.c --------------------------------------------------------------------------- */

void sim_streams_stop(void);
/* me makes a stream, and gives an end to a process. */
void sim_stream_open(struct sim_proc *me, struct sim_proc *to);
/* A message of bytes: whether it brings an end. */
bool sim_stream_taken(struct sim_proc *me, rusm_msg *msg);
const char *sim_check_streams(void);

/* ---- sim_events.c: nodes that come up and go down -------------------------------------------- */

void sim_events_stop(void);
/* What happens to links. */
void sim_event_up(const struct sim_life *from, const struct sim_life *to, uint64_t session);
void sim_event_down(const struct sim_life *from, const struct sim_life *to, uint64_t session);
/* From here on me hears of it. */
void sim_listen(struct sim_proc *me);
/* A message of kind NODE_UP or NODE_DOWN. */
void sim_node_event(struct sim_proc *me, const rusm_msg *msg);
/* me, which listens, got something that came over that link. */
void sim_event_check(const struct sim_proc *me, const struct sim_life *peer, uint64_t session);
const char *sim_check_events(void);

/* ---- sim_ties.c: monitors, links, kills ------------------------------------------------------ */

void sim_ties_stop(void);
void sim_monitor(struct sim_proc *me, struct sim_proc *to);
void sim_demonitor(struct sim_proc *me);
void sim_link(struct sim_proc *me, struct sim_proc *to);
void sim_unlink(struct sim_proc *me);
void sim_kill(struct sim_proc *me, struct sim_proc *to);
/* me asks a process, which traps exits, to end. */
void sim_ask_exit(struct sim_proc *me, struct sim_proc *to);
/* How a process is bound to the one that has it spawned on another node. */
enum sim_birth {
    SIM_BORN_FREE,
    SIM_BORN_LINKED,
    SIM_BORN_MONITORED
};
/* Have a process spawned on a node by the factory of that name. */
void sim_spawn(struct sim_proc *me, const struct sim_life *on, const char *factory,
               enum sim_birth birth, int64_t timeout_ms);
/* me heard of the loss of that link: of all its ties over it it has heard before. */
void sim_check_broken(const struct sim_proc *me, const struct sim_life *peer, uint64_t session);
/* A message of kind DOWN or EXIT. */
void sim_down(struct sim_proc *me, const rusm_msg *msg);
void sim_exit(struct sim_proc *me, const rusm_msg *msg);
const char *sim_check_ties(void);

/* ---- the whole ------------------------------------------------------------------------------- */

/* A node is about to leave the cluster, and has: what it had accepted before is delivered. */
void sim_leaving(const struct sim_life *life);
void sim_left(const struct sim_life *life, rusm_time since, rusm_err err);

/* Looked at all through a run. */
void sim_check_budgets(void);
/* After the heal, with no work going on: NULL, or what does not hold yet. */
const char *sim_check_converged(void);
/* Then: NULL, or what has not come yet of what must come. */
const char *sim_check_missing(void);

#endif
