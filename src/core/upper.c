#include "core/upper.h"

/* Without branches and tables the compiler vectorises the loop (gcc -O3, clang -O2). */
void upper(uint8_t *bytes, size_t length) {
    /*@ loop invariant range: 0 <= i <= length;
      @ loop invariant done: \forall integer k; 0 <= k < i ==>
      @   bytes[k] == Upper(\at(bytes[k], Pre));
      @ loop invariant left: \forall integer k; i <= k < length ==>
      @   bytes[k] == \at(bytes[k], Pre);
      @ loop assigns i, bytes[0 .. length - 1];
      @ loop variant length - i;
      @*/
    for (size_t i = 0; i < length; i++) {
        uint8_t b = bytes[i];
        bytes[i] = (uint8_t)(b - ((b >= 'a' && b <= 'z') ? 32 : 0));
    }
}
