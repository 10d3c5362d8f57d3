/* Targets log_escape, and all functions that log a line, on a sink that fails.
 *
 * Escaped text is printable, decodes by the rules of JSON or C to the bytes that were shown, and
 * the next byte would not have fit. Whatever a client sends, a line is one line of at most PIPE_BUF
 * bytes. The sink receives, in order, whole lines, counts of lines that it refused, and the lines
 * that it cut. */

#include <limits.h>
#include <string.h>

#include "check.h"
#include "input.h"
#include "shell/log.h"

/* ---- Escaping */

#define ROOM_MAX 300

/* The length of a byte's escape: two characters, a hexadecimal number, or the byte itself. */
static size_t width_of(enum log_format format, uint8_t byte) {
    if (strchr("\"\\\n\r\t", byte) != NULL && byte != '\0') return 2;
    if (byte < ' ' || byte > '~') return format == LOG_JSON ? 6 : 4;
    return 1;
}

static unsigned digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(digits, c);
    CHECK(found != NULL);
    return (unsigned)(found - digits);
}

/* Reads one escape or plain byte, and advances. */
static uint8_t read_back(enum log_format format, const char **at) {
    const char *text = *at;
    CHECK(text[0] >= ' ' && text[0] <= '~' && text[0] != '"');
    *at += text[0] == '\\' ? 2 : 1;
    if (text[0] != '\\') return (uint8_t)text[0];
    switch (text[1]) {
    case 'n': return 10;
    case 'r': return 13;
    case 't': return 9;
    case '"':
    case '\\': return (uint8_t)text[1];
    case 'x': CHECK(format == LOG_TEXT); break;
    default: CHECK(text[1] == 'u' && text[2] == '0' && text[3] == '0' && format == LOG_JSON);
    }
    if (text[1] == 'u') *at += 2;
    unsigned high = digit((*at)[0]), low = digit((*at)[1]);
    *at += 2;
    return (uint8_t)(16 * high + low);
}

static void try_escape(struct input *in) {
    char text[ROOM_MAX + 1];
    enum log_format format = input_byte(in) % 2 == 1 ? LOG_JSON : LOG_TEXT;
    size_t room = 1 + input_size(in, ROOM_MAX - 1);
    const uint8_t *bytes = in->bytes + in->at;
    size_t length = in->length - in->at;
    memset(text, '?', sizeof text);
    size_t shown = log_escape(format, bytes, length, text, room);
    const char *at = text;
    CHECK(shown <= length);
    for (size_t i = 0; i < shown; i++)
        CHECK(read_back(format, &at) == bytes[i]);
    size_t used = (size_t)(at - text);
    CHECK(*at == '\0' && used < room);
    CHECK(shown == length || used + width_of(format, bytes[shown]) >= room);
    for (size_t i = used + 1; i < sizeof text; i++)
        CHECK(text[i] == '?');
}

/* ---- Lines */

#define CALLS_MAX 32

/* It takes a line whole, in part or not at all, and checks that it is the expected one, that it was
 * asked before, and that a write lasts a millisecond at most. */
struct sink {
    struct input *in;
    enum log_format format;
    const char *due;      /* the beginning of the expected line; null: none */
    const uint8_t *bytes; /* the bytes that the line shows; null: none */
    size_t length;
    uint64_t refused; /* lines since the last one that was taken whole */
    bool torn;        /* the last line was cut */
    bool asked;       /* it has room; no line has been written since */
    uint8_t decision; /* what it does with the line */
};

/* A dropped line states how many were refused, and ends a line that was cut. */
static void check_dropped(const struct sink *sink, const char *line) {
    const char *begin = sink->format == LOG_JSON ? "{\"event\":\"dropped\",\"lines\":" //
                                                 : "dropped lines=";
    char *end;
    CHECK((line[0] == '\n') == sink->torn);
    if (sink->torn) line++;
    CHECK(strncmp(line, begin, strlen(begin)) == 0);
    CHECK(strtoull(line + strlen(begin), &end, 10) == sink->refused);
    CHECK(strcmp(end, sink->format == LOG_JSON ? "}\n" : "\n") == 0);
}

/* The line shows the first bytes, and counts those that it omits. */
static void check_bytes(const struct sink *sink, const char *line) {
    const char *at = strstr(line, sink->format == LOG_JSON ? "\"text\":\"" : "text=\"");
    const char *omitted = strstr(line, "omitted");
    size_t shown = 0, counted = 0;
    CHECK(at != NULL);
    if (omitted != NULL && omitted < at)
        counted = strtoul(strpbrk(omitted, "0123456789"), NULL, 10);
    at = strchr(strchr(at, sink->format == LOG_JSON ? ':' : '='), '"') + 1;
    for (; *at != '"'; shown++) {
        CHECK(shown < sink->length);
        CHECK(read_back(sink->format, &at) == sink->bytes[shown]);
    }
    CHECK(shown + counted == sink->length);
    CHECK(strcmp(at + 1, sink->format == LOG_JSON ? "}\n" : "\n") == 0);
}

static void check_line(const struct sink *sink, const char *line, size_t length) {
    CHECK(strncmp(line, sink->due, strlen(sink->due)) == 0);
    for (size_t i = 0; i + 1 < length; i++)
        CHECK(line[i] >= ' ' && line[i] <= '~');
    CHECK(line[length - 1] == '\n');
    if (sink->bytes != NULL) check_bytes(sink, line);
}

/* A line that blocks does so when the sink is asked, or only when it is written. */
static struct result log_poll(void *self) {
    struct sink *sink = self;
    CHECK(sink->due != NULL && !sink->asked);
    sink->decision = input_byte(sink->in);
    sink->asked = sink->decision % 8 != 5;
    if (sink->asked) return (struct result){.fault = FAULT_NONE};
    sink->refused++;
    sink->due = NULL;
    return (struct result){.fault = FAULT_WOULD_BLOCK};
}

static struct result log_write(void *self, const char *line, size_t length, int32_t limit_us) {
    struct sink *sink = self;
    char text[PIPE_BUF + 1];
    bool dropped = sink->refused > 0;
    CHECK(sink->asked && limit_us > 0 && limit_us <= 1000);
    CHECK(length > 1 && length <= PIPE_BUF);
    memcpy(text, line, length);
    text[length] = '\0';
    if (dropped)
        check_dropped(sink, text);
    else
        check_line(sink, text, length);
    bool blocks = sink->decision % 8 == 1;
    bool cuts = sink->decision % 4 == 2;
    size_t taken = cuts ? 1 + sink->decision % (length - 1) : length;
    bool whole = !blocks && taken == length;
    if (!blocks) sink->torn = !whole;
    sink->asked = false;
    sink->refused = whole ? 0 : sink->refused + 1;
    if (!whole || !dropped) sink->due = NULL;
    if (blocks) return (struct result){.fault = FAULT_WOULD_BLOCK};
    return (struct result){.value = (int64_t)taken};
}

static struct connection ended(struct input *in, const struct endpoint *peer) {
    struct connection c = {.state = CONNECTION_DONE, .peer = *peer};
    c.received = input_number(in, UINT64_MAX);
    if (c.received > 0) c.pending.write = (uint32_t)(input_byte(in) % 2);
    c.reason = (uint8_t)(1 + input_byte(in) % CONNECTION_EXPIRED);
    return c;
}

enum what { CONNECT, DATA, LEAVE, STOP, LISTENING, WAIT, ACCEPT };

static const char *const begins[][2] = {
    [CONNECT] = {"connect token=", "{\"event\":\"connect\",\"token\":\""},
    [DATA] = {"data token=", "{\"event\":\"data\",\"token\":\""},
    [LEAVE] = {"disconnect token=", "{\"event\":\"disconnect\",\"token\":\""},
    [STOP] = {"stop connections=", "{\"event\":\"stop\",\"connections\":"},
    [LISTENING] = {"listening on ", "{\"event\":\"listening\",\"address\":\""},
    [WAIT] = {"wait reason=", "{\"event\":\"wait\",\"reason\":\""},
    [ACCEPT] = {"accept", "{\"event\":\"accept\""},
};

static void call(struct log *log, struct sink *sink, const uint8_t *bytes, size_t length) {
    char due[64];
    struct input *in = sink->in;
    uint8_t byte = input_byte(in); /* WAIT and ACCEPT came later: older inputs keep their meaning */
    enum what what = (enum what)(byte >= 254 ? byte - 254 + WAIT : byte % WAIT);
    struct endpoint peer = {.port = input_byte(in), .family = input_byte(in) % 2};
    struct token token = {.slot = (uint32_t)input_number(in, UINT32_MAX)};
    token.generation = (uint32_t)input_number(in, UINT32_MAX);
    if (peer.family == ENDPOINT_IPV6) peer.scope = input_byte(in);
    int begin = snprintf(due, sizeof due, "%s", begins[what][log->format]);
    if (what <= LEAVE)
        snprintf(due + begin, sizeof due - (size_t)begin, "%u.%u", token.slot, token.generation);
    sink->due = due;
    sink->bytes = what == DATA ? bytes : NULL;
    sink->length = length;
    if (what == CONNECT) log_connect(log, token, &peer);
    if (what == DATA) log_data(log, token, bytes, length);
    if (what == STOP) log_stop(log, token.slot);
    if (what == LISTENING) log_listening(log, &peer);
    struct result why = {.fault = (enum fault)(length % (FAULT_OTHER + 1)), .raw = peer.port};
    if (what == WAIT) log_wait(log, why);
    if (what == ACCEPT) log_accept(log);
    if (what == LEAVE) {
        struct connection connection = ended(in, &peer);
        log_disconnect(log, token, &connection, (int32_t)input_byte(in));
    }
    CHECK(sink->due == NULL);
    CHECK(log->dropped == sink->refused);
}

/* The last bytes of the input are the clients' data. */
static void try_lines(struct input *in) {
    static const struct kernel_ops ops = {.log_poll = log_poll, .log_write = log_write};
    struct sink sink = {.in = in, .format = input_byte(in) % 2 == 1 ? LOG_JSON : LOG_TEXT};
    struct log log = {.kernel = {&ops, &sink}, .level = LOG_CHUNKS, .format = sink.format};
    size_t length = input_size(in, in->length - in->at);
    const uint8_t *bytes = in->bytes + in->length - length;
    for (int i = 0; i < CALLS_MAX && !input_ended(in); i++)
        call(&log, &sink, bytes, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size, 0};
    if (input_byte(&in) % 2 == 0)
        try_escape(&in);
    else
        try_lines(&in);
    return 0;
}
