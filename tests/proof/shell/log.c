/* Each line of the log, for any arguments. */
#include "print.h"

/* With that snprintf. */
#include "shell/log.c"

#define BYTES 1000

static struct result any_result(size_t most) {
    if (any_bool()) return any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER);
    return (struct result){.value = Frama_C_unsigned_int_interval(0, (unsigned)most)};
}

static struct result log_poll(void *self) { return any_result(0); }

static struct result log_write(void *self, const char *line, size_t length, int32_t limit_us) {
    /*@ check line: \valid_read(line + (0 .. length - 1)); */
    /*@ check length: 1 <= length <= TOUCHSTONE_PIPE_BUF; */
    /*@ check limit: 0 <= limit_us <= 999999; */
    return any_result(length);
}

/* As text.c promises, and as its own proof says. */
static void any_text(char *text, size_t room) {
    any_bytes(text, room);
    text[room - 1] = '\0';
}
void text_of_endpoint(const struct endpoint *endpoint, char text[TEXT_ENDPOINT_BYTES]) {
    /*@ check endpoint: \valid_read(endpoint); */
    any_text(text, TEXT_ENDPOINT_BYTES);
}
void text_of_error(int32_t error, char text[TEXT_ERROR_BYTES]) { any_text(text, TEXT_ERROR_BYTES); }

static void log_any(struct log *log) {
    static uint8_t bytes[BYTES];
    struct endpoint peer;
    struct token token = {.slot = any_u32, .generation = any_u32};
    any_bytes(&peer, sizeof peer);
    switch (any_of(7)) {
    case 0: log_listening(log, &peer); break;
    case 1: log_connect(log, token, &peer); break;
    case 2:
        log_wait(log, any_bool() ? any_fault(FAULT_WOULD_BLOCK, FAULT_OTHER)
                                 : (struct result){.fault = FAULT_NONE});
        break;
    case 3: log_accept(log); break;
    case 4: log_stop(log, any_u32); break;
    case 5: {
        any_bytes(bytes, sizeof bytes);
        log_data(log, token, bytes, Frama_C_unsigned_int_interval(0, BYTES));
        break;
    }
    default: {
        struct connection c = {.state = CONNECTION_DONE};
        any_bytes(&c.peer, sizeof c.peer);
        c.reason = (uint8_t)Frama_C_interval(CONNECTION_ENDED, CONNECTION_EXPIRED);
        c.received = any_received(0);
        if (any_bool() && c.received > 0) {
            c.pending.write = 1;
        }
        log_disconnect(log, token, &c, any_int);
    }
    }
}

void main(void) {
    static const struct kernel_ops ops = {.log_poll = log_poll, .log_write = log_write};
    struct log log = {.kernel = {.ops = &ops}};
    log.level = (enum log_level)Frama_C_interval(LOG_QUIET, LOG_CHUNKS);
    log.format = any_bool() ? LOG_JSON : LOG_TEXT;
    log.torn = any_bool_value();
    log.dropped = any_ms();
    log_any(&log);
}
