#pragma once

#include <stddef.h>
#include <stdint.h>

/*@
#include "core/acsl/upper.acsl"
*/

/* Turns ASCII a-z (0x61-0x7A) into A-Z in place; every other byte stays as it is.
 * No locale and no encoding: bytes from 0x80 up are not letters here.
 *
 * requires  `bytes` points to `length` writable bytes, at any alignment; it may be null if
 *           `length` is 0
 * ensures   each byte b in 0x61-0x7A became b - 0x20, and each other byte is unchanged
 * carries   ECHO-1, ECHO-2, ECHO-4
 */
/*@ requires writable: \valid(bytes + (0 .. length - 1));
  @ assigns  bytes[0 .. length - 1];
  @ ensures  mapped: \forall integer i; 0 <= i < length ==> bytes[i] == Upper(\old(bytes[i]));
  @*/
void upper(uint8_t *bytes, size_t length);
