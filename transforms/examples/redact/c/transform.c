/* Replaces the values at dotted paths of JSON records, and keeps every other byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hydrant.h"
#include "json.h"

#define REDACTED "\"[redacted]\""

/* A step of the paths: those behind it, and whether a path ends here. */
struct step {
    char *name;
    size_t size;
    struct step *inner, *next;
    int ends;
};

static struct step paths;

static void *memory(size_t size) {
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("no memory for the paths\n", stderr);
        exit(1);
    }
    return memory;
}

static struct step *inner_step(struct step *step, char *name, size_t size) {
    for (struct step *known = step->inner; known != NULL; known = known->next) {
        if (known->size == size && memcmp(known->name, name, size) == 0) return known;
    }
    struct step *made = memory(sizeof *made);
    made->name = name;
    made->size = size;
    made->next = step->inner;
    step->inner = made;
    return made;
}

static void add_path(char *path, size_t size) {
    struct step *step = &paths;
    for (char *end = path + size;;) {
        char *dot = memchr(path, '.', (size_t)(end - path));
        step = inner_step(step, path, (size_t)((dot ? dot : end) - path));
        if (dot == NULL) break;
        path = dot + 1;
    }
    step->ends = 1;
}

static const char *read_fields(struct json_reader *config) {
    if (json_next(config) != JSON_ARRAY) return "`fields` must be a list of paths";
    for (;;) {
        enum json_token token = json_next(config);
        if (token == JSON_ARRAY_END) return NULL;
        if (token != JSON_STRING) return "`fields` must be a list of paths";
        char *path = memory(config->size);
        add_path(path, json_text(config, path));
    }
}

const char *configure(const char *text) {
    struct json_reader config;
    json_read(&config, text, strlen(text));
    if (json_next(&config) != JSON_OBJECT) return "the configuration must be an object";
    while (json_next(&config) == JSON_NAME) {
        if (!json_is(&config, "fields", 6)) return "there is no setting but `fields`";
        const char *refused = read_fields(&config);
        if (refused != NULL) return refused;
    }
    return paths.inner != NULL ? NULL : "`fields`: name at least one field";
}

/* Where the paths lead with the name that was read. */
static const struct step *follow(const struct step *from, const struct json_reader *reader) {
    const struct step *step = from == NULL ? NULL : from->inner;
    while (step != NULL && !json_is(reader, step->name, step->size)) step = step->next;
    return step;
}

/* Reads the rest of an object, and writes all of the record up to the last value that it redacts.
 * Gives from where the record goes on as it was, and NULL where it is no JSON. */
static const char *redact(struct json_reader *reader, struct json_buffer *out) {
    /* Where the paths lead in each object and array that is open. */
    static const struct step *inside[JSON_DEPTH + 1];
    const struct step *here = inside[1] = &paths;
    const char *kept = reader->token;
    for (;;) {
        switch (json_next(reader)) {
        case JSON_ERROR: return NULL;
        case JSON_END: return kept;
        case JSON_NAME:
            here = follow(inside[reader->depth], reader);
            if (here == NULL || !here->ends) break;
            json_next(reader);
            json_put(out, kept, (size_t)(reader->token - kept));
            json_put(out, REDACTED, strlen(REDACTED));
            if (!json_skip(reader)) return NULL;
            kept = reader->token + reader->size;
            break;
        case JSON_OBJECT:
        case JSON_ARRAY: inside[reader->depth] = here; break;
        /* An array's items have no names: the paths lead into them as into the array. */
        default: here = inside[reader->depth];
        }
    }
}

void transform(const struct hydrant_record *record) {
    static struct json_buffer out;
    struct json_reader reader;
    json_read(&reader, record->data, record->size);
    out.size = 0;
    const char *kept = json_next(&reader) == JSON_OBJECT ? redact(&reader, &out) : NULL;
    if (kept == NULL) {
        hydrant_failed("the record is not a JSON object");
        return;
    }
    if (out.size == 0) {
        hydrant_unchanged(NULL, NULL);
        return;
    }
    json_put(&out, kept, (size_t)(record->data + record->size - kept));
    hydrant_changed(out.text, out.size, NULL, NULL);
}
