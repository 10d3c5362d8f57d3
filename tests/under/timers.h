#pragma once

#include <stdint.h>

/* timerfd: descriptors that become readable at a simulated time. */

/* Makes those that are due readable. The result is how long from now until the next one is: -1, if
 * none is armed. */
int64_t timers_expire(void);

/* A descriptor closes. */
void timers_forget(int fd);
