#pragma once

#include <stdbool.h>

#include "core/endpoint.h"
#include "core/outcome.h"

/* Common to the real kernels: entries for their tables (see shell/kernel.h), and the conversion of
 * errno and addresses. */

struct sockaddr_storage;

/* The flag for mmap that reserves address space only; 0 where that is the default. */
extern const int posix_reserve_flag;

/* Advice for madvise: for all memory, that single pages can be released; and to release memory. */
extern const int posix_reserve_advice, posix_release_advice;

/* The name by which a pipe on standard output can be opened anew; "" if there is none. */
extern const char posix_pipe_name[];

enum fault posix_fault(int error);

/* The result of a call that returned `value`; negative: it failed with errno. */
struct result posix_result(int64_t value);

/* Enables a socket option; false if it is refused. */
bool posix_switch_on(int descriptor, int level, int option);

/* Makes a listener or connection non-blocking and close-on-exec, without Nagle delay, with
 * keep-alive and urgent data in line. On Linux connections inherit it from the listener. False if
 * anything is refused. */
bool posix_prepare(int descriptor);

/* Set if the listener was passed by another process: a client that connected before its options
 * were set does not inherit them. */
extern bool posix_listener_inherited;

/* The fault of a getaddrinfo that returned `status`, which is not 0. */
enum fault posix_resolver_fault(int status);

struct endpoint posix_endpoint(const struct sockaddr_storage *address);

struct result posix_accept(void *self, int32_t listener, struct endpoint *peer);
struct result posix_receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length);
struct result posix_send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length);
struct result posix_shutdown(void *self, int32_t descriptor);
struct result posix_close_descriptor(void *self, int32_t descriptor);
struct result posix_unread(void *self, int32_t descriptor);
void posix_release(void *self, uint8_t *memory, size_t length);
uint64_t posix_clock_ms(void *self);
struct result posix_log_poll(void *self);
struct result posix_log_write(void *self, const char *line, size_t length, int32_t limit_us);
