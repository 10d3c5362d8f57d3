#pragma once

#include <poll.h>

/* epoll, poll and select, on simulated and real descriptors together. */

/* Waits until a descriptor is ready for POLLIN or POLLOUT, or in error; as world_wait. */
int pollers_wait_for(int fd, short events);

/* A real descriptor closes. */
void pollers_forget(int fd);
