#include "fidelity/environment.h"

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

/* On BSD an acknowledgement that is under way frees room after the first EAGAIN: it has to last for
 * so many milliseconds. */
#define FULL_TURNS 300

/* More than any client reads. */
#define EVER (UINT64_C(1) << 40)

static uint8_t bytes[CHUNK_BYTES];

void environment_fail(struct environment *env, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s, call %u: %s\n", env->name, env->calls, text);
    env->mismatches++;
}

uint8_t environment_byte(enum client client, uint64_t position) {
    return scenario_generated(client, position);
}

bool matches(const char *found, const char *expected) {
    size_t length = strlen(found);
    for (;;) {
        size_t alternative = strcspn(expected, "|");
        if (alternative == length && memcmp(found, expected, length) == 0) return true;
        if (expected[alternative] == '\0') return false;
        expected += alternative + 1;
    }
}

void finds(struct environment *env, const char *what, const char *found, const char *expected) {
    env->calls++;
    if (!matches(found, expected))
        environment_fail(env, "%s: '%s', expected '%s'", what, found, expected);
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
    else if (result.fault == FAULT_OTHER || result.raw == ENOTCONN ||
             result.raw == EINVAL) /* FAULT_RESET has several */
        text_of_error(result.raw, text);
    else
        return words[result.fault];
    return text;
}

static void returns(struct environment *env, const char *call, enum client client,
                    struct result result, const char *expected) {
    char what[TEXT_BYTES];
    snprintf(what, sizeof what, "%s %c", call, 'A' + client);
    finds(env, what, word_of(result), expected);
}

/* Clients */

void serves(struct environment *env, enum client client) {
    const char letter[] = {(char)('A' + client), '\0'};
    env->ops->connect(env, client, PLENTY);
    accepts(env, letter);
}

static const char *const ends[] = {[SEEN_OPEN] = "", [SEEN_FIN] = " FIN", [SEEN_RST] = " RST"};

static void see(struct environment *env, enum client client, bool in_numbers,
                const char *expected) {
    char text[TEXT_BYTES];
    uint32_t turn = 0;
    do {
        env->ops->read(env, client, EVER);
        uint64_t got = env->clients[client].got;
        const char *end = ends[env->clients[client].seen];
        if (in_numbers)
            snprintf(text, sizeof text, "%llu%s", (unsigned long long)got, end);
        else
            snprintf(text, sizeof text, "%s%s",
                     got == env->clients[client].answered ? "all" : "less", end);
    } while (!matches(text, expected) && env->ops->rest(turn++));
    finds(env, "the client sees", text, expected);
}

void client_sees(struct environment *env, enum client client, const char *expected) {
    see(env, client, true, expected);
}

void client_sees_all(struct environment *env, enum client client, const char *expected) {
    see(env, client, false, expected);
}

/* The server's calls */

void accepts(struct environment *env, const char *expected) {
    struct endpoint peer = {.port = 0};
    struct result result = env->kernel.ops->accept(env->kernel.self, env->listener, &peer);
    char letter[] = "?";
    for (enum client i = A; result.fault == FAULT_NONE && i < CLIENTS; i++) {
        if (env->clients[i].port != peer.port) continue;
        letter[0] = (char)('A' + i);
        env->clients[i].descriptor = (int32_t)result.value;
    }
    finds(env, "accept", result.fault == FAULT_NONE ? letter : word_of(result), expected);
}

/* Checks each byte received. */
static struct result receive(struct environment *env, enum client client, size_t length) {
    struct result result =
        env->kernel.ops->receive(env->kernel.self, env->clients[client].descriptor, bytes, length);
    if (result.fault != FAULT_NONE) return result;
    for (int64_t i = 0; i < result.value; i++) {
        uint64_t position = env->clients[client].received++;
        if (bytes[i] != environment_byte(client, position))
            environment_fail(env, "byte %llu differs from what was sent",
                             (unsigned long long)position);
    }
    return result;
}

void receives(struct environment *env, enum client client, size_t length, const char *expected) {
    returns(env, "receive from", client, receive(env, client, length), expected);
}

static struct result send(struct environment *env, enum client client, size_t length) {
    uint64_t position = env->clients[client].answered;
    for (size_t i = 0; i < length; i++)
        bytes[i] = oracle_mapped(environment_byte(client, position + i));
    struct result result =
        env->kernel.ops->send(env->kernel.self, env->clients[client].descriptor, bytes, length);
    if (result.fault == FAULT_NONE) env->clients[client].answered += (uint64_t)result.value;
    env->ops->settle(env, client);
    return result;
}

void sends(struct environment *env, enum client client, size_t length, const char *expected) {
    returns(env, "send to", client, send(env, client, length), expected);
}

void fills(struct environment *env, enum client client) {
    uint32_t most = strcmp(env->name, "kqueue") == 0 ? FULL_TURNS : 0;
    uint32_t turn = 0;
    struct result result;
    do {
        result = send(env, client, sizeof bytes);
        if (result.fault == FAULT_NONE) turn = 0;
    } while (result.fault == FAULT_NONE || (turn++ < most && env->ops->rest(0)));
    returns(env, "repeated send to", client, result, "EAGAIN");
}

void empties(struct environment *env, enum client client, const char *expected) {
    struct result result;
    do {
        result = receive(env, client, sizeof bytes);
        env->ops->settle(env, client);
    } while (result.fault == FAULT_NONE && result.value > 0);
    returns(env, "repeated receive from", client, result, expected);
}

void shuts(struct environment *env, enum client client, const char *expected) {
    struct result result =
        env->kernel.ops->shutdown(env->kernel.self, env->clients[client].descriptor);
    env->ops->settle(env, client);
    returns(env, "shutdown of", client, result, expected);
}

void closes(struct environment *env, enum client client, const char *expected) {
    struct result result =
        env->kernel.ops->close(env->kernel.self, env->clients[client].descriptor);
    env->clients[client].descriptor = 0;
    returns(env, "close of", client, result, expected);
}

void counts_unread(struct environment *env, enum client client, const char *expected) {
    returns(env, "unread of", client,
            env->kernel.ops->unread(env->kernel.self, env->clients[client].descriptor), expected);
}

/* Readiness */

static struct result control(struct environment *env, enum client client,
                             enum epoll_operation operation, uint32_t events) {
    struct epoll_change change = {.operation = operation, .events = events};
    return env->kernel.ops->epoll_control(env->kernel.self, env->queue,
                                          env->clients[client].descriptor, change, client);
}

void controls(struct environment *env, enum client client, enum epoll_operation operation,
              uint32_t events, const char *expected) {
    returns(env, "epoll_control of", client, control(env, client, operation, events), expected);
}

void watches_listener(struct environment *env, uint32_t events) {
    struct epoll_change change = {.operation = EPOLL_ADD, .events = events};
    struct result result = env->kernel.ops->epoll_control(env->kernel.self, env->queue,
                                                          env->listener, change, LISTENER_TOKEN);
    finds(env, "epoll_control of the listener", word_of(result), "0");
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

/* Fills in the events by token. */
static struct result wait(struct environment *env, size_t max, uint32_t events[CLIENTS + 1]) {
    struct epoll_record records[CLIENTS + 1];
    struct result result =
        env->kernel.ops->epoll_wait(env->kernel.self, env->queue, records, max, 0);
    memset(events, 0, (CLIENTS + 1) * sizeof events[0]);
    for (int64_t i = 0; result.fault == FAULT_NONE && i < result.value; i++) {
        if (records[i].token > LISTENER_TOKEN || events[records[i].token] != 0)
            environment_fail(env, "unexpected record with token %llu",
                             (unsigned long long)records[i].token);
        else
            events[records[i].token] = records[i].events;
    }
    return result;
}

void waits(struct environment *env, size_t max, const char *expected) {
    uint32_t events[CLIENTS + 1];
    char text[TEXT_BYTES] = "";
    wait(env, max, events);
    for (uint32_t i = 0; i <= CLIENTS; i++) {
        if (events[i] == 0) continue;
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%c:", length > 0 ? ", " : "",
                 i == LISTENER_TOKEN ? 'L' : 'A' + i);
        add_hints(text, events[i]);
    }
    finds(env, "epoll_wait", text, expected);
}

static uint32_t hints_of(struct environment *env, enum client client) {
    uint32_t events[CLIENTS + 1];
    control(env, client, EPOLL_ADD, IN | OUT | RDHUP);
    wait(env, 1, events);
    control(env, client, EPOLL_DELETE, NOTHING);
    return events[client];
}

void hints(struct environment *env, enum client client, const char *expected) {
    char text[TEXT_BYTES] = "";
    add_hints(text, hints_of(env, client));
    finds(env, "hints", text, expected);
}

bool is_writable(struct environment *env, enum client client) {
    return (hints_of(env, client) & OUT) != 0;
}
