/* Targets token_issue, token_release, token_resolves, token_pack and token_unpack.
 *
 * A list of all tokens ever issued, with a flag for those released, gives which of them resolve:
 * those that were not released, and nothing else. Generations count from 1, start anywhere, and
 * skip 0. Packing is reversible. */

#include "check.h"
#include "core/token.h"
#include "input.h"

#define SLOTS 3
#define ISSUED_MAX 64

struct issued {
    struct token token;
    size_t place; /* which of the slots */
    bool taken_back;
};

struct trial {
    struct token_slot slots[SLOTS];
    uint32_t numbers[SLOTS];
    uint64_t newest[SLOTS]; /* the generation */
    struct issued issued[ISSUED_MAX];
    size_t count;
};

/* The entry of the token in use in the slot, or null. */
static struct issued *in_use(struct trial *t, size_t place) {
    for (size_t i = 0; i < t->count; i++) {
        if (t->issued[i].place == place && !t->issued[i].taken_back) return &t->issued[i];
    }
    return NULL;
}

static void issue(struct trial *t, size_t place) {
    struct token token = token_issue(&t->slots[place], t->numbers[place]);
    t->newest[place] = t->newest[place] == UINT32_MAX ? 1 : t->newest[place] + 1;
    CHECK(token.slot == t->numbers[place]);
    CHECK(token.generation == t->newest[place]);
    for (size_t i = 0; i < t->count; i++)
        CHECK(t->issued[i].place != place || t->issued[i].token.generation != token.generation);
    t->issued[t->count++] = (struct issued){.token = token, .place = place};
}

static void check_each(struct trial *t) {
    for (size_t i = 0; i < t->count; i++) {
        struct issued *each = &t->issued[i];
        CHECK(token_resolves(each->token, &t->slots[each->place]) == !each->taken_back);
    }
}

/* Any token, perhaps never issued. */
static void ask(struct trial *t, size_t place, uint32_t generation) {
    const struct issued *issued = in_use(t, place);
    bool expected = issued != NULL && issued->token.generation == generation;
    const struct token token = {.slot = t->numbers[place], .generation = generation};
    CHECK(token_resolves(token, &t->slots[place]) == expected);
}

static void pack(struct token token, uint64_t packed) {
    struct token again = token_unpack(token_pack(token));
    CHECK(again.slot == token.slot && again.generation == token.generation);
    CHECK((token_pack(token) == 0) == (token.slot == 0 && token.generation == 0));
    CHECK(token_pack(token_unpack(packed)) == packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size, 0};
    struct trial t = {.count = 0};
    for (size_t place = 0; place < SLOTS; place++) {
        t.numbers[place] = (uint32_t)input_number(&in, UINT32_MAX);
        t.newest[place] = input_number(&in, UINT32_MAX); /* the last generation issued before */
        t.slots[place].generation = (uint32_t)t.newest[place];
    }
    while (!input_ended(&in)) {
        uint8_t what = input_byte(&in);
        size_t place = what % SLOTS;
        struct issued *issued = in_use(&t, place);
        switch (what / SLOTS % 4) {
        case 0:
            if (issued == NULL && t.count < ISSUED_MAX) issue(&t, place);
            break;
        case 1:
            if (issued == NULL) break;
            token_release(&t.slots[place]);
            issued->taken_back = true;
            break;
        case 2: ask(&t, place, (uint32_t)input_number(&in, UINT32_MAX)); break;
        default: {
            struct token token = {.slot = (uint32_t)input_number(&in, UINT32_MAX)};
            token.generation = (uint32_t)input_number(&in, UINT32_MAX);
            pack(token, input_number(&in, UINT64_MAX));
            break;
        }
        }
        check_each(&t);
    }
    return 0;
}
