#include "scenario/scenario.h"

#include <stdio.h>
#include <string.h>

const char *const scenario_step_words[STEP_KINDS] = {
    [STEP_CONNECT] = "connect",
    [STEP_SEND] = "send",
    [STEP_URGENT] = "urgent",
    [STEP_SHUTDOWN] = "shutdown",
    [STEP_RESET] = "reset",
    [STEP_CLOSE] = "close",
    [STEP_PAUSE] = "pause",
    [STEP_RESUME] = "resume",
    [STEP_SHORT_RECEIVE] = "short-receive",
    [STEP_SHORT_SEND] = "short-send",
    [STEP_REPORT] = "report",
    [STEP_EXPECT] = "expect",
    [STEP_EXPECT_END] = "expect-end",
    [STEP_EXPECT_CLOSE] = "expect-close",
    [STEP_FREEZE] = "freeze",
    [STEP_THAW] = "thaw",
    [STEP_SETTLE] = "settle",
    [STEP_WAIT] = "wait",
    [STEP_DESCRIPTORS] = "descriptors",
    [STEP_STOP] = "stop",
    [STEP_CROWD] = "crowd",
};

const char *const scenario_vary_words[] = {"short",  "delay", "order",     "hints", "stale",
                                           "eagain", "eintr", "inherited", "log",   NULL};

const char *const scenario_call_words[CALL_KINDS] = {
    "accept", "receive", "send", "shutdown", "close", "unread", "control", "wait", "log"};

const char *const scenario_error_words[ERROR_KINDS] = {
    "EAGAIN",    "EINTR",        "ECONNRESET", "EPIPE",    "ECONNABORTED", "EMFILE", "ENFILE",
    "ENOMEM",    "ENOBUFS",      "ENOENT",     "EEXIST",   "ENOSPC",       "EPERM",  "EPROTO",
    "ETIMEDOUT", "EHOSTUNREACH", "ENETDOWN",   "ENOTCONN", "EIO"};

uint8_t scenario_generated(uint32_t client, uint64_t position) {
    return (uint8_t)(position * 7 + (position >> 8) * 13 + (uint64_t)client * 31 + 'a');
}

#define BIT(error) (1u << (error))
#define PASSING (BIT(ERROR_AGAIN) | BIT(ERROR_INTR))
#define MEMORY (BIT(ERROR_NOMEM) | BIT(ERROR_NOBUFS))
#define NETWORK (BIT(ERROR_TIMEDOUT) | BIT(ERROR_HOSTUNREACH) | BIT(ERROR_NETDOWN))

bool scenario_may_fail(enum sim_call call, enum sim_error error) {
    static const uint32_t documented[CALL_KINDS] = {
        [CALL_ACCEPT] = PASSING | MEMORY | NETWORK | BIT(ERROR_CONNABORTED) | BIT(ERROR_MFILE) |
                        BIT(ERROR_NFILE) | BIT(ERROR_PERM) | BIT(ERROR_PROTO),
        [CALL_RECEIVE] = PASSING | MEMORY | NETWORK | BIT(ERROR_CONNRESET) | BIT(ERROR_PIPE) |
                         BIT(ERROR_NOTCONN) | BIT(ERROR_IO),
        [CALL_SEND] = PASSING | MEMORY | NETWORK | BIT(ERROR_CONNRESET) | BIT(ERROR_PIPE) |
                      BIT(ERROR_NOTCONN) | BIT(ERROR_PERM) | BIT(ERROR_IO),
        [CALL_SHUTDOWN] = BIT(ERROR_NOTCONN) | BIT(ERROR_NOBUFS),
        [CALL_CLOSE] = BIT(ERROR_INTR) | BIT(ERROR_IO) | BIT(ERROR_NOSPC) | BIT(ERROR_CONNRESET),
        [CALL_UNREAD] = BIT(ERROR_IO),
        [CALL_CONTROL] = BIT(ERROR_NOMEM) | BIT(ERROR_NOSPC) | BIT(ERROR_NOENT) | BIT(ERROR_EXIST) |
                         BIT(ERROR_PERM) | BIT(ERROR_PIPE),
        [CALL_WAIT] = BIT(ERROR_INTR),
        [CALL_LOG] = PASSING | BIT(ERROR_IO) | BIT(ERROR_NOSPC) | BIT(ERROR_PIPE),
    };
    return (documented[call] & BIT(error)) != 0;
}

bool scenario_is_short(enum step_kind kind) {
    return kind == STEP_SHORT_RECEIVE || kind == STEP_SHORT_SEND;
}

bool scenario_is_choice(enum step_kind kind) {
    return scenario_is_short(kind) || kind == STEP_REPORT;
}

bool scenario_is_simulated(enum step_kind kind) {
    return scenario_is_choice(kind) || kind == STEP_CROWD;
}

const char *scenario_client_name(uint32_t client) {
    static char names[4][24];
    static uint32_t turn;
    char *name = names[turn++ % 4];
    if (client < SCENARIO_CLIENTS_MAX)
        snprintf(name, sizeof names[0], "%c", (char)('a' + client));
    else
        snprintf(name, sizeof names[0], "crowd-%u", client - SCENARIO_CLIENTS_MAX + 1);
    return name;
}

uint32_t scenario_crowd(const struct scenario *scenario) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < scenario->step_count; i++)
        count += scenario->steps[i].kind == STEP_CROWD ? scenario->steps[i].count : 0;
    return count;
}

static bool is_of_client(const struct step *step) {
    return step->kind <= STEP_EXPECT_CLOSE && step->client < SCENARIO_CLIENTS_MAX;
}

static const char *take_client_step(struct scenario_state *state, const struct step *step) {
    uint64_t *sent = &state->clients[step->client].sent;
    uint64_t *expected = &state->clients[step->client].expected;
    bool *connected = &state->clients[step->client].connected;
    bool *shut = &state->clients[step->client].shut;
    bool *gone = &state->clients[step->client].gone;
    bool *paused = &state->clients[step->client].paused;
    if (step->kind == STEP_CONNECT) {
        if (*connected) return "already-connected: a client can connect only once";
        if (state->stopped) return "after-stop: no client can connect after the stop";
        *connected = true;
        return NULL;
    }
    if (!*connected) return "not-connected: this client has not connected";
    if (*gone) return "left: this client has left";
    switch (step->kind) {
    case STEP_SEND:
    case STEP_URGENT:
        if (*shut) return "already-shut: this client has already sent FIN";
        *sent += step->kind == STEP_URGENT ? 1 : step->count;
        return NULL;
    case STEP_SHUTDOWN:
        if (*shut) return "already-shut: this client has already sent FIN";
        *shut = true;
        return NULL;
    case STEP_RESET:
    case STEP_CLOSE: *gone = true; return NULL;
    case STEP_SHORT_RECEIVE:
    case STEP_SHORT_SEND:
    case STEP_REPORT: return NULL;
    case STEP_PAUSE:
    case STEP_RESUME:
        if (*paused == (step->kind == STEP_PAUSE))
            return *paused ? "already-paused: this client is already paused"
                           : "not-paused: this client is not paused";
        *paused = step->kind == STEP_PAUSE;
        return NULL;
    default: break;
    }
    if (state->frozen) return "frozen: a frozen server sends nothing";
    if (*paused) return "paused: a paused client reads nothing";
    if (step->kind == STEP_EXPECT) {
        if (step->count > *sent - *expected)
            return "not-due: expects more bytes than the client is owed";
        *expected += step->count;
    }
    if (step->kind == STEP_EXPECT_END && !*shut && !state->stopped)
        return "no-end: expect-end needs shutdown or stop before it";
    return NULL;
}

const char *scenario_take(struct scenario_state *state, const struct step *step) {
    if (is_of_client(step)) return take_client_step(state, step);
    switch (step->kind) {
    case STEP_FREEZE:
    case STEP_THAW:
        if (state->frozen == (step->kind == STEP_FREEZE))
            return state->frozen ? "already-frozen: the server is already frozen"
                                 : "not-frozen: the server is not frozen";
        state->frozen = step->kind == STEP_FREEZE;
        return NULL;
    case STEP_SETTLE:
    case STEP_WAIT: return state->frozen ? "frozen: a frozen server does nothing" : NULL;
    case STEP_CROWD:
        if (state->stopped) return "after-stop: no client can connect after the stop";
        if (step->count > SCENARIO_CROWD_MAX - state->crowd)
            return "limit: found more clients, expected at most 600 in a crowd";
        state->crowd += step->count;
        return NULL;
    case STEP_STOP:
        if (state->stopped) return "already-stopped: the server can be stopped only once";
        state->stopped = true;
        return NULL;
    default: return NULL;
    }
}

static bool equal_steps(const struct scenario *a, const struct scenario *b) {
    for (uint32_t i = 0; i < a->step_count; i++) {
        const struct step *s = &a->steps[i];
        const struct step *t = &b->steps[i];
        if (s->kind != t->kind || s->client != t->client || s->closes != t->closes ||
            s->count != t->count || s->literal != t->literal)
            return false;
        if (s->literal && memcmp(a->bytes + s->offset, b->bytes + t->offset, s->count) != 0)
            return false;
    }
    return true;
}

static bool equal_faults(const struct scenario *a, const struct scenario *b) {
    for (uint32_t i = 0; i < a->fault_count; i++) {
        const struct sim_fault *f = &a->faults[i];
        const struct sim_fault *g = &b->faults[i];
        if (f->call != g->call || f->nth != g->nth || f->error != g->error) return false;
    }
    return true;
}

static bool equal_choices(const struct scenario *a, const struct scenario *b) {
    for (uint32_t i = 0; i < a->choice_count; i++) {
        const struct sim_choice *c = &a->choices[i];
        const struct sim_choice *d = &b->choices[i];
        if (c->kind != d->kind || c->nth != d->nth || c->taken != d->taken) return false;
    }
    return true;
}

bool scenario_equal(const struct scenario *a, const struct scenario *b) {
    return a->simulated == b->simulated && a->seed == b->seed && a->vary == b->vary &&
           a->kernel_receive == b->kernel_receive && a->kernel_send == b->kernel_send &&
           a->buffer_bytes == b->buffer_bytes && a->connections_max == b->connections_max &&
           a->idle_timeout_s == b->idle_timeout_s && a->drain_timeout_s == b->drain_timeout_s &&
           a->fault_count == b->fault_count && a->choice_count == b->choice_count &&
           a->step_count == b->step_count && equal_faults(a, b) && equal_choices(a, b) &&
           equal_steps(a, b);
}
