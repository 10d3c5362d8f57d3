#include "sim/oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NEVER UINT64_MAX

/* The time after which accept is retried, and the least time between two sweeps for idleness. */
#define REST_MS 100

/* The service: bytes 0x61-0x7A decreased by 0x20, all others unchanged. */
static uint8_t mapped(uint8_t byte) { return byte > 0x60 && byte < 0x7b ? byte & 0xdf : byte; }

uint8_t oracle_mapped(uint8_t byte) { return mapped(byte); }

void oracle_init(struct oracle *oracle, const struct stream *stream, uint64_t idle_timeout_ms,
                 uint64_t drain_timeout_ms) {
    memset(oracle, 0, sizeof *oracle);
    memset(oracle->due_ms, 0xff, sizeof oracle->due_ms);
    oracle->stream = stream;
    oracle->idle_timeout_ms = idle_timeout_ms;
    oracle->drain_timeout_ms = drain_timeout_ms;
}

void oracle_fail(struct oracle *oracle, const char *format, ...) {
    if (oracle->failed) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(oracle->failure, sizeof oracle->failure, format, arguments);
    va_end(arguments);
    oracle->failed = true;
}

void oracle_accepted(struct oracle *oracle, uint32_t client, uint64_t now_ms) {
    oracle->due_ms[DUE_ACCEPT] = NEVER;
    oracle->clients[client].accepted = true;
    oracle->clients[client].progress_ms = now_ms;
    if (oracle->idle_timeout_ms > 0 && oracle->due_ms[DUE_IDLE] == NEVER)
        oracle->due_ms[DUE_IDLE] = now_ms + oracle->idle_timeout_ms;
}

void oracle_taken(struct oracle *oracle, uint32_t client, uint64_t count, uint64_t now_ms) {
    oracle->clients[client].taken += count;
    oracle->clients[client].progress_ms = now_ms;
}

/* Names the first byte that differs. Requires that one does. */
static void fail_of_bytes(struct oracle *oracle, uint32_t client, uint64_t position,
                          const uint8_t *bytes, const uint8_t *expected) {
    size_t i = 0;
    while (bytes[i] == expected[i])
        i++;
    unsigned long long at = position + i;
    oracle_fail(oracle, "client %c: byte %llu is 0x%02x, expected 0x%02x", 'a' + client, at,
                bytes[i], expected[i]);
}

void oracle_written(struct oracle *oracle, uint32_t client, const uint8_t *bytes, size_t count,
                    uint64_t now_ms) {
    struct oracle_client *c = &oracle->clients[client];
    if (c->ended) oracle_fail(oracle, "client %c: data after the server's FIN", 'a' + client);
    unsigned long long end = c->written + count;
    if (end > c->taken) {
        oracle_fail(oracle, "client %c: %llu bytes received, but %llu sent", 'a' + client,
                    (unsigned long long)c->taken, end);
        return;
    }
    for (size_t done = 0; done < count;) {
        uint8_t expected[256];
        size_t part = count - done < sizeof expected ? count - done : sizeof expected;
        stream_fill(oracle->stream, client, c->written + done, expected, part);
        for (size_t i = 0; i < part; i++)
            expected[i] = mapped(expected[i]);
        if (memcmp(bytes + done, expected, part) != 0) {
            fail_of_bytes(oracle, client, c->written + done, bytes + done, expected);
            return;
        }
        done += part;
    }
    c->written += count;
    c->progress_ms = now_ms;
}

/* The server may not close first, except for the documented limits. */
static bool may_end(const struct oracle *oracle, const struct oracle_client *c, uint64_t now_ms) {
    bool idle = oracle->idle_timeout_ms > 0 && now_ms - c->progress_ms >= oracle->idle_timeout_ms;
    return c->shut || c->gone || c->excused || oracle->stopping || idle;
}

void oracle_ended(struct oracle *oracle, uint32_t client, bool reset, uint64_t now_ms) {
    struct oracle_client *c = &oracle->clients[client];
    if (!may_end(oracle, c, now_ms))
        oracle_fail(oracle, "client %c: the server closed a healthy connection", 'a' + client);
    bool cut = c->gone || c->excused || oracle->stopping || oracle->idle_timeout_ms > 0;
    unsigned long long unanswered = c->sent - c->written;
    if (!cut && c->written < c->sent)
        oracle_fail(oracle, "client %c: the server closed with %llu of %llu bytes unanswered",
                    'a' + client, unanswered, (unsigned long long)c->sent);
    if (reset && !cut) oracle_fail(oracle, "client %c: expected FIN, got RST", 'a' + client);
    c->ended = true;
}

void oracle_end_seen(struct oracle *oracle, uint32_t client) {
    struct oracle_client *c = &oracle->clients[client];
    unsigned long long missed = c->written - c->got;
    if (c->got < c->written)
        oracle_fail(oracle, "client %c: FIN before %llu bytes", 'a' + client, missed);
}

void oracle_refused(struct oracle *oracle, uint64_t now_ms) {
    oracle->due_ms[DUE_ACCEPT] = now_ms + REST_MS;
}

void oracle_stops(struct oracle *oracle, uint64_t now_ms) {
    oracle->stopping = true;
    oracle->turned_away = false;
    oracle->due_ms[DUE_DRAIN] = now_ms + oracle->drain_timeout_ms;
}

/* When the next connection may become idle, other than those that are due now. One that has made
 * progress since gives a sweep without effect: a server need not reset its timer for every byte. */
static uint64_t next_idle_ms(const struct oracle *oracle, uint64_t now_ms) {
    uint64_t next = NEVER;
    for (uint32_t i = 0; i < SCENARIO_CLIENTS_MAX; i++) {
        const struct oracle_client *c = &oracle->clients[i];
        uint64_t due = c->progress_ms + oracle->idle_timeout_ms;
        if (c->accepted && !c->ended && due >= now_ms && due < next) next = due;
    }
    return next < now_ms + REST_MS ? now_ms + REST_MS : next;
}

/* The reason why a wait timed out: the first thing that became due during it; else one that was due
 * before. A server may also handle those when an event comes, which the oracle cannot observe. */
static uint32_t reason_of(const struct oracle *oracle, uint64_t began_ms, uint64_t now_ms) {
    uint32_t reason = DUE_KINDS;
    uint64_t first = NEVER;
    for (uint32_t i = 0; i < DUE_KINDS; i++) {
        uint64_t due = oracle->due_ms[i];
        uint64_t rank = due >= began_ms ? due : NEVER - 1 - i;
        if (due > now_ms || rank >= first) continue;
        reason = i;
        first = rank;
    }
    return reason;
}

void oracle_timed_out(struct oracle *oracle, uint64_t began_ms, uint64_t now_ms) {
    uint32_t reason = reason_of(oracle, began_ms, now_ms);
    unsigned long long waited = now_ms - began_ms;
    if (reason == DUE_KINDS)
        oracle_fail(oracle, "a wait of %llu ms timed out with nothing due", waited);
    else
        oracle->due_ms[reason] = reason == DUE_IDLE ? next_idle_ms(oracle, now_ms) : NEVER;
}
