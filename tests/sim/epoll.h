#pragma once

#include "sim/kernel.h"

/* epoll(7): level-triggered, EPOLLET and EPOLLONESHOT. */

/* The events that are set, whatever is registered. */
uint32_t epoll_state(const struct sim_kernel *sim, int32_t descriptor);

/* The records of one wait, as queue_gather. */
uint32_t epoll_gather(struct sim_kernel *sim, void *events, size_t max);

struct result sim_epoll_control(void *self, int32_t queue, int32_t descriptor,
                                struct epoll_change change, uint64_t token);
struct result sim_epoll_wait(void *self, int32_t queue, struct epoll_record *records, size_t max,
                             int32_t timeout_ms);
