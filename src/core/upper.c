#include "core/upper.h"

/* Without a branch or a table the loop becomes vector code (gcc -O3, clang -O2). */
void upper(uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        uint8_t b = bytes[i];
        bytes[i] = (uint8_t)(b - ((b >= 'a' && b <= 'z') ? 32 : 0));
    }
}
