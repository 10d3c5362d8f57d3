/* Targets upper().
 *
 * Every byte of the input is mapped as in an explicit table, at any alignment, and the bytes before
 * and after do not change. */

#include <string.h>

#include "check.h"
#include "core/upper.h"

#define ROOM 4096
#define MARGIN 16

static uint8_t expected(uint8_t byte) {
    static const char small[] = "abcdefghijklmnopqrstuvwxyz";
    static const char large[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *found = byte == 0 ? NULL : strchr(small, byte);
    return found == NULL ? byte : (uint8_t)large[found - small];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t bytes[ROOM + 2 * MARGIN];
    if (size < 1 || size > ROOM) return 0;
    size_t shift = data[0] % MARGIN;
    size_t length = size - 1;
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes + shift, data + 1, length);
    upper(bytes + shift, length);
    for (size_t i = 0; i < length; i++)
        CHECK(bytes[shift + i] == expected(data[1 + i]));
    for (size_t i = 0; i < shift; i++)
        CHECK(bytes[i] == 'x');
    for (size_t i = shift + length; i < shift + length + MARGIN; i++)
        CHECK(bytes[i] == 'x');
    return 0;
}
