#include "core/token.h"

#include <assert.h>

/* Arithmetic instead of shifts: equivalent, and easier for provers. */
#define GENERATION_UNIT 4294967296u /* 2^32 */

struct token token_issue(struct token_slot *slot, uint32_t number) {
    assert(!slot->live);
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    slot->live = true;
    return (struct token){.slot = number, .generation = slot->generation};
}

void token_release(struct token_slot *slot) {
    assert(slot->live);
    slot->live = false;
}

bool token_resolves(struct token token, const struct token_slot *slot) {
    return slot->live && slot->generation == token.generation;
}

uint64_t token_pack(struct token token) {
    return token.generation * (uint64_t)GENERATION_UNIT + token.slot;
}

struct token token_unpack(uint64_t packed) {
    return (struct token){.slot = (uint32_t)(packed % GENERATION_UNIT),
                          .generation = (uint32_t)(packed / GENERATION_UNIT)};
}
