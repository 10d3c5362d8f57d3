#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A token identifies one connection in the poller, and no later one in the same slot.
 *
 * The slot is a place in the table of connections, whatever number the descriptor has: those that
 * the parent process left open take no place. The generation distinguishes uses of one slot: an
 * event that was queued for a closed connection has an old generation and resolves to nothing.
 */
struct token {
    uint32_t slot;
    uint32_t generation;
};

/* Generation 0 is never issued: it marks the server's own descriptors. */
#define TOKEN_LISTENER ((struct token){.slot = 0, .generation = 0})
#define TOKEN_STOP ((struct token){.slot = 1, .generation = 0})

/* The generation of a slot's newest token, and whether that is in use. */
struct token_slot {
    uint32_t generation;
    bool live;
};

/*@
#include "core/acsl/token.acsl"
*/

/* Issues the next token of a slot.
 *
 * requires  the slot is not live; it was initially zeroed, and `number` was always the same
 * ensures   the slot is live; the token resolves to it and differs from the previous 2^32 - 2
 *           tokens of the slot; its generation is not 0
 * carries   FAIR-1
 */
/*@ requires idle: \valid(slot) && !slot->live;
  @ assigns  slot->generation, slot->live;
  @ ensures  named: \result.slot == number && \result.generation != 0;
  @ ensures  live: TokenResolves(\result, slot);
  @ ensures  others: TokensAge(\old(slot->generation), slot->generation);
  @*/
struct token token_issue(struct token_slot *slot, uint32_t number);

/* Releases the slot's token.
 *
 * requires  the slot is live
 * ensures   no token resolves to the slot until the next is issued
 * carries   FAIR-1
 */
/*@ requires live: \valid(slot) && slot->live;
  @ assigns  slot->live;
  @ ensures  dead: !slot->live && \forall struct token t; !TokenResolves(t, slot);
  @*/
void token_release(struct token_slot *slot);

/* True if the slot is live and the token is its newest. The caller found the slot by token.slot.
 * carries   FAIR-1 */
/*@ requires readable: \valid_read(slot);
  @ assigns  \nothing;
  @ ensures  twin: \result <==> TokenResolves(token, slot);
  @*/
bool token_resolves(struct token token, const struct token_slot *slot);

/* A token as the 64 bits of user data in epoll and kqueue.
 * ensures   only TOKEN_LISTENER packs to 0
 * carries   FAIR-1 */
/*@ assigns  \nothing;
  @ ensures  packed: \result == TokenPacked(token);
  @ ensures  listener: \result == 0 <==> token.slot == 0 && token.generation == 0;
  @*/
uint64_t token_pack(struct token token);

/* The inverse of token_pack.
 * ensures   token_unpack(token_pack(t)) is t
 * carries   FAIR-1 */
/*@ assigns  \nothing;
  @ ensures  packed: TokenPacked(\result) == packed;
  @ ensures  back: \forall struct token t; TokenPacked(t) == packed ==>
  @            \result.slot == t.slot && \result.generation == t.generation;
  @*/
struct token token_unpack(uint64_t packed);
