/* Reads and writes JSON (RFC 8259). Numbers stay as they are written, and no text is nested deeper
 * than JSON_DEPTH. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

#define JSON_DEPTH 512

enum json_token {
    /* `wrong` says why. So is every later token. */
    JSON_ERROR,
    /* The text was one value. */
    JSON_END,
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    /* The name of a member; its value is next. */
    JSON_NAME,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

/* Reads a text token by token, in one pass and without memory of its own. */
struct json_reader {
    /* The last token as it stands in the text: a name or a string has its quotes. */
    const char *token;
    size_t size;
    /* How many objects and arrays are open behind it. */
    size_t depth;
    /* What is wrong, behind JSON_ERROR. */
    const char *wrong;
    /* The reader's own: where it is, what may come, and a bit for each depth that is an object's. */
    const char *at, *end;
    int expected;
    unsigned char objects[JSON_DEPTH / 8];
};

/* Begins to read. The text stays the caller's, and may hold NULs and anything else. */
void json_read(struct json_reader *reader, const char *text, size_t size);
enum json_token json_next(struct json_reader *reader);

/* Reads on to the end of the value whose first token was the last: then `token` is its last one.
 * Gives 0 where the text is wrong. */
int json_skip(struct json_reader *reader);

/* Whether the last token, a name or a string, means this text, however it is written. */
int json_is(const struct json_reader *reader, const char *text, size_t size);

/* What the last token, a name or a string, means: into `out`, which has room for `reader->size`
 * bytes. Gives how many it wrote. Half of a surrogate pair becomes U+FFFD. */
size_t json_text(const struct json_reader *reader, char *out);

/* A text that grows: begin with {0}, and again with `size = 0`. */
struct json_buffer {
    char *text;
    size_t size, room;
};

/* Puts bytes as they are. */
void json_put(struct json_buffer *buffer, const char *text, size_t size);
/* Puts a text, which must be UTF-8, as a string: with quotes and escapes. */
void json_put_string(struct json_buffer *buffer, const char *text, size_t size);

int json_is_utf8(const char *text, size_t size);

#endif
