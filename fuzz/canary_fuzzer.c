/* Targets the fuzzing itself: here is a bug that both engines must find within a minute, or else
 * the pipeline is dead. It wants what they are good at: a path found byte by byte. */

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char song[] = "tweet";
    size_t sung = 0;
    while (sung < size && sung < sizeof song - 1 && data[sung] == (uint8_t)song[sung])
        sung++;
    CHECK(sung < sizeof song - 1);
    return 0;
}
