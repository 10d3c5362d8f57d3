#pragma once

#include "core/endpoint.h"
#include "core/outcome.h"
#include "shell/kernel.h"
#include "shell/poller.h"

/* What main asks of the operating system before the server runs, and the real kernel that it then
 * runs on. */

/* Opens /dev/null for each of standard input, output and error that is closed, so that no socket
 * gets their numbers and with them what is meant for the log. To be called first. */
struct result system_open_stdio(void);

/* Lets a write that cannot be done fail instead of ending or stopping the process. */
void system_ignore_signals(void);

/* Lets a write to a log that is a terminal fail instead of block: poll calls a terminal writable
 * from one byte of room on, and a line may need more. It is opened anew, because O_NONBLOCK on the
 * descriptor itself would be the starting shell's too. */
void system_open_log(void);

/* Raises the soft descriptor limit to the hard one; the result is the limit. */
uint32_t system_raise_descriptor_limit(void);

#define SYSTEM_COMPLAINT_BYTES 128

/* A descriptor that becomes readable at the first SIGTERM or SIGINT. The second one ends the
 * process at once, with status 128 + its number. */
struct result system_catch_stop(void);

/* The listening socket that systemd passed (source: sd_listen_fds(3)).
 * ensures   value: the descriptor, or 0 if none was passed to this process
 * errors    FAULT_OTHER: `complaint` says what is wrong with it */
struct result system_activated(char complaint[SYSTEM_COMPLAINT_BYTES]);

struct addrinfo;

/* Finds the address of a host, which is a name or an address.
 *
 * ensures   true: `address` is the system's list of what was found
 *           false: `complaint` says why there is none
 */
bool system_resolve(const char *host, uint16_t port, struct addrinfo **address,
                    char complaint[SYSTEM_COMPLAINT_BYTES]);

/* Opens a non-blocking socket that listens on the first address of the list, and frees the list.
 * ensures   value: the descriptor */
struct result system_listen(struct addrinfo *address);

/* Where a socket is bound. */
struct result system_local_endpoint(int32_t descriptor, struct endpoint *endpoint);

/* Reserves zeroed memory as address space, aligned to KERNEL_MEMORY_UNIT; null if it cannot be had.
 * It is never given back. */
uint8_t *system_reserve(size_t length);

/* The real kernel's table; it has no state. */
extern const struct kernel_ops system_kernel;

/* The name of the poller that this system has: "epoll" or "kqueue". */
extern const char system_poller[];

struct result system_open_poller(struct poller *poller);
