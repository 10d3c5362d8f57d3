#include "sim/sink.h"

#include "sim/faults.h"
#include "sim/trace.h"

/* PIPE_BUF of Linux: a pipe that poll reports has room for so much, and takes a line whole or not
 * at all (source: pipe(7)). */
#define WHOLE_BYTES 4096

/* The most room that a sink has in all, unless it is endless. */
#define SIZE_MAX_BYTES (3 * WHOLE_BYTES)
#define ENDLESS UINT64_MAX

void sink_open(struct sim_kernel *sim) {
    struct sim_sink *sink = &sim->sink;
    sink->room = sink->size = ENDLESS;
    if ((sim->vary & VARY_LOG) == 0) return;
    sink->kind = (enum sim_sink_kind)(vary_below(sim, VARY_LOG, SINK_KINDS));
    sink->blocks = vary_below(sim, VARY_LOG, 2) == 0;
    sink->shared = vary_below(sim, VARY_LOG, 2) == 0;
    sink->size = WHOLE_BYTES + vary_below(sim, VARY_LOG, SIZE_MAX_BYTES - WHOLE_BYTES);
    sink->room = vary_below(sim, VARY_LOG, sink->size + 1);
}

void sink_drain(struct sim_kernel *sim) {
    struct sim_sink *sink = &sim->sink;
    if ((sim->vary & VARY_LOG) == 0 || sink->gone) return;
    uint64_t used = sink->size - sink->room;
    if (vary_one_in(sim, VARY_LOG, 64) && sink->kind != SINK_DISK) sink->gone = true;
    if (vary_one_in(sim, VARY_LOG, 4)) sink->room += vary_part_of(sim, VARY_LOG, used);
}

/* Another process takes some of the room, or all of it. */
static void share(struct sim_kernel *sim) {
    struct sim_sink *sink = &sim->sink;
    if (!sink->shared || !vary_one_in(sim, VARY_LOG, 4)) return;
    sink->room -= vary_part_of(sim, VARY_LOG, sink->room);
}

/* Source: Linux, pipe_poll, tty's n_tty_poll; a file is always ready, and a sink whose reader has
 * left is: the write then fails. */
struct result sim_log_poll(void *self) {
    struct sim_kernel *sim = self;
    struct sim_sink *sink = &sim->sink;
    uint64_t least = sink->kind == SINK_PIPE ? WHOLE_BYTES : sink->kind == SINK_TERMINAL;
    sim->events++;
    trace_hash(sim, sink->room);
    sink->asked = sink->gone || sink->room >= least;
    if (sink->asked) return (struct result){.value = 1};
    oracle_unlogged(sim->oracle);
    return fault_result(FAULT_WOULD_BLOCK, 11);
}

/* A pipe takes a line whole, a terminal what it has room for, and so does a disk until it is
 * full. A blocking write waits for the rest, until it is interrupted. */
static struct result take(struct sim_kernel *sim, size_t length, int32_t limit_us) {
    struct sim_sink *sink = &sim->sink;
    if (sink->gone) return fault_result(FAULT_PIPE, 32);
    if (sink->kind == SINK_DISK && sink->room == 0) return fault_result(FAULT_NO_SPACE, 28);
    uint64_t taken = sink->room < length ? sink->room : length;
    if (sink->kind == SINK_PIPE && taken < length) taken = 0;
    bool waits = taken < length && sink->blocks && sink->kind != SINK_DISK;
    if (waits && limit_us == 0)
        oracle_fail(sim->oracle, "system-calls", "a write to the log blocks");
    if (waits && !sink->asked)
        oracle_fail(sim->oracle, "system-calls", "a write to the log that had no room");
    sink->asked = false;
    sink->room -= sink->size == ENDLESS ? 0 : taken;
    if (taken > 0) return (struct result){.value = (int64_t)taken};
    return waits ? fault_result(FAULT_INTERRUPTED, 4) : fault_result(FAULT_WOULD_BLOCK, 11);
}

/* Eight bytes at a time, the first one the lowest on every machine. */
static void hash_line(struct sim_kernel *sim, const char *line, size_t length) {
    for (size_t at = 0; at < length; at += 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && i < length - at; i++)
            word |= (uint64_t)(uint8_t)line[at + i] << (8 * i);
        trace_hash(sim, word);
    }
}

struct result sim_log_write(void *self, const char *line, size_t length, int32_t limit_us) {
    struct sim_kernel *sim = self;
    struct result result = fault_inject(sim, CALL_LOG, -1);
    hash_line(sim, line, length);
    if ((sim->vary & VARY_LOG) != 0) share(sim);
    if (result.fault == FAULT_NONE) result = take(sim, length, limit_us);
    oracle_logged(sim->oracle, line, length, result.fault != FAULT_NONE, (size_t)result.value);
    return trace_call(sim, CALL_LOG, -1, length, result);
}
