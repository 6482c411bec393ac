/* See hydrant.h. */
#include "hydrant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The record at hand, as its line names it. */
static long id;

static void fatal(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(1);
}

static void put_text(const char *text) {
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            putchar('\\');
            putchar(byte);
        } else if (byte < 0x20) {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
}

static void put_base64(const char *data, size_t size) {
    for (size_t i = 0; i < size; i += 3) {
        unsigned long bits = (unsigned long)(unsigned char)data[i] << 16;
        if (i + 1 < size) bits |= (unsigned long)(unsigned char)data[i + 1] << 8;
        if (i + 2 < size) bits |= (unsigned char)data[i + 2];
        putchar(ALPHABET[bits >> 18]);
        putchar(ALPHABET[bits >> 12 & 63]);
        putchar(i + 1 < size ? ALPHABET[bits >> 6 & 63] : '=');
        putchar(i + 2 < size ? ALPHABET[bits & 63] : '=');
    }
}

static void put_key(const char *key, const char *value) {
    if (key == NULL) return;
    fputs(",\"partitionKeys\":{\"", stdout);
    put_text(key);
    fputs("\":\"", stdout);
    put_text(value);
    fputs("\"}", stdout);
}

void hydrant_unchanged(const char *key, const char *value) {
    printf("{\"id\":%ld,\"result\":\"Unchanged\"", id);
    put_key(key, value);
    puts("}");
}

void hydrant_changed(const char *data, size_t size, const char *key, const char *value) {
    printf("{\"id\":%ld,\"result\":\"Ok\",\"data\":\"", id);
    put_base64(data, size);
    putchar('"');
    put_key(key, value);
    puts("}");
}

void hydrant_dropped(void) {
    printf("{\"id\":%ld,\"result\":\"Dropped\"}\n", id);
}

void hydrant_failed(const char *message) {
    printf("{\"id\":%ld,\"result\":\"ProcessingFailed\",\"message\":\"", id);
    put_text(message);
    puts("\"}");
}

/* Decodes base64 up to a quote, in place; gives the size. */
static size_t decode(char *text) {
    size_t size = 0;
    unsigned long bits = 0;
    int held = 0;
    for (char *at = text; *at && *at != '"' && *at != '='; at++) {
        const char *digit = strchr(ALPHABET, *at);
        if (digit == NULL) fatal("the input is not base64");
        bits = bits << 6 | (unsigned long)(digit - ALPHABET);
        held += 6;
        if (held >= 8) {
            held -= 8;
            text[size++] = (char)(bits >> held & 255);
        }
    }
    text[size] = 0;
    return size;
}

/* Reads a line of any length into `*line`; gives 0 at the end. */
static int read_line(char **line, size_t *room) {
    size_t size = 0;
    for (;;) {
        if (*room - size < 2) {
            *room = *room * 2 + 4096;
            *line = realloc(*line, *room);
            if (*line == NULL) fatal("no memory for a record");
        }
        if (fgets(*line + size, (int)(*room - size), stdin) == NULL) return size > 0;
        size += strlen(*line + size);
        if ((*line)[size - 1] == '\n') return 1;
    }
}

int main(int argc, char **argv) {
    const char *refused = configure(argc > 1 ? argv[1] : "{}");
    if (refused != NULL) fatal(refused);
    char *line = NULL;
    size_t room = 0;
    /* hydrant writes `{"id":N,"data":"BASE64",...`, in this order. */
    while (read_line(&line, &room)) {
        if (sscanf(line, "{\"id\":%ld,", &id) != 1) fatal("the input has no `id`");
        char *data = strstr(line, "\"data\":\"");
        if (data == NULL) fatal("the input has no `data`");
        data += strlen("\"data\":\"");
        struct hydrant_record record = { data, decode(data) };
        transform(&record);
    }
    return 0;
}
