/* SPDX-License-Identifier: MIT */
#include "support/scene.h"

#include <inttypes.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include <rusm/otp/driver.h>

#define JOIN_EXCHANGES 10

/* Static: a process uses it until its runtime stops. */
static struct {
    _Atomic uint64_t exchanged;
    atomic_bool failed;
    char detail[256];
} pump;

static rusm_err exchange(void)
{
    rusm_err err = rusm_node_send(NULL, "target", "echo", "still there", 11);
    rusm_msg *msg;

    if (err == RUSM_OK) {
        err = rusm_receive(&msg, SUPPORT_DEADLINE_MS);
    }
    if (err == RUSM_OK) {
        rusm_msg_del(msg);
    }
    return err;
}

static void run_pump(void *arg)
{
    rusm_err err = RUSM_OK;

    (void)arg;
    while (err == RUSM_OK) {
        err = exchange();
        if (err == RUSM_OK) {
            atomic_fetch_add(&pump.exchanged, 1);
            err = rusm_sleep(1); /* leaves the machine to the attack */
        }
    }
    (void)snprintf(pump.detail, sizeof(pump.detail), "%s", rusm_err_detail());
    atomic_store(&pump.failed, true);
}

static bool pump_went_on(void *arg)
{
    return atomic_load(&pump.exchanged) >= *(const uint64_t *)arg || atomic_load(&pump.failed);
}

void support_expect_exchange(uint64_t more)
{
    uint64_t wanted = atomic_load(&pump.exchanged) + more;

    if (!support_wait(pump_went_on, &wanted) || atomic_load(&pump.failed)) {
        fail_msg("the good link fell silent: %s", pump.detail);
    }
}

int support_scene_setup(void **state, const rusm_node_config *cfg)
{
    struct support_scene *scene = calloc(1, sizeof(*scene));
    void *world;

    assert_non_null(scene);
    assert_int_equal(support_world_setup(&world), 0);
    scene->world = world;
    scene->target = support_node_start_with(world, "target", cfg);
    scene->good = support_node_start(world, "good");
    support_echo_start(scene->target);
    support_connect(scene->good, scene->target);
    atomic_store(&pump.exchanged, 0);
    atomic_store(&pump.failed, false);
    pump.detail[0] = '\0';
    assert_int_equal(rusm_spawn(scene->good->runtime, run_pump, NULL, NULL), RUSM_OK);
    support_expect_exchange(1);
    *state = scene;
    return 0;
}

int support_scene_teardown(void **state)
{
    struct support_scene *scene = *state;
    void *world = scene->world;
    int rc;

    for (size_t i = 0; i < SUPPORT_RAWS_MAX; i++) {
        if (scene->raws[i] != NULL) {
            support_raw_del(scene->raws[i]);
        }
    }
    rc = support_world_teardown(&world);
    free(scene);
    return rc;
}

struct support_raw *support_scene_dial(struct support_scene *scene, size_t i, const char *name,
                                       const char *from)
{
    rusm_identity *identity = support_identity(scene->world, name);

    assert_true(i < SUPPORT_RAWS_MAX);
    scene->raws[i] = support_raw_dial_from(identity, from, rusm_node_address(scene->target->node));
    rusm_identity_del(identity);
    return scene->raws[i];
}

struct support_raw *support_scene_tls(struct support_scene *scene, const char *name)
{
    struct support_raw *raw = support_scene_dial(scene, 0, name, NULL);

    if (!support_raw_run(raw, support_raw_is_authenticated, raw)) {
        fail_msg("no TLS with the target");
    }
    return raw;
}

struct support_raw *support_scene_up(struct support_scene *scene, const char *name)
{
    struct support_raw *raw = support_scene_tls(scene, name);

    support_raw_join(raw, name);
    support_wait_peer(scene->target, name, true);
    return raw;
}

void support_expect_harm(struct support_scene *scene, struct support_harm harm)
{
    rusm_node_stats now;

    support_wait_stat(scene->target, offsetof(rusm_node_stats, protocol_errors),
                      harm.protocol_errors);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, timeouts), harm.timeouts);
    support_wait_stat(scene->target, offsetof(rusm_node_stats, refused_auth), harm.refused_auth);
    now = support_stats(scene->target);
    assert_int_equal(now.protocol_errors, harm.protocol_errors);
    assert_int_equal(now.timeouts, harm.timeouts);
    assert_int_equal(now.refused_auth, harm.refused_auth);
    assert_int_equal(now.refused_duplicate, harm.refused_duplicate);
    assert_int_equal(now.refused_full, harm.refused_full);
    assert_int_equal(now.dropped_nomem, 0);
}

void support_expect_only_good(struct support_scene *scene)
{
    rusm_peer_info info;

    support_wait_peers(scene->target, 1);
    assert_true(support_peer_find(scene->target, "good", &info));
    support_expect_exchange(5);
    assert_int_equal(support_stats(scene->good).handshakes, 1);
}

void support_expect_loss(struct support_scene *scene, struct support_raw *raw,
                         enum rusmi_close_code code, const char *words, struct support_harm harm)
{
    const struct rusmi_quic_end *end = support_raw_end(raw);

    if (end->cause != RUSMI_QUIC_CLOSED_PEER || end->code != code ||
        strstr(end->text, words) == NULL) {
        fail_msg("cause %d, code %llu: %s", (int)end->cause, (unsigned long long)end->code,
                 end->text);
    }
    support_expect_harm(scene, harm);
    support_expect_only_good(scene);
}

/* ---- attacks --------------------------------------------------------------------------------- */

/*
 * A node that comes while the attack goes on; static as the pump. An attack takes what the machine
 * has, and may have had it for long when the newcomer's thread runs at all: so a dial that ends in
 * silence is repeated, as a node's own dials to its peers are. One that is refused is a failure.
 */
static struct {
    char address[RUSM_ADDRESS_MAX];
    rusm_time began, joined, answered;
    unsigned dials;
    char detail[1024];
    rusm_err err;
    atomic_bool done;
} newcomer;

static void run_newcomer(void *arg)
{
    rusm_err err;

    (void)arg;
    newcomer.began = rusm_now();
    newcomer.dials = 0;
    do {
        err = rusm_node_connect(NULL, newcomer.address, SUPPORT_DEADLINE_MS, NULL);
        newcomer.joined = rusm_now();
        newcomer.dials++;
    } while (err == RUSM_ETIMEOUT &&
             newcomer.joined - newcomer.began < (rusm_time)SUPPORT_DEADLINE_MS * 1000000);
    for (int i = 0; err == RUSM_OK && i < JOIN_EXCHANGES; i++) {
        err = exchange();
    }
    newcomer.answered = rusm_now();
    newcomer.err = err;
    (void)snprintf(newcomer.detail, sizeof(newcomer.detail), "%s",
                   err == RUSM_OK ? "" : rusm_err_detail());
    atomic_store(&newcomer.done, true);
}

struct cost {
    size_t memory;
    int64_t cpu_us; /* of the nodes */
};

static int64_t cpu_us(int who)
{
    struct rusage usage;

    assert_int_equal(getrusage(who, &usage), 0);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (int64_t)1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Memory that is really there: what links reserve and do not touch is not. */
static size_t resident(void)
{
    unsigned long pages;
    char line[128], *at;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    (void)fclose(file);
    (void)strtoul(line, &at, 10); /* the whole size */
    pages = strtoul(at, NULL, 10);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The allocators of sanitizers keep what is freed, and the shadow is memory, too. */
static bool sanitized(void)
{
    return mallinfo2().arena == 0;
}

static struct cost cost_now(void)
{
    return (struct cost){.memory = resident(),
                         .cpu_us = cpu_us(RUSAGE_SELF) - cpu_us(RUSAGE_THREAD)};
}

/* Datagrams that the kernel threw away because a socket at the target's port was full. */
static uint64_t kernel_drops(const struct support_scene *scene)
{
    const char *port = strrchr(rusm_node_address(scene->target->node), ':');
    FILE *file = fopen("/proc/net/udp", "r");
    char line[256], wanted[8];
    uint64_t drops = 0;

    (void)snprintf(wanted, sizeof(wanted), ":%04lX ", strtoul(port + 1, NULL, 10));
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *local = strchr(line, ':');
        const char *last = strrchr(line, ' ');

        line[strcspn(line, "\n")] = '\0';
        while (last > line && last[1] == '\0') { /* the table pads its lines */
            line[last - line] = '\0';
            last = strrchr(line, ' ');
        }
        if (local != NULL && last != NULL && strncmp(local + 10, wanted, 6) == 0) {
            drops += strtoull(last + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return drops;
}

static void report(const struct support_scene *scene, const struct support_attack *attack,
                   int64_t us, size_t grown)
{
    rusm_node_stats now = support_stats(scene->target);

    (void)printf("           %s: %" PRIu64 " bad things at %.1f us of the nodes' CPU; memory +%zu "
                 "KiB of %zu; newcomer in after %.1f ms (dial %u), %d exchanges in %.1f ms\n",
                 attack->what, scene->bad, scene->bad == 0 ? 0.0 : (double)us / (double)scene->bad,
                 grown / 1024, attack->memory_max / 1024,
                 (double)(newcomer.joined - newcomer.began) / 1e6, newcomer.dials, JOIN_EXCHANGES,
                 (double)(newcomer.answered - newcomer.joined) / 1e6);
    (void)printf("           lost in full sockets %" PRIu64 ", stray %" PRIu64
                 ", refused: full %" PRIu64 ", time-outs %" PRIu64 ", protocol errors %" PRIu64
                 "\n",
                 kernel_drops(scene), now.datagrams_stray, now.refused_full, now.timeouts,
                 now.protocol_errors);
    (void)fflush(stdout);
}

void support_attack(struct support_scene *scene, const struct support_attack *attack)
{
    struct support_node *late = support_node_start(scene->world, "newcomer");
    struct cost before, after;
    size_t grown = 0;
    rusm_time until;

    before = after = cost_now();
    scene->bad = 0;
    for (int i = 0; i < 3; i++) { /* the attack is first */
        attack->turn(scene, attack->arg);
    }
    (void)snprintf(newcomer.address, sizeof(newcomer.address), "%s",
                   rusm_node_address(scene->target->node));
    atomic_store(&newcomer.done, false);
    assert_int_equal(rusm_spawn(late->runtime, run_newcomer, NULL, NULL), RUSM_OK);
    until = rusm_now() + 2 * (rusm_time)SUPPORT_DEADLINE_MS * 1000000;
    while (!atomic_load(&newcomer.done) || scene->bad < attack->bad_min) {
        attack->turn(scene, attack->arg);
        after = cost_now();
        if (after.memory > before.memory && after.memory - before.memory > grown) {
            grown = after.memory - before.memory;
        }
        if (rusm_now() > until) {
            fail_msg("%s: the newcomer waits for ever", attack->what);
        }
    }
    if (newcomer.err != RUSM_OK) {
        report(scene, attack, after.cpu_us - before.cpu_us, grown);
        fail_msg("%s: the newcomer got %s", attack->what, newcomer.detail);
    }
    report(scene, attack, after.cpu_us - before.cpu_us, grown);
    if (grown > attack->memory_max && !sanitized()) {
        fail_msg("%s: memory grew by %zu KiB", attack->what, grown / 1024);
    }
    support_node_stop(late);
    support_wait_peer(scene->target, "newcomer", false);
    support_expect_exchange(5);
    assert_int_equal(support_stats(scene->good).handshakes, 1);
}

/* ---- liars ----------------------------------------------------------------------------------- */

/* Bytes that wait in a liar's own queue before it stops to queue more. */
#define QUEUED_MAX ((size_t)512 * 1024)

static void come_in(struct support_scene *scene, const struct support_liar *liar)
{
    rusm_identity *identity = support_identity(scene->world, "raw");

    scene->raws[0] =
        support_raw_dial_with(identity, NULL, rusm_node_address(scene->target->node), liar->adjust);
    rusm_identity_del(identity);
    scene->raws[0]->says_address = liar->address;
    support_raw_join(scene->raws[0], "raw");
}

/* Say more if there is room, and let the network move. */
static void turn_liar(struct support_scene *scene, void *arg)
{
    struct support_liar *liar = arg;

    if (scene->raws[0] != NULL && support_raw_is_ended(scene->raws[0])) {
        liar->links_lost++;
        (void)snprintf(liar->last_words, sizeof(liar->last_words), "%s",
                       rusmi_quic_conn_end(scene->raws[0]->conn)->text);
        support_raw_del(scene->raws[0]);
        scene->raws[0] = NULL;
        liar->begun = false;
    }
    if (scene->raws[0] == NULL) {
        come_in(scene, liar);
    }
    if (rusmi_quic_conn_control_pending(scene->raws[0]->conn) < QUEUED_MAX &&
        scene->raws[0]->outbox.queued_bytes < QUEUED_MAX) {
        liar->say(scene, liar, scene->raws[0]);
    }
    support_raw_step(scene->raws[0], 0);
}

void support_lie(struct support_scene *scene, const char *what, struct support_liar *liar,
                 uint64_t bad_min, size_t memory_max)
{
    struct support_attack attack = {
        .what = what, .turn = turn_liar, .arg = liar, .bad_min = bad_min, .memory_max = memory_max};

    support_attack(scene, &attack);
    if (liar->links_lost != 0) {
        (void)printf("           %s: lost %" PRIu64 " links: %s\n", what, liar->links_lost,
                     liar->last_words);
    }
}

void support_say(struct support_scene *scene, struct support_raw *raw,
                 const struct rusmi_frame *frame, unsigned count)
{
    struct rusmi_buf buf;

    rusmi_buf_init(&buf);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(rusmi_control_encode(&buf, frame), RUSM_OK);
    }
    (void)!rusmi_quic_conn_send_control(raw->conn, rusmi_buf_head(&buf), buf.len);
    rusmi_buf_fini(&buf);
    scene->bad += count;
}
