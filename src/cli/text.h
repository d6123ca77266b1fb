/* SPDX-License-Identifier: MIT */
/*
 * Text for people, and from them: UTF-8 that may come from a peer and must not drive the terminal,
 * dates, ages and sizes; numbers and times on the command line. Pure functions; any thread.
 */
#ifndef RUSMI_CLI_TEXT_H
#define RUSMI_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character that stands for bytes that are no UTF-8 (Unicode, section 3.9). */
#define RUSMI_TEXT_REPLACEMENT 0xFFFDu

/* Bytes that the texts below need at most, with the final NUL. */
#define RUSMI_TEXT_SHORT 32

/*
 * Take one character from len bytes (at least 1). Returns how many bytes it has; 1, with the
 * replacement character, where they are no UTF-8 (RFC 3629: shortest form, no surrogates).
 */
size_t rusmi_text_next(const char *text, size_t len, uint32_t *out_character);

/*
 * Copy text so that it is safe on a terminal and stays on one line: control characters and those
 * that turn the direction of writing become \xNN or \u{N}, bytes that are no UTF-8 become \xNN.
 * Cut between two characters to fit. Returns the length.
 */
size_t rusmi_text_clean(const char *text, char *buf, size_t buf_len);

/* How many columns of a terminal a clean text takes. */
size_t rusmi_text_width(const char *text);

/* A day in UTC, such as 2027-01-31. */
void rusmi_text_date(int64_t seconds, char buf[RUSMI_TEXT_SHORT]);
/* A length of time in two units at most: 85 ms, 12 s, 4m05s, 3h10m, 12d04h. */
void rusmi_text_age(int64_t ms, char buf[RUSMI_TEXT_SHORT]);
/* A number of bytes with a binary unit: 980 B, 64.0 KiB. */
void rusmi_text_bytes(uint64_t bytes, char buf[RUSMI_TEXT_SHORT]);
/* A number of microseconds: 85 us, 1.25 ms, 2.00 s. */
void rusmi_text_us(uint64_t us, char buf[RUSMI_TEXT_SHORT]);

/* Read a whole number, digits only, from min to max. */
bool rusmi_text_number(const char *text, uint64_t min, uint64_t max, uint64_t *out_number);
/* Read seconds with at most three decimals as milliseconds, more than 0 and at most a year. */
bool rusmi_text_seconds(const char *text, int64_t *out_ms);

#endif
