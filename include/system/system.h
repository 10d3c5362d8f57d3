#pragma once

#include <stdbool.h>

#include "core/endpoint.h"
#include "core/outcome.h"
#include "shell/kernel.h"
#include "shell/poller.h"

/* What main requires from the operating system before the server runs, and the real kernel. */

/* Opens /dev/null for each of standard input, output and error that is closed, so that no socket
 * gets its number and the log's output. To be called before anything is opened. */
struct result system_open_stdio(void);

/* Makes a write that cannot succeed fail, instead of ending or stopping the process, and a write
 * that blocks fail at SIGALRM. */
void system_ignore_signals(void);

/* Makes a write to the log fail instead of block. It is not enough that poll reports a sink as
 * writable: a terminal then has room for one byte, and another process may fill a shared pipe
 * first. A terminal or pipe is reopened, because O_NONBLOCK on the descriptor itself would affect
 * all that share it. A sink that cannot be reopened may delay a write by a millisecond. */
void system_open_log(void);

/* Raises the soft descriptor limit to the hard one; returns the limit. */
uint32_t system_raise_descriptor_limit(void);

#define SYSTEM_COMPLAINT_BYTES 128

/* A descriptor that becomes readable at the first SIGTERM, SIGINT or SIGHUP (unless SIGHUP was
 * ignored). A second one, half a second later or more, ends the process at once, with status 128 +
 * its number. */
struct result system_catch_stop(void);

/* The listening socket that systemd passed (source: sd_listen_fds(3)).
 * ensures   value: the descriptor, or 0 if none was passed to this process
 * errors    FAULT_OTHER: `complaint` says what is wrong */
struct result system_activated(char complaint[SYSTEM_COMPLAINT_BYTES]);

struct addrinfo;

/* Resolves a host: a name, an address, or "*" for all addresses of both families.
 *
 * ensures   `address` is the list of results
 * errors    FAULT_WOULD_BLOCK for a failure that may be temporary, FAULT_OTHER for any other;
 *           `complaint` says why
 */
struct result system_resolve(const char *host, uint16_t port, struct addrinfo **address,
                             char complaint[SYSTEM_COMPLAINT_BYTES]);

/* Opens a non-blocking socket that listens on the first address of the list, and frees the list. An
 * IPv6 socket also accepts IPv4 clients if `dual_stack` is true.
 * ensures   value: the descriptor */
struct result system_listen(struct addrinfo *address, bool dual_stack);

/* The local address of a socket. */
struct result system_local_endpoint(int32_t descriptor, struct endpoint *endpoint);

/* Reserves zeroed memory as address space, aligned to KERNEL_MEMORY_UNIT; null if that fails. It is
 * never freed. */
uint8_t *system_reserve(uint64_t length);

/* The real kernel's table; it has no state. */
extern const struct kernel_ops system_kernel;

/* The name of the poller that this system has: "epoll" or "kqueue". */
extern const char system_poller[];

struct result system_open_poller(struct poller *poller);
