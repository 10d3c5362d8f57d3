#include "fidelity/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "scenario/scenario.h"
#include "shell/text.h"
#include "sim/oracle.h"

#define TEXT_BYTES 128
#define CHUNK_BYTES 32768
#define LISTENER_TOKEN CLIENTS

/* More than a client reads, or a kernel takes. */
#define EVER (UINT64_C(1) << 40)

static uint8_t bytes[CHUNK_BYTES];

void world_fail(struct world *w, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s, call %u: %s\n", w->name, w->calls, text);
    w->mismatches++;
}

uint8_t world_byte(enum client client, uint64_t position) {
    return scenario_generated(client, position);
}

bool matches(const char *said, const char *expected) {
    size_t length = strlen(said);
    for (;;) {
        size_t alternative = strcspn(expected, "|");
        if (alternative == length && memcmp(said, expected, length) == 0) return true;
        if (expected[alternative] == '\0') return false;
        expected += alternative + 1;
    }
}

void finds(struct world *w, const char *what, const char *found, const char *expected) {
    w->calls++;
    if (!matches(found, expected)) world_fail(w, "%s: '%s', expected '%s'", what, found, expected);
}

static const char *word_of(struct result result) {
    static const char *const words[] = {
        [FAULT_WOULD_BLOCK] = "EAGAIN",   [FAULT_INTERRUPTED] = "EINTR",
        [FAULT_RESET] = "ECONNRESET",     [FAULT_PIPE] = "EPIPE",
        [FAULT_ABORTED] = "ECONNABORTED", [FAULT_DESCRIPTORS] = "EMFILE",
        [FAULT_MEMORY] = "ENOMEM",        [FAULT_NOT_FOUND] = "ENOENT",
        [FAULT_EXISTS] = "EEXIST",        [FAULT_NO_SPACE] = "ENOSPC",
    };
    static char text[TEXT_ERROR_BYTES];
    if (result.fault == FAULT_NONE)
        snprintf(text, sizeof text, "%lld", (long long)result.value);
    else if (result.fault == FAULT_OTHER || result.raw == ENOTCONN) /* FAULT_RESET has two */
        text_of_error(result.raw, text);
    else
        return words[result.fault];
    return text;
}

static void says(struct world *w, const char *call, enum client client, struct result result,
                 const char *expected) {
    char what[TEXT_BYTES];
    snprintf(what, sizeof what, "%s %c", call, 'A' + client);
    finds(w, what, word_of(result), expected);
}

/* Clients */

void serves(struct world *w, enum client client) {
    const char letter[] = {(char)('A' + client), '\0'};
    w->ops->connect(w, client, PLENTY);
    accepts(w, letter);
}

static const char *const ends[] = {[SEEN_OPEN] = "", [SEEN_FIN] = " FIN", [SEEN_RST] = " RST"};

static void see(struct world *w, enum client client, bool in_numbers, const char *expected) {
    char text[TEXT_BYTES];
    uint32_t turn = 0;
    do {
        w->ops->read(w, client, EVER);
        uint64_t got = w->clients[client].got;
        const char *end = ends[w->clients[client].seen];
        if (in_numbers)
            snprintf(text, sizeof text, "%llu%s", (unsigned long long)got, end);
        else
            snprintf(text, sizeof text, "%s%s", got == w->clients[client].answered ? "all" : "less",
                     end);
    } while (!matches(text, expected) && w->ops->rest(turn++));
    finds(w, "the client sees", text, expected);
}

void client_sees(struct world *w, enum client client, const char *expected) {
    see(w, client, true, expected);
}

void client_sees_all(struct world *w, enum client client, const char *expected) {
    see(w, client, false, expected);
}

/* The server's calls */

void accepts(struct world *w, const char *expected) {
    struct endpoint peer = {.port = 0};
    struct result result = w->kernel.ops->accept(w->kernel.self, w->listener, &peer);
    char letter[] = "?";
    for (enum client i = A; result.fault == FAULT_NONE && i < CLIENTS; i++) {
        if (w->clients[i].port != peer.port) continue;
        letter[0] = (char)('A' + i);
        w->clients[i].descriptor = (int32_t)result.value;
    }
    finds(w, "accept", result.fault == FAULT_NONE ? letter : word_of(result), expected);
}

/* Checks each byte that came. */
static struct result receive(struct world *w, enum client client, size_t length) {
    struct result result =
        w->kernel.ops->receive(w->kernel.self, w->clients[client].descriptor, bytes, length);
    if (result.fault != FAULT_NONE) return result;
    for (int64_t i = 0; i < result.value; i++) {
        uint64_t position = w->clients[client].received++;
        if (bytes[i] != world_byte(client, position))
            world_fail(w, "byte %llu is another than was sent", (unsigned long long)position);
    }
    return result;
}

void receives(struct world *w, enum client client, size_t length, const char *expected) {
    says(w, "receive from", client, receive(w, client, length), expected);
}

static struct result send(struct world *w, enum client client, size_t length) {
    uint64_t position = w->clients[client].answered;
    for (size_t i = 0; i < length; i++)
        bytes[i] = oracle_mapped(world_byte(client, position + i));
    struct result result =
        w->kernel.ops->send(w->kernel.self, w->clients[client].descriptor, bytes, length);
    if (result.fault == FAULT_NONE) w->clients[client].answered += (uint64_t)result.value;
    w->ops->settle(w, client);
    return result;
}

void sends(struct world *w, enum client client, size_t length, const char *expected) {
    says(w, "send to", client, send(w, client, length), expected);
}

void fills(struct world *w, enum client client) {
    struct result result;
    do {
        result = send(w, client, sizeof bytes);
    } while (result.fault == FAULT_NONE);
    says(w, "send without end to", client, result, "EAGAIN");
}

void empties(struct world *w, enum client client, const char *expected) {
    struct result result;
    do {
        result = receive(w, client, sizeof bytes);
        w->ops->settle(w, client);
    } while (result.fault == FAULT_NONE && result.value > 0);
    says(w, "receive to the last from", client, result, expected);
}

void shuts(struct world *w, enum client client, const char *expected) {
    struct result result = w->kernel.ops->shutdown(w->kernel.self, w->clients[client].descriptor);
    w->ops->settle(w, client);
    says(w, "shutdown of", client, result, expected);
}

void closes(struct world *w, enum client client, const char *expected) {
    struct result result = w->kernel.ops->close(w->kernel.self, w->clients[client].descriptor);
    w->clients[client].descriptor = 0;
    says(w, "close of", client, result, expected);
}

void counts_unread(struct world *w, enum client client, const char *expected) {
    says(w, "unread of", client,
         w->kernel.ops->unread(w->kernel.self, w->clients[client].descriptor), expected);
}

/* Readiness */

static struct result control(struct world *w, enum client client, enum epoll_operation operation,
                             uint32_t events) {
    struct epoll_change change = {.operation = operation, .events = events};
    return w->kernel.ops->epoll_control(w->kernel.self, w->queue, w->clients[client].descriptor,
                                        change, client);
}

void controls(struct world *w, enum client client, enum epoll_operation operation, uint32_t events,
              const char *expected) {
    says(w, "epoll_control of", client, control(w, client, operation, events), expected);
}

void watches_listener(struct world *w) {
    struct epoll_change change = {.operation = EPOLL_ADD, .events = IN};
    struct result result =
        w->kernel.ops->epoll_control(w->kernel.self, w->queue, w->listener, change, LISTENER_TOKEN);
    finds(w, "epoll_control of the listener", word_of(result), "0");
}

static void add_hints(char text[TEXT_BYTES], uint32_t events) {
    static const struct {
        uint32_t bit;
        const char *word;
    } words[] = {{EPOLL_CODEC_IN, "IN"},
                 {EPOLL_CODEC_OUT, "OUT"},
                 {EPOLL_CODEC_RDHUP, "RDHUP"},
                 {EPOLL_CODEC_ERR, "ERR"},
                 {EPOLL_CODEC_HUP, "HUP"}};
    const char *before = "";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((events & words[i].bit) == 0) continue;
        size_t length = strlen(text);
        snprintf(text + length, TEXT_BYTES - length, "%s%s", before, words[i].word);
        before = " ";
    }
}

/* Fills in what is ready, by token. */
static struct result wait(struct world *w, size_t max, uint32_t events[CLIENTS + 1]) {
    struct epoll_record records[CLIENTS + 1];
    struct result result = w->kernel.ops->epoll_wait(w->kernel.self, w->queue, records, max, 0);
    memset(events, 0, (CLIENTS + 1) * sizeof events[0]);
    for (int64_t i = 0; result.fault == FAULT_NONE && i < result.value; i++) {
        if (records[i].token > LISTENER_TOKEN || events[records[i].token] != 0)
            world_fail(w, "a record with token %llu", (unsigned long long)records[i].token);
        else
            events[records[i].token] = records[i].events;
    }
    return result;
}

void waits(struct world *w, size_t max, const char *expected) {
    uint32_t events[CLIENTS + 1];
    char text[TEXT_BYTES] = "";
    wait(w, max, events);
    for (uint32_t i = 0; i <= CLIENTS; i++) {
        if (events[i] == 0) continue;
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%c:", length > 0 ? ", " : "",
                 i == LISTENER_TOKEN ? 'L' : 'A' + i);
        add_hints(text, events[i]);
    }
    finds(w, "epoll_wait", text, expected);
}

static uint32_t hints_of(struct world *w, enum client client) {
    uint32_t events[CLIENTS + 1];
    control(w, client, EPOLL_ADD, IN | OUT | RDHUP);
    wait(w, 1, events);
    control(w, client, EPOLL_DELETE, NOTHING);
    return events[client];
}

void hints(struct world *w, enum client client, const char *expected) {
    char text[TEXT_BYTES] = "";
    add_hints(text, hints_of(w, client));
    finds(w, "hints", text, expected);
}

bool is_writable(struct world *w, enum client client) { return (hints_of(w, client) & OUT) != 0; }
