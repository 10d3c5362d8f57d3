#pragma once

#include "sim/kernel.h"

/* The calls on sockets. */

struct result sim_accept(void *self, int32_t listener, struct endpoint *peer);
struct result sim_receive(void *self, int32_t descriptor, uint8_t *bytes, size_t length);
struct result sim_send(void *self, int32_t descriptor, const uint8_t *bytes, size_t length);
struct result sim_shutdown(void *self, int32_t descriptor);
struct result sim_unread(void *self, int32_t descriptor);
struct result sim_close(void *self, int32_t descriptor);
