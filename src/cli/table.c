/* SPDX-License-Identifier: MIT */
#include "cli/table.h"

#include "cli/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A name (255 bytes), each byte of it escaped (\xNN), fits. */
#define CELL_MAX 1280

void rusmi_table_init(struct rusmi_table *table, FILE *out, const struct rusmi_column *columns,
                      size_t columns_len)
{
    assert(columns_len > 0 && columns_len <= RUSMI_TABLE_COLUMNS_MAX);
    *table = (struct rusmi_table){.out = out, .columns = columns, .columns_len = columns_len};
    for (size_t i = 0; i < columns_len; i++) {
        table->widths[i] = rusmi_text_width(columns[i].title);
    }
}

void rusmi_table_fini(struct rusmi_table *table)
{
    free(table->text);
    table->text = NULL;
}

/* Make room for one more cell. */
static bool reserve(struct rusmi_table *table)
{
    size_t size = table->text_size == 0 ? (size_t)16 * CELL_MAX : 2 * table->text_size;
    char *text;

    if (table->text_size - table->text_len >= CELL_MAX) {
        return true;
    }
    text = realloc(table->text, size);
    if (text == NULL) {
        return false;
    }
    table->text = text;
    table->text_size = size;
    return true;
}

void rusmi_table_cell(struct rusmi_table *table, const char *format, ...)
{
    char raw[CELL_MAX / 4];
    size_t width, *column = &table->widths[table->cells++ % table->columns_len];
    va_list args;

    if (table->failed || !reserve(table)) {
        table->failed = true;
        return;
    }
    va_start(args, format);
    (void)vsnprintf(raw, sizeof(raw), format, args);
    va_end(args);
    if (raw[0] == '\0') {
        raw[0] = '-'; /* an empty cell would shift the fields that awk(1) counts */
        raw[1] = '\0';
    }
    (void)rusmi_text_clean(raw, table->text + table->text_len, CELL_MAX);
    width = rusmi_text_width(table->text + table->text_len);
    *column = width > *column ? width : *column;
    table->text_len += strlen(table->text + table->text_len) + 1;
}

static void print_cell(const struct rusmi_table *table, size_t column, const char *text)
{
    size_t width = rusmi_text_width(text);
    int pad = (int)(table->widths[column] - width);
    bool last = column + 1 == table->columns_len;

    if (column > 0) {
        (void)fputs("  ", table->out);
    }
    if (table->columns[column].right) {
        (void)fprintf(table->out, "%*s", pad, "");
    }
    (void)fputs(text, table->out);
    if (!table->columns[column].right && !last) {
        (void)fprintf(table->out, "%*s", pad, "");
    }
    if (last) {
        (void)fputc('\n', table->out);
    }
}

bool rusmi_table_flush(struct rusmi_table *table)
{
    const char *text = table->text;
    bool failed = table->failed;

    assert(table->cells % table->columns_len == 0);
    if (!table->titled) {
        table->titled = true;
        for (size_t i = 0; i < table->columns_len; i++) {
            print_cell(table, i, table->columns[i].title);
        }
    }
    for (size_t i = 0; !failed && i < table->cells; i++) {
        print_cell(table, i % table->columns_len, text);
        text += strlen(text) + 1;
    }
    table->cells = table->text_len = 0;
    table->failed = false;
    return !failed;
}
