/* A command in stdio mode that misbehaves as its records ask for, for tests of the host. Built with
 * hydrant.c of the templates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "hydrant.h"

const char *configure(const char *config) {
    if (strcmp(config, "{\"trap\":true}") == 0) __builtin_trap();
    if (strcmp(config, "{\"silent\":true}") == 0) exit(3);
    return strcmp(config, "{\"refuse\":true}") == 0 ? "`refuse` was asked for" : NULL;
}

static void text(const char *text) {
    hydrant_changed(text, strlen(text), NULL, NULL);
}

__attribute__((noinline)) static void trap(void) {
    fputs("a record asked for a trap\n", stderr);
    __builtin_trap();
}

void transform(const struct hydrant_record *record) {
    const char *word = record->data;
    char answer[256];
    if (strcmp(word, "drop") == 0) {
        hydrant_dropped();
    } else if (strcmp(word, "fail") == 0) {
        hydrant_failed("because of \"it\"");
    } else if (strcmp(word, "many") == 0) {
        text("a");
        text("b");
    } else if (strcmp(word, "keys") == 0) {
        hydrant_changed("k", 1, "word", "v");
    } else if (strcmp(word, "trap") == 0) {
        trap();
    } else if (strcmp(word, "loop") == 0) {
        for (volatile int i = 0;; i++) {
        }
    } else if (strcmp(word, "alloc") == 0) {
        for (;;) {
            volatile char *more = malloc(1 << 20);
            if (more == NULL) __builtin_trap();
            more[0] = 1;
        }
    } else if (strcmp(word, "flood") == 0) {
        for (int i = 0; i < 40; i++) printf("%*d", 1 << 20, i);
    } else if (strcmp(word, "exit") == 0) {
        fputs("gone\n", stderr);
        exit(7);
    } else if (strcmp(word, "nothing") == 0) {
        /* No line for it. */
    } else if (strcmp(word, "garbage") == 0) {
        puts("not JSON");
    } else if (strcmp(word, "stderr") == 0) {
        fputs("said\n", stderr);
        hydrant_unchanged(NULL, NULL);
    } else if (strcmp(word, "clock") == 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(answer, sizeof answer, "%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
        text(answer);
    } else if (strcmp(word, "monotonic") == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        snprintf(answer, sizeof answer, "%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
        text(answer);
    } else if (strcmp(word, "errors") == 0) {
        /* Far more than is kept, in many parts of one write. */
        static char much[1 << 20];
        struct iovec parts[1024];
        memset(much, 'e', sizeof much);
        for (int i = 0; i < 1024; i++) parts[i] = (struct iovec){much, sizeof much};
        if (writev(2, parts, 1024) < 0) exit(9);
        fputs("\nthe end\n", stderr);
        exit(7);
    } else if (strcmp(word, "sleep") == 0) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        sleep(3600);
        clock_gettime(CLOCK_MONOTONIC, &after);
        snprintf(answer, sizeof answer, "%lld", (long long)(after.tv_sec - before.tv_sec));
        text(answer);
    } else if (strcmp(word, "random") == 0) {
        unsigned char bytes[4];
        if (getentropy(bytes, sizeof bytes) != 0) exit(9);
        snprintf(answer, sizeof answer, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2], bytes[3]);
        text(answer);
    } else if (strcmp(word, "world") == 0) {
        FILE *file = fopen("/etc/passwd", "r");
        const char *stream = getenv("HYDRANT_DELIVERY_STREAM");
        snprintf(answer, sizeof answer, "%s %s %s", stream ? stream : "-", getenv("HOME") ? "home" : "-",
                 file ? "file" : "-");
        text(answer);
    } else {
        hydrant_unchanged(NULL, NULL);
    }
}
