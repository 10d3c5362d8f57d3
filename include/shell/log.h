#pragma once

#include "core/connection.h"
#include "shell/kernel.h"

enum log_level {
    LOG_QUIET,  /* the listening address */
    LOG_EVENTS, /* also connects and disconnects */
    LOG_CHUNKS  /* also each chunk received */
};

enum log_format { LOG_TEXT, LOG_JSON };

/* The log: one line per event, written in one call of at most PIPE_BUF bytes, so that a line is
 * either complete or absent. A line that cannot be written without blocking is dropped; the next
 * line is preceded by the number of dropped ones. The log never blocks the service.
 *
 * The lines are shown as text; a JSON line is an object with the same names, and `event`.
 */
struct log {
    struct kernel kernel;
    enum log_level level;
    enum log_format format;
    uint64_t dropped; /* lines dropped since the last one written */
    bool torn;        /* the last write was partial */
};

/* listening on 127.0.0.1:4444 */
void log_listening(struct log *log, const struct endpoint *address);

/* connect token=5.1 peer=127.0.0.1:51234 */
void log_connect(struct log *log, struct token token, const struct endpoint *peer);

/* data token=5.1 bytes=5 text="hello"
 * Bytes that do not fit are counted before the text: omitted=65216. */
void log_data(struct log *log, struct token token, const uint8_t *bytes, size_t length);

/* disconnect token=5.1 peer=127.0.0.1:51234 reason=end in=5 out=5
 * `error`: the errno, shown if the reason is FAILED.
 * requires  the connection is DONE */
void log_disconnect(struct log *log, struct token token, const struct connection *connection,
                    int32_t error);

/* wait reason=connections
 * New connections have to wait: `why` is without a fault if the limit is reached. */
void log_wait(struct log *log, struct result why);

/* accept: new connections wait no longer */
void log_accept(struct log *log);

/* stop connections=3 */
void log_stop(struct log *log, uint32_t connections);

/* Escapes bytes for a line: `"` `\` newline, return and tab by a backslash and a letter, other
 * bytes outside 0x20-0x7E as \x1b (in JSON \u001b). Stops before the first byte that does not fit.
 *
 * requires  `text` holds `room` bytes, at least 1
 * ensures   `text` is null-terminated; the result is the number of bytes escaped
 */
size_t log_escape(enum log_format format, const uint8_t *bytes, size_t length, char *text,
                  size_t room);
