/* SPDX-License-Identifier: MIT */
/*
 * Every limit of a queue, a table or a message, with its default and the relations that must hold
 * between them (design note docs/design/order.md for those of a peer link). Public limits are in
 * rusm/types.h. A limit that a user may set is the default here and a field of some config there.
 */
#ifndef RUSMI_BASE_LIMITS_H
#define RUSMI_BASE_LIMITS_H

#include <rusm/types.h>

/* ---- messages on a peer link ---- */

/* Bytes of the longest message header: previous 8, kind 1, sender 8, name length 1, name 255, body
 * length 8 (docs/wire.md, "Messages"). */
#define RUSMI_MESSAGE_HEAD_MAX ((size_t)281)

/* Connection flow control window: bytes started and not yet delivered. It bounds what a peer can
 * make us hold. */
#define RUSMI_LINK_WINDOW ((size_t)64 * 1024 * 1024)

/* What a stream carries at most: the longest message. */
#define RUSMI_STREAM_WINDOW (RUSM_MESSAGE_MAX + RUSMI_MESSAGE_HEAD_MAX)

/* What a peer may send of a stream before it is allowed all of it: so much of a message comes
 * unasked. As long as paths need no more in flight it costs no time: the rest is allowed as soon as
 * the header is here. */
#define RUSMI_STREAM_FIRST ((size_t)1024 * 1024)

/* Unidirectional streams a peer may have above the receiver's watermark; a power of two. */
#define RUSMI_LINK_STREAMS ((size_t)16384)

/* Messages of one link that are started and not yet acknowledged; a power of two. More only cost
 * cache misses. */
#define RUSMI_FLIGHT_MAX ((size_t)4096)

/* A message above this many bytes is big: it waits in a line of its own. */
#define RUSMI_BIG_MIN ((size_t)64 * 1024)

/* What a peer has to allow of each stream at least: a message that is not big is never held back by
 * its own stream. */
#define RUSMI_STREAM_LEAST (RUSMI_BIG_MIN + RUSMI_MESSAGE_HEAD_MAX)

/* One part in so many of the window is kept for messages that are not big. */
#define RUSMI_SMALL_SHARE_PARTS 4

/* A message of a process is copied behind its header up to this many bytes, and sent from its own
 * memory above. */
#define RUSMI_OUT_COPY_MAX ((size_t)4096)

/* A big message starts only if the small ones' share stays free, and while it waits they keep to
 * their share: both together must fit, or it would wait for ever. */
_Static_assert(RUSMI_LINK_WINDOW >=
                   RUSMI_STREAM_WINDOW + 2 * (RUSMI_LINK_WINDOW / RUSMI_SMALL_SHARE_PARTS),
               "the largest message fits beside twice the share of the small ones");
_Static_assert(RUSMI_LINK_WINDOW >= 2 * RUSMI_STREAM_WINDOW,
               "the window is at least twice the largest message");
_Static_assert(RUSMI_BIG_MIN + RUSMI_MESSAGE_HEAD_MAX <=
                   RUSMI_LINK_WINDOW / RUSMI_SMALL_SHARE_PARTS,
               "any message that is not big fits into the share of the small ones");
_Static_assert((RUSMI_LINK_STREAMS & (RUSMI_LINK_STREAMS - 1)) == 0 &&
                   (RUSMI_FLIGHT_MAX & (RUSMI_FLIGHT_MAX - 1)) == 0,
               "rings are indexed by a mask");
_Static_assert(RUSMI_FLIGHT_MAX < RUSMI_LINK_STREAMS,
               "a sender that keeps to its own limit is never short of streams for long");
_Static_assert(RUSMI_STREAM_FIRST >= RUSMI_STREAM_LEAST, "what peers insist on is allowed");
_Static_assert(RUSMI_OUT_COPY_MAX < RUSMI_BIG_MIN, "what is copied is small");

#endif
