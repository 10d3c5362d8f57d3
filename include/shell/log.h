#pragma once

#include "core/connection.h"
#include "shell/kernel.h"

enum log_level {
    LOG_QUIET,  /* where the server listens */
    LOG_EVENTS, /* and who comes and leaves */
    LOG_CHUNKS  /* and each chunk received */
};

enum log_format { LOG_TEXT, LOG_JSON };

/* The log: one line an event, written in one call of at most KERNEL_LINE_BYTES, so that a line
 * is whole or not there. A line that cannot be written at once is dropped and counted, and the next
 * that can be is preceded by the count: the log never holds up the service.
 *
 * Each function shows its line as text; as JSON it is an object with the same names, and `event`.
 */
struct log {
    struct kernel kernel;
    enum log_level level;
    enum log_format format;
    uint64_t dropped; /* lines not written since the last that was */
    bool torn;        /* the last write left part of a line behind */
};

/* listening on 127.0.0.1:4444 */
void log_listening(struct log *log, const struct endpoint *address);

/* connect token=5.1 peer=127.0.0.1:51234 */
void log_connect(struct log *log, struct token token, const struct endpoint *peer);

/* data token=5.1 bytes=5 text="hello"
 * What a line has no room for is counted: omitted=61504, before the text. */
void log_data(struct log *log, struct token token, const uint8_t *bytes, size_t length);

/* disconnect token=5.1 peer=127.0.0.1:51234 reason=end in=5 out=5
 * requires  the connection is DONE */
void log_disconnect(struct log *log, struct token token, const struct connection *connection);

/* stop connections=3 */
void log_stop(struct log *log, uint32_t connections);

/* Escapes bytes for a line: `"` `\` newline, return and tab by a backslash and a letter, other
 * bytes outside 0x20-0x7E as \x1b (in JSON \u001b). Stops before the first byte that has no room.
 *
 * requires  `text` holds `room` bytes, at least 1
 * ensures   `text` ends with a 0; the result is how many of the bytes it shows
 */
size_t log_escape(enum log_format format, const uint8_t *bytes, size_t length, char *text,
                  size_t room);
