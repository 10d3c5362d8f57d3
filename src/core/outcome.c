#include "core/outcome.h"

/*@ assigns  \nothing;
  @ ensures  nothing: OutcomeNothing(\result, kind, fault);
  @*/
static struct outcome nothing(enum outcome_kind kind, enum fault fault) {
    return (struct outcome){.kind = kind, .fault = fault, .count = 0};
}

/*@ requires fault: fault != FAULT_NONE;
  @ assigns  \nothing;
  @ ensures  kind: \forall struct outcome o; OutcomeNothing(o, \result, fault) ==>
  @            OutcomeOfFault(o, fault);
  @*/
static enum outcome_kind kind_of(enum fault fault) {
    switch (fault) {
    case FAULT_WOULD_BLOCK: return OUTCOME_WOULD_BLOCK;
    case FAULT_INTERRUPTED: return OUTCOME_INTERRUPTED;
    case FAULT_RESET:
    case FAULT_PIPE:
    case FAULT_ABORTED: return OUTCOME_RESET;
    default: return OUTCOME_FAILED;
    }
}

/*@ requires some: count != 0;
  @ assigns  \nothing;
  @ ensures  moved: 1 <= count <= asked ==> OutcomeMoved(\result, count);
  @ ensures  absurd: !(1 <= count <= asked) ==>
  @            OutcomeNothing(\result, OUTCOME_FAILED, FAULT_OTHER);
  @*/
static struct outcome outcome_of_count(int64_t count, size_t asked) {
    if (count < 0 || (uint64_t)count > asked) return nothing(OUTCOME_FAILED, FAULT_OTHER);
    return (struct outcome){.kind = OUTCOME_MOVED, .fault = FAULT_NONE, .count = (size_t)count};
}

struct outcome outcome_of_receive(struct result result, size_t asked) {
    if (result.fault != FAULT_NONE) return nothing(kind_of(result.fault), result.fault);
    if (result.value == 0)
        return nothing(asked > 0 ? OUTCOME_END : OUTCOME_WOULD_BLOCK, FAULT_NONE);
    return outcome_of_count(result.value, asked);
}

struct outcome outcome_of_send(struct result result, size_t asked) {
    if (result.fault != FAULT_NONE) return nothing(kind_of(result.fault), result.fault);
    if (result.value == 0) return nothing(OUTCOME_WOULD_BLOCK, FAULT_NONE);
    return outcome_of_count(result.value, asked);
}

struct outcome outcome_of_accept(struct result result) {
    if (result.fault != FAULT_NONE) return nothing(kind_of(result.fault), result.fault);
    if (result.value < 0 || result.value > INT32_MAX) return nothing(OUTCOME_FAILED, FAULT_OTHER);
    return (struct outcome){.kind = OUTCOME_MOVED, .fault = FAULT_NONE, .count = 1};
}
