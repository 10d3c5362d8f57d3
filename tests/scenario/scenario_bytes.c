/* The notation in bytes: a sequence of items, each one byte for the kind and then its operands. A
 * number has 7 bits per byte, least significant first; the top bit is set if more follow. Operands
 * are reduced into their range and invalid steps are dropped, so that any bytes decode. */
#include <string.h>

#include "scenario/scenario.h"

/* Kinds from here on are settings; they count only before the first step. Then come steps that are
 * younger than the settings. */
enum item {
    ITEM_SIMULATED = STEP_CROWD,
    ITEM_SEED,
    ITEM_VARY,
    ITEM_KERNEL_RECEIVE,
    ITEM_KERNEL_SEND,
    ITEM_BUFFER,
    ITEM_CONNECTIONS,
    ITEM_IDLE,
    ITEM_DRAIN,
    ITEM_FAULT,
    ITEM_CROWD,
    ITEM_KINDS
};

/* The top bit of a step's kind: it has a literal. */
#define LITERAL 0x80u

/* The top bit of ITEM_VARY: one choice. */
#define CHOICE 0x80u

struct reader {
    const uint8_t *bytes;
    size_t length, at;
};

static uint32_t read_byte(struct reader *r) { return r->at < r->length ? r->bytes[r->at++] : 0; }

static uint32_t read_number(struct reader *r, uint32_t max) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint32_t byte = read_byte(r);
        value += (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) break;
    }
    return (uint32_t)(value % ((uint64_t)max + 1));
}

static void read_fault(struct scenario *scenario, struct reader *r) {
    struct sim_fault fault;
    fault.call = (enum sim_call)(read_byte(r) % CALL_KINDS);
    fault.error = (enum sim_error)(read_byte(r) % ERROR_KINDS);
    fault.nth = 1 + read_number(r, SCENARIO_COUNT_MAX - 1);
    if (scenario->fault_count < SCENARIO_FAULTS_MAX && scenario_may_fail(fault.call, fault.error))
        scenario->faults[scenario->fault_count++] = fault;
}

static void read_choice(struct scenario *scenario, struct reader *r) {
    struct sim_choice choice;
    choice.kind = read_byte(r) % VARY_KINDS;
    choice.taken = 1 + read_byte(r) % SCENARIO_TAKEN_MAX;
    choice.nth = 1 + read_number(r, SCENARIO_COUNT_MAX - 1);
    if (scenario->choice_count < SCENARIO_CHOICES_MAX)
        scenario->choices[scenario->choice_count++] = choice;
}

/* Limits are small where large values would only make scenarios slow. */
static void read_setting(struct scenario *scenario, struct reader *r, uint32_t byte) {
    enum item item = (enum item)((byte & 0x7f) % ITEM_KINDS);
    scenario->simulated |= item <= ITEM_KERNEL_SEND || item == ITEM_FAULT;
    if (item == ITEM_VARY && (byte & CHOICE) != 0) {
        read_choice(scenario, r);
        return;
    }
    switch (item) {
    case ITEM_SIMULATED: break;
    case ITEM_SEED: scenario->seed = read_number(r, UINT32_MAX); break;
    case ITEM_VARY: scenario->vary = read_number(r, VARY_ALL); break;
    case ITEM_KERNEL_RECEIVE: scenario->kernel_receive = read_number(r, 1 << 20); break;
    case ITEM_KERNEL_SEND: scenario->kernel_send = read_number(r, 1 << 20); break;
    case ITEM_BUFFER: scenario->buffer_bytes = read_number(r, 65536); break;
    case ITEM_CONNECTIONS: scenario->connections_max = read_number(r, 16); break;
    case ITEM_IDLE: scenario->idle_timeout_s = read_number(r, 1000); break;
    case ITEM_DRAIN: scenario->drain_timeout_s = read_number(r, 1000); break;
    default: read_fault(scenario, r); break;
    }
}

/* False: the literal is empty or does not fit. */
static bool read_literal(struct scenario *scenario, struct reader *r, struct step *step) {
    size_t left = r->length - r->at;
    size_t room = SCENARIO_BYTES_MAX - scenario->byte_count;
    if (step->count > left) step->count = (uint32_t)left;
    if (step->count == 0 || step->count > room) return false;
    step->offset = scenario->byte_count;
    memcpy(scenario->bytes + step->offset, r->bytes + r->at, step->count);
    r->at += step->count;
    return true;
}

static bool has_client(enum step_kind kind) { return kind <= STEP_EXPECT_CLOSE; }

static bool has_count(enum step_kind kind) {
    return kind == STEP_CONNECT || kind == STEP_SEND || kind == STEP_EXPECT || kind == STEP_WAIT ||
           kind == STEP_DESCRIPTORS || kind == STEP_CROWD || scenario_is_short(kind);
}

/* Clients are numbered in the order of their connects, followed by the other sources of records. */
static uint32_t read_client(const struct scenario *scenario, struct reader *r,
                            enum step_kind kind) {
    uint32_t who = read_byte(r) % (kind == STEP_REPORT ? WHO_KINDS : SCENARIO_CLIENTS_MAX);
    if (kind == STEP_CONNECT) return scenario->client_count % SCENARIO_CLIENTS_MAX;
    if (who >= SCENARIO_CLIENTS_MAX || scenario->client_count == 0) return who;
    return who % scenario->client_count;
}

static bool read_step(struct scenario *scenario, struct reader *r, uint32_t byte,
                      struct step *step) {
    uint32_t item = (byte & 0x7f) % ITEM_KINDS;
    *step = (struct step){.kind = item == ITEM_CROWD ? STEP_CROWD : (enum step_kind)item};
    if (has_client(step->kind)) step->client = read_client(scenario, r, step->kind);
    if (step->kind == STEP_EXPECT_CLOSE) step->closes = 1 + read_byte(r) % CLOSE_ANY;
    if (has_count(step->kind)) step->count = read_number(r, SCENARIO_COUNT_MAX);
    if (step->kind == STEP_CROWD) step->count = 1 + step->count % SCENARIO_CROWD_MAX;
    bool transfers = step->kind == STEP_SEND || step->kind == STEP_EXPECT;
    step->literal = transfers && (byte & LITERAL) != 0;
    if (step->literal) return read_literal(scenario, r, step);
    return step->count > 0 || !(transfers || scenario_is_short(step->kind));
}

void scenario_decode(struct scenario *scenario, const uint8_t *bytes, size_t length) {
    struct reader r = {bytes, length, 0};
    struct scenario_state state = {.frozen = false};
    memset(scenario, 0, offsetof(struct scenario, steps));
    scenario->step_count = 0;
    scenario->byte_count = 0;
    while (r.at < r.length && scenario->step_count < SCENARIO_STEPS_MAX) {
        uint32_t byte = read_byte(&r);
        uint32_t item = (byte & 0x7f) % ITEM_KINDS;
        struct step step;
        if (item < ITEM_SIMULATED || item == ITEM_CROWD) {
            if (!read_step(scenario, &r, byte, &step) || scenario_take(&state, &step) != NULL)
                continue;
            if (step.literal) scenario->byte_count += step.count;
            if (step.kind == STEP_CONNECT) scenario->client_count++;
            scenario->simulated |= scenario_is_simulated(step.kind);
            scenario->steps[scenario->step_count++] = step;
        } else if (scenario->step_count == 0) {
            read_setting(scenario, &r, byte);
        }
    }
}

struct writer {
    uint8_t *bytes;
    size_t at;
};

static void write_number(struct writer *w, uint32_t value) {
    for (; value >= 0x80; value >>= 7)
        w->bytes[w->at++] = (uint8_t)(0x80 | (value & 0x7f));
    w->bytes[w->at++] = (uint8_t)value;
}

static void write_setting(struct writer *w, enum item item, uint32_t value) {
    if (value == 0) return;
    w->bytes[w->at++] = (uint8_t)item;
    write_number(w, value);
}

static void write_step(struct writer *w, const struct scenario *scenario, const struct step *step) {
    uint32_t item = step->kind == STEP_CROWD ? ITEM_CROWD : (uint32_t)step->kind;
    w->bytes[w->at++] = (uint8_t)(item | (step->literal ? LITERAL : 0));
    if (has_client(step->kind)) w->bytes[w->at++] = (uint8_t)step->client;
    if (step->kind == STEP_EXPECT_CLOSE) w->bytes[w->at++] = (uint8_t)(step->closes - 1);
    if (has_count(step->kind)) write_number(w, step->count - (step->kind == STEP_CROWD ? 1 : 0));
    if (step->literal) {
        memcpy(w->bytes + w->at, scenario->bytes + step->offset, step->count);
        w->at += step->count;
    }
}

size_t scenario_encode(const struct scenario *scenario, uint8_t bytes[SCENARIO_ENCODED_MAX]) {
    struct writer w = {bytes, 0};
    if (scenario->simulated) w.bytes[w.at++] = ITEM_SIMULATED;
    write_setting(&w, ITEM_SEED, scenario->seed);
    write_setting(&w, ITEM_VARY, scenario->vary);
    write_setting(&w, ITEM_KERNEL_RECEIVE, scenario->kernel_receive);
    write_setting(&w, ITEM_KERNEL_SEND, scenario->kernel_send);
    write_setting(&w, ITEM_BUFFER, scenario->buffer_bytes);
    write_setting(&w, ITEM_CONNECTIONS, scenario->connections_max);
    write_setting(&w, ITEM_IDLE, scenario->idle_timeout_s);
    write_setting(&w, ITEM_DRAIN, scenario->drain_timeout_s);
    for (uint32_t i = 0; i < scenario->fault_count; i++) {
        w.bytes[w.at++] = ITEM_FAULT;
        w.bytes[w.at++] = (uint8_t)scenario->faults[i].call;
        w.bytes[w.at++] = (uint8_t)scenario->faults[i].error;
        write_number(&w, scenario->faults[i].nth - 1);
    }
    for (uint32_t i = 0; i < scenario->choice_count; i++) {
        w.bytes[w.at++] = ITEM_VARY | CHOICE;
        w.bytes[w.at++] = (uint8_t)scenario->choices[i].kind;
        w.bytes[w.at++] = (uint8_t)(scenario->choices[i].taken - 1);
        write_number(&w, scenario->choices[i].nth - 1);
    }
    for (uint32_t i = 0; i < scenario->step_count; i++)
        write_step(&w, scenario, &scenario->steps[i]);
    return w.at;
}
