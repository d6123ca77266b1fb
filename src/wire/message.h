/* SPDX-License-Identifier: MIT */
/*
 * The header of a message on its own unidirectional stream (docs/wire.md, "Messages"):
 *
 *     previous (varint) | kind (byte) | sender (varint) | destination | [number (varint)]
 *     | body length (varint)
 *
 * followed by the body up to the end of the stream. The destination is a serial (varint) or a name
 * (length byte, bytes); the kind says which, and whether there is a number. `previous` is known
 * only when the message starts, everything else when it is sent, so the two are encoded apart: the
 * tail first, then `previous` into a gap in front of it.
 *
 * Pure functions on bytes; threads: any. The body length is part of the header so that a receiver
 * can bound its memory before the body comes.
 */
#ifndef RUSMI_WIRE_MESSAGE_H
#define RUSMI_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rusm/err.h>
#include <rusm/types.h>

#include "base/limits.h"

/* Largest value of a variable-length integer (RFC 9000, section 16), and its longest encoding. */
#define RUSMI_VARINT_MAX     (((uint64_t)1 << 62) - 1)
#define RUSMI_VARINT_LEN_MAX 8

/* What a message is. Values appear on the wire. */
enum rusmi_message_kind {
    RUSMI_MESSAGE_TO_SERIAL = 1, /* for the process with that serial */
    RUSMI_MESSAGE_TO_NAME = 2,   /* for the process registered under that name */
    /* From here on: protocol version 2. */
    RUSMI_MESSAGE_CALL = 3, /* number: the caller's reference */
    RUSMI_MESSAGE_CAST = 4,
    RUSMI_MESSAGE_REPLY = 5,      /* number: the caller's reference */
    RUSMI_MESSAGE_TO_GROUP = 6,   /* for all members of that group at the receiver */
    RUSMI_MESSAGE_LINK = 7,       /* number: version of the link, see docs/wire.md */
    RUSMI_MESSAGE_UNLINK = 8,     /* number: version of the link */
    RUSMI_MESSAGE_UNLINKED = 9,   /* number: the version that is acknowledged */
    RUSMI_MESSAGE_MONITOR = 10,   /* number: the watcher's reference */
    RUSMI_MESSAGE_DEMONITOR = 11, /* number: the watcher's reference */
    RUSMI_MESSAGE_EXIT = 12,      /* the sender has ended and was linked; body: a reason */
    RUSMI_MESSAGE_DOWN = 13,      /* the sender has ended; number: the watcher's reference; body: a
                                    reason */
    RUSMI_MESSAGE_ASK_EXIT = 14,  /* rusm_exit_process(); body: a reason */
    RUSMI_MESSAGE_STREAM_OFFER = 15,  /* a message that hands an end of a stream over; number: of
                                         the stream; body: a struct rusmi_stream_offer and more */
    RUSMI_MESSAGE_STREAM_DATA = 16,   /* these three are for a stream, not for a process */
    RUSMI_MESSAGE_STREAM_CREDIT = 17, /* number: position up to which may be written */
    RUSMI_MESSAGE_STREAM_END = 18,    /* number: 1 closed, 2 lost */
    RUSMI_MESSAGE_STOP = 19,          /* rusm_server_stop(); body: a reason */
    RUSMI_MESSAGE_BORN_LINKED = 20,   /* the sender was spawned for the receiver and is linked with
                                        it; number: the receiver's reference */
    RUSMI_MESSAGE_BORN_WATCHED = 21,  /* the same, but it is monitored */
};

/* Whether a kind is known. */
bool rusmi_message_kind_known(uint8_t kind);
/* Whether it is addressed by name (else by serial). */
bool rusmi_message_by_name(uint8_t kind);
/* Whether it carries a number. */
bool rusmi_message_numbered(uint8_t kind);
/* Whether its destination is a stream in place of a process: twice the number of the stream, and
 * one more if the stream was offered by who sends this. */
bool rusmi_message_of_stream(uint8_t kind);
/* The protocol version that has it. */
unsigned rusmi_message_version(uint8_t kind);

/* A decoded header. */
struct rusmi_message_head {
    uint64_t prev;     /* distance back to the pair's previous message; 0: none */
    uint64_t sender;   /* serial of the sending process; 0: none */
    uint64_t serial;   /* the destination, never 0, unless it is a name */
    uint64_t number;   /* of a numbered kind, never 0 */
    const char *name;  /* the destination, not NUL-terminated; points into the input */
    uint8_t name_len;  /* 1 to RUSM_NAME_MAX */
    uint8_t kind;      /* enum rusmi_message_kind */
    uint32_t body_len; /* at most RUSM_MESSAGE_MAX */
};

_Static_assert(RUSM_NAME_MAX == UINT8_MAX, "a name's length fits its byte exactly");
_Static_assert(RUSM_MESSAGE_MAX <= UINT32_MAX, "a body's length fits its field");

/* Bytes that value takes as a varint: 1, 2, 4 or 8. value <= RUSMI_VARINT_MAX. */
size_t rusmi_varint_len(uint64_t value);

/* Encode value at out, which has room for rusmi_varint_len(value); returns that length. */
size_t rusmi_varint_encode(uint8_t *out, uint64_t value);

/* Decode a varint of any of its lengths. Returns the bytes it took, or 0 if data ends before it
 * does. */
size_t rusmi_varint_decode(const uint8_t *data, size_t len, uint64_t *out_value);

/* What the body of an offer begins with; what lies in the buffer of a reading end follows, and then
 * the bytes of the message. */
struct rusmi_stream_offer {
    bool writing;      /* the writing end is offered, else the reading end */
    uint64_t capacity; /* of the buffer */
    uint64_t used;     /* of that, bytes that are written and not read */
};

#define RUSMI_STREAM_OFFER_MAX (1 + 2 * RUSMI_VARINT_LEN_MAX)

/* Encode an offer, whose numbers are at most RUSMI_VARINT_MAX; returns the bytes it took. */
size_t rusmi_stream_offer_encode(uint8_t out[RUSMI_STREAM_OFFER_MAX],
                                 const struct rusmi_stream_offer *offer);
/* Decode one at the front of a body; returns the bytes it took, or RUSM_EPROTO with the reason
 * (static text): it is cut, of no known end, its buffer is of 0 bytes or too small for what is
 * used, or what is used is not there. */
ptrdiff_t rusmi_stream_offer_decode(const uint8_t *data, size_t len,
                                    struct rusmi_stream_offer *out_offer, const char **out_why);

/*
 * Whether head can be sent: RUSM_EMSGSIZE if the body is larger than RUSM_MESSAGE_MAX, RUSM_EINVAL
 * for an unknown kind, serial or number 0, a name of 0 bytes, or a serial or number above
 * RUSMI_VARINT_MAX.
 */
rusm_err rusmi_message_head_check(const struct rusmi_message_head *head);

/* Bytes of the header of a checked head without `previous`. */
size_t rusmi_message_tail_len(const struct rusmi_message_head *head);

/* Encode a checked head without `previous` at out; returns rusmi_message_tail_len(head). */
size_t rusmi_message_tail_encode(uint8_t *out, const struct rusmi_message_head *head);

/*
 * Encode `previous` so that it ends just before tail, where RUSMI_VARINT_LEN_MAX bytes must be
 * free; returns its length, so that the header begins at tail - length.
 */
size_t rusmi_message_prev_encode(uint8_t *tail, uint64_t prev);

/*
 * Decode a whole header at the front of data.
 *
 * Returns its length (the body follows); 0 if data is a proper prefix of some valid header, so that
 * more is needed; or RUSM_EPROTO if no continuation is valid, with the reason (static text) in
 * *out_why. *out_head is set only with a positive length.
 */
ptrdiff_t rusmi_message_head_decode(const uint8_t *data, size_t len,
                                    struct rusmi_message_head *out_head, const char **out_why);

#endif
