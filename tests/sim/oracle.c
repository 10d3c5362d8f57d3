#include "sim/oracle.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NEVER UINT64_MAX

/* The time after which accept is retried, and the least time between two sweeps for idleness. */
#define REST_MS 100

/* Of a pass: this many receives, and some for each connection that is ready; one accept, and one
 * more for so many that are ready. */
#define PASS_RECEIVES 128
#define RECEIVES_PER_READY 2
#define READY_PER_ACCEPT 16

/* A connection that is idle is closed at most so much later: a sweep comes after REST_MS, waits end
 * late, and some are interrupted. */
#define IDLE_LATE_MS 500

/* The service: bytes 0x61-0x7A decreased by 0x20, all others unchanged. */
static uint8_t mapped(uint8_t byte) { return byte > 0x60 && byte < 0x7b ? byte & 0xdf : byte; }

uint8_t oracle_mapped(uint8_t byte) { return mapped(byte); }

void oracle_init(struct oracle *oracle, struct stream *stream, uint64_t idle_timeout_ms,
                 uint64_t drain_timeout_ms) {
    memset(oracle->clients, 0, oracle->client_count * sizeof oracle->clients[0]);
    memset(oracle, 0, offsetof(struct oracle, clients));
    memset(oracle->due_ms, 0xff, sizeof oracle->due_ms);
    oracle->swept_ms = NEVER;
    oracle->stream = stream;
    oracle->idle_timeout_ms = idle_timeout_ms;
    oracle->drain_timeout_ms = drain_timeout_ms;
}

void oracle_fail(struct oracle *oracle, const char *code, const char *format, ...) {
    if (oracle->failed) return;
    char text[ORACLE_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(oracle->failure, sizeof oracle->failure, "%s [%s]", text, code);
    oracle->failed = true;
}

void oracle_connected(struct oracle *oracle, uint32_t client) {
    if (oracle->client_count <= client) oracle->client_count = client + 1;
    oracle->clients[client].connected = true;
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

void oracle_left_out(struct oracle *oracle, uint32_t client) {
    struct oracle_client *c = &oracle->clients[client];
    stream_leave_out(oracle->stream, client, c->taken);
    c->left_out++;
    c->at_stop -= c->at_stop > c->taken;
    c->sent--;
}

/* Names the first byte that differs. Requires that one does. */
static void fail_of_bytes(struct oracle *oracle, uint32_t client, uint64_t position,
                          const uint8_t *bytes, const uint8_t *expected) {
    size_t i = 0;
    while (bytes[i] == expected[i])
        i++;
    unsigned long long at = position + i;
    oracle_fail(oracle, "wrong-byte", "client %s: byte %llu is 0x%02x, expected 0x%02x",
                scenario_client_name(client), at, bytes[i], expected[i]);
}

void oracle_written(struct oracle *oracle, uint32_t client, const uint8_t *bytes, size_t count,
                    uint64_t now_ms) {
    struct oracle_client *c = &oracle->clients[client];
    if (c->ended)
        oracle_fail(oracle, "unasked-data", "client %s: data after the server's FIN",
                    scenario_client_name(client));
    unsigned long long end = c->written + count;
    if (end > c->taken) {
        oracle_fail(oracle, "unasked-data",
                    "client %s: the server sent %llu bytes, but had received %llu",
                    scenario_client_name(client), end, (unsigned long long)c->taken);
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

bool oracle_is_idle(const struct oracle *oracle, uint32_t client, uint64_t now_ms) {
    uint64_t idle_ms = now_ms - oracle->clients[client].progress_ms;
    return oracle->idle_timeout_ms > 0 && idle_ms >= oracle->idle_timeout_ms;
}

void oracle_is_overdue(struct oracle *oracle, uint32_t client, uint64_t now_ms) {
    unsigned long long idle_ms = now_ms - oracle->clients[client].progress_ms;
    bool late = idle_ms > oracle->idle_timeout_ms + IDLE_LATE_MS;
    if (oracle->clients[client].accepted && oracle_is_idle(oracle, client, now_ms) && late)
        oracle_fail(oracle, "still-open", "client %s was idle for %llu ms and open",
                    scenario_client_name(client), idle_ms);
}

void oracle_passed(struct oracle *oracle, const struct oracle_pass *pass) {
    uint32_t most = PASS_RECEIVES + RECEIVES_PER_READY * pass->records;
    uint32_t least = 1 + pass->records / READY_PER_ACCEPT;
    if (least > pass->waiting) least = pass->waiting;
    if (oracle->stopping) return;
    if (pass->receives > most)
        oracle_fail(oracle, "system-calls", "a pass of %u receives, expected at most %u",
                    pass->receives, most);
    if (pass->accepts < least)
        oracle_fail(oracle, "system-calls",
                    "a pass of %u records with %u of %u accepted, expected at least %u",
                    pass->records, pass->accepts, pass->waiting, least);
}

/* The server may not close first, except for the documented limits. */
static bool may_end(const struct oracle *oracle, uint32_t client, uint64_t now_ms) {
    const struct oracle_client *c = &oracle->clients[client];
    if (c->left || c->excused || oracle->stopping) return true;
    return oracle_is_idle(oracle, client, now_ms);
}

void oracle_ended(struct oracle *oracle, uint32_t client, uint64_t due, bool reset,
                  uint64_t now_ms) {
    struct oracle_client *c = &oracle->clients[client];
    if (!may_end(oracle, client, now_ms))
        oracle_fail(oracle, "closed-early", "client %s: the server closed a healthy connection",
                    scenario_client_name(client));
    if (!c->left && !c->excused && !oracle->stopping) oracle_is_overdue(oracle, client, now_ms);
    bool idle = oracle_is_idle(oracle, client, now_ms);
    bool lossy = (c->gone && c->left) || c->excused || oracle->stopping || idle;
    bool expired = oracle->stopping && now_ms >= oracle->drain_end_ms;
    bool resets = (c->gone && c->left) || c->excused || expired || idle;
    unsigned long long unanswered = due - c->written;
    if (!lossy && c->written < due)
        oracle_fail(oracle, "short-answer",
                    "client %s: the server closed with %llu of %llu bytes unanswered",
                    scenario_client_name(client), unanswered, (unsigned long long)due);
    if (reset && !resets)
        oracle_fail(oracle, "rst-for-fin", "client %s: expected FIN, got RST",
                    scenario_client_name(client));
    if (!c->ended) c->ended_ms = now_ms;
    c->ended = true;
}

void oracle_end_seen(struct oracle *oracle, uint32_t client) {
    struct oracle_client *c = &oracle->clients[client];
    unsigned long long missed = c->written - c->got;
    if (c->got < c->written)
        oracle_fail(oracle, "short-answer", "client %s: FIN before %llu bytes",
                    scenario_client_name(client), missed);
}

void oracle_refused(struct oracle *oracle, uint64_t now_ms) {
    oracle->due_ms[DUE_ACCEPT] = now_ms + REST_MS;
}

/* A line says how many were lost if some were, and only then; it also ends a partial line. */
static bool is_good_line(const struct oracle_log *log, const char *line, size_t length) {
    static const char begin[] = "dropped lines=";
    char due[64];
    int due_length = snprintf(due, sizeof due, "%s%s%llu\n", log->torn ? "\n" : "", begin,
                              (unsigned long long)log->lost);
    if (log->lost > 0) return length == (size_t)due_length && memcmp(line, due, length) == 0;
    bool one = length > 1 && length <= 4096 && memchr(line, '\n', length) == line + length - 1;
    return one && (length < sizeof begin || memcmp(line, begin, sizeof begin - 1) != 0);
}

void oracle_logged(struct oracle *oracle, const char *line, size_t length, bool failed,
                   size_t taken) {
    struct oracle_log *log = &oracle->log;
    bool whole = !failed && taken == length;
    if (!is_good_line(log, line, length))
        oracle_fail(oracle, "log-line",
                    "a log line of %llu bytes after %llu lost: not one whole line, or the "
                    "losses are not stated",
                    (unsigned long long)length, (unsigned long long)log->lost);
    if (!failed) log->torn = !whole;
    log->lost = whole ? 0 : log->lost + 1;
}

void oracle_unlogged(struct oracle *oracle) { oracle->log.lost++; }

void oracle_stops(struct oracle *oracle, uint64_t now_ms) {
    oracle->stopping = true;
    oracle->turned_away = false;
    oracle->due_ms[DUE_DRAIN] = oracle->drain_end_ms = now_ms + oracle->drain_timeout_ms;
}

/* When the next connection may become idle, other than those that are due now. One that has made
 * progress since gives a sweep without effect: a server need not reset its timer for every byte. */
static uint64_t next_idle_ms(const struct oracle *oracle, uint64_t now_ms) {
    uint64_t next = NEVER;
    for (uint32_t i = 0; i < oracle->client_count; i++) {
        const struct oracle_client *c = &oracle->clients[i];
        uint64_t due = c->progress_ms + oracle->idle_timeout_ms;
        if (c->accepted && !c->ended && due >= now_ms && due < next) next = due;
    }
    return next < now_ms + REST_MS ? now_ms + REST_MS : next;
}

/* Of several reasons the wait is put down to the first kind: the next accept would take that back.
 * The sweep that was due as well excuses a later wait, but may have taken place now. */
void oracle_timed_out(struct oracle *oracle, uint64_t began_ms, uint64_t due_ms) {
    uint32_t reason = 0;
    while (reason < DUE_KINDS && oracle->due_ms[reason] > due_ms)
        reason++;
    unsigned long long waited = due_ms - began_ms;
    if (reason == DUE_KINDS)
        oracle_fail(oracle, "wake-ups", "a wait of %llu ms timed out with nothing due", waited);
    if (oracle->due_ms[DUE_IDLE] <= due_ms && due_ms < oracle->swept_ms) oracle->swept_ms = due_ms;
    if (reason < DUE_IDLE) oracle->due_ms[reason] = NEVER;
    if (reason != DUE_IDLE) return;
    oracle->due_ms[DUE_IDLE] = next_idle_ms(oracle, oracle->swept_ms);
    oracle->swept_ms = NEVER;
}
