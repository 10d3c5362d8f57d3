#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What clients send: an endless pseudo-random sequence, starting at a different position for each
 * client, so that a byte that is lost, repeated, changed or of another client is detected. And the
 * expected answers, by a table independent of the server's. */

/* The largest number of bytes per call. */
#define PATTERN_MAX 65536u

void pattern_init(void);

/* PATTERN_MAX bytes of what `client` sends, from `position` on. */
const uint8_t *pattern_sent(uint64_t client, uint64_t position);

/* The same bytes as a file, which sendfile(2) does not copy, and their place in it. */
int pattern_file(void);
off_t pattern_place(uint64_t client, uint64_t position);

/* True if `bytes`, at most PATTERN_MAX, are the answer to the client's bytes from `position` on. */
bool pattern_answers(uint64_t client, uint64_t position, const uint8_t *bytes, size_t length);
