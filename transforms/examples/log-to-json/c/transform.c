/* Makes JSON objects of the lines that Apache and nginx write. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hydrant.h"

static const char *MONTHS[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* The object that is being written: a record makes at most six times its bytes, and the names. */
static char *object, *end;

const char *configure(const char *config) {
    return strcmp(config, "{}") == 0 ? NULL : "this transform has no configuration";
}

static void put(const char *text) {
    size_t size = strlen(text);
    memcpy(end, text, size);
    end += size;
}

static void put_string(const char *text) {
    *end++ = '"';
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') *end++ = '\\';
        if (byte < 0x20) end += sprintf(end, "\\u%04x", byte);
        else *end++ = (char)byte;
    }
    *end++ = '"';
}

/* A member with a text; `-` and NULL are null. */
static void member(const char *name, const char *value) {
    put(end == object ? "{" : ",");
    put_string(name);
    put(":");
    if (value == NULL || strcmp(value, "-") == 0) put("null");
    else put_string(value);
}

/* A member with digits; `-` is null. */
static void number(const char *name, const char *digits) {
    put(",");
    put_string(name);
    put(":");
    while (digits[0] == '0' && digits[1]) digits++;
    put(strcmp(digits, "-") == 0 ? "null" : digits);
}

/* Takes what stands up to `close` and, behind it, a space or the end; NULL where that is not so. */
static char *until(char **line, char close) {
    char *start = *line, *at = start;
    while (*at && *at != close) at++;
    if (at == start && close == ' ') return NULL;
    if (close != ' ') {
        if (*at != close) return NULL;
        *at++ = 0;
    }
    if (*at == ' ') *at++ = 0;
    else if (*at) return NULL;
    *line = at;
    return start;
}

/* Takes a text in quotes, in which a backslash stands before a quote and a backslash. */
static char *quoted(char **line) {
    if (**line != '"') return NULL;
    char *start = *line + 1, *from = start, *to = start;
    for (; *from && *from != '"'; from++) {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\')) from++;
        *to++ = *from;
    }
    if (*from != '"') return NULL;
    char *rest = from + 1;
    if (*rest == ' ') rest++;
    else if (*rest) return NULL;
    *to = 0;
    *line = rest;
    return start;
}

static int digits(const char *text, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isdigit((unsigned char)text[i])) return 0;
    }
    return 1;
}

/* `10/Oct/2025:13:55:36 -0700` as `2025-10-10T13:55:36-07:00`. */
static int rfc3339(const char *time, char out[32]) {
    int month = 0;
    if (strlen(time) != 26 || time[2] != '/' || time[6] != '/' || time[11] != ':' || time[14] != ':' ||
        time[17] != ':' || time[20] != ' ' || (time[21] != '+' && time[21] != '-')) {
        return 0;
    }
    while (month < 12 && strncmp(time + 3, MONTHS[month], 3) != 0) month++;
    if (month == 12 || !digits(time, 2) || !digits(time + 7, 4) || !digits(time + 12, 2) || !digits(time + 15, 2) ||
        !digits(time + 18, 2) || !digits(time + 22, 4)) {
        return 0;
    }
    sprintf(out, "%.4s-%02d-%.2sT%.8s%.3s:%.2s", time + 7, month + 1, time, time + 12, time + 21, time + 24);
    return 1;
}

static int parse(char *line) {
    char time[32], *referer = NULL, *agent = NULL;
    char *remote = until(&line, ' ');
    char *identity = remote ? until(&line, ' ') : NULL;
    char *user = identity ? until(&line, ' ') : NULL;
    if (user == NULL || *line++ != '[') return 0;
    char *stamp = until(&line, ']');
    char *request = stamp && rfc3339(stamp, time) ? quoted(&line) : NULL;
    if (request == NULL) return 0;
    char *method = until(&request, ' ');
    char *path = method ? until(&request, ' ') : NULL;
    char *protocol = path && *request && strchr(request, ' ') == NULL ? request : NULL;
    char *status = protocol ? until(&line, ' ') : NULL;
    char *bytes = status ? until(&line, ' ') : NULL;
    if (bytes == NULL || strlen(status) != 3 || !digits(status, 3)) return 0;
    if (strcmp(bytes, "-") != 0 && !digits(bytes, strlen(bytes))) return 0;
    if (*line) {
        referer = quoted(&line);
        agent = referer ? quoted(&line) : NULL;
        if (agent == NULL || *line) return 0;
    }
    member("remote", remote);
    member("user", user);
    member("time", time);
    member("method", method);
    member("path", path);
    member("protocol", protocol);
    number("status", status);
    number("bytes", bytes);
    member("referer", referer);
    member("agent", agent);
    put("}");
    return 1;
}

void transform(const struct hydrant_record *record) {
    object = end = malloc(record->size * 6 + 512);
    if (object == NULL) {
        fputs("no memory for an object\n", stderr);
        exit(1);
    }
    size_t size = record->size;
    if (size > 0 && record->data[size - 1] == '\r') record->data[size - 1] = 0;
    if (strlen(record->data) + 1 >= size && parse(record->data)) hydrant_changed(object, (size_t)(end - object), NULL, NULL);
    else hydrant_failed("this is no line of the common or combined log format");
    free(object);
}
