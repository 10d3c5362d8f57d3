#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "sim/kernel.h"
#include "sim/queue.h"

/* The server's process, seen from its calls: which descriptors are simulated, and the waits in
 * which the simulated kernel goes on. All of it belongs to one thread, the one that waits. */

enum descriptor_kind { DESCRIPTOR_REAL, DESCRIPTOR_LISTENER, DESCRIPTOR_CLIENT };

#define DESCRIPTORS_MAX 65536

struct descriptor {
    uint8_t kind; /* enum descriptor_kind */
    bool nonblocking;
    bool passed; /* a listener that the parent process bound (sd_listen_fds(3)) */
    int32_t sim; /* its number in the simulated kernel */
};

extern struct descriptor world_descriptors[DESCRIPTORS_MAX];
extern struct sim_kernel *world_sim; /* of this run; before the first one, of none */

static inline enum descriptor_kind world_kind(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS_MAX) return DESCRIPTOR_REAL;
    return (enum descriptor_kind)world_descriptors[fd].kind;
}

static inline bool world_is_client(int fd) { return world_kind(fd) == DESCRIPTOR_CLIENT; }

static inline bool world_is_simulated(int fd) { return world_kind(fd) != DESCRIPTOR_REAL; }

/* True if a command shares its memory with this process. */
bool world_exists(void);

/* True for the thread that waits, once it has waited. */
bool world_is_mine(void);

/* True once some thread has waited for clients. */
bool world_runs(void);

/* Ends the process: a call is not modelled, and whatever followed would be no verdict. */
_Noreturn void world_unsupported(const char *call);

/* Before each simulated call: it is made by the thread that waits, and there are waits. */
void world_called(const char *call);

/* Notes a call that is answered otherwise than by the real kernel, for the last line of output. */
void world_seen(const char *call);

/* The descriptor begins to listen: true if it is the one that is simulated from here on. */
bool world_listens(int fd);

/* The limit of descriptors, where a scenario sets one, is for real ones, too. False: reached. */
bool world_opens_real(void);
void world_closes_real(void);

/* True once the process has started another thread. */
bool world_has_threads(void);

/* A real call may have made a real descriptor ready. */
void world_stirred(void);
bool world_is_stirred(void);
void world_is_calm(void);

/* A wait of the server by `call`: for records, at most `timeout_ms` (-1: for ever), with these
 * signals blocked (null: as they are). The result is a number of records, 0 after the timeout, or
 * -1 with errno. */
int world_wait(const char *call, queue_gather *gather, void *records, size_t max,
               int64_t timeout_ms, const sigset_t *blocked);

/* The clock of the simulated kernel, which never goes back: milliseconds since some time. */
uint64_t world_clock_ms(void);

/* The server's process exits: its descriptors close, and the run is judged. */
void world_exits(int status);

/* The result of a simulated call, as of a system call: a value, or -1 with errno. */
ssize_t world_result(struct result result);
