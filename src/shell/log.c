#include "shell/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shell/text.h"

/* More than the longest data line needs besides its text. */
#define DATA_FRAME_BYTES 192

struct line {
    bool json;
    size_t length;
    char bytes[TOUCHSTONE_PIPE_BUF];
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line->length += (size_t)vsnprintf(line->bytes + line->length, sizeof line->bytes - line->length,
                                      format, arguments);
    va_end(arguments);
}

/* Begins the line of an event; false if the log has no such lines. */
static bool begin(struct line *line, const struct log *log, enum log_level level,
                  const char *event) {
    if (log->level < level) return false;
    line->json = log->format == LOG_JSON;
    line->length = 0;
    add(line, line->json ? "{\"event\":\"%s\"" : "%s", event);
    return true;
}

static void add_word(struct line *line, const char *name, const char *word) {
    add(line, line->json ? ",\"%s\":\"%s\"" : " %s=%s", name, word);
}

static void add_number(struct line *line, const char *name, uint64_t number) {
    add(line, line->json ? ",\"%s\":%llu" : " %s=%llu", name, (unsigned long long)number);
}

static void add_token(struct line *line, struct token token) {
    add(line, line->json ? ",\"token\":\"%u.%u\"" : " token=%u.%u", token.slot, token.generation);
}

static void add_peer(struct line *line, const struct endpoint *peer) {
    char text[TEXT_ENDPOINT_BYTES];
    text_of_endpoint(peer, text);
    add_word(line, "peer", text);
}

/* Another process may fill the sink after it was asked. */
#define WRITE_LIMIT_US 1000

/* Writes a line; false unless all of it was written. */
static bool put(struct log *log, struct line *line) {
    const struct kernel *kernel = &log->kernel;
    add(line, line->json ? "}\n" : "\n");
    struct result result = kernel->ops->log_poll(kernel->self);
    if (result.fault == FAULT_NONE)
        result = kernel->ops->log_write(kernel->self, line->bytes, line->length, WRITE_LIMIT_US);
    bool whole = result.fault == FAULT_NONE && (uint64_t)result.value == line->length;
    log->torn = result.fault == FAULT_NONE ? !whole : log->torn;
    return whole;
}

static bool put_dropped(struct log *log) {
    struct line line;
    begin(&line, log, LOG_QUIET, "dropped");
    add_number(&line, "lines", log->dropped);
    if (log->torn) { /* ends the partial line */
        memmove(line.bytes + 1, line.bytes, line.length++);
        line.bytes[0] = '\n';
    }
    if (!put(log, &line)) return false;
    log->dropped = 0;
    return true;
}

static void finish(struct log *log, struct line *line) {
    bool caught_up = log->dropped == 0 || put_dropped(log);
    if (!caught_up || !put(log, line)) log->dropped++;
}

void log_listening(struct log *log, const struct endpoint *address) {
    struct line line;
    char text[TEXT_ENDPOINT_BYTES];
    text_of_endpoint(address, text);
    begin(&line, log, LOG_QUIET, "listening");
    add(&line, line.json ? ",\"address\":\"%s\"" : " on %s", text);
    finish(log, &line);
}

void log_connect(struct log *log, struct token token, const struct endpoint *peer) {
    struct line line;
    if (!begin(&line, log, LOG_EVENTS, "connect")) return;
    add_token(&line, token);
    add_peer(&line, peer);
    finish(log, &line);
}

static void add_error(struct line *line, int32_t error) {
    char name[TEXT_ERROR_BYTES];
    text_of_error(error, name);
    add_word(line, "errno", name);
}

static const char *reason_of_wait(enum fault fault) {
    switch (fault) {
    case FAULT_NONE: return "connections";
    case FAULT_DESCRIPTORS: return "descriptors";
    case FAULT_MEMORY: return "memory";
    default: return "error";
    }
}

void log_wait(struct log *log, struct result why) {
    struct line line;
    if (!begin(&line, log, LOG_EVENTS, "wait")) return;
    add_word(&line, "reason", reason_of_wait(why.fault));
    if (why.raw != 0) add_error(&line, why.raw);
    finish(log, &line);
}

void log_accept(struct log *log) {
    struct line line;
    if (!begin(&line, log, LOG_EVENTS, "accept")) return;
    finish(log, &line);
}

void log_stop(struct log *log, uint32_t connections) {
    struct line line;
    if (!begin(&line, log, LOG_EVENTS, "stop")) return;
    add_number(&line, "connections", connections);
    finish(log, &line);
}

/* The longest escape, \u001b, and the terminating null. */
#define ESCAPE_BYTES 7

static size_t escape_byte(enum log_format format, uint8_t byte, char text[ESCAPE_BYTES]) {
    static const char letters[] = "\"\"\\\\\nn\rr\tt"; /* pairs of a byte and its letter */
    for (size_t i = 0; letters[i] != '\0'; i += 2) {
        if (byte == (uint8_t)letters[i])
            return (size_t)snprintf(text, ESCAPE_BYTES, "\\%c", letters[i + 1]);
    }
    if (byte >= 0x20 && byte <= 0x7e) return (size_t)snprintf(text, ESCAPE_BYTES, "%c", byte);
    return (size_t)snprintf(text, ESCAPE_BYTES, format == LOG_JSON ? "\\u%04x" : "\\x%02x", byte);
}

size_t log_escape(enum log_format format, const uint8_t *bytes, size_t length, char *text,
                  size_t room) {
    size_t used = 0, taken = 0;
    for (; taken < length; taken++) {
        char escape[ESCAPE_BYTES];
        size_t size = escape_byte(format, bytes[taken], escape);
        if (size >= room - used) break;
        memcpy(text + used, escape, size);
        used += size;
    }
    text[used] = '\0';
    return taken;
}

void log_data(struct log *log, struct token token, const uint8_t *bytes, size_t length) {
    struct line line;
    char text[TOUCHSTONE_PIPE_BUF - DATA_FRAME_BYTES];
    if (!begin(&line, log, LOG_CHUNKS, "data")) return;
    size_t shown = log_escape(log->format, bytes, length, text, sizeof text);
    add_token(&line, token);
    add_number(&line, "bytes", length);
    if (shown < length) add_number(&line, "omitted", length - shown);
    add(&line, line.json ? ",\"text\":\"%s\"" : " text=\"%s\"", text);
    finish(log, &line);
}

void log_disconnect(struct log *log, struct token token, const struct connection *connection,
                    int32_t error) {
    static const char *const reasons[] = {[CONNECTION_ENDED] = "end",
                                          [CONNECTION_RESET] = "reset",
                                          [CONNECTION_FAILED] = "error",
                                          [CONNECTION_IDLE] = "idle",
                                          [CONNECTION_EXPIRED] = "expired"};
    struct line line;
    if (!begin(&line, log, LOG_EVENTS, "disconnect")) return;
    add_token(&line, token);
    add_peer(&line, &connection->peer);
    add_word(&line, "reason", reasons[connection->reason]);
    if (connection->reason == CONNECTION_FAILED) add_error(&line, error);
    add_number(&line, "in", connection->received);
    add_number(&line, "out", connection->received - buffer_pending(&connection->pending));
    finish(log, &line);
}
