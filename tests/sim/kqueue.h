#pragma once

#include "sim/kernel.h"

/* kqueue(2), level-triggered. */

struct result sim_kevent(void *self, int32_t queue, const struct kqueue_record *changes,
                         size_t count, struct kqueue_record *events, size_t max,
                         int32_t timeout_ms);
