/* See json.h. */
#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What may come next. */
enum { VALUE, FIRST_ITEM, NAME, FIRST_NAME, BEHIND_VALUE, NOTHING };

static enum json_token wrong(struct json_reader *reader, const char *why) {
    reader->wrong = why;
    reader->expected = NOTHING;
    return JSON_ERROR;
}

static enum json_token unexpected(struct json_reader *reader) {
    return wrong(reader, reader->at == reader->end ? "it ends too early" : "a character is not expected");
}

void json_read(struct json_reader *reader, const char *text, size_t size) {
    memset(reader, 0, sizeof *reader);
    reader->token = reader->at = text;
    reader->end = text + size;
    reader->expected = VALUE;
}

/* The next byte, and at the end one that stands nowhere. */
static int peek(const struct json_reader *reader) {
    return reader->at < reader->end ? (unsigned char)*reader->at : -1;
}

static void skip_spaces(struct json_reader *reader) {
    int byte = peek(reader);
    while (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') {
        reader->at++;
        byte = peek(reader);
    }
}

/* The bytes of the character that begins here; 0 where it is not UTF-8 (RFC 3629). */
static size_t utf8(const char *text, const char *end) {
    const unsigned char *at = (const unsigned char *)text;
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (size == 0 || size > (size_t)(end - text)) return 0;
    for (size_t i = 1; i < size; i++) {
        if (at[i] < 0x80 || at[i] > 0xbf) return 0;
    }
    /* Too long a form, a surrogate, or beyond U+10FFFF. */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return size;
}

int json_is_utf8(const char *text, size_t size) {
    const char *end = text + size;
    while (text < end) {
        size_t one = utf8(text, end);
        if (one == 0) return 0;
        text += one;
    }
    return 1;
}

static int hex(int byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

/* Goes over an escape behind its backslash. */
static int escape(struct json_reader *reader) {
    int byte = peek(reader);
    if (byte <= 0 || strchr("\"\\/bfnrtu", byte) == NULL) return 0;
    reader->at++;
    for (int i = 0; byte == 'u' && i < 4; i++) {
        if (hex(peek(reader)) < 0) return 0;
        reader->at++;
    }
    return 1;
}

static enum json_token string(struct json_reader *reader, enum json_token token) {
    reader->token = reader->at++;
    for (;;) {
        int byte = peek(reader);
        if (byte < 0x20) return unexpected(reader);
        if (byte == '"') break;
        if (byte == '\\') {
            reader->at++;
            if (!escape(reader)) return unexpected(reader);
            continue;
        }
        size_t size = utf8(reader->at, reader->end);
        if (size == 0) return wrong(reader, "it is not UTF-8");
        reader->at += size;
    }
    reader->size = (size_t)(++reader->at - reader->token);
    return token;
}

static int digits(struct json_reader *reader) {
    const char *first = reader->at;
    while (peek(reader) >= '0' && peek(reader) <= '9') reader->at++;
    return reader->at > first;
}

static enum json_token number(struct json_reader *reader) {
    reader->token = reader->at;
    if (peek(reader) == '-') reader->at++;
    /* Behind a zero there is no other digit. */
    if (peek(reader) == '0') reader->at++;
    else if (!digits(reader)) return unexpected(reader);
    if (peek(reader) == '.') {
        reader->at++;
        if (!digits(reader)) return unexpected(reader);
    }
    if (peek(reader) == 'e' || peek(reader) == 'E') {
        reader->at++;
        if (peek(reader) == '+' || peek(reader) == '-') reader->at++;
        if (!digits(reader)) return unexpected(reader);
    }
    reader->size = (size_t)(reader->at - reader->token);
    return JSON_NUMBER;
}

static enum json_token word(struct json_reader *reader, const char *word, enum json_token token) {
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0) {
        return wrong(reader, "a word is not expected");
    }
    reader->token = reader->at;
    reader->size = size;
    reader->at += size;
    return token;
}

static int in_object(const struct json_reader *reader) {
    size_t bit = reader->depth - 1;
    return reader->objects[bit / 8] >> bit % 8 & 1;
}

static enum json_token opened(struct json_reader *reader, int is_object) {
    if (reader->depth == JSON_DEPTH) return wrong(reader, "it is nested too deep");
    size_t bit = reader->depth++;
    unsigned char mask = (unsigned char)(1 << bit % 8);
    if (is_object) reader->objects[bit / 8] |= mask;
    else reader->objects[bit / 8] &= (unsigned char)~mask;
    reader->token = reader->at++;
    reader->size = 1;
    reader->expected = is_object ? FIRST_NAME : FIRST_ITEM;
    return is_object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_token closed(struct json_reader *reader) {
    int is_object = in_object(reader);
    if (peek(reader) != (is_object ? '}' : ']')) return unexpected(reader);
    reader->token = reader->at++;
    reader->size = 1;
    reader->depth--;
    reader->expected = BEHIND_VALUE;
    return is_object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static enum json_token name(struct json_reader *reader) {
    if (peek(reader) != '"') return unexpected(reader);
    if (string(reader, JSON_NAME) == JSON_ERROR) return JSON_ERROR;
    skip_spaces(reader);
    if (peek(reader) != ':') return unexpected(reader);
    reader->at++;
    reader->expected = VALUE;
    return JSON_NAME;
}

static enum json_token value(struct json_reader *reader) {
    int byte = peek(reader);
    if (byte == '{' || byte == '[') return opened(reader, byte == '{');
    /* An error overwrites this. */
    reader->expected = BEHIND_VALUE;
    switch (byte) {
    case '"': return string(reader, JSON_STRING);
    case 't': return word(reader, "true", JSON_TRUE);
    case 'f': return word(reader, "false", JSON_FALSE);
    case 'n': return word(reader, "null", JSON_NULL);
    default: return number(reader);
    }
}

enum json_token json_next(struct json_reader *reader) {
    if (reader->expected == NOTHING) return JSON_ERROR;
    skip_spaces(reader);
    if (reader->expected == BEHIND_VALUE) {
        if (reader->depth == 0) return reader->at == reader->end ? JSON_END : unexpected(reader);
        if (peek(reader) != ',') return closed(reader);
        reader->at++;
        skip_spaces(reader);
        reader->expected = in_object(reader) ? NAME : VALUE;
    }
    int is_first = reader->expected == FIRST_NAME || reader->expected == FIRST_ITEM;
    if (is_first && (peek(reader) == '}' || peek(reader) == ']')) return closed(reader);
    return reader->expected == NAME || reader->expected == FIRST_NAME ? name(reader) : value(reader);
}

int json_skip(struct json_reader *reader) {
    if (reader->expected != FIRST_NAME && reader->expected != FIRST_ITEM) return reader->expected != NOTHING;
    size_t around = reader->depth - 1;
    while (reader->depth > around) {
        if (json_next(reader) == JSON_ERROR) return 0;
    }
    return 1;
}

/* The number of `\uXXXX`; -1 where there is no such escape. */
static long unit(const char *at, const char *end) {
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    long number = 0;
    for (int i = 2; i < 6; i++) number = number * 16 + hex((unsigned char)at[i]);
    return number;
}

static size_t put_utf8(long point, char out[4]) {
    size_t size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const int FIRST[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = size; i-- > 1; point >>= 6) out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)(FIRST[size] | point);
    return size;
}

/* One byte or escape of a string that was read, as UTF-8: never more bytes than it is written with. */
static size_t meaning(const char **at, const char *end, char out[4]) {
    static const char LETTERS[] = "bfnrt", BYTES[] = "\b\f\n\r\t";
    if (**at != '\\') {
        out[0] = *(*at)++;
        return 1;
    }
    long point = unit(*at, end);
    if (point < 0) {
        const char *letter = strchr(LETTERS, (*at)[1]);
        out[0] = letter == NULL ? (*at)[1] : BYTES[letter - LETTERS];
        *at += 2;
        return 1;
    }
    *at += 6;
    if (point >= 0xd800 && point <= 0xdfff) {
        long low = point < 0xdc00 ? unit(*at, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) return put_utf8(0xfffd, out);
        *at += 6;
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(point, out);
}

int json_is(const struct json_reader *reader, const char *text, size_t size) {
    const char *at = reader->token + 1, *end = reader->token + reader->size - 1;
    while (at < end) {
        char bytes[4];
        size_t count = meaning(&at, end, bytes);
        if (count > size || memcmp(bytes, text, count) != 0) return 0;
        text += count;
        size -= count;
    }
    return size == 0;
}

size_t json_text(const struct json_reader *reader, char *out) {
    const char *at = reader->token + 1, *end = reader->token + reader->size - 1;
    char *to = out;
    while (at < end) {
        char bytes[4];
        size_t count = meaning(&at, end, bytes);
        memcpy(to, bytes, count);
        to += count;
    }
    return (size_t)(to - out);
}

void json_put(struct json_buffer *buffer, const char *text, size_t size) {
    if (size == 0) return;
    if (size > buffer->room - buffer->size) {
        size_t room = size <= SIZE_MAX / 4 && buffer->room <= SIZE_MAX / 4 ? buffer->room * 2 + size : 0;
        char *more = room == 0 ? NULL : realloc(buffer->text, room);
        if (more == NULL) {
            fputs("no memory for a text\n", stderr);
            exit(1);
        }
        buffer->text = more;
        buffer->room = room;
    }
    memcpy(buffer->text + buffer->size, text, size);
    buffer->size += size;
}

void json_put_string(struct json_buffer *buffer, const char *text, size_t size) {
    const char *kept = text, *end = text + size;
    json_put(buffer, "\"", 1);
    for (const char *at = text; at < end; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        char written[8];
        int count = snprintf(written, sizeof written, byte < 0x20 ? "\\u%04x" : "\\%c", byte);
        json_put(buffer, kept, (size_t)(at - kept));
        json_put(buffer, written, (size_t)count);
        kept = at + 1;
    }
    json_put(buffer, kept, (size_t)(end - kept));
    json_put(buffer, "\"", 1);
}
