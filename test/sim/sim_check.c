/* SPDX-License-Identifier: MIT */
/*
 * The ledger: every process, link and message of a run, and what must hold between them.
 *
 * - A message is received by whom it was sent to, whole, from whom it says, and once.
 * - Those of one sender to one destination come in their order.
 * - A message that was accepted is lost only with the link that it was sent on: if a later one of
 *   the same pair arrives over the same link, or the link still is up at the end, it must have
 *   arrived, unless its receiver has ended.
 * - A send that failed has no effect.
 *
 * A *session* is a link from the moment when a node lists its peer to the moment when it no longer
 * does, as that node sees it.
 */
#include "sim/sim.h"
#include "sim/sim_cover.h"

#include "base/assert.h"
#include "base/mem.h"
#include "node/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC       UINT32_C(0x53494d31)
#define PROC_CHAINS 1024u
#define PAIR_CHAINS 4096u

enum fate {
    ASKED,
    ACCEPTED,
    FAILED
};

struct record {
    uint64_t first_session, last_session; /* of the sender: when it was asked, when it returned */
    rusm_time at;
    uint32_t len;
    enum fate fate;
    bool received;
    bool owed; /* accepted by a node that then left in peace: it arrives */
};

/* Who received messages of a pair last; of a name there may be several, one after the other. */
struct receiver {
    struct receiver *next;
    const struct sim_proc *proc;
    uint64_t last; /* number + 1 */
};

struct sim_pair {
    struct sim_pair *next, *same;
    uint32_t id;
    enum sim_way way;
    struct sim_proc *from;
    const struct sim_proc *to; /* SIM_TO_PID */
    char key[64];              /* else: node and name */
    struct record *records;
    uint64_t len, cap;
    struct receiver *receivers;
    uint64_t cut_session; /* the receiver was told of its end; 0: of none */
};

/* What a message says of itself. */
struct label {
    uint32_t magic, pair;
    uint64_t number;
    uint32_t len, sum;
};

_Static_assert(sizeof(struct label) == SIM_MESSAGE_MIN, "a label fits");

static struct {
    struct sim_proc *procs, *proc_chains[PROC_CHAINS];
    unsigned procs_len;
    struct sim_proc **alive;
    size_t alive_len, alive_cap;
    struct sim_pair *pairs, *pair_chains[PAIR_CHAINS];
    struct sim_pair **by_id;
    uint32_t pairs_len, pairs_cap;
    uint64_t *keys; /* of connections that were links, by their number - 1 */
    uint64_t keys_len, keys_cap;
    uint64_t session[SIM_NODES_MAX][SIM_NODES_MAX];
    struct sim_life *seen[SIM_NODES_MAX][SIM_NODES_MAX]; /* which life that session is with */
} ledger;

/* ---- processes ------------------------------------------------------------------------------- */

static struct sim_proc **proc_chain(rusm_pid pid)
{
    return &ledger.proc_chains[(pid.incarnation ^ pid.serial * 0x9e3779b9u) % PROC_CHAINS];
}

static void become_dead(const struct sim_proc *proc);

static void on_exit_watch(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    struct sim_proc *proc = arg;

    (void)pid;
    proc->ended = true;
    proc->reason = *reason;
    proc->ended_at = rusm_test_now(sim->pool);
    become_dead(proc);
    if (proc->worker != NULL && proc->worker->proc == proc) {
        proc->worker->proc = NULL;
        proc->worker->spawned = false;
    }
    if (!proc->life->cut) {
        sim_trace("process %u ended: %s", proc->id, rusm_reason_name(reason->kind));
    }
}

static void become_alive(struct sim_proc *proc)
{
    if (ledger.alive_len == ledger.alive_cap) {
        ledger.alive_cap = ledger.alive_cap == 0 ? 64 : ledger.alive_cap * 2;
        ledger.alive = rusmi_realloc(ledger.alive, ledger.alive_cap * sizeof(struct sim_proc *));
        rusmi_assert(ledger.alive != NULL);
    }
    proc->place = ledger.alive_len;
    ledger.alive[ledger.alive_len++] = proc;
}

static void become_dead(const struct sim_proc *proc)
{
    struct sim_proc *last = ledger.alive[--ledger.alive_len];

    ledger.alive[proc->place] = last;
    last->place = proc->place;
}

struct sim_proc *sim_proc_begin(rusm_pid pid, struct sim_life *life, struct sim_worker *worker)
{
    struct sim_proc *proc = sim_proc_find(pid), **chain = proc_chain(pid);

    if (proc != NULL) {
        return proc;
    }
    proc = rusmi_zalloc(sizeof(*proc));
    rusmi_assert(proc != NULL);
    proc->id = ++ledger.procs_len;
    proc->pid = pid;
    proc->life = life;
    proc->worker = worker;
    proc->begun_at = rusm_test_now(sim->pool);
    proc->watch.fn = on_exit_watch;
    proc->watch.arg = proc;
    proc->next = ledger.procs;
    ledger.procs = proc;
    proc->same = *chain;
    *chain = proc;
    sim->totals.processes++;
    sim_trace("process %u begins on %s", proc->id, sim->nodes[life->index].name);
    if (rusm_watch_exit(&proc->watch, pid) != RUSM_OK) {
        /* Killed before it ran: by whom, and so why, is not asked. */
        proc->ended = true;
        proc->reason.kind = RUSM_REASON_KILLED;
        return proc;
    }
    become_alive(proc);
    if (worker != NULL) {
        worker->proc = proc;
    }
    return proc;
}

struct sim_proc *sim_proc_find(rusm_pid pid)
{
    struct sim_proc *proc = *proc_chain(pid);

    while (proc != NULL && !rusm_pid_equal(proc->pid, pid)) {
        proc = proc->same;
    }
    return proc;
}

struct sim_proc *sim_proc_draw(bool dead)
{
    struct sim_proc *proc;

    if (dead && ledger.procs_len > 0) {
        uint64_t skip = sim_below(&sim->work, ledger.procs_len);

        for (proc = ledger.procs; skip > 0; skip--) {
            proc = proc->next;
        }
        return proc;
    }
    return ledger.alive_len == 0 ? NULL : ledger.alive[sim_below(&sim->work, ledger.alive_len)];
}

struct sim_proc *sim_proc_of(const struct sim_life *life)
{
    size_t first = ledger.alive_len == 0 ? 0 : sim_below(&sim->rng, ledger.alive_len);

    for (size_t i = 0; i < ledger.alive_len; i++) {
        struct sim_proc *proc = ledger.alive[(first + i) % ledger.alive_len];

        if (proc->life == life) {
            return proc;
        }
    }
    return NULL;
}

/* ---- sessions -------------------------------------------------------------------------------- */

void __real_rusmi_peers_add(struct rusmi_link *link);
void __wrap_rusmi_peers_add(struct rusmi_link *link);
void __real_rusmi_peers_remove(struct rusmi_link *link);
void __wrap_rusmi_peers_remove(struct rusmi_link *link);
void __real_rusmi_events_down(struct rusmi_link *link, enum rusmi_down_cause cause,
                              const char *text);
void __wrap_rusmi_events_down(struct rusmi_link *link, enum rusmi_down_cause cause,
                              const char *text);

/* The number of a connection. */
static uint64_t number_of(uint64_t key)
{
    for (uint64_t i = 0; i < ledger.keys_len; i++) {
        if (ledger.keys[i] == key) {
            return i + 1;
        }
    }
    if (ledger.keys_len == ledger.keys_cap) {
        ledger.keys_cap = ledger.keys_cap == 0 ? 64 : ledger.keys_cap * 2;
        ledger.keys = rusmi_realloc(ledger.keys, ledger.keys_cap * sizeof(uint64_t));
        rusmi_assert(ledger.keys != NULL);
    }
    ledger.keys[ledger.keys_len++] = key;
    return ledger.keys_len;
}

void __wrap_rusmi_peers_add(struct rusmi_link *link)
{
    struct sim_life *life = sim_life_of(link->node->runtime);
    struct sim_life *peer = sim_life_by_incarnation(link->incarnation);

    __real_rusmi_peers_add(link);
    if (link->listed) {
        uint64_t session = number_of(sim_conn_key(link->conn));

        rusmi_assert(life != NULL && peer != NULL);
        ledger.session[life->index][peer->index] = session;
        ledger.seen[life->index][peer->index] = peer;
        sim_event_up(life, peer, session);
        sim->totals.links++;
        sim_seen(SIM_SEEN_UP);
        sim_trace("%s: link %llu to %s is up", link->node->name, (unsigned long long)session,
                  link->name);
    }
}

void __wrap_rusmi_peers_remove(struct rusmi_link *link)
{
    struct sim_life *life = sim_life_of(link->node->runtime);
    struct sim_life *peer = sim_life_by_incarnation(link->incarnation);

    if (link->listed) {
        rusmi_assert(life != NULL && peer != NULL);
        if (!life->cut) {
            sim_trace("%s: link %llu to %s is down", link->node->name,
                      (unsigned long long)ledger.session[life->index][peer->index], link->name);
        }
        sim_event_down(life, peer, ledger.session[life->index][peer->index]);
        if (sim->nodes[life->index].life == life || life->cut) {
            ledger.session[life->index][peer->index] = 0;
            ledger.seen[life->index][peer->index] = NULL;
        }
    }
    __real_rusmi_peers_remove(link);
}

void __wrap_rusmi_events_down(struct rusmi_link *link, enum rusmi_down_cause cause,
                              const char *text)
{
    const struct sim_life *life = sim_life_of(link->node->runtime);
    const struct sim_life *peer = sim_life_by_incarnation(link->incarnation);

    if (life != NULL && peer != NULL && !life->cut) {
        sim_trace("%s: lost %s: %s (%s)", link->node->name, link->name,
                  rusmi_down_cause_text(cause), text);
        if (cause == RUSMI_DOWN_SILENT || cause == RUSMI_DOWN_REVOKED) {
            sim_seen(cause == RUSMI_DOWN_SILENT ? SIM_SEEN_SILENT : SIM_SEEN_REVOKED);
        }
        /* The other side may have ended it long ago, and its word been lost. */
        if (cause == RUSMI_DOWN_SILENT && link->conn != NULL &&
            sim_session(peer, life) == number_of(sim_conn_key(link->conn))) {
            sim_live_lost(life, peer);
        }
    }
    __real_rusmi_events_down(link, cause, text);
}

uint64_t sim_session(const struct sim_life *from, const struct sim_life *to)
{
    return ledger.seen[from->index][to->index] == to ? ledger.session[from->index][to->index] : 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct sim_pair *find_pair(struct sim_proc *from, enum sim_way way,
                                  const struct sim_proc *to, const char *key)
{
    uint64_t hash = from->id * 31u + (uint64_t)way * 7u + (to == NULL ? 0 : to->id * 1009u);
    struct sim_pair *pair;

    for (const char *at = key; *at != '\0'; at++) {
        hash = hash * 131u + (unsigned char)*at;
    }
    hash %= PAIR_CHAINS;
    for (pair = ledger.pair_chains[hash]; pair != NULL; pair = pair->same) {
        if (pair->from == from && pair->way == way && pair->to == to &&
            strcmp(pair->key, key) == 0) {
            return pair;
        }
    }
    pair = rusmi_zalloc(sizeof(*pair));
    rusmi_assert(pair != NULL);
    pair->from = from;
    pair->way = way;
    pair->to = to;
    (void)snprintf(pair->key, sizeof(pair->key), "%s", key);
    pair->same = ledger.pair_chains[hash];
    ledger.pair_chains[hash] = pair;
    pair->next = ledger.pairs;
    ledger.pairs = pair;
    if (ledger.pairs_len == ledger.pairs_cap) {
        ledger.pairs_cap = ledger.pairs_cap == 0 ? 256 : ledger.pairs_cap * 2;
        ledger.by_id = rusmi_realloc(ledger.by_id, ledger.pairs_cap * sizeof(struct sim_pair *));
        rusmi_assert(ledger.by_id != NULL);
    }
    pair->id = ledger.pairs_len;
    ledger.by_id[ledger.pairs_len++] = pair;
    return pair;
}

/* The session that a message of a pair takes now: 0 if there is none, or the way is not known. */
static uint64_t session_now(const struct sim_pair *pair)
{
    if (pair->to == NULL || pair->to->life == pair->from->life) {
        return 0;
    }
    return sim_session(pair->from->life, pair->to->life);
}

static uint32_t sum(const uint8_t *data, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325), word;
    size_t i = 0;

    for (; i + sizeof(word) <= len; i += sizeof(word)) { /* in words: a tenth of a run was this */
        memcpy(&word, data + i, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    for (; i < len; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

/* Bytes that are of one message, and differ from place to place. */
static void fill(uint8_t *data, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += sizeof(seed)) {
        size_t part = len - i < sizeof(seed) ? len - i : sizeof(seed);

        seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
        memcpy(data + i, &seed, part);
    }
}

struct sim_ticket sim_sending(struct sim_proc *me, enum sim_way way, const struct sim_proc *to,
                              const char *node, const char *name, uint8_t *data, size_t len)
{
    struct label label = {.magic = MAGIC, .len = (uint32_t)len};
    struct sim_pair *pair;
    char key[64];

    (void)snprintf(key, sizeof(key), "%s/%s", node, name);
    pair = find_pair(me, way, to, key);
    if (pair->len == pair->cap) {
        pair->cap = pair->cap == 0 ? 8 : pair->cap * 2;
        pair->records = rusmi_realloc(pair->records, pair->cap * sizeof(struct record));
        rusmi_assert(pair->records != NULL);
    }
    label.pair = pair->id;
    label.number = pair->len;
    fill(data + sizeof(label), len - sizeof(label), ((uint64_t)pair->id << 32) + label.number * 7);
    label.sum = sum(data + sizeof(label), len - sizeof(label));
    memcpy(data, &label, sizeof(label));
    pair->records[pair->len] = (struct record){
        .first_session = session_now(pair), .at = rusm_test_now(sim->pool), .len = (uint32_t)len};
    return (struct sim_ticket){pair, pair->id, pair->len++};
}

void sim_sent(struct sim_proc *me, struct sim_ticket ticket, rusm_err err)
{
    struct sim_pair *pair = ticket.pair;
    struct record *record = &pair->records[ticket.number];

    record->last_session = session_now(pair);
    record->fate = err == RUSM_OK ? ACCEPTED : FAILED;
    if (err != RUSM_OK) {
        sim_seen(SIM_SEEN_SEND_FAILED);
    }
    sim_check(err == RUSM_OK || !record->received,
              "process %u: a send that failed (%s) arrived at process %u", me->id,
              rusm_err_name(err), pair->to == NULL ? 0 : pair->to->id);
    if (pair->way != SIM_TO_PID) {
        return;
    }
    if (err == RUSM_OK) {
        sim_check(pair->to->life == me->life || record->first_session != 0 ||
                      record->last_session != 0,
                  "process %u: a message for process %u was accepted, and its node is not there",
                  me->id, pair->to->id);
        return;
    }
    sim_check(err != RUSM_ENOPROC || pair->to->ended,
              "process %u: false noproc for process %u, which is alive", me->id, pair->to->id);
    sim_check(err != RUSM_ENONODE || pair->to->life->cut || record->first_session == 0 ||
                  record->first_session != record->last_session,
              "process %u: no node for process %u, though link %llu is up", me->id, pair->to->id,
              (unsigned long long)record->first_session);
}

void sim_called(struct sim_ticket ticket, rusm_err err)
{
    struct record *record = &ticket.pair->records[ticket.number];

    record->last_session = session_now(ticket.pair);
    /* Of a call that failed nobody knows whether its request was sent: the time allowed covers the
     * wait for room in the link's queue. */
    if (err == RUSM_OK) {
        record->fate = ACCEPTED;
    }
    sim_check(err != RUSM_OK || record->received, "an answer to what nobody has asked");
}

/* Messages of a pair that should have come before one that has come now. */
static void check_gap(const struct sim_pair *pair, uint64_t from, uint64_t number)
{
    const struct record *now = &pair->records[number];

    for (uint64_t i = from; i < number; i++) {
        const struct record *missing = &pair->records[i];

        if (missing->fate != ACCEPTED || missing->received) {
            continue;
        }
        sim_check(missing->first_session != missing->last_session ||
                      missing->last_session != now->first_session ||
                      (now->fate == ACCEPTED && now->last_session != now->first_session),
                  "message %llu of process %u to process %u was lost or overtaken by %llu on link "
                  "%llu, which is up",
                  (unsigned long long)i, pair->from->id, pair->to->id, (unsigned long long)number,
                  (unsigned long long)now->first_session);
        sim->totals.lost++;
    }
}

static struct receiver *find_receiver(struct sim_pair *pair, const struct sim_proc *proc)
{
    struct receiver *receiver = pair->receivers;

    while (receiver != NULL && receiver->proc != proc) {
        receiver = receiver->next;
    }
    if (receiver == NULL) {
        receiver = rusmi_zalloc(sizeof(*receiver));
        rusmi_assert(receiver != NULL);
        receiver->proc = proc;
        receiver->next = pair->receivers;
        pair->receivers = receiver;
    }
    return receiver;
}

/* Several receive what is sent to a group; everything else is received once. */
static void check_once(struct sim_proc *me, const struct sim_pair *pair, uint64_t number)
{
    const struct record *record = &pair->records[number];

    sim_check(pair->way != SIM_TO_PID || pair->to == me,
              "process %u received a message for process %u", me->id,
              pair->to == NULL ? 0 : pair->to->id);
    sim_check(record->fate != FAILED, "a send that failed (pair %u, number %llu) arrived", pair->id,
              (unsigned long long)number);
    sim_check(!record->received || pair->way == SIM_TO_GROUP,
              "message %llu of process %u to %s%u came twice", (unsigned long long)number,
              pair->from->id, pair->to == NULL ? pair->key : "process ",
              pair->to == NULL ? 0 : pair->to->id);
}

/* What a message says of the link that it came over. */
static void check_link(const struct sim_proc *me, const struct sim_pair *pair, uint64_t number)
{
    const struct record *record = &pair->records[number];
    uint64_t session = record->first_session;

    if (session == 0 || (record->fate != ASKED && record->last_session != session)) {
        return;
    }
    sim_check(
        pair->cut_session != session,
        "message %llu of process %u came to process %u after it was told that link %llu is lost",
        (unsigned long long)number, pair->from->id, me->id, (unsigned long long)session);
    if (me->listens && record->fate == ACCEPTED) {
        sim_event_check(me, pair->from->life, session);
    }
}

void sim_arrived(struct sim_proc *me, rusm_pid sender, uint32_t id, uint64_t number)
{
    struct receiver *receiver;
    struct sim_pair *pair;

    sim_check(id < ledger.pairs_len, "process %u received what nobody sent", me->id);
    pair = ledger.by_id[id];
    sim_check(number < pair->len, "a message from the future");
    sim_trace("process %u received %llu of pair %u from process %u", me->id,
              (unsigned long long)number, pair->id, pair->from->id);
    sim_check(rusm_pid_equal(sender, pair->from->pid),
              "process %u received a message of process %u in another's name", me->id,
              pair->from->id);
    check_once(me, pair, number);
    check_link(me, pair, number);
    receiver = find_receiver(pair, me);
    sim_check(number >= receiver->last,
              "message %llu of process %u (pair %u) came to process %u after number %llu",
              (unsigned long long)number, pair->from->id, pair->id, me->id,
              (unsigned long long)receiver->last - 1);
    if (pair->way == SIM_TO_PID) {
        check_gap(pair, receiver->last, number);
    }
    receiver->last = number + 1;
    pair->records[number].received = true;
    sim->totals.messages++;
    sim_seen((enum sim_class)(SIM_SEEN_BY_PID + (int)pair->way));
    if (sim->profile.big_ppm != 0 && pair->records[number].len >= sim->profile.big_len / 2) {
        sim_seen(SIM_SEEN_BIG);
    }
}

void sim_received(struct sim_proc *me, const rusm_msg *msg)
{
    const uint8_t *data = rusm_msg_data(msg);
    struct label label;

    if (me->life->cut) {
        return;
    }
    sim_check(rusm_msg_len(msg) >= sizeof(label), "a message came short: %zu bytes",
              rusm_msg_len(msg));
    memcpy(&label, data, sizeof(label));
    sim_check(label.magic == MAGIC && label.len == rusm_msg_len(msg) &&
                  label.sum == sum(data + sizeof(label), label.len - sizeof(label)),
              "process %u received what nobody sent so", me->id);
    sim_arrived(me, rusm_msg_sender(msg), label.pair, label.number);
}

static struct sim_pair *pair_between(const struct sim_proc *from, const struct sim_proc *to)
{
    struct sim_pair *pair = ledger.pairs;

    while (pair != NULL && (pair->way != SIM_TO_PID || pair->from != from || pair->to != to)) {
        pair = pair->next;
    }
    return pair;
}

void sim_check_before_end(const struct sim_proc *ended, const struct sim_proc *me, uint64_t session)
{
    struct sim_pair *pair = pair_between(ended, me);
    bool here = ended->life == me->life;

    for (uint64_t i = 0; pair != NULL && i < pair->len; i++) {
        const struct record *record = &pair->records[i];

        sim_check(record->fate != ACCEPTED || record->received ||
                      (!here && (session == 0 || record->first_session != session ||
                                 record->last_session != session)),
                  "process %u heard of the end of process %u before its message %llu", me->id,
                  ended->id, (unsigned long long)i);
    }
}

void sim_check_cut(const struct sim_proc *gone, const struct sim_proc *me, uint64_t session)
{
    struct sim_pair *pair = pair_between(gone, me);

    if (pair != NULL && session != 0) {
        pair->cut_session = session;
    }
}

void sim_leaving(const struct sim_life *life)
{
    for (struct sim_pair *pair = ledger.pairs; pair != NULL; pair = pair->next) {
        uint64_t session =
            pair->from->life == life && pair->way == SIM_TO_PID ? session_now(pair) : 0;

        for (uint64_t i = 0; session != 0 && i < pair->len; i++) {
            struct record *record = &pair->records[i];

            record->owed = record->fate == ACCEPTED && record->first_session == session &&
                           record->last_session == session;
        }
    }
}

void sim_left(const struct sim_life *life, rusm_time since, rusm_err err)
{
    for (struct sim_pair *pair = ledger.pairs; pair != NULL; pair = pair->next) {
        if (pair->from->life != life || pair->way != SIM_TO_PID ||
            (err == RUSM_OK && sim_was_calm(life->index, pair->to->life->index, since))) {
            continue;
        }
        for (uint64_t i = 0; i < pair->len; i++) {
            pair->records[i].owed = false;
        }
    }
}

/* What was accepted on a link that is still up arrives. */
static const char *check_pair(const struct sim_pair *pair)
{
    static char text[200];

    if (pair->way != SIM_TO_PID || pair->to->ended || pair->to->life->cut) {
        return NULL;
    }
    for (uint64_t i = 0; i < pair->len; i++) {
        const struct record *record = &pair->records[i];
        bool here = pair->to->life == pair->from->life;

        if (record->fate == ACCEPTED && !record->received &&
            (record->owed || !pair->from->life->cut) &&
            (record->owed || here ||
             (record->first_session != 0 && record->first_session == record->last_session &&
              record->last_session == session_now(pair)))) {
            (void)snprintf(text, sizeof(text),
                           "message %llu of process %u to process %u has not arrived, though link "
                           "%llu is up",
                           (unsigned long long)i, pair->from->id, pair->to->id,
                           (unsigned long long)record->first_session);
            return text;
        }
    }
    return NULL;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static const char *check_mesh(void)
{
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        for (unsigned j = 0; j < sim->options.nodes; j++) {
            if (i != j && sim_session(sim->nodes[i].life, sim->nodes[j].life) == 0) {
                return "a node does not reach another";
            }
        }
    }
    return NULL;
}

const char *sim_check_converged(void)
{
    const char *why = check_mesh();

    why = why != NULL ? why : sim_check_names();
    return why != NULL ? why : sim_check_groups();
}

/* What waits for a peer, or came from it and waits, is charged to the budget beside the link. */
static void check_paid(const struct sim_node *node, const rusm_peer_info *info)
{
    uint64_t held = info->queue_bytes + info->held_bytes;

    sim_check(held + RUSMI_LINK_BYTES + RUSMI_BOXES_BYTES <= info->memory_bytes,
              "%s holds %llu bytes for %s, and has paid for %llu with the link", node->name,
              (unsigned long long)held, info->name, (unsigned long long)info->memory_bytes);
}

void sim_check_budgets(void)
{
    static rusm_peer_info infos[SIM_NODES_MAX];
    /* Each kind has a room of that size; a message that is larger has all of it. */
    size_t small_room = sim->profile.queue_bytes_max;
    size_t big_room = sim->profile.big_len + 1024;

    if (big_room < small_room) {
        big_room = small_room;
    }
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct sim_life *life = sim->nodes[i].life;
        uint64_t cursor = 0, paid = 0;
        rusm_node_stats stats;
        ptrdiff_t got;

        if (life == NULL) {
            continue;
        }
        got = rusm_peer_list(life->node, &cursor, infos, SIM_NODES_MAX);
        for (ptrdiff_t n = 0; n < got; n++) {
            sim_check(infos[n].queue_bytes <= small_room + big_room,
                      "%s holds %llu bytes for %s, more than its limit", sim->nodes[i].name,
                      (unsigned long long)infos[n].queue_bytes, infos[n].name);
            check_paid(&sim->nodes[i], &infos[n]);
            paid += infos[n].memory_bytes;
        }
        sim_check(rusm_node_get_stats(life->node, &stats) == RUSM_OK &&
                      paid <= stats.memory_bytes && stats.memory_peak <= SIM_MEMORY_MAX,
                  "%s holds %llu bytes, %llu of them for its peers, of a budget of %llu",
                  sim->nodes[i].name, (unsigned long long)stats.memory_peak,
                  (unsigned long long)paid, (unsigned long long)SIM_MEMORY_MAX);
    }
}

const char *sim_check_missing(void)
{
    const char *why;

    for (const struct sim_pair *pair = ledger.pairs; pair != NULL; pair = pair->next) {
        why = check_pair(pair);

        if (why != NULL) {
            return why;
        }
    }
    why = sim_check_ties();
    why = why != NULL ? why : sim_check_streams();
    return why != NULL ? why : sim_check_events();
}

void sim_check_start(void)
{
    memset(&ledger, 0, sizeof(ledger));
}

void sim_check_stop(void)
{
    while (ledger.pairs != NULL) {
        struct sim_pair *pair = ledger.pairs;

        ledger.pairs = pair->next;
        while (pair->receivers != NULL) {
            struct receiver *receiver = pair->receivers;

            pair->receivers = receiver->next;
            rusmi_free(receiver);
        }
        rusmi_free(pair->records);
        rusmi_free(pair);
    }
    while (ledger.procs != NULL) {
        struct sim_proc *proc = ledger.procs;

        ledger.procs = proc->next;
        rusmi_free(proc);
    }
    sim_names_stop();
    sim_live_stop();
    sim_groups_stop();
    sim_ties_stop();
    sim_streams_stop();
    rusmi_free(ledger.keys);
    rusmi_free(ledger.by_id);
    rusmi_free(ledger.alive);
    sim_groups_stop();
    sim_events_stop();
}
