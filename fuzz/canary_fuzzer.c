/* Tests the fuzzing itself: both engines must find this bug within a minute, or the pipeline does
 * not work. It needs what engines are good at: finding a path byte by byte. */

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char song[] = "tweet";
    size_t sung = 0;
    while (sung < size && sung < sizeof song - 1 && data[sung] == (uint8_t)song[sung])
        sung++;
    CHECK(sung < sizeof song - 1);
    return 0;
}
