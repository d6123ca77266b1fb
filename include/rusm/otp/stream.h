/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Byte streams between processes: for more than a message should hold. A stream has a writing end
 * and a reading end, each of which belongs to one process, and a bounded buffer between.
 */
#ifndef RUSM_OTP_STREAM_H
#define RUSM_OTP_STREAM_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** Most bytes of the buffer of a stream whose end goes to another node. */
#define RUSM_STREAM_FAR_MAX ((size_t)8 * 1024 * 1024)
/** Streams that a node has with each other node, of those that it offered and those that the other
 * did. */
#define RUSM_FAR_STREAMS_MAX ((size_t)4096)
/** Bytes of buffers that another node can make this one hold for the streams that it offers. */
#define RUSM_FAR_STREAM_BYTES_MAX ((size_t)64 * 1024 * 1024)

/** One end of a stream. */
typedef struct rusm_stream rusm_stream;

/**
 * Make a stream whose buffer holds capacity bytes (0: 64 KiB). Both ends belong to the caller;
 * usually one is then handed over with rusm_stream_send().
 *
 * An end is closed when the process that owns it ends, however it ends.
 *
 * Threads: in context.
 * Errors:  RUSM_EINVAL, RUSM_ENOMEM, RUSM_ENOCONTEXT
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_stream_new(size_t capacity, rusm_stream **out_writer,
                                                  rusm_stream **out_reader);

/**
 * Write len bytes, all of them; suspends the caller while the buffer is full.
 *
 * out_written (may be NULL) says how many went in, also on an error.
 *
 * Threads: the process that owns the writing end.
 * Errors:  RUSM_ECLOSED   the reading end was closed, or its owner ended, or the link to its node
 *                         was lost
 *          RUSM_ETIMEOUT
 *          RUSM_EINVAL    it is not a writing end of the caller
 *          RUSM_ENOMEM    to another node
 *          RUSM_ENOCONTEXT, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_stream_write(rusm_stream *writer, const void *data,
                                                    size_t len, int64_t timeout_ms,
                                                    size_t *out_written);

/**
 * Read between 1 and len bytes; suspends the caller while there are none.
 *
 * *out_len 0 with RUSM_OK is the end: the writer has closed, and everything was read.
 *
 * Threads: the process that owns the reading end.
 * Errors:  RUSM_ECLOSED   the writer ended without closing, or the link to its node was lost: what
 *                         has come from it was read first
 *          RUSM_ETIMEOUT, RUSM_EINVAL, RUSM_ENOCONTEXT, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_stream_read(rusm_stream *reader, void *buf, size_t len,
                                                   int64_t timeout_ms, size_t *out_len);

/**
 * Close an end: a closed writing end is the end of the stream for the reader; a closed reading end
 * makes writes fail. Bytes that are not read are dropped with the reading end and counted
 * (rusm_runtime_stats.stream_bytes_dropped). NULL is allowed.
 *
 * Threads: the process that owns the end.
 */
RUSM_API void rusm_stream_close(rusm_stream *end);

/**
 * Hand an end over to another process, here or on another node, in a message with len bytes of
 * data.
 *
 * Who receives the message takes the end out with rusm_msg_take_stream(). If the message is freed
 * with the end in it, unread or not, or never arrives, the end is closed as if its owner had ended.
 *
 * Between two nodes a stream is what it is within one: bytes that were written before the reading
 * end went come first, and the buffer, at the node of the reader, bounds what is under way. The
 * first write after an end went waits for an answer. When the link between the nodes is lost, both
 * ends fail with RUSM_ECLOSED; only a writer that closes its end makes the reader come to the end.
 * An end whose other end is at another node can be handed on to processes of its own node only.
 * Both nodes must speak version 2 of the protocol.
 *
 * Owns:    takes the end on RUSM_OK; on any error the caller still owns it.
 * Threads: the process that owns the end. To another node it waits for room as rusm_send() does.
 * Limits:  to another node: RUSM_STREAM_FAR_MAX for the buffer; RUSM_MESSAGE_MAX for data and what
 *          is in the buffer together; RUSM_FAR_STREAMS_MAX
 * Errors:  as rusm_send(); and to another node:
 *          RUSM_EINVAL    the other end is at another node already, or of another runtime
 *          RUSM_EMSGSIZE  the buffer or the message is too large
 *          RUSM_EFULL     there are too many streams with that node
 *          RUSM_EPROTO    that node speaks version 1
 *          RUSM_ENONODE, RUSM_ENOLINK, RUSM_EPERM (of an observer)
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_stream_send(rusm_pid to, rusm_stream *end, const void *data,
                                                   size_t len);

/** Take the end of a stream out of a message; the caller owns it then. NULL if there is none, or it
 * was taken; also without memory, and then it is still in the message. Threads: the owner of msg,
 * in context. */
RUSM_API rusm_stream *rusm_msg_take_stream(rusm_msg *msg);

RUSM_END_DECLS

#endif
