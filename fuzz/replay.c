/* Replaces a fuzzing engine: runs a target once on each file given, and on each file in a folder
 * given. A finding aborts. Exit status 2: an input cannot be read, or there is none. */

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "check.h"

#define INPUT_MAX (1u << 20)
#define PATH_BYTES 4096

static uint8_t input[INPUT_MAX];
static unsigned runs;

static _Noreturn void give_up(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    exit(2);
}

/* The target gets a block of exactly the input's size, so that sanitizers detect a read beyond. */
static void run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) give_up(path, strerror(errno));
    size_t size = fread(input, 1, INPUT_MAX, file);
    if (ferror(file)) give_up(path, "cannot be read");
    if (size == INPUT_MAX) give_up(path, "is too large, expected less than 1 MiB");
    fclose(file);
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) give_up(path, "no memory");
    memcpy(exact, input, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    runs++;
}

/* False if it is not a folder. */
static bool run_folder(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL) return false;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char inner[PATH_BYTES];
        if (entry->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        run_file(inner);
    }
    closedir(folder);
    return true;
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        if (!run_folder(arguments[i])) run_file(arguments[i]);
    }
    if (runs == 0) give_up(arguments[0], "no input, expected files or folders");
    printf("%u inputs\n", runs);
    return 0;
}
