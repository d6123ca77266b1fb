/* SPDX-License-Identifier: MIT */
/*
 * The pulse of a test node: what it sends to every peer all the time, and the check of what comes.
 *
 * The process "beater" sends a numbered beat to the process "heart" of each peer, so many
 * milliseconds apart; a number is used up when the send was accepted. The heart monitors the
 * beaters that it hears, listens to node events, prints both, and prints a violation when
 *
 *   - a beat comes twice or after a later one,
 *   - beats are missing and the node was not down in between,
 *   - a beat comes from a node that is down, or in the name of another incarnation,
 *   - a node goes up twice or down twice,
 *   - a monitor fires twice.
 *
 * Threading: one pulse in an OS process; faults_say() from any thread.
 */
#ifndef RUSM_FAULTS_PULSE_H
#define RUSM_FAULTS_PULSE_H

#include <rusm/rusm.h>

/* Start both processes. Exits the program if that fails. */
void faults_pulse_start(rusm_node *node, uint32_t beat_ms);
/* Let the heart print an event "counts". */
void faults_pulse_report(rusm_node *node);
/* Print a line {"t":milliseconds,"event":event,...}; format gives the rest, which begins with a
 * comma or is empty. */
void faults_say(const char *event, const char *format, ...) RUSM_PRINTF(2, 3);
/* Text as it may stand between quotes of JSON. Owns: nothing; valid as long as out. */
const char *faults_text(const char *text, char *out, size_t out_len);
/* Print what went wrong on stderr and end the program. */
RUSM_NORETURN void faults_die(const char *what);

#endif
