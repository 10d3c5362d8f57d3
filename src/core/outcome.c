#include "core/outcome.h"

static struct outcome nothing(enum outcome_kind kind, enum fault fault) {
    return (struct outcome){.kind = kind, .fault = fault, .count = 0};
}

static struct outcome outcome_of_fault(enum fault fault) {
    switch (fault) {
    case FAULT_WOULD_BLOCK: return nothing(OUTCOME_WOULD_BLOCK, fault);
    case FAULT_INTERRUPTED: return nothing(OUTCOME_INTERRUPTED, fault);
    case FAULT_RESET:
    case FAULT_PIPE:
    case FAULT_ABORTED: return nothing(OUTCOME_RESET, fault);
    default: return nothing(OUTCOME_FAILED, fault);
    }
}

static struct outcome outcome_of_count(int64_t count, size_t asked) {
    if (count < 0 || (uint64_t)count > asked) return nothing(OUTCOME_FAILED, FAULT_OTHER);
    return (struct outcome){.kind = OUTCOME_MOVED, .fault = FAULT_NONE, .count = (size_t)count};
}

struct outcome outcome_of_receive(struct result result, size_t asked) {
    if (result.fault != FAULT_NONE) return outcome_of_fault(result.fault);
    if (result.value == 0)
        return nothing(asked > 0 ? OUTCOME_END : OUTCOME_WOULD_BLOCK, FAULT_NONE);
    return outcome_of_count(result.value, asked);
}

struct outcome outcome_of_send(struct result result, size_t asked) {
    if (result.fault != FAULT_NONE) return outcome_of_fault(result.fault);
    if (result.value == 0) return nothing(OUTCOME_WOULD_BLOCK, FAULT_NONE);
    return outcome_of_count(result.value, asked);
}

struct outcome outcome_of_accept(struct result result) {
    if (result.fault != FAULT_NONE) return outcome_of_fault(result.fault);
    if (result.value < 0 || result.value > INT32_MAX) return nothing(OUTCOME_FAILED, FAULT_OTHER);
    return (struct outcome){.kind = OUTCOME_MOVED, .fault = FAULT_NONE, .count = 1};
}
