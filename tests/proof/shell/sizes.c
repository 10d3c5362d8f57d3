/* The sizes and times of a server, of any options that it may be given. */
#include "any.h"
#include "shell/server.c"

void main(void) {
    struct server_options options;
    options.connections_max = Frama_C_unsigned_int_interval(1, INT32_MAX);
    options.buffer_bytes = Frama_C_unsigned_int_interval(1, UINT32_MAX);
    static struct server s;
    share_pass(&s, Frama_C_unsigned_int_interval(0, POLLER_EVENTS_MAX));
    /*@ check turns: 1 <= s.turns <= TURNS_MAX && 1 <= s.accepts; */
    uint64_t bytes = server_memory_needed(&options);
    /*@ check bytes: bytes >= 2 * KERNEL_MEMORY_UNIT + sizeof(struct connection); */
}
