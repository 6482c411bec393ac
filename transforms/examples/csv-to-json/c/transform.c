/* Makes JSON objects of lines of CSV. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hydrant.h"
#include "json.h"

/* A text with a NUL behind it; it may hold others. */
struct text {
    char *at;
    size_t size;
};

/* A column, and its value in the line at hand. */
struct column {
    struct text name, value;
    const char *type;
};

static const char *TYPES[] = { "string", "int", "float", "bool" };

static struct column *columns;
static size_t column_count;
static char separator[8] = ",";
static size_t separator_size = 1;

static void *memory(void *old, size_t size) {
    void *memory = realloc(old, size);
    if (memory == NULL) {
        fputs("no memory for the columns\n", stderr);
        exit(1);
    }
    return memory;
}

static struct text text_of(const struct json_reader *reader) {
    struct text text = { memory(NULL, reader->size), 0 };
    text.size = json_text(reader, text.at);
    text.at[text.size] = 0;
    return text;
}

static const char *read_header(struct json_reader *config) {
    if (json_next(config) != JSON_ARRAY) return "`header` must be a list of names";
    for (;;) {
        enum json_token token = json_next(config);
        if (token == JSON_ARRAY_END) return NULL;
        if (token != JSON_STRING) return "`header` must be a list of names";
        columns = memory(columns, (column_count + 1) * sizeof *columns);
        columns[column_count++] = (struct column){ .name = text_of(config), .type = TYPES[0] };
    }
}

static const char *read_separator(struct json_reader *config) {
    if (json_next(config) != JSON_STRING) return "`separator` must be one character";
    struct text text = text_of(config);
    size_t characters = 0;
    for (size_t i = 0; i < text.size; i++) characters += (text.at[i] & 0xc0) != 0x80;
    if (characters != 1) return "`separator` must be one character";
    memcpy(separator, text.at, separator_size = text.size);
    free(text.at);
    return NULL;
}

/* Gives a column its type; the reader is at the type. */
static const char *read_type(struct json_reader *types, struct text name) {
    static char message[256];
    const char *type = NULL;
    if (json_next(types) != JSON_STRING) return "`types` must have a text for each column";
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (json_is(types, TYPES[i], strlen(TYPES[i]))) type = TYPES[i];
    }
    if (type == NULL) {
        snprintf(message, sizeof message, "`types` of `%s`: `%s` is no type", name.at, text_of(types).at);
        return message;
    }
    int is_used = 0;
    for (size_t i = 0; i < column_count; i++) {
        struct text column = columns[i].name;
        if (column.size != name.size || memcmp(column.at, name.at, name.size) != 0) continue;
        columns[i].type = type;
        is_used = 1;
    }
    snprintf(message, sizeof message, "`types`: there is no column `%s`", name.at);
    return is_used ? NULL : message;
}

static const char *read_types(struct json_reader *types) {
    if (json_next(types) != JSON_OBJECT) return "`types` must have a text for each column";
    while (json_next(types) == JSON_NAME) {
        const char *refused = read_type(types, text_of(types));
        if (refused != NULL) return refused;
    }
    return NULL;
}

const char *configure(const char *text) {
    /* Where the types are, which are read when the header is known. */
    struct json_reader config, types = { 0 };
    const char *refused = NULL;
    int has_types = 0;
    json_read(&config, text, strlen(text));
    if (json_next(&config) != JSON_OBJECT) return "the configuration must be an object";
    while (refused == NULL && json_next(&config) == JSON_NAME) {
        if (json_is(&config, "header", 6)) {
            refused = read_header(&config);
        } else if (json_is(&config, "separator", 9)) {
            refused = read_separator(&config);
        } else if (json_is(&config, "types", 5)) {
            types = config;
            has_types = 1;
            json_next(&config);
            json_skip(&config);
        } else {
            refused = "there is no setting but `header`, `separator` and `types`";
        }
    }
    if (refused != NULL) return refused;
    if (column_count == 0) return "`header`: name at least one column";
    return has_types ? read_types(&types) : NULL;
}

/* Takes a line apart, in place, as RFC 4180 quotes values: a quote inside a value that is not quoted
 * is a character as any other. Gives how many values there are, of which it keeps one for each
 * column; 0 where a quote is not closed. */
static size_t split(char *line, size_t size) {
    char *from = line, *end = line + size, *to = line, *start = line;
    size_t count = 0;
    int quoted = 0;
    for (;;) {
        size_t left = (size_t)(end - from);
        int is_end = left == 0;
        if (is_end && quoted) return 0;
        if (is_end || (!quoted && left >= separator_size && memcmp(from, separator, separator_size) == 0)) {
            if (count < column_count) columns[count].value = (struct text){ start, (size_t)(to - start) };
            count++;
            if (is_end) {
                *to = 0;
                return count;
            }
            from += separator_size;
            /* Not before the separator is read: it may stand here. */
            *to++ = 0;
            start = to;
        } else if (*from == '"' && quoted && left > 1 && from[1] == '"') {
            *to++ = '"';
            from += 2;
        } else if (*from == '"' && (quoted || to == start)) {
            quoted = !quoted;
            from++;
        } else {
            *to++ = *from++;
        }
    }
}

static size_t digits(const char *text) {
    return strspn(text, "0123456789");
}

static size_t sign(const char *text) {
    return *text == '+' || *text == '-';
}

/* Gives 0 where it is no int of 64 bits. */
static int put_int(struct json_buffer *out, struct text value) {
    const char *first = value.at + sign(value.at);
    size_t count = digits(first);
    if (count == 0 || first + count != value.at + value.size) return 0;
    while (*first == '0' && count > 1) first++, count--;
    const char *limit = value.at[0] == '-' ? "9223372036854775808" : "9223372036854775807";
    if (count > 19 || (count == 19 && memcmp(first, limit, 19) > 0)) return 0;
    if (value.at[0] == '-' && *first != '0') json_put(out, "-", 1);
    json_put(out, first, count);
    return 1;
}

/* Gives 0 where it is no finite number. */
static int put_float(struct json_buffer *out, struct text value) {
    const char *at = value.at + sign(value.at);
    size_t whole = digits(at), part = 0;
    at += whole;
    if (*at == '.') part = digits(++at);
    at += part;
    if (whole + part > 0 && (*at == 'e' || *at == 'E')) {
        at += 1 + sign(at + 1);
        if (digits(at) == 0) return 0;
        at += digits(at);
    }
    if (whole + part == 0 || at != value.at + value.size) return 0;
    double number = strtod(value.at, NULL);
    if (!isfinite(number)) return 0;
    /* The fewest digits that mean this number. */
    char text[40];
    int count = 0;
    for (int precision = 15; precision <= 17; precision++) {
        count = snprintf(text, sizeof text, "%.*g", precision, number);
        if (strtod(text, NULL) == number) break;
    }
    json_put(out, text, (size_t)count);
    return 1;
}

/* Gives 0 where the value is not of its type. */
static int put_value(struct json_buffer *out, const struct column *column) {
    struct text value = column->value;
    const char *type = column->type;
    if (type[0] == 's') {
        json_put_string(out, value.at, value.size);
        return 1;
    }
    if (value.size == 0) {
        json_put(out, "null", 4);
        return 1;
    }
    if (type[0] == 'i') return put_int(out, value);
    if (type[0] == 'f') return put_float(out, value);
    if (strcmp(value.at, "true") != 0 && strcmp(value.at, "false") != 0) return 0;
    if (strlen(value.at) != value.size) return 0;
    json_put(out, value.at, value.size);
    return 1;
}

/* What is wrong with a column's value, in the buffer that the object was written to. */
static void failed(struct json_buffer *out, const struct column *column) {
    out->size = 0;
    json_put(out, "column `", 8);
    json_put(out, column->name.at, column->name.size);
    json_put(out, "`: `", 4);
    json_put(out, column->value.at, column->value.size);
    json_put(out, "` is not a", 10);
    if (column->type[0] == 'i') json_put(out, "n", 1);
    json_put(out, " ", 1);
    json_put(out, column->type, strlen(column->type) + 1);
    hydrant_failed(out->text);
}

void transform(const struct hydrant_record *record) {
    static struct json_buffer out;
    size_t size = record->size;
    if (!json_is_utf8(record->data, size)) {
        hydrant_failed("the line is not UTF-8");
        return;
    }
    while (size > 0 && record->data[size - 1] == '\r') size--;
    size_t count = split(record->data, size);
    if (count == 0) {
        hydrant_failed("a quote is not closed");
        return;
    }
    if (count != column_count) {
        char message[80];
        snprintf(message, sizeof message, "the line has %zu columns, the header %zu", count, column_count);
        hydrant_failed(message);
        return;
    }
    out.size = 0;
    for (size_t i = 0; i < column_count; i++) {
        json_put(&out, i == 0 ? "{" : ",", 1);
        json_put_string(&out, columns[i].name.at, columns[i].name.size);
        json_put(&out, ":", 1);
        if (!put_value(&out, &columns[i])) {
            failed(&out, &columns[i]);
            return;
        }
    }
    json_put(&out, "}", 1);
    hydrant_changed(out.text, out.size, NULL, NULL);
}
