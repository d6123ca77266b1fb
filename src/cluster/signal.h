/* SPDX-License-Identifier: MIT */
/*
 * What a message is, by its kind, and the signals that some of them are: from the head and body of
 * a message to a signal of otp/driver.h, and back to the head (docs/wire.md, "Signals", "Streams").
 *
 * Pure functions; threads: any.
 */
#ifndef RUSMI_CLUSTER_SIGNAL_H
#define RUSMI_CLUSTER_SIGNAL_H

#include "wire/message.h"

#include <rusm/err.h>
#include <rusm/otp/driver.h>
#include <rusm/otp/reason.h>

#include <stddef.h>
#include <stdint.h>

enum rusmi_message_class {
    RUSMI_CLASS_MESSAGE, /* for a process, as it is */
    RUSMI_CLASS_SIGNAL,  /* rusmi_signal_decode() */
    RUSMI_CLASS_STREAM,  /* rusmi_stream_signal_decode() */
};

enum rusmi_message_class rusmi_message_class(uint8_t kind);

/* The head of a message that carries the signal; its body is the reason, if there is one. */
void rusmi_signal_head(struct rusmi_message_head *out_head, const rusm_signal *signal);
/* The same for a stream; its body is what is offered (rusmi_stream_offer_encode), then the data. */
void rusmi_stream_signal_head(struct rusmi_message_head *out_head,
                              const rusm_stream_signal *signal);

/*
 * A message of RUSMI_CLASS_SIGNAL that node `from` has sent to node `to`, both incarnations. The
 * reason, if its kind has one, is decoded into *reason, which out_signal then points to.
 *
 * Errors: RUSM_EPROTO: *out_why (static text) says what is wrong
 */
RUSM_MUST_CHECK rusm_err rusmi_signal_decode(rusm_signal *out_signal, rusm_reason *reason,
                                             const struct rusmi_message_head *head,
                                             const void *body, size_t len, uint64_t from,
                                             uint64_t to, const char **out_why);

/* The same for RUSMI_CLASS_STREAM; the data of out_signal are in body. */
RUSM_MUST_CHECK rusm_err rusmi_stream_signal_decode(rusm_stream_signal *out_signal,
                                                    const struct rusmi_message_head *head,
                                                    const void *body, size_t len, uint64_t from,
                                                    uint64_t to, const char **out_why);

#endif
