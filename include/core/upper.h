#pragma once

#include <stddef.h>
#include <stdint.h>

/* Turns ASCII a-z (0x61-0x7A) into A-Z in place; every other byte stays as it is.
 * No locale and no encoding: bytes from 0x80 up are not letters here.
 *
 * requires  `bytes` points to `length` writable bytes, at any alignment; it may be null if
 *           `length` is 0
 * ensures   each byte b in 0x61-0x7A became b - 0x20, and each other byte is unchanged
 */
void upper(uint8_t *bytes, size_t length);
