#pragma once

#include <stdint.h>

#include "core/endpoint.h"

/* Bytes for "[address%interface]:port" and the terminating null. */
#define TEXT_ENDPOINT_BYTES 80

/* Writes "127.0.0.1:4444" or "[::1]:4444". */
void text_of_endpoint(const struct endpoint *endpoint, char text[TEXT_ENDPOINT_BYTES]);

/* Bytes for the name of an errno, or its number, and the terminating null. */
#define TEXT_ERROR_BYTES 24

/* Writes the name of an errno ("ETIMEDOUT"), or its number if the name is not known. */
void text_of_error(int32_t error, char text[TEXT_ERROR_BYTES]);
