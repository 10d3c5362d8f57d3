#pragma once

#include "sim/kernel.h"

/* epoll(7), level-triggered. */

struct result sim_epoll_control(void *self, int32_t queue, int32_t descriptor,
                                struct epoll_change change, uint64_t token);
struct result sim_epoll_wait(void *self, int32_t queue, struct epoll_record *records, size_t max,
                             int32_t timeout_ms);
