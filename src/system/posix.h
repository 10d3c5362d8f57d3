#pragma once

#include <stdbool.h>

#include "core/endpoint.h"
#include "core/outcome.h"

/* What the real kernels have in common: entries for their tables (see shell/kernel.h), and errno
 * and addresses in our own terms. */

struct sockaddr_storage;

/* The flag for mmap that asks for address space only, where a system does not give it anyway. */
extern const int posix_reserve_flag;

enum fault posix_fault(int error);

/* The result of a call that returned `value`, which is negative if it failed with errno. */
struct result posix_result(int64_t value);

/* Switches a socket's option on; false if it is refused. */
bool posix_switch_on(int descriptor, int level, int option);

/* What the listener and each connection must be: non-blocking, close-on-exec, without Nagle's
 * delay, with keep-alive and urgent data in line. On Linux connections have it from the listener.
 * False if anything is refused. */
bool posix_prepare(int descriptor);

struct endpoint posix_endpoint(const struct sockaddr_storage *address);

struct result posix_accept(void *self, int32_t listener, struct endpoint *peer);
struct result posix_receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length);
struct result posix_send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length);
struct result posix_shutdown(void *self, int32_t descriptor);
struct result posix_close_descriptor(void *self, int32_t descriptor);
struct result posix_unread(void *self, int32_t descriptor);
void posix_release(void *self, uint8_t *memory, size_t length);
uint64_t posix_clock_ms(void *self);
struct result posix_log_write(void *self, const char *line, size_t length);
