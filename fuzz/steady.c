/* A mutator that returns the files of the folder $STEADY_CORPUS in turn, so that an engine's rate
 * can be measured on known inputs. For libFuzzer it is linked to the target; for AFL++ it is a
 * library (source: AFL++, custom_mutators.md). */

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUTS_MAX 4096
#define INPUT_BYTES_MAX (1u << 16)

static struct {
    uint8_t *bytes;
    size_t size;
} inputs[INPUTS_MAX];
static size_t input_count;
static size_t next;

static _Noreturn void give_up(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    abort();
}

static void load(const char *path) {
    static uint8_t bytes[INPUT_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) give_up(path, strerror(errno));
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (input_count == INPUTS_MAX || size == sizeof bytes)
        give_up(path, "too many files, or one too large");
    inputs[input_count].bytes = malloc(size + 1);
    if (inputs[input_count].bytes == NULL) give_up(path, "no memory");
    memcpy(inputs[input_count].bytes, bytes, size);
    inputs[input_count++].size = size;
}

static void load_all(void) {
    char path[4096];
    const char *name = getenv("STEADY_CORPUS");
    DIR *folder = name == NULL ? NULL : opendir(name);
    if (folder == NULL) give_up("STEADY_CORPUS", "expected the path of a folder");
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        load(path);
    }
    closedir(folder);
    if (input_count == 0) give_up(name, "is empty");
}

static size_t draw(size_t size_max) {
    if (input_count == 0) load_all();
    size_t drawn = next++ % input_count;
    if (inputs[drawn].size > size_max) give_up("STEADY_CORPUS", "has a file larger than max_len");
    return drawn;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed) {
    size_t drawn = draw(size_max);
    memcpy(data, inputs[drawn].bytes, inputs[drawn].size);
    return inputs[drawn].size;
}

void *afl_custom_init(void *afl, unsigned int seed);
void *afl_custom_init(void *afl, unsigned int seed) { return inputs; }

size_t afl_custom_fuzz(void *data, uint8_t *buffer, size_t size, uint8_t **out, uint8_t *other,
                       size_t other_size, size_t size_max);
size_t afl_custom_fuzz(void *data, uint8_t *buffer, size_t size, uint8_t **out, uint8_t *other,
                       size_t other_size, size_t size_max) {
    size_t drawn = draw(size_max);
    *out = inputs[drawn].bytes;
    return inputs[drawn].size;
}

void afl_custom_deinit(void *data);
void afl_custom_deinit(void *data) {}
