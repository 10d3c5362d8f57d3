#include "sim/trace.h"

static void record(struct sim_kernel *sim, struct sim_event event) {
    trace_hash(sim, (uint64_t)event.call << 56 | (uint64_t)event.fault << 48 |
                        (uint64_t)(uint16_t)event.client << 32 | (uint32_t)event.descriptor);
    trace_hash(sim, event.argument);
    trace_hash(sim, (uint64_t)event.value);
    sim->events++;
    struct sim_trace *trace = sim->trace;
    if (trace != NULL && trace->count < trace->max) trace->events[trace->count++] = event;
}

struct result trace_call(struct sim_kernel *sim, enum sim_call call, int32_t descriptor,
                         uint64_t argument, struct result result) {
    record(sim,
           (struct sim_event){.call = (uint8_t)call,
                              .fault = (uint8_t)result.fault,
                              .client = (int16_t)sim_client_of(sim, descriptor),
                              .descriptor = descriptor,
                              .argument = argument,
                              .value = result.fault == FAULT_NONE ? result.value : result.raw});
    return result;
}

void trace_environment(struct sim_kernel *sim, uint32_t what, uint32_t client, uint64_t value) {
    record(sim, (struct sim_event){.call = (uint8_t)what,
                                   .client = (int16_t)client,
                                   .descriptor = -1,
                                   .value = (int64_t)value});
}
