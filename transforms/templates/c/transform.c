/* Takes log lines: drops comments, fails what is empty, and gives the level as a partition key. */
#include <ctype.h>
#include <string.h>

#include "hydrant.h"

const char *configure(const char *config) {
    return strcmp(config, "{}") == 0 ? NULL : "this transform has no configuration";
}

void transform(const struct hydrant_record *record) {
    if (record->size == 0) {
        hydrant_failed("the line is empty");
        return;
    }
    if (record->data[0] == '#') {
        hydrant_dropped();
        return;
    }
    char level[16] = "";
    for (size_t i = 0; i < record->size && i < sizeof level - 1 && isalpha((unsigned char)record->data[i]); i++) {
        level[i] = (char)tolower((unsigned char)record->data[i]);
        level[i + 1] = 0;
    }
    if (level[0] == 0) {
        hydrant_unchanged("level", "none");
        return;
    }
    hydrant_changed(record->data, record->size, "level", level);
}
