/* SPDX-License-Identifier: MIT */
/*
 * What comes from another node into real processes: the input is cut into message streams, which an
 * inbox orders, and what it delivers goes to processes on a deterministic pool as signals (links,
 * monitors, exits, downs, births), as messages of every kind, and as what passes for streams;
 * between them processes run, make ties of their own with that node, offer it streams and use those
 * that they have, die and are spawned again, and the node goes and comes.
 *
 * Checked, whatever comes:
 *
 *   each monitor of a process here ends in one down at most, from the process that it is on, and in
 *   exactly one once the node has gone
 *   for each monitor that the other node asks for it gets one down at most
 *   nothing is left when all processes have ended (leaks: by the sanitizer)
 */
#include <rusm/rusm.h>
#include <rusm/test.h>

#include "base/assert.h"
#include "cluster/inbox.h"
#include "cluster/reason.h"
#include "cluster/signal.h"

#include <rusm/otp/driver.h>
#include <rusm/otp/stream.h>

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORKERS  4
#define WATCHES  8
#define ENDS     4
#define FAR      ((uint64_t)0x7777)
#define NUMBERS  32
#define STEPS    200
#define SEQS_MAX 2000

struct worker {
    rusm_pid pid;
    bool trap;
    struct {
        rusm_ref ref;
        rusm_pid pid;
    } watches[WATCHES];
    rusm_stream *ends[ENDS]; /* what it is the end of, it may find out */
};

static struct world {
    const uint8_t *data;
    size_t size;
    rusm_pool *pool;
    rusm_runtime *rt;
    struct rusmi_inbox inbox;
    struct worker workers[WORKERS];
    uint64_t incarnation;       /* of the other node */
    uint64_t seq;               /* of the next stream */
    uint64_t said[8], said_len; /* numbers of our signals, for its answers */
    unsigned asked[NUMBERS];    /* its monitors by number, and our downs */
    unsigned told[NUMBERS];
    bool up;
    bool lied;                        /* what it said of a stream is to end the link */
    uint64_t streams[8], streams_len; /* that we spoke of */
} world;

static uint8_t take(void)
{
    if (world.size == 0) {
        return 0;
    }
    world.size--;
    return *world.data++;
}

/* ---- processes ------------------------------------------------------------------------------- */

static rusm_pid far_pid(uint8_t n)
{
    return (rusm_pid){world.incarnation, 1 + n % 6};
}

static void watch(struct worker *worker, rusm_pid pid)
{
    for (size_t i = 0; i < WATCHES; i++) {
        if (worker->watches[i].ref.number == 0) {
            worker->watches[i].pid = pid;
            if (rusm_monitor(pid, &worker->watches[i].ref) != RUSM_OK) {
                worker->watches[i].ref = (rusm_ref){0};
            }
            return;
        }
    }
}

static void unwatch(struct worker *worker, uint8_t n)
{
    rusm_ref *ref = &worker->watches[n % WATCHES].ref;

    if (ref->number != 0) {
        (void)rusm_demonitor(*ref, true);
        *ref = (rusm_ref){0};
    }
}

static void keep_end(struct worker *worker, rusm_stream *end, uint8_t n)
{
    if (worker->ends[n % ENDS] != NULL) {
        rusm_stream_close(worker->ends[n % ENDS]);
    }
    worker->ends[n % ENDS] = end;
}

static void open_stream(struct worker *worker, uint8_t n)
{
    rusm_stream *writer, *reader, *goes;

    if (rusm_stream_new(1 + n % 40, &writer, &reader) != RUSM_OK) {
        return;
    }
    (void)!rusm_stream_write(writer, "some bytes", 1 + n % 10, 0, NULL);
    goes = n % 2 == 0 ? writer : reader;
    keep_end(worker, n % 2 == 0 ? reader : writer, n);
    if (rusm_stream_send(far_pid(n), goes, "end", 3) != RUSM_OK) {
        rusm_stream_close(goes);
    }
}

/* Write, read, close, or hand on; of a wrong end it is refused. */
static void use_end(struct worker *worker, uint8_t n)
{
    rusm_stream **end = &worker->ends[n % ENDS];
    uint8_t buf[100] = {0};
    size_t len;

    if (*end == NULL) {
        open_stream(worker, n);
    } else if (n < 100) {
        (void)!rusm_stream_write(*end, buf, 1 + n, 0, NULL);
    } else if (n < 200) {
        (void)!rusm_stream_read(*end, buf, n - 99u, 0, &len);
    } else if (n < 220) {
        rusm_stream_close(*end);
        *end = NULL;
    } else if (rusm_stream_send(n < 250 ? world.workers[n / ENDS % WORKERS].pid : far_pid(n), *end,
                                NULL, 0) == RUSM_OK) {
        *end = NULL;
    }
}

static void obey(struct worker *worker, uint8_t what, uint8_t n)
{
    const rusm_reason reason = {.kind = RUSM_REASON_SHUTDOWN};
    rusm_pid pid = n >= 128 ? world.workers[n % WORKERS].pid : far_pid(n);

    switch (what % 14) {
    case 0:
    case 1:
        watch(worker, pid);
        break;
    case 2:
        unwatch(worker, n);
        break;
    case 3:
    case 4:
        (void)!rusm_link(pid);
        break;
    case 5:
        (void)!rusm_unlink(pid);
        break;
    case 6:
        (void)!rusm_exit_process(pid, &reason);
        break;
    case 7:
        (void)!rusm_send(pid, &n, 1);
        break;
    case 8:
        worker->trap = !worker->trap;
        (void)rusm_trap_exit(worker->trap);
        break;
    case 9:
        open_stream(worker, n);
        break;
    case 10:
    case 11:
    case 12:
        use_end(worker, n);
        break;
    default:
        rusm_exit(n % 2 == 0 ? RUSM_REASON_NORMAL : RUSM_REASON_SHUTDOWN);
    }
}

static void hear_down(struct worker *worker, const rusm_msg *msg)
{
    rusm_ref ref = rusm_msg_ref(msg);

    for (size_t i = 0; i < WATCHES; i++) {
        if (worker->watches[i].ref.number == ref.number) {
            rusmi_assert(ref.number != 0);
            rusmi_assert(rusm_pid_equal(rusm_msg_sender(msg), worker->watches[i].pid));
            worker->watches[i].ref = (rusm_ref){0};
            return;
        }
    }
    rusmi_assert(ref.number == UINT64_MAX); /* a down for no monitor */
}

static void run_worker(void *arg)
{
    struct worker *worker = arg;
    rusm_msg *msg;

    (void)rusm_trap_exit(worker->trap);
    while (rusm_receive(&msg, RUSM_INFINITY) == RUSM_OK) {
        rusm_msg_kind kind = rusm_msg_get_kind(msg);
        const uint8_t *data = rusm_msg_data(msg);
        size_t len = rusm_msg_len(msg);
        uint8_t what = len > 0 ? data[0] : 0, n = len > 1 ? data[1] : 0;

        rusm_stream *end = rusm_msg_take_stream(msg);

        if (kind == RUSM_MSG_DOWN) {
            hear_down(worker, msg);
        }
        if (end != NULL) {
            keep_end(worker, end, n);
        }
        rusm_msg_del(msg);
        if (kind == RUSM_MSG_DATA || kind == RUSM_MSG_CALL || kind == RUSM_MSG_CAST) {
            obey(worker, what, n);
        }
    }
}

static void spawn(struct worker *worker, bool trap)
{
    memset(worker, 0, sizeof(*worker));
    worker->trap = trap;
    rusmi_assert(rusm_spawn(world.rt, run_worker, worker, &worker->pid) == RUSM_OK);
}

/* ---- the other node -------------------------------------------------------------------------- */

static rusm_err route_message(void *arg, rusm_pid from, rusm_pid to, rusm_msg *msg,
                              int64_t timeout_ms)
{
    (void)arg, (void)from, (void)timeout_ms;
    if (!world.up || to.incarnation != world.incarnation) {
        return RUSM_ENONODE;
    }
    rusm_msg_del(msg);
    return RUSM_OK;
}

static rusm_err route_signal(void *arg, const rusm_signal *signal)
{
    (void)arg;
    rusmi_assert(signal->from.incarnation == rusm_runtime_incarnation(world.rt));
    if (!world.up || signal->to.incarnation != world.incarnation) {
        return RUSM_ENONODE;
    }
    world.said[world.said_len++ % 8] = signal->number;
    if (signal->kind == RUSM_SIGNAL_DOWN) {
        rusmi_assert(signal->number < NUMBERS);
        world.told[signal->number]++;
        rusmi_assert(world.told[signal->number] <= world.asked[signal->number]);
    }
    return RUSM_OK;
}

static rusm_err route_stream(void *arg, const rusm_stream_signal *signal, int64_t timeout_ms)
{
    (void)arg, (void)timeout_ms;
    if (!world.up || signal->to.incarnation != world.incarnation ||
        rusm_stream_signal_is_late(signal)) {
        return RUSM_ENONODE;
    }
    world.streams[world.streams_len++ % 8] =
        signal->kind == RUSM_STREAM_OFFER ? signal->stream * 2 : signal->stream ^ 1;
    rusmi_assert(signal->kind != RUSM_STREAM_OFFER ||
                 (signal->used <= signal->capacity && signal->capacity <= RUSM_STREAM_FAR_MAX));
    return RUSM_OK;
}

static bool node_name(void *arg, uint64_t incarnation, char *buf, size_t buf_len)
{
    (void)arg;
    if (incarnation != world.incarnation || buf_len < 2) {
        return false;
    }
    memcpy(buf, "f", 2);
    return true;
}

static void deliver_signal(const struct rusmi_message_head *head, const rusm_msg *msg)
{
    rusm_signal signal;
    rusm_reason reason;
    const char *why;

    if (rusmi_signal_decode(&signal, &reason, head, rusm_msg_data(msg), rusm_msg_len(msg),
                            world.incarnation, rusm_runtime_incarnation(world.rt),
                            &why) != RUSM_OK) {
        return;
    }
    if (signal.kind == RUSM_SIGNAL_MONITOR && signal.number < NUMBERS) {
        world.asked[signal.number]++;
    }
    (void)!rusm_signal_deliver(world.rt, &signal);
}

static void deliver_stream(const struct rusmi_message_head *head, const rusm_msg *msg)
{
    rusm_stream_signal signal;
    const char *why;

    if (rusmi_stream_signal_decode(&signal, head, rusm_msg_data(msg), rusm_msg_len(msg),
                                   world.incarnation, rusm_runtime_incarnation(world.rt),
                                   &why) != RUSM_OK) {
        return;
    }
    if (!world.lied && rusm_stream_deliver(world.rt, &signal) == RUSM_EPROTO) {
        world.lied = true;
    }
}

/* As a node does with what its inbox delivers. */
static void on_deliver(void *arg, const struct rusmi_message_head *head, rusm_msg *msg)
{
    rusm_pid pid;

    (void)arg;
    switch (rusmi_message_class(head->kind)) {
    case RUSMI_CLASS_SIGNAL:
        deliver_signal(head, msg);
        rusm_msg_del(msg);
        return;
    case RUSMI_CLASS_STREAM:
        deliver_stream(head, msg);
        rusm_msg_del(msg);
        return;
    case RUSMI_CLASS_MESSAGE:
        break;
    }
    rusm_msg_set_sender(msg, (rusm_pid){world.incarnation, head->sender});
    rusm_msg_set_kind(msg,
                      head->kind == RUSMI_MESSAGE_CALL    ? RUSM_MSG_CALL
                      : head->kind == RUSMI_MESSAGE_CAST  ? RUSM_MSG_CAST
                      : head->kind == RUSMI_MESSAGE_REPLY ? RUSM_MSG_REPLY
                                                          : RUSM_MSG_DATA,
                      head->number);
    rusm_msg_set_far(msg);
    if (rusmi_message_by_name(head->kind)
            ? rusm_deliver_name(world.rt, head->name, head->name_len, msg, &pid) != RUSM_OK
            : rusm_deliver(world.rt, head->serial, msg) != RUSM_OK) {
        rusm_msg_del(msg);
    }
}

static void node_up(uint64_t incarnation)
{
    struct rusmi_inbox_config cfg;

    world.incarnation = incarnation;
    world.seq = 0;
    memset(world.asked, 0, sizeof(world.asked));
    memset(world.told, 0, sizeof(world.told));
    rusmi_inbox_config_init(&cfg);
    cfg.window = 65536;
    cfg.streams_max = 64;
    cfg.message_max = 1000;
    cfg.deliver = on_deliver;
    rusmi_assert(rusmi_inbox_init(&world.inbox, &cfg) == RUSM_OK);
    rusmi_assert(rusm_runtime_node_up(world.rt, incarnation, 16) == RUSM_OK);
    world.up = true;
    world.lied = false;
}

static void node_down(void)
{
    const rusm_reason reason = {.kind = RUSM_REASON_NOCONNECTION};

    world.up = false;
    rusmi_inbox_fini(&world.inbox);
    rusm_runtime_node_down(world.rt, world.incarnation, &reason);
    rusmi_assert(rusm_test_run(world.pool, 100 * STEPS) < 100 * STEPS);
    for (size_t i = 0; i < WORKERS; i++) {
        const struct worker *worker = &world.workers[i];

        for (size_t k = 0; rusm_is_alive(worker->pid) && k < WATCHES; k++) {
            rusmi_assert(worker->watches[k].ref.number == 0 ||
                         worker->watches[k].pid.incarnation != world.incarnation);
        }
    }
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void stream(void)
{
    static const uint8_t kinds[] = {1,  3,  4,  5,  7, 8, 9,  10, 11, 12,
                                    13, 14, 20, 21, 2, 6, 15, 16, 17, 18};
    uint8_t bytes[RUSMI_MESSAGE_HEAD_MAX + 64], reason[RUSMI_REASON_BYTES_MAX];
    uint8_t prev_room[RUSMI_VARINT_LEN_MAX + sizeof(bytes)];
    uint8_t how = take(), who = take(), number = take(), what = take(), n = take();
    struct rusmi_message_head head = {.kind = kinds[how % sizeof(kinds)],
                                      .sender = 1 + who % 6,
                                      .number = 1 + number % (NUMBERS - 1),
                                      .name = "w",
                                      .name_len = 1};
    const rusm_reason why = {.kind = (rusm_reason_kind)(what % 8)};
    size_t tail, prev_len;
    uint8_t *start;

    head.serial = who < 200 ? world.workers[who / 8 % WORKERS].pid.serial : (uint64_t)1 + who;
    if (number >= 128) {
        head.number = world.said[number % 8] == 0 ? 1 : world.said[number % 8];
    }
    if (head.kind == RUSMI_MESSAGE_MONITOR) {
        head.number = 1 + number % (NUMBERS - 1);
    }
    if (head.kind == RUSMI_MESSAGE_STREAM_OFFER) {
        const struct rusmi_stream_offer offer = {what % 2 != 0, 1 + n % 50,
                                                 (uint64_t)what % (2 + n % 50)};

        memset(bytes, 0, sizeof(bytes));
        head.body_len = (uint32_t)rusmi_stream_offer_encode(bytes, &offer) + what % 60;
    } else if (rusmi_message_class(head.kind) == RUSMI_CLASS_STREAM) {
        head.serial = who % 4 == 0 ? 2u + number % 16 : world.streams[who % 8];
        head.number = 1 + (uint64_t)what % 100;
        head.body_len = head.kind == RUSMI_MESSAGE_STREAM_DATA ? n % 50 : 0;
        memset(bytes, n, sizeof(bytes));
    } else if (rusmi_message_class(head.kind) == RUSMI_CLASS_MESSAGE) {
        bytes[0] = what;
        bytes[1] = n;
        head.body_len = 2;
    } else if (head.kind == RUSMI_MESSAGE_STOP ||
               (head.kind >= RUSMI_MESSAGE_EXIT && head.kind <= RUSMI_MESSAGE_ASK_EXIT)) {
        head.body_len = (uint32_t)rusmi_reason_encode(reason, &why);
        memcpy(bytes, reason, head.body_len);
    }
    if (rusmi_message_head_check(&head) != RUSM_OK || world.seq >= SEQS_MAX) {
        return;
    }
    start = prev_room + RUSMI_VARINT_LEN_MAX;
    tail = rusmi_message_tail_encode(start, &head);
    memcpy(start + tail, bytes, head.body_len);
    prev_len = rusmi_message_prev_encode(start, n % 4 <= world.seq ? n % 4 : 0);
    (void)!rusmi_inbox_data(&world.inbox, world.seq, 0, start - prev_len,
                            prev_len + tail + head.body_len, true);
    world.seq++;
}

static void raw_stream(void)
{
    size_t len = take();

    len = len < world.size ? len : world.size;
    (void)!rusmi_inbox_data(&world.inbox, world.seq, 0, world.data, len, true);
    world.seq++;
    world.data += len;
    world.size -= len;
}

static void give_credit(void)
{
    uint64_t bytes, streams;

    rusmi_inbox_take_credit(&world.inbox, &bytes, &streams);
}

static void order(uint8_t which, uint8_t what, uint8_t n)
{
    rusm_msg *msg;

    if (rusm_msg_new(&msg, 2) == RUSM_OK) {
        ((uint8_t *)rusm_msg_data(msg))[0] = what;
        ((uint8_t *)rusm_msg_data(msg))[1] = n;
        if (rusm_deliver(world.rt, world.workers[which % WORKERS].pid.serial, msg) != RUSM_OK) {
            rusm_msg_del(msg);
        }
    }
}

static void one(void)
{
    uint8_t what = take();

    if (world.inbox.failed != RUSM_OK || world.lied || what == 255) {
        node_down();
        node_up(world.incarnation + 1);
    } else if (what < 130) {
        stream();
    } else if (what < 133) {
        raw_stream();
    } else if (what < 200) {
        uint8_t which = take(), order_what = take();

        order(which, order_what, take());
    } else if (what < 215) {
        struct worker *worker = &world.workers[what % WORKERS];

        if (!rusm_is_alive(worker->pid)) {
            spawn(worker, what % 2 != 0);
        }
    } else if (what < 220) {
        (void)!rusm_kill(world.workers[what % WORKERS].pid);
    } else {
        (void)rusm_test_run(world.pool, take());
    }
    give_credit();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const rusm_router router = {.send = route_message,
                                       .signal = route_signal,
                                       .node_name = node_name,
                                       .stream = route_stream};
    rusm_pool_config pool_cfg;
    rusm_runtime_config cfg;

    memset(&world, 0, sizeof(world));
    world.data = data;
    world.size = size;
    rusm_pool_config_init(&pool_cfg);
    pool_cfg.processes_max = 64;
    rusmi_assert(rusm_test_pool_new(&world.pool, take(), &pool_cfg) == RUSM_OK);
    rusm_runtime_config_init(&cfg);
    cfg.pool = world.pool;
    cfg.name = "m";
    rusmi_assert(rusm_runtime_new(&world.rt, &cfg) == RUSM_OK);
    rusm_runtime_set_router(world.rt, &router, NULL);
    for (size_t i = 0; i < WORKERS; i++) {
        spawn(&world.workers[i], i % 2 != 0);
    }
    (void)!rusm_register(world.rt, "w", world.workers[0].pid);
    (void)rusm_test_run(world.pool, STEPS);
    node_up(FAR);
    while (world.size > 0) {
        one();
    }
    (void)rusm_test_run(world.pool, 100 * STEPS);
    node_down();
    rusm_runtime_set_router(world.rt, NULL, NULL);
    rusmi_assert(rusm_runtime_stop(world.rt, 1000) == RUSM_OK);
    rusm_runtime_del(world.rt);
    rusm_pool_del(world.pool);
    return 0;
}
