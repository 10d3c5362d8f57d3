#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What clients send: bytes without end that look random, from another place in them for each
 * client, so that a byte lost, repeated or changed, or another client's, is noticed. And what they
 * have to get for it, by a table of this program's own. */

/* The most bytes that can be asked for or checked at once. */
#define PATTERN_MAX 65536u

void pattern_init(void);

/* The bytes that client `client` sends from its `position`-th on: PATTERN_MAX of them. */
const uint8_t *pattern_sent(uint64_t client, uint64_t position);

/* True if `bytes`, at most PATTERN_MAX, are what answers the client's bytes from there on. */
bool pattern_answers(uint64_t client, uint64_t position, const uint8_t *bytes, size_t length);
