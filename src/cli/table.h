/* SPDX-License-Identifier: MIT */
/*
 * Aligned tables that come in pages. A page is laid out when it is flushed; columns only grow from
 * one page to the next, so a long list is aligned within a page and nearly so over all of it,
 * without being kept in memory. Cells are cleaned (cli/text.h). Not thread-safe.
 */
#ifndef RUSMI_CLI_TABLE_H
#define RUSMI_CLI_TABLE_H

#include <rusm/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define RUSMI_TABLE_COLUMNS_MAX 16

struct rusmi_column {
    const char *title;
    bool right; /* numbers stand at the right */
};

struct rusmi_table {
    FILE *out;
    const struct rusmi_column *columns;
    size_t columns_len;
    size_t widths[RUSMI_TABLE_COLUMNS_MAX];
    bool titled; /* the line of titles is out */
    char *text;  /* the cells of this page, each with its NUL */
    size_t text_len, text_size;
    size_t cells; /* how many */
    bool failed;  /* no memory for a cell of this page */
};

/* columns stay the caller's and must live as long as the table. */
void rusmi_table_init(struct rusmi_table *table, FILE *out, const struct rusmi_column *columns,
                      size_t columns_len);
/* Free what a table holds; cells that were not flushed are not printed. */
void rusmi_table_fini(struct rusmi_table *table);

/* Add the next cell, row by row; an empty one becomes "-". */
void rusmi_table_cell(struct rusmi_table *table, const char *format, ...) RUSM_PRINTF(2, 3);

/* Print the titles, once, and the rows of this page, which must be complete. False: no memory, and
 * the page is not printed. */
bool rusmi_table_flush(struct rusmi_table *table);

#endif
