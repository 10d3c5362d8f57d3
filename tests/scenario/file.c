#include "scenario/file.h"

#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (1u << 20)

void quit(const char *what, const char *why) {
    fprintf(stderr, "scenario: %s: %s\n", what, why);
    exit(STATUS_USAGE);
}

static size_t read_file(const char *path, char *bytes) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) quit(path, "cannot be opened");
    size_t length = fread(bytes, 1, FILE_BYTES_MAX, file);
    if (ferror(file)) quit(path, "cannot be read");
    if (length == FILE_BYTES_MAX) quit(path, "is too large, expected less than 1 MiB");
    fclose(file);
    return length;
}

/* A text whose first line is missing is recognised by its name, and then rejected. Everything else
 * is bytes, whatever it looks like: any bytes are a scenario. */
static bool is_text(const char *path, const char *bytes, size_t length) {
    const char *extension = strrchr(path, '.');
    if (extension != NULL && strcmp(extension, ".scenario") == 0) return true;
    return scenario_is_text(bytes, length);
}

bool file_load(struct scenario *scenario, const char *path) {
    static char bytes[FILE_BYTES_MAX];
    struct scenario_error error;
    size_t length = read_file(path, bytes);
    if (!is_text(path, bytes, length)) {
        scenario_decode(scenario, (const uint8_t *)bytes, length);
        return false;
    }
    if (!scenario_parse(scenario, bytes, length, &error)) {
        fprintf(stderr, "%s:%u:%u: %s\n", path, error.line, error.column, error.text);
        exit(STATUS_USAGE);
    }
    return true;
}

void file_print(const struct scenario *scenario, FILE *file) {
    static char text[FILE_BYTES_MAX];
    fwrite(text, 1, scenario_print(scenario, text, sizeof text), file);
}

/* As one word of a shell. It may stand in a comment: the end of a line is shown as a blank. */
static void print_quoted(const char *text, FILE *file) {
    bool plain = text[strcspn(text, " \t\n'\"\\$`|&;<>()*?[]{}~#!")] == '\0';
    if (plain) fputs(text, file);
    if (plain) return;
    fputc('\'', file);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", file);
        else
            fputc(*text == '\n' ? ' ' : *text, file);
    }
    fputc('\'', file);
}

void file_print_replay(const char *path, const char *name, const char *poller, const char *server,
                       FILE *file) {
    print_quoted(name, file);
    fputs(" run --oracle-only --trace ", file);
    if (server == NULL) {
        fprintf(file, "--poller %s ", poller);
    } else {
        fputs("--under ", file);
        print_quoted(server, file);
        fputc(' ', file);
    }
    print_quoted(path, file);
    fputc('\n', file);
}
