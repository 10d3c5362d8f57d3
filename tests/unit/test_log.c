#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shell/log.h"

#define SINK_BYTES 65536

/* Where lines go, with an injected fault. */
struct sink {
    char bytes[SINK_BYTES];
    size_t length;
    enum fault fault; /* of every write */
    size_t cut;       /* at most this many bytes of a write are taken */
    size_t longest;   /* of the writes */
    bool full;        /* no write is possible without blocking */
    bool asked;
};

static struct result log_poll(void *self) {
    struct sink *polled = self;
    polled->asked = true;
    return (struct result){.fault = polled->full ? FAULT_WOULD_BLOCK : FAULT_NONE};
}

static struct result log_write(void *self, const char *line, size_t length, int32_t limit_us) {
    struct sink *sink = self;
    assert_true(sink->asked); /* before each write; but the answer is soon out of date */
    assert_int_equal(limit_us, 1000);
    sink->asked = false;
    if (length > sink->longest) sink->longest = length;
    if (sink->fault != FAULT_NONE) /* the value is undefined then */
        return (struct result){.value = (int64_t)length, .fault = sink->fault, .raw = 1};
    size_t taken = length < sink->cut ? length : sink->cut;
    memcpy(sink->bytes + sink->length, line, taken);
    sink->length += taken;
    sink->bytes[sink->length] = '\0';
    return (struct result){.value = (int64_t)taken};
}

static const struct kernel_ops ops = {.log_poll = log_poll, .log_write = log_write};

static struct sink sink;

static struct log open_log(enum log_level level, enum log_format format) {
    sink = (struct sink){.cut = SINK_BYTES};
    return (struct log){.kernel = {&ops, &sink}, .level = level, .format = format};
}

/* Compares what was written since the last call. */
static void expect_lines(const char *lines) {
    assert_string_equal(sink.bytes, lines);
    sink.length = 0;
    sink.bytes[0] = '\0';
}

static const struct token token = {.slot = 5, .generation = 2};
static const struct endpoint peer = {
    .address = {127, 0, 0, 1}, .port = 51234, .family = ENDPOINT_IPV4};

static void text_lines_state_the_event_and_its_fields(void **state) {
    struct log log = open_log(LOG_CHUNKS, LOG_TEXT);
    log_listening(&log, &(struct endpoint){.address = {[15] = 1}, 0, 4444, ENDPOINT_IPV6});
    expect_lines("listening on [::1]:4444\n");
    log_connect(&log, token, &peer);
    expect_lines("connect token=5.2 peer=127.0.0.1:51234\n");
    log_data(&log, token, (const uint8_t *)"hello", 5);
    expect_lines("data token=5.2 bytes=5 text=\"hello\"\n");
    log_connect(&log, token,
                &(struct endpoint){{0xfe, 0x80, [15] = 1}, 3, UINT16_MAX, ENDPOINT_IPV6});
    expect_lines("connect token=5.2 peer=[fe80::1%3]:65535\n");
}

static void json_lines_are_objects_with_the_same_fields(void **state) {
    struct log log = open_log(LOG_CHUNKS, LOG_JSON);
    log_listening(&log, &peer);
    expect_lines("{\"event\":\"listening\",\"address\":\"127.0.0.1:51234\"}\n");
    log_connect(&log, token, &peer);
    expect_lines("{\"event\":\"connect\",\"token\":\"5.2\",\"peer\":\"127.0.0.1:51234\"}\n");
    log_data(&log, token, (const uint8_t *)"\"\x01", 2);
    expect_lines("{\"event\":\"data\",\"token\":\"5.2\",\"bytes\":2,\"text\":\"\\\"\\u0001\"}\n");
}

static struct connection ended(enum connection_reason reason) {
    return (struct connection){.received = 12,
                               .pending = {.read = 3, .write = 5},
                               .slot = {.generation = 2, .live = true},
                               .peer = peer,
                               .state = CONNECTION_DONE,
                               .reason = (uint8_t)reason};
}

static void disconnect_states_the_reason_errno_and_byte_counts(void **state) {
    struct log log = open_log(LOG_EVENTS, LOG_TEXT);
    struct connection connection = ended(CONNECTION_ENDED);
    log_disconnect(&log, token, &connection, 0);
    expect_lines("disconnect token=5.2 peer=127.0.0.1:51234 reason=end in=12 out=10\n");
    connection = ended(CONNECTION_RESET);
    log_disconnect(&log, token, &connection, 104);
    expect_lines("disconnect token=5.2 peer=127.0.0.1:51234 reason=reset in=12 out=10\n");
    connection = ended(CONNECTION_FAILED);
    log_disconnect(&log, token, &connection, 9999);
    expect_lines(
        "disconnect token=5.2 peer=127.0.0.1:51234 reason=error errno=9999 in=12 out=10\n");
    log.format = LOG_JSON;
    log_disconnect(&log, token, &connection, 9999);
    expect_lines("{\"event\":\"disconnect\",\"token\":\"5.2\",\"peer\":\"127.0.0.1:51234\","
                 "\"reason\":\"error\",\"errno\":\"9999\",\"in\":12,\"out\":10}\n");
    log.format = LOG_TEXT;
    connection = ended(CONNECTION_IDLE);
    log_disconnect(&log, token, &connection, 0);
    expect_lines("disconnect token=5.2 peer=127.0.0.1:51234 reason=idle in=12 out=10\n");
    connection = ended(CONNECTION_EXPIRED);
    log.format = LOG_JSON;
    log_disconnect(&log, token, &connection, 0);
    expect_lines("{\"event\":\"disconnect\",\"token\":\"5.2\",\"peer\":\"127.0.0.1:51234\","
                 "\"reason\":\"expired\",\"in\":12,\"out\":10}\n");
}

static void stop_states_the_number_of_connections(void **state) {
    struct log log = open_log(LOG_EVENTS, LOG_TEXT);
    log_stop(&log, 3);
    expect_lines("stop connections=3\n");
    log.format = LOG_JSON;
    log_stop(&log, UINT32_MAX);
    expect_lines("{\"event\":\"stop\",\"connections\":4294967295}\n");
}

static void each_level_selects_its_events(void **state) {
    struct log log = open_log(LOG_QUIET, LOG_TEXT);
    struct connection connection = ended(CONNECTION_ENDED);
    log_connect(&log, token, &peer);
    log_disconnect(&log, token, &connection, 0);
    log_stop(&log, 1);
    log_data(&log, token, (const uint8_t *)"x", 1);
    expect_lines("");
    log_listening(&log, &peer);
    expect_lines("listening on 127.0.0.1:51234\n");
    log.level = LOG_EVENTS;
    log_data(&log, token, (const uint8_t *)"x", 1);
    expect_lines("");
    log.level = LOG_CHUNKS;
    log_stop(&log, 1);
    log_disconnect(&log, token, &connection, 0);
    expect_lines("stop connections=1\n"
                 "disconnect token=5.2 peer=127.0.0.1:51234 reason=end in=12 out=10\n");
}

/* Every byte alone: no control byte and nothing above 0x7e is printed, and each in its own form. */
static void escape_prints_every_byte_as_printable_ascii(void **state) {
    for (unsigned byte = 0; byte < 256; byte++) {
        for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
            char text[8];
            const uint8_t bytes[1] = {(uint8_t)byte};
            bool letter = byte != 0 && strchr("\"\\\n\r\t", (int)byte) != NULL;
            bool plain = byte >= 0x20 && byte <= 0x7e && !letter;
            size_t hexed = format == LOG_JSON ? 6 : 4;
            assert_int_equal(log_escape((enum log_format)format, bytes, 1, text, sizeof text), 1);
            assert_int_equal(strlen(text), plain ? 1 : letter ? 2 : hexed);
            assert_true(plain ? text[0] == (char)byte : text[0] == '\\');
            for (const char *c = text; *c != '\0'; c++)
                assert_in_range(*c, 0x20, 0x7e);
        }
    }
    print_message("escape: 512 cases\n");
}

static void escape_prints_a_mixture_of_bytes(void **state) {
    static const uint8_t bytes[] = {'a', 0, '"', '\\', '\n', '\r', '\t', 0x1b, 0x7f, 0x9b, 0xff};
    char text[64];
    assert_int_equal(log_escape(LOG_TEXT, bytes, sizeof bytes, text, sizeof text), sizeof bytes);
    assert_string_equal(text, "a\\x00\\\"\\\\\\n\\r\\t\\x1b\\x7f\\x9b\\xff");
    assert_int_equal(log_escape(LOG_JSON, bytes, sizeof bytes, text, sizeof text), sizeof bytes);
    assert_string_equal(text, "a\\u0000\\\"\\\\\\n\\r\\t\\u001b\\u007f\\u009b\\u00ff");
}

/* For every size of the output, only whole escapes are written and the count is right. */
static void escape_cuts_between_whole_escapes(void **state) {
    static const uint8_t bytes[] = {'a', 0x80, '\n', 'b', 0};
    static const size_t ends[] = {1, 5, 7, 8, 12};
    for (size_t room = 1; room <= 16; room++) {
        char text[17];
        memset(text, '#', sizeof text);
        size_t shown = log_escape(LOG_TEXT, bytes, sizeof bytes, text, room);
        size_t expected = 0;
        while (expected < sizeof bytes && ends[expected] < room)
            expected++;
        assert_int_equal(shown, expected);
        assert_int_equal(strlen(text), shown == 0 ? 0 : ends[shown - 1]);
        assert_int_equal(text[room], '#');
    }
}

/* A chunk too long for a line is cut so that the write is at most PIPE_BUF; the rest is counted. */
static void long_chunks_are_cut_to_one_atomic_write(void **state) {
    static uint8_t bytes[65536];
    static const int fills[] = {'x', 0xff, '"'};
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
            struct log log = open_log(LOG_CHUNKS, (enum log_format)format);
            struct token longest = {UINT32_MAX, UINT32_MAX};
            memset(bytes, fills[i], sizeof bytes);
            log_data(&log, longest, bytes, sizeof bytes);
            assert_in_range(sink.longest, PIPE_BUF / 2, PIPE_BUF);
            assert_int_equal(sink.bytes[sink.length - 1], '\n');
            assert_non_null(strstr(sink.bytes, "omitted"));
        }
    }
}

static void omitted_bytes_are_counted(void **state) {
    static uint8_t bytes[65536];
    struct log log = open_log(LOG_CHUNKS, LOG_TEXT);
    memset(bytes, 'x', sizeof bytes);
    log_data(&log, token, bytes, sizeof bytes);
    const char *text = strstr(sink.bytes, "text=\"") + strlen("text=\"");
    size_t shown = strspn(text, "x");
    char expected[64];
    snprintf(expected, sizeof expected, "data token=5.2 bytes=65536 omitted=%zu text=\"",
             sizeof bytes - shown);
    assert_memory_equal(sink.bytes, expected, strlen(expected));
    assert_string_equal(text + shown, "\"\n");
}

/* Lines that could not be written are counted; the count precedes the next line that can be. */
static void dropped_lines_are_counted_before_the_next_line(void **state) {
    struct log log = open_log(LOG_EVENTS, LOG_TEXT);
    sink.fault = FAULT_WOULD_BLOCK;
    log_connect(&log, token, &peer);
    log_connect(&log, token, &peer);
    sink.fault = FAULT_NONE;
    log_listening(&log, &peer);
    expect_lines("dropped lines=2\nlistening on 127.0.0.1:51234\n");
    log_listening(&log, &peer);
    expect_lines("listening on 127.0.0.1:51234\n");
    sink.fault = FAULT_PIPE;
    log_listening(&log, &peer);
    sink.fault = FAULT_NONE;
    log.format = LOG_JSON;
    log_listening(&log, &peer);
    expect_lines("{\"event\":\"dropped\",\"lines\":1}\n"
                 "{\"event\":\"listening\",\"address\":\"127.0.0.1:51234\"}\n");
}

/* A write that would block is not made. */
static void lines_are_dropped_while_the_sink_is_full(void **state) {
    struct log log = open_log(LOG_EVENTS, LOG_TEXT);
    sink.full = true;
    log_listening(&log, &peer);
    log_listening(&log, &peer);
    expect_lines("");
    sink.full = false;
    log_listening(&log, &peer);
    expect_lines("dropped lines=2\nlistening on 127.0.0.1:51234\n");
}

/* A full disk can take part of a line. The dropped line starts with a newline, so that lines do not
 * run together. */
static void torn_line_is_ended_by_the_dropped_line(void **state) {
    struct log log = open_log(LOG_EVENTS, LOG_TEXT);
    sink.cut = 9;
    log_listening(&log, &peer);
    expect_lines("listening");
    sink.fault = FAULT_NO_SPACE;
    log_listening(&log, &peer);
    sink.fault = FAULT_NONE;
    log_listening(&log, &peer);
    expect_lines("\ndropped ");
    sink.cut = SINK_BYTES;
    log_listening(&log, &peer);
    expect_lines("\ndropped lines=3\nlistening on 127.0.0.1:51234\n");
}

static void waiting_is_logged_with_its_reason(void **state) {
    struct log log = open_log(LOG_EVENTS, LOG_TEXT);
    log_wait(&log, (struct result){.fault = FAULT_NONE});
    expect_lines("wait reason=connections\n");
    log_wait(&log, (struct result){.fault = FAULT_DESCRIPTORS, .raw = 9999});
    expect_lines("wait reason=descriptors errno=9999\n");
    log_wait(&log, (struct result){.fault = FAULT_DESCRIPTORS});
    expect_lines("wait reason=descriptors\n");
    log_wait(&log, (struct result){.fault = FAULT_MEMORY, .raw = 9999});
    expect_lines("wait reason=memory errno=9999\n");
    log_accept(&log);
    expect_lines("accept\n");
    log.format = LOG_JSON;
    log_wait(&log, (struct result){.fault = FAULT_OTHER, .raw = 9999});
    expect_lines("{\"event\":\"wait\",\"reason\":\"error\",\"errno\":\"9999\"}\n");
    log_accept(&log);
    expect_lines("{\"event\":\"accept\"}\n");
    log.level = LOG_QUIET;
    log_wait(&log, (struct result){.fault = FAULT_NONE});
    log_accept(&log);
    expect_lines("");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_state_the_event_and_its_fields),
        cmocka_unit_test(json_lines_are_objects_with_the_same_fields),
        cmocka_unit_test(disconnect_states_the_reason_errno_and_byte_counts),
        cmocka_unit_test(each_level_selects_its_events),
        cmocka_unit_test(stop_states_the_number_of_connections),
        cmocka_unit_test(escape_prints_every_byte_as_printable_ascii),
        cmocka_unit_test(escape_prints_a_mixture_of_bytes),
        cmocka_unit_test(escape_cuts_between_whole_escapes),
        cmocka_unit_test(long_chunks_are_cut_to_one_atomic_write),
        cmocka_unit_test(omitted_bytes_are_counted),
        cmocka_unit_test(dropped_lines_are_counted_before_the_next_line),
        cmocka_unit_test(lines_are_dropped_while_the_sink_is_full),
        cmocka_unit_test(torn_line_is_ended_by_the_dropped_line),
        cmocka_unit_test(waiting_is_logged_with_its_reason),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
