#pragma once

#include <stddef.h>
#include <stdint.h>

/*@
#include "core/acsl/upper.acsl"
*/

/* Maps ASCII a-z (0x61-0x7A) to A-Z in place; all other bytes are unchanged. It depends on no
 * locale or encoding: bytes above 0x7F are never letters.
 *
 * requires  `bytes` points to `length` writable bytes, at any alignment; may be null if `length`
 *           is 0
 * ensures   bytes 0x61-0x7A are decreased by 0x20, all others unchanged
 * carries   ECHO-1, ECHO-2, ECHO-4
 */
/*@ requires writable: \valid(bytes + (0 .. length - 1));
  @ assigns  bytes[0 .. length - 1];
  @ ensures  mapped: \forall integer i; 0 <= i < length ==> bytes[i] == Upper(\old(bytes[i]));
  @*/
void upper(uint8_t *bytes, size_t length);
