/* SPDX-License-Identifier: MIT */
/*
 * Streams: a process makes one and hands an end to another, anywhere; each passes its end on to a
 * helper, which does nothing but write or read. What is read is what was written; a reader comes to
 * the end only after everything; nobody is told of a cut while the link that it goes over lasts and
 * both helpers are there; and after the heal every stream comes to some end.
 */
#include "sim/sim.h"

#include "base/assert.h"
#include "base/mem.h"

#include <rusm/otp/stream.h>
#include <string.h>

#define ROUNDS_MAX   40u   /* so many times the buffer: each takes a round trip */
#define CAPACITY_MAX 3000u /* an offer fits into the room of small messages */
#define CHUNK_MAX    4000u
#define HELPER_WAIT  10000

struct stream;

/* One of its two ends. */
struct end {
    struct stream *stream;
    bool writes;
    struct sim_life *life; /* of the helper; NULL before there is one */
    bool held;             /* the helper has it */
    bool done;             /* and needs it no more */
};

struct stream {
    struct stream *next;
    uint64_t id;
    struct end writer, reader;
    uint64_t session; /* of the link between the two; 0: within one node */
    uint64_t total, written, read;
    bool closed; /* by the writer, after everything */
};

static struct stream *streams;
static uint64_t last_id;

void sim_streams_stop(void)
{
    while (streams != NULL) {
        struct stream *stream = streams;

        streams = stream->next;
        rusmi_free(stream);
    }
    last_id = 0;
}

static uint8_t byte_at(const struct stream *stream, uint64_t place)
{
    return (uint8_t)(stream->id * 37 + place * 131 + place / 251);
}

static bool is_gone(const struct sim_life *life)
{
    return life == NULL || life->cut || life->left || sim->nodes[life->index].life != life ||
           sim->nodes[life->index].leaves_at != 0;
}

/* Nothing excuses the loss of an end. */
static bool must_last(const struct stream *stream)
{
    const struct end *writer = &stream->writer, *reader = &stream->reader;

    return writer->held && reader->held && !is_gone(writer->life) && !is_gone(reader->life) &&
           (writer->life == reader->life ||
            (stream->session != 0 && sim_session(writer->life, reader->life) == stream->session &&
             sim_session(reader->life, writer->life) == stream->session));
}

/* ---- helpers --------------------------------------------------------------------------------- */

static void write_all(struct stream *stream, rusm_stream *end)
{
    uint8_t bytes[CHUNK_MAX];
    rusm_err err = RUSM_OK;

    while (stream->written < stream->total && err == RUSM_OK) {
        size_t len = 1 + (size_t)sim_below(&sim->work, CHUNK_MAX), n = 0;

        len =
            len < stream->total - stream->written ? len : (size_t)(stream->total - stream->written);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = byte_at(stream, stream->written + i);
        }
        err = rusm_stream_write(end, bytes, len, RUSM_INFINITY, &n);
        stream->written += n;
    }
    sim_trace("stream %llu: %llu of %llu bytes written, %s", (unsigned long long)stream->id,
              (unsigned long long)stream->written, (unsigned long long)stream->total,
              rusm_err_name(err));
    if (err == RUSM_OK) {
        stream->closed = true;
        rusm_stream_close(end);
    } else {
        sim_check(stream->writer.life->cut || (err == RUSM_ECLOSED && !must_last(stream)),
                  "the writer of stream %llu is told %s", (unsigned long long)stream->id,
                  rusm_err_name(err));
    }
}

static void read_all(struct stream *stream, rusm_stream *end)
{
    uint8_t bytes[CHUNK_MAX];
    size_t len = 1;
    rusm_err err = RUSM_OK;

    while (err == RUSM_OK && len != 0) {
        err = rusm_stream_read(end, bytes, 1 + (size_t)sim_below(&sim->work, CHUNK_MAX),
                               RUSM_INFINITY, &len);
        len = err == RUSM_OK ? len : 0;
        for (size_t i = 0; i < len; i++) {
            sim_check(bytes[i] == byte_at(stream, stream->read + i),
                      "stream %llu has another byte at %llu", (unsigned long long)stream->id,
                      (unsigned long long)stream->read + i);
        }
        stream->read += len;
    }
    sim_trace("stream %llu: %llu of %llu bytes read, %s", (unsigned long long)stream->id,
              (unsigned long long)stream->read, (unsigned long long)stream->total,
              rusm_err_name(err));
    if (err == RUSM_OK) {
        sim_check(stream->closed && stream->read == stream->total,
                  "stream %llu ends after %llu of %llu bytes", (unsigned long long)stream->id,
                  (unsigned long long)stream->read, (unsigned long long)stream->total);
        sim->totals.streams++;
    } else {
        sim_check(stream->reader.life->cut || (err == RUSM_ECLOSED && !must_last(stream)),
                  "the reader of stream %llu is told %s", (unsigned long long)stream->id,
                  rusm_err_name(err));
    }
}

static void help(void *arg)
{
    struct end *mine = arg;
    rusm_stream *end;
    rusm_msg *msg;

    if (rusm_receive(&msg, HELPER_WAIT) == RUSM_OK) {
        end = rusm_msg_take_stream(msg);
        rusm_msg_del(msg);
        rusmi_assert(end != NULL);
        mine->held = true;
        if (mine->writes) {
            write_all(mine->stream, end);
        } else {
            read_all(mine->stream, end);
        }
    }
    mine->done = true;
}

/* Give an end of me to a helper at its node. */
static void pass_on(const struct sim_proc *me, struct end *mine, rusm_stream *end)
{
    rusm_pid pid;

    mine->life = me->life;
    if (rusm_spawn(NULL, help, mine, &pid) != RUSM_OK ||
        rusm_stream_send(pid, end, NULL, 0) != RUSM_OK) {
        mine->done = true; /* the node is ending */
        if (mine->writes) {
            mine->stream->total = mine->stream->written;
            mine->stream->closed = true;
        }
        rusm_stream_close(end);
    }
}

/* ---- acts ------------------------------------------------------------------------------------ */

void sim_stream_open(struct sim_proc *me, struct sim_proc *to)
{
    bool writer_goes = sim_below(&sim->work, 2) == 0;
    size_t capacity = 1 + (size_t)sim_below(&sim->work, CAPACITY_MAX);
    struct stream *stream = rusmi_zalloc(sizeof(*stream));
    rusm_stream *writer, *reader;
    rusm_err err;

    rusmi_assert(stream != NULL);
    *stream = (struct stream){.next = streams,
                              .id = ++last_id,
                              .writer = {.stream = stream, .writes = true},
                              .reader = {.stream = stream},
                              .session = sim_session(me->life, to->life),
                              .total = 1 + sim_below(&sim->work, capacity * ROUNDS_MAX)};
    streams = stream;
    err = rusm_stream_new(capacity, &writer, &reader);
    rusmi_assert(err == RUSM_OK);
    sim_trace("process %u gives the %s end of stream %llu to process %u", me->id,
              writer_goes ? "writing" : "reading", (unsigned long long)stream->id, to->id);
    /* The one that stays is in use already when the other goes. */
    pass_on(me, writer_goes ? &stream->reader : &stream->writer, writer_goes ? reader : writer);
    err = rusm_stream_send(to->pid, writer_goes ? writer : reader, &stream, sizeof(stream));
    if (err != RUSM_OK) {
        sim_trace("process %u: %s", me->id, rusm_err_name(err));
        pass_on(me, writer_goes ? &stream->writer : &stream->reader, writer_goes ? writer : reader);
    }
}

bool sim_stream_taken(struct sim_proc *me, rusm_msg *msg)
{
    rusm_stream *end = rusm_msg_take_stream(msg);
    struct stream *stream;

    if (end == NULL) {
        return false;
    }
    rusmi_assert(rusm_msg_len(msg) == sizeof(stream));
    memcpy(&stream, rusm_msg_data(msg), sizeof(stream));
    sim_trace("process %u has an end of stream %llu", me->id, (unsigned long long)stream->id);
    pass_on(me, stream->writer.life == NULL ? &stream->writer : &stream->reader, end);
    return true;
}

/* NULL, or that a stream has not come to an end. */
const char *sim_check_streams(void)
{
    for (const struct stream *stream = streams; stream != NULL; stream = stream->next) {
        const struct end *ends[] = {&stream->writer, &stream->reader};

        for (size_t i = 0; i < 2; i++) {
            if (!ends[i]->done && !is_gone(ends[i]->life)) {
                return "a stream has not come to an end";
            }
        }
    }
    return NULL;
}
