/* Writes the module vectors: results of the core for given input, as JSON, for unit tests of ports.
 *
 *     vectors DIRECTORY
 *
 * Every result is computed by the core; none is written here. CTest compares the output with the
 * files in tests/vectors, so they change only with the core. README.md describes them. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/connection.h"
#include "core/epoll_codec.h"
#include "core/kqueue_codec.h"
#include "core/outcome.h"
#include "core/token.h"
#include "core/upper.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define CAPACITY 16
#define DESCRIPTOR 7
#define ECONNRESET_OF_BSD 54

static const char *const faults[] = {
    [FAULT_NONE] = "NONE",
    [FAULT_WOULD_BLOCK] = "WOULD_BLOCK",
    [FAULT_INTERRUPTED] = "INTERRUPTED",
    [FAULT_RESET] = "RESET",
    [FAULT_PIPE] = "PIPE",
    [FAULT_ABORTED] = "ABORTED",
    [FAULT_DESCRIPTORS] = "DESCRIPTORS",
    [FAULT_MEMORY] = "MEMORY",
    [FAULT_NOT_FOUND] = "NOT_FOUND",
    [FAULT_EXISTS] = "EXISTS",
    [FAULT_NO_SPACE] = "NO_SPACE",
    [FAULT_OTHER] = "OTHER",
};
static const char *const outcomes[] = {
    [OUTCOME_MOVED] = "MOVED",
    [OUTCOME_INTERRUPTED] = "INTERRUPTED",
    [OUTCOME_WOULD_BLOCK] = "WOULD_BLOCK",
    [OUTCOME_END] = "END",
    [OUTCOME_RESET] = "RESET",
    [OUTCOME_FAILED] = "FAILED",
};
static const char *const states[] = {
    [CONNECTION_CLOSED] = "CLOSED",     [CONNECTION_OPEN] = "OPEN",
    [CONNECTION_STOPPING] = "STOPPING", [CONNECTION_LINGERING] = "LINGERING",
    [CONNECTION_DONE] = "DONE",
};
static const char *const wants[] = {
    [CONNECTION_WANTS_NOTHING] = "NOTHING", [CONNECTION_WANTS_READ] = "READ",
    [CONNECTION_WANTS_WRITE] = "WRITE",     [CONNECTION_WANTS_SHUTDOWN] = "SHUTDOWN",
    [CONNECTION_WANTS_CLOSE] = "CLOSE",
};
static const char *const interests[] = {
    [INTEREST_NONE] = "NONE", [INTEREST_READ] = "READ", [INTEREST_WRITE] = "WRITE"};
static const char *const reasons[] = {
    [CONNECTION_REASON_NONE] = "NONE", [CONNECTION_ENDED] = "ENDED",
    [CONNECTION_RESET] = "RESET",      [CONNECTION_FAILED] = "FAILED",
    [CONNECTION_IDLE] = "IDLE",        [CONNECTION_EXPIRED] = "EXPIRED",
};

/* Output: an array of objects, one per line. */

static FILE *file;
static const char *separator;

__attribute__((format(printf, 1, 2))) static void out(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
}

static void begin(const char *directory, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.json", directory, name);
    file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "vectors: cannot write %s\n", path);
        exit(1);
    }
    separator = "[\n  ";
}

static void next(void) {
    out("%s", separator);
    separator = ",\n  ";
}

static void end(void) {
    out("\n]\n");
    if (fclose(file) != 0) {
        fprintf(stderr, "vectors: the last file cannot be written\n");
        exit(1);
    }
}

static const char *yes_or_no(bool value) { return value ? "true" : "false"; }

/* outcome: (result, asked) -> outcome */

typedef struct outcome call(struct result result, size_t asked);

static struct outcome accept_call(struct result result, size_t asked) {
    return outcome_of_accept(result);
}

static void write_outcome(const char *name, call *of, int64_t value, enum fault fault,
                          size_t asked) {
    struct outcome outcome = of((struct result){.value = value, .fault = fault}, asked);
    next();
    out("{\"call\": \"%s\", \"value\": \"%" PRId64 "\", \"fault\": \"%s\", \"asked\": \"%zu\", ",
        name, value, faults[fault], asked);
    out("\"outcome\": \"%s\", \"count\": \"%zu\"}", outcomes[outcome.kind], outcome.count);
}

static void write_outcomes_of(const char *name, call *of, size_t asked) {
    int64_t near = (int64_t)asked;
    const int64_t values[] = {
        INT64_MIN, -1, 0, 1, near - 1, near, near < INT64_MAX ? near + 1 : near, INT64_MAX};
    for (size_t i = 0; i < LENGTH(values); i++)
        write_outcome(name, of, values[i], FAULT_NONE, asked);
    for (enum fault fault = FAULT_NONE + 1; fault <= FAULT_OTHER; fault++)
        write_outcome(name, of, -1, fault, asked);
}

static void write_outcomes(void) {
    static const size_t asked[] = {0, 1, 4096, 65536, INT32_MAX, UINT32_MAX, INT64_MAX};
    for (size_t i = 0; i < LENGTH(asked); i++) {
        write_outcomes_of("receive", outcome_of_receive, asked[i]);
        write_outcomes_of("send", outcome_of_send, asked[i]);
    }
    write_outcomes_of("accept", accept_call, 0);
}

/* connection: (state, event) -> state, and what each state wants */

static struct connection connection_in(enum connection_state state, uint32_t pending,
                                       uint32_t owed) {
    return (struct connection){
        .received = pending,
        .pending = {.read = 0, .write = pending},
        .slot = {.generation = 1, .live = true},
        .owed = owed,
        .state = (uint8_t)state,
        .reason = state == CONNECTION_DONE ? CONNECTION_ENDED : CONNECTION_REASON_NONE,
    };
}

static void write_connection(const struct connection *c) {
    out("{\"state\": \"%s\", ", states[c->state]);
    if (c->state != CONNECTION_DONE)
        out("\"pending\": %zu, \"owed\": %" PRIu32 ", ", buffer_pending(&c->pending), c->owed);
    out("\"wants\": \"%s\", ", wants[connection_wants(c)]);
    out("\"interest\": \"%s\"", interests[connection_interest(c)]);
    if (connection_wants(c) == CONNECTION_WANTS_READ)
        out(", \"receive_max\": %zu", connection_receive_max(c, CAPACITY));
    if (c->state == CONNECTION_DONE) out(", \"reason\": \"%s\"", reasons[c->reason]);
    out("}");
}

/* The outcome of a call, or what the server did. */
struct event {
    enum { RECEIVED, SENT, STOPPED, SHUT, EXPIRED } kind;
    struct outcome outcome;
    uint32_t unread;
};

static void apply(struct connection *c, struct event event) {
    switch (event.kind) {
    case RECEIVED: connection_received(c, event.outcome); break;
    case SENT: connection_sent(c, event.outcome); break;
    case STOPPED: connection_stop(c, event.unread); break;
    case SHUT: connection_shut(c); break;
    case EXPIRED: connection_lose(c, CONNECTION_EXPIRED); break;
    }
}

static void write_transition(struct connection c, struct event event) {
    static const char *const names[] = {"received", "sent", "stop", "shut", "expire"};
    next();
    out("{\"before\": ");
    write_connection(&c);
    out(",\n   \"event\": \"%s\"", names[event.kind]);
    if (event.kind == RECEIVED || event.kind == SENT)
        out(", \"outcome\": \"%s\", \"count\": %zu", outcomes[event.outcome.kind],
            event.outcome.count);
    if (event.kind == STOPPED) out(", \"unread\": %" PRIu32, event.unread);
    apply(&c, event);
    if (!connection_is_valid(&c, CAPACITY)) {
        fprintf(stderr, "vectors: the core returned an invalid connection\n");
        exit(1);
    }
    out(",\n   \"after\": ");
    write_connection(&c);
    out("}");
}

static void write_moves(struct connection c, struct event event, size_t most) {
    const size_t counts[] = {1, most / 2, most};
    for (size_t i = 0; i < LENGTH(counts); i++) {
        if (counts[i] == 0 || (i > 0 && counts[i] <= counts[i - 1])) continue;
        event.outcome = (struct outcome){.kind = OUTCOME_MOVED, .count = counts[i]};
        write_transition(c, event);
    }
    for (enum outcome_kind kind = OUTCOME_INTERRUPTED; kind <= OUTCOME_FAILED; kind++) {
        if (kind == OUTCOME_END && event.kind == SENT) continue;
        event.outcome = (struct outcome){.kind = kind};
        write_transition(c, event);
    }
}

static void write_events(struct connection c) {
    switch (connection_wants(&c)) {
    case CONNECTION_WANTS_READ:
        write_moves(c, (struct event){.kind = RECEIVED}, connection_receive_max(&c, CAPACITY));
        break;
    case CONNECTION_WANTS_WRITE:
        write_moves(c, (struct event){.kind = SENT}, buffer_pending(&c.pending));
        break;
    case CONNECTION_WANTS_SHUTDOWN: write_transition(c, (struct event){.kind = SHUT}); break;
    default: break;
    }
    if (c.state == CONNECTION_OPEN) {
        write_transition(c, (struct event){.kind = STOPPED, .unread = 0});
        write_transition(c, (struct event){.kind = STOPPED, .unread = 5});
    }
    write_transition(c, (struct event){.kind = EXPIRED});
}

static void write_connections(void) {
    static const uint32_t pendings[] = {0, 1, 5}, oweds[] = {0, 1, 7, CAPACITY, 100};
    for (enum connection_state state = CONNECTION_OPEN; state <= CONNECTION_DONE; state++) {
        for (size_t p = 0; p < LENGTH(pendings); p++) {
            for (size_t o = 0; o < LENGTH(oweds); o++) {
                struct connection c = connection_in(state, pendings[p], oweds[o]);
                bool plain = state != CONNECTION_DONE || (p == 0 && o == 0);
                if (plain && connection_is_valid(&c, CAPACITY)) write_events(c);
            }
        }
    }
}

/* readiness: a poller's record -> hints */

static void write_hex(const char *name, uint64_t value) {
    out("\"%s\": \"0x%016" PRIx64 "\"", name, value);
}

static void write_readiness(struct readiness ready) {
    out(", \"slot\": %" PRIu32 ", \"generation\": %" PRIu32, ready.token.slot,
        ready.token.generation);
    out(", \"readable\": %s, \"writable\": %s", yes_or_no(ready.readable),
        yes_or_no(ready.writable));
    out(", \"hangup\": %s, \"error\": %s}", yes_or_no(ready.hangup), yes_or_no(ready.error));
}

static const struct token seen[] = {{0, 0}, {1, 0}, {7, 1}, {1023, UINT32_MAX}};

static void write_epoll(void) {
    static const uint32_t bits[] = {EPOLL_CODEC_IN, EPOLL_CODEC_OUT, EPOLL_CODEC_ERR,
                                    EPOLL_CODEC_HUP, EPOLL_CODEC_RDHUP};
    for (unsigned set = 0; set < 1u << LENGTH(bits); set++) {
        struct epoll_record record = {.token = token_pack(seen[set % LENGTH(seen)])};
        for (size_t i = 0; i < LENGTH(bits); i++)
            record.events += set >> i & 1 ? bits[i] : 0;
        next();
        out("{\"events\": %" PRIu32 ", ", record.events);
        write_hex("data", record.token);
        write_readiness(epoll_decode(&record));
    }
}

static void write_kqueue(void) {
    static const char *const filters[] = {"OTHER", "READ", "WRITE"};
    static const uint32_t flags[] = {0, KQUEUE_CODEC_EOF, KQUEUE_CODEC_ERROR,
                                     KQUEUE_CODEC_EOF + KQUEUE_CODEC_ERROR};
    static const uint32_t filter_flags[] = {0, ECONNRESET_OF_BSD};
    static const int64_t data[] = {0, 9000};
    for (unsigned set = 0; set < 3 * 4 * 2 * 2; set++) {
        struct kqueue_record record = {
            .descriptor = DESCRIPTOR,
            .filter = (enum kqueue_filter)(set / 16),
            .flags = flags[set / 4 % 4],
            .filter_flags = filter_flags[set / 2 % 2],
            .data = data[set % 2],
            .token = token_pack(seen[set % LENGTH(seen)]),
        };
        next();
        out("{\"filter\": \"%s\", \"flags\": %" PRIu32 ", \"fflags\": %" PRIu32,
            filters[record.filter], record.flags, record.filter_flags);
        out(", \"data\": %" PRId64 ", ", record.data);
        write_hex("udata", record.token);
        write_readiness(kqueue_decode(&record));
    }
}

/* token: what one slot issues, and which tokens resolve to it meanwhile */

static void write_step(const char *step, struct token token, const struct token_slot *slot) {
    next();
    out("{\"step\": \"%s\", \"slot\": %" PRIu32 ", \"generation\": %" PRIu32 ", ", step, token.slot,
        token.generation);
    write_hex("packed", token_pack(token));
    if (strcmp(step, "resolve") == 0)
        out(", \"resolves\": %s", yes_or_no(token_resolves(token, slot)));
    out("}");
}

/* From a slot that issued `generation` last: three lives, with all tokens resolved in each. */
static void write_lives(uint32_t number, uint32_t generation) {
    struct token_slot slot = {.generation = generation, .live = false};
    struct token known[4] = {{.slot = number, .generation = generation}};
    write_step("begin", known[0], &slot);
    for (size_t life = 1; life < LENGTH(known); life++) {
        known[life] = token_issue(&slot, number);
        write_step("issue", known[life], &slot);
        for (size_t i = 0; i <= life; i++)
            write_step("resolve", known[i], &slot);
        token_release(&slot);
        write_step("release", known[life], &slot);
        write_step("resolve", known[life], &slot);
    }
}

static void write_tokens(void) {
    write_lives(7, 0);
    write_lives(0, 41);
    write_lives(1023, UINT32_MAX - 1);
}

/* upper: bytes -> bytes */

static void write_bytes(const char *name, const uint8_t *bytes, size_t length) {
    out("\"%s\": \"", name);
    for (size_t i = 0; i < length; i++)
        out("%02x", bytes[i]);
    out("\"");
}

static void write_upper(const void *input, size_t length) {
    uint8_t bytes[512];
    memcpy(bytes, input, length);
    next();
    out("{");
    write_bytes("input", bytes, length);
    upper(bytes, length);
    out(", ");
    write_bytes("output", bytes, length);
    out("}");
}

static void write_uppers(void) {
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    write_upper("", 0);
    write_upper(all, sizeof all);
    static const char *const texts[] = {"hello",
                                        "`az{",
                                        "@AZ[",
                                        "a\r\nz",
                                        "stra\xc3\x9fz",
                                        "\xc4\xb1i\xc4\xb0I",
                                        "\xff\xfe\x80z\xe1"};
    for (size_t i = 0; i < LENGTH(texts); i++)
        write_upper(texts[i], strlen(texts[i]));
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof all; i++) {
        state = state * 1664525u + 1013904223u;
        all[i] = (uint8_t)(state >> 24);
    }
    write_upper(all, sizeof all);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*write)(void);
    } modules[] = {{"outcome", write_outcomes},      {"connection", write_connections},
                   {"readiness_epoll", write_epoll}, {"readiness_kqueue", write_kqueue},
                   {"token", write_tokens},          {"upper", write_uppers}};
    if (argc != 2) {
        fprintf(stderr, "vectors: expected one argument, a directory to write to\n");
        return 2;
    }
    for (size_t i = 0; i < LENGTH(modules); i++) {
        begin(argv[1], modules[i].name);
        modules[i].write();
        end();
    }
    return 0;
}
