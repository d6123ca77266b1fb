/* SPDX-License-Identifier: MIT */
/*
 * Processes that do random things to each other on two scheduler threads, with ordinary threads
 * that join in. Nobody knows the order of it, so invariants are checked, not results:
 *
 *  - messages between a pair arrive in the order sent, none missing, and all before the down;
 *  - each monitor has exactly one down, none after it was taken away (or flushed), and one is there
 *    once an exit watch of the process has been called;
 *  - at most one exit comes of the end of a process;
 *  - all who hear of an end hear the same reason, and it names somebody who did cause it;
 *  - at a down the process is dead and its name free;
 *  - who waits for an answer has it, or the down, so no wake-up is lost;
 *  - at the end nobody is left, and no memory.
 *
 * The thread sanitizer sees what is left: that all of it happens after what it follows from. The
 * model test (signals_test.c) is exact, but has no threads.
 */
#include "model/heap.h"

#include "base/prng.h"
#include "platform/tools.h"

#include <pthread.h>
#include <rusm/otp.h>
#include <rusm/otp/driver.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIVES     300 /* processes of a round */
#define ROUNDS    (RUSMI_TSAN || RUSMI_ASAN ? 200u : 600u)
#define BEGINNERS 8
#define OPS_MAX   150u /* of one process */
#define MINE_MAX  64u  /* monitors of one process that it has not heard of */
#define WAIT_MS   60000

/* What a process is told in data messages. */
struct note {
    int from;
    uint32_t number; /* of those from that sender to this receiver: 1, 2, ... */
    bool asks;       /* to be answered */
};

static struct {
    uint64_t seed;
    rusm_pool *pool;
    rusm_runtime *rts[2];
    rusm_waiter *pause; /* never woken */
    _Atomic int next;
    _Atomic bool stop;
    uint32_t sent[LIVES][LIVES]; /* row: the sender's own; read by the receiver after its down */
    struct {
        _Atomic uint64_t serial;
        uint64_t incarnation; /* before serial */
        _Atomic uint64_t reason;
        _Atomic bool ended;   /* its exit watch was called */
        _Atomic bool crashed; /* it ended itself, with its own text */
        rusm_exit_watch watch;
    } lives[LIVES];
    _Atomic uint64_t ops, downs, exits, asked;
} run;

/* What one process knows, in memory of its own. */
struct self {
    int id;
    struct rusmi_prng prng;
    uint32_t got[LIVES];
    bool down[LIVES]; /* heard of it, other than noproc */
    bool ended_exit[LIVES];
    struct {
        int target; /* -1: free */
        rusm_ref ref;
    } mine[MINE_MAX];
    rusm_ref taken; /* the last monitor that was taken away with nothing to come */
};

RUSM_NORETURN static void failed(int line, const char *what)
{
    (void)fprintf(stderr, "FAILED: line %d: %s (%s); seed %llu\n", line, what, rusm_err_detail(),
                  (unsigned long long)run.seed);
    (void)fflush(NULL);
    _Exit(EXIT_FAILURE);
}

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            failed(__LINE__, #condition);                                                          \
        }                                                                                          \
    } while (0)

static uint64_t draw(struct self *self, uint64_t below)
{
    return rusmi_prng_below(&self->prng, below);
}

static rusm_pid pid_of(int id)
{
    uint64_t serial = atomic_load(&run.lives[id].serial);

    return serial == 0 ? RUSM_PID_NONE : (rusm_pid){run.lives[id].incarnation, serial};
}

/* Some process that has said who it is; -1: none was found. */
static int someone(struct self *self)
{
    int known = atomic_load(&run.next);

    for (int i = 0; i < 20; i++) {
        /* mostly one of the last */
        uint64_t back = draw(self, draw(self, 4) == 0 ? (uint64_t)known : 24);
        int id = known - 1 - (int)back;

        if (id >= 0 && id < LIVES && atomic_load(&run.lives[id].serial) != 0 &&
            (draw(self, 6) == 0 || !atomic_load(&run.lives[id].ended))) {
            return id;
        }
    }
    return -1;
}

/* ---- reasons --------------------------------------------------------------------------------- */

/* "end 12": 12 ended so by itself. "sent 12": 12 sent that exit. */
static rusm_reason reason_by(const char *how, int id)
{
    return rusm_reason_crashed("%s %d", how, id);
}

/* Never 0. */
static uint64_t code_of(const rusm_reason *reason)
{
    uint64_t code = UINT64_C(0xcbf29ce484222325) ^ (unsigned)reason->kind;

    for (const char *at = reason->text; *at != '\0'; at++) {
        code = (code ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    }
    return code | 1;
}

/* The number in a text that begins with such a word; false: it does not. */
static bool number_after(const char *word, const char *text, int *out_number)
{
    size_t len = strlen(word);

    if (strncmp(text, word, len) != 0) {
        return false;
    }
    *out_number = (int)strtol(text + len, NULL, 10);
    return true;
}

/* All agree on why it ended; and if somebody began it, that is true. */
static void check_end(int id, const rusm_reason *reason)
{
    uint64_t code = code_of(reason), before = 0;
    int cause;

    check(atomic_compare_exchange_strong(&run.lives[id].reason, &before, code) || before == code);
    if (number_after("end ", reason->text, &cause)) {
        check(cause >= 0 && cause < LIVES && atomic_load(&run.lives[cause].crashed));
    }
}

static void on_ended(void *arg, rusm_pid pid, const rusm_reason *reason)
{
    int id = (int)(uintptr_t)arg;

    check(rusm_pid_equal(pid, pid_of(id)));
    check_end(id, reason);
    check(!atomic_exchange(&run.lives[id].ended, true));
}

/* ---- messages -------------------------------------------------------------------------------- */

static int id_of(rusm_pid pid)
{
    if (rusm_pid_is_none(pid)) {
        return -1;
    }
    for (int i = atomic_load(&run.next); i-- > 0;) {
        if (i < LIVES && rusm_pid_equal(pid_of(i), pid)) {
            return i;
        }
    }
    return -1;
}

static void send_note(struct self *self, int to, bool asks)
{
    struct note note = {self->id, ++run.sent[self->id][to], asks};
    rusm_err err = rusm_send(pid_of(to), &note, sizeof(note));

    check(err == RUSM_OK || err == RUSM_ENOPROC);
    if (err != RUSM_OK) {
        run.sent[self->id][to]--;
    }
}

static void on_note(struct self *self, const rusm_msg *msg)
{
    struct note note;

    check(rusm_msg_len(msg) == sizeof(note));
    memcpy(&note, rusm_msg_data(msg), sizeof(note));
    if (note.from < 0) { /* of a thread that is no process */
        check(rusm_pid_is_none(rusm_msg_sender(msg)));
        return;
    }
    check(rusm_pid_equal(rusm_msg_sender(msg), pid_of(note.from)));
    check(!self->down[note.from]);
    check(note.number == ++self->got[note.from]);
    if (note.asks) {
        send_note(self, note.from, false);
    }
}

static void on_down(struct self *self, const rusm_msg *msg)
{
    const rusm_reason *reason = rusm_msg_reason(msg);
    rusm_pid sender = rusm_msg_sender(msg), named;
    rusm_ref ref = rusm_msg_ref(msg);
    char name[32];
    unsigned i = 0;
    int id;

    (void)atomic_fetch_add(&run.downs, 1);
    check(!rusm_ref_equal(ref, self->taken));
    while (i < MINE_MAX && (self->mine[i].target < 0 || !rusm_ref_equal(self->mine[i].ref, ref))) {
        i++;
    }
    check(i < MINE_MAX); /* it was made, and has not been heard of */
    id = self->mine[i].target;
    self->mine[i].target = -1;
    check(!rusm_is_alive(sender));
    (void)snprintf(name, sizeof(name), "n%d", id);
    check(rusm_whereis(run.rts[0], name, &named) == RUSM_ENONAME);
    check(rusm_whereis(run.rts[1], name, &named) == RUSM_ENONAME);
    if (rusm_pid_is_none(pid_of(id))) {
        return; /* it was ended before it ran */
    }
    check(rusm_pid_equal(sender, pid_of(id)));
    if (reason->kind == RUSM_REASON_NOPROC) {
        return;
    }
    check_end(id, reason);
    if (id == self->id) {
        return;
    }
    self->down[id] = true;
    /* It may have ended in its last send, before or after the message was on its way. */
    check(self->got[id] == run.sent[id][self->id] || self->got[id] + 1 == run.sent[id][self->id]);
}

static void on_exit_message(struct self *self, const rusm_msg *msg)
{
    const rusm_reason *reason = rusm_msg_reason(msg);
    int id = id_of(rusm_msg_sender(msg)), by;

    (void)atomic_fetch_add(&run.exits, 1);
    if (id < 0 || reason->kind == RUSM_REASON_NOPROC ||
        (number_after("sent ", reason->text, &by) && (by == id || by < 0))) {
        return; /* sent by hand, perhaps */
    }
    check(!self->ended_exit[id]);
    self->ended_exit[id] = true;
    check_end(id, reason);
}

static void on_message(struct self *self, rusm_msg *msg)
{
    switch (rusm_msg_get_kind(msg)) {
    case RUSM_MSG_DATA:
        on_note(self, msg);
        break;
    case RUSM_MSG_DOWN:
        on_down(self, msg);
        break;
    case RUSM_MSG_EXIT:
        on_exit_message(self, msg);
        break;
    default:
        check(false);
    }
    rusm_msg_del(msg);
}

/* False: a thread that has to end receives no more. */
static bool receive_all(struct self *self)
{
    rusm_msg *msg;
    rusm_err err;

    while ((err = rusm_receive(&msg, 0)) == RUSM_OK) {
        on_message(self, msg);
    }
    return err == RUSM_ETIMEOUT;
}

/* ---- what a process does --------------------------------------------------------------------- */

static void process_main(void *arg);

static int free_place(const struct self *self)
{
    for (unsigned i = 0; i < MINE_MAX; i++) {
        if (self->mine[i].target < 0) {
            return (int)i;
        }
    }
    return -1;
}

static void do_spawn(struct self *self)
{
    rusm_spawn_config cfg;
    char name[32];
    int place = free_place(self), id;

    if (place < 0 || atomic_load(&run.next) >= LIVES ||
        (id = atomic_fetch_add(&run.next, 1)) >= LIVES) {
        return;
    }
    rusm_spawn_config_init(&cfg);
    (void)snprintf(name, sizeof(name), "n%d", id);
    cfg.name = name;
    cfg.link = draw(self, 2) == 0;
    cfg.trap_exit = draw(self, 2) == 0;
    if (draw(self, 2) == 0) {
        self->mine[place].target = id; /* its down may be there before the call returns */
        cfg.out_ref = &self->mine[place].ref;
    }
    check(rusm_spawn_with(run.rts[draw(self, 2)], process_main, (void *)(uintptr_t)id, &cfg,
                          NULL) == RUSM_OK);
}

static void do_monitor(struct self *self, int other)
{
    int place = free_place(self);

    if (place >= 0) {
        check(rusm_monitor(pid_of(other), &self->mine[place].ref) == RUSM_OK);
        self->mine[place].target = other;
    }
}

static void do_demonitor(struct self *self)
{
    unsigned i = (unsigned)draw(self, MINE_MAX);
    bool flush = draw(self, 2) == 0;

    if (self->mine[i].target < 0) {
        return;
    }
    if (rusm_demonitor(self->mine[i].ref, flush) || flush) {
        self->mine[i].target = -1;
        self->taken = self->mine[i].ref;
    }
}

/* Ask somebody and wait for the answer, answering others meanwhile. */
static void do_ask(struct self *self, int other)
{
    int place = free_place(self);
    uint32_t before = self->got[other];

    if (place < 0 || other == self->id) {
        return;
    }
    (void)atomic_fetch_add(&run.asked, 1);
    do_monitor(self, other);
    send_note(self, other, true);
    while (self->mine[place].target >= 0 && self->got[other] == before) {
        rusm_msg *msg;
        rusm_err err = rusm_receive(&msg, WAIT_MS);

        if (err == RUSM_EKILLED) {
            return;
        }
        check(err == RUSM_OK);
        on_message(self, msg);
    }
    if (self->mine[place].target >= 0) {
        (void)rusm_demonitor(self->mine[place].ref, true);
        self->taken = self->mine[place].ref;
        self->mine[place].target = -1;
    }
}

/* A wait whose end by time and whose end by a message meet now and then. */
static void receive_timed(struct self *self)
{
    rusm_msg *msg;
    rusm_err err = rusm_receive(&msg, 1);

    if (err == RUSM_OK) {
        on_message(self, msg);
    } else {
        check(err == RUSM_ETIMEOUT || err == RUSM_EKILLED);
    }
}

static void act(struct self *self)
{
    uint64_t what = draw(self, 100);
    int other = someone(self);
    rusm_err err = RUSM_OK;
    rusm_reason reason;

    (void)atomic_fetch_add(&run.ops, 1);
    if (other < 0 || what < 15) {
        do_spawn(self);
    } else if (what < 35) {
        send_note(self, other, false);
    } else if (what < 44) {
        (void)receive_all(self);
    } else if (what < 45) {
        receive_timed(self);
    } else if (what < 53) {
        err = rusm_link(pid_of(other));
    } else if (what < 58) {
        err = rusm_unlink(pid_of(other));
    } else if (what < 70) {
        do_monitor(self, other);
    } else if (what < 78) {
        do_demonitor(self);
    } else if (what < 81 && other != self->id) {
        reason = reason_by("sent", self->id);
        err = rusm_exit_process(pid_of(other), &reason);
    } else if (what < 83) {
        err = rusm_kill(pid_of(other));
    } else if (what < 86) {
        (void)rusm_trap_exit(draw(self, 2) == 0);
    } else if (what < 96) {
        do_ask(self, other);
    } else {
        rusm_yield();
    }
    check(err == RUSM_OK || err == RUSM_ENOPROC);
}

/* Whoever had ended before, by its watch, must be heard of by now. */
static void check_heard(struct self *self)
{
    bool ended[MINE_MAX];

    for (unsigned i = 0; i < MINE_MAX; i++) {
        ended[i] = self->mine[i].target >= 0 && atomic_load(&run.lives[self->mine[i].target].ended);
    }
    if (receive_all(self)) {
        for (unsigned i = 0; i < MINE_MAX; i++) {
            check(!ended[i] || self->mine[i].target < 0);
        }
    }
}

static struct self *self_new(int id)
{
    struct self *self = rusm_zalloc(sizeof(*self));

    check(self != NULL);
    self->id = id;
    self->prng.state = run.seed * 1000 + (uint64_t)id;
    for (unsigned i = 0; i < MINE_MAX; i++) {
        self->mine[i].target = -1;
    }
    run.lives[id].watch.fn = on_ended;
    run.lives[id].watch.arg = (void *)(uintptr_t)id;
    run.lives[id].incarnation = rusm_self().incarnation;
    atomic_store(&run.lives[id].serial, rusm_self().serial);
    check(rusm_watch_exit(&run.lives[id].watch, rusm_self()) == RUSM_OK);
    return self;
}

static void process_main(void *arg)
{
    struct self *self = self_new((int)(uintptr_t)arg);
    rusm_reason reason = reason_by("end", self->id);
    uint64_t ops = draw(self, OPS_MAX);

    for (uint64_t i = 0; i < ops && !atomic_load(&run.stop); i++) {
        act(self);
    }
    check_heard(self);
    if (draw(self, 2) == 0 && !atomic_load(&run.stop)) {
        atomic_store(&run.lives[self->id].crashed, true);
        rusm_exit_with(&reason);
    }
}

/* ---- ordinary threads ------------------------------------------------------------------------ */

/* Enters, acts as a process does, leaves; and acts from outside. */
static void *thread_main(void *arg)
{
    struct self outside = {.id = -1, .prng = {run.seed + (uint64_t)(uintptr_t)arg}};

    while (!atomic_load(&run.stop)) {
        int other = someone(&outside), id;
        rusm_reason reason = reason_by("sent", -1);
        struct note note = {-1, 0, false};

        if (other >= 0) {
            (void)!rusm_send(pid_of(other), &note, sizeof(note));
            (void)!rusm_exit_process(pid_of(other), &reason);
        }
        id = atomic_fetch_add(&run.next, 1);
        if (id >= LIVES) {
            break;
        }
        check(rusm_thread_enter(run.rts[draw(&outside, 2)], "thread") == RUSM_OK);
        {
            struct self *self = self_new(id);

            for (int i = 0; i < 60 && !atomic_load(&run.stop); i++) {
                act(self);
            }
            check_heard(self);
        }
        rusm_thread_leave();
    }
    return NULL;
}

/* Until the last of them ends: none may be forgotten, waiting. */
static void wait_until_few(void)
{
    rusm_time end = rusm_now() + (rusm_time)WAIT_MS * 1000000;

    for (;;) {
        rusm_runtime_stats stats[2];

        check(rusm_runtime_get_stats(run.rts[0], &stats[0]) == RUSM_OK);
        check(rusm_runtime_get_stats(run.rts[1], &stats[1]) == RUSM_OK);
        if (stats[0].processes + stats[1].processes == 0) {
            check(stats[0].spawned == stats[0].exited && stats[1].spawned == stats[1].exited);
            return;
        }
        check(rusm_now() < end);
        check(rusm_waiter_wait(run.pause, 1) == RUSM_ETIMEOUT);
    }
}

static void round_of(uint64_t seed)
{
    pthread_t threads[2];

    run.seed = seed;
    atomic_store(&run.next, BEGINNERS);
    atomic_store(&run.stop, false);
    memset(run.sent, 0, sizeof(run.sent));
    memset(run.lives, 0, sizeof(run.lives));
    for (int i = 0; i < 2; i++) {
        rusm_runtime_config cfg;

        rusm_runtime_config_init(&cfg);
        cfg.pool = run.pool;
        check(rusm_runtime_new(&run.rts[i], &cfg) == RUSM_OK);
    }
    for (uintptr_t i = 0; i < BEGINNERS; i++) {
        check(rusm_spawn(run.rts[i % 2], process_main, (void *)i, NULL) == RUSM_OK);
    }
    for (uintptr_t i = 0; i < 2; i++) {
        check(pthread_create(&threads[i], NULL, thread_main, (void *)i) == 0);
    }
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    atomic_store(&run.stop, true);
    wait_until_few();
    rusm_runtime_del(run.rts[0]);
    rusm_runtime_del(run.rts[1]);
}

/* ---- a message and the end of the time allowed, at once -------------------------------------- */

#define MEETINGS  (RUSMI_TSAN || RUSMI_ASAN ? 400u : 1000u)
#define JITTER_NS 6000
/* How far the next message is moved after one that came in time, or too late. */
#define MOVE_NS 2000

static struct {
    _Atomic uint64_t begun; /* when the present wait began; 0: not yet */
    _Atomic uint64_t early; /* messages that came in time */
    _Atomic uint64_t after; /* when the message is sent, counted from there: found by trying */
    rusm_pid waiter;
} meet;

/* Sends one message per wait, just when its time is over. */
static void meet_sender(void *arg)
{
    struct rusmi_prng prng = {run.seed};
    uint64_t begun;

    (void)arg;
    for (uint32_t i = 0; i < MEETINGS; i++) {
        rusm_time at;

        while ((begun = atomic_exchange(&meet.begun, 0)) == 0) {
            rusm_yield();
        }
        at = begun + atomic_load(&meet.after) + rusmi_prng_below(&prng, JITTER_NS);
        while (rusm_now() < at) {
        }
        check(rusm_send(meet.waiter, &i, sizeof(i)) == RUSM_OK);
    }
}

/* Each message is received once, in time or afterwards. */
static void meet_all(void)
{
    meet.waiter = rusm_self();
    atomic_store(&meet.after, 1000000);
    check(rusm_spawn(NULL, meet_sender, NULL, NULL) == RUSM_OK);
    for (uint32_t i = 0; i < MEETINGS; i++) {
        rusm_msg *msg;
        rusm_err err;

        atomic_store(&meet.begun, rusm_now());
        err = rusm_receive(&msg, 1);
        if (err == RUSM_OK) {
            (void)atomic_fetch_add(&meet.early, 1);
            (void)atomic_fetch_add(&meet.after, MOVE_NS);
        } else {
            (void)atomic_fetch_sub(&meet.after, MOVE_NS);
            check(err == RUSM_ETIMEOUT && rusm_receive(&msg, WAIT_MS) == RUSM_OK);
        }
        check(memcmp(rusm_msg_data(msg), &i, sizeof(i)) == 0);
        rusm_msg_del(msg);
    }
}

static void meet_process(void *arg)
{
    meet_all();
    check(rusm_send(*(const rusm_pid *)arg, "done", 4) == RUSM_OK);
}

/* As a thread, then as a process. */
static void meetings(void)
{
    rusm_runtime_config cfg;
    rusm_msg *msg;
    rusm_pid self;

    rusm_runtime_config_init(&cfg);
    cfg.pool = run.pool;
    check(rusm_runtime_new(&run.rts[0], &cfg) == RUSM_OK);
    check(rusm_thread_enter(run.rts[0], NULL) == RUSM_OK);
    self = rusm_self();
    meet_all();
    check(rusm_spawn(NULL, meet_process, &self, NULL) == RUSM_OK);
    check(rusm_receive(&msg, WAIT_MS) == RUSM_OK);
    rusm_thread_leave();
    rusm_runtime_del(run.rts[0]);
    (void)printf("threads: of %u messages at the end of a wait %llu came in time\n", 2 * MEETINGS,
                 (unsigned long long)atomic_load(&meet.early));
}

int main(int argc, char **argv)
{
    const char *text = argc > 1 ? argv[1] : getenv("RUSM_SEED");
    uint64_t first = text == NULL ? 1 : strtoull(text, NULL, 0);
    long before = heap_blocks();
    rusm_pool_config cfg;

    rusm_pool_config_init(&cfg);
    cfg.threads = 2;
    check(rusm_pool_new(&run.pool, &cfg) == RUSM_OK);
    check(rusm_waiter_new(&run.pause) == RUSM_OK);
    (void)printf("threads: seed %llu\n", (unsigned long long)first);
    for (uint64_t seed = first; seed < first + ROUNDS; seed++) {
        round_of(seed);
    }
    meetings();
    rusm_pool_del(run.pool);
    rusm_waiter_drop(run.pause);
    check(heap_blocks() == before);
    (void)printf(
        "threads: %llu calls, %llu downs, %llu exits, %llu questions\n",
        (unsigned long long)atomic_load(&run.ops), (unsigned long long)atomic_load(&run.downs),
        (unsigned long long)atomic_load(&run.exits), (unsigned long long)atomic_load(&run.asked));
    return EXIT_SUCCESS;
}
