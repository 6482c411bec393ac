/* The lines of hydrant's stdio mode: a batch on standard input, the answer on standard output. */
#ifndef HYDRANT_H
#define HYDRANT_H

#include <stddef.h>

/* A record of a batch. `data` has a NUL behind it, for texts. */
struct hydrant_record {
    char *data;
    size_t size;
};

/* Give one of these for each record; `hydrant_changed` more often for several outputs. `key` and
 * `value` are one partition key, or NULL. Texts must be UTF-8. */
void hydrant_unchanged(const char *key, const char *value);
void hydrant_changed(const char *data, size_t size, const char *key, const char *value);
void hydrant_dropped(void);
void hydrant_failed(const char *message);

/* Yours. `config` is the configuration as JSON text; a message refuses it, NULL takes it. */
const char *configure(const char *config);
void transform(const struct hydrant_record *record);

#endif
