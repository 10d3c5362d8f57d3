/* The texts of any endpoint and of any errno. */
#include "print.h"

/* With that snprintf. */
#include "shell/text.c"

void main(void) {
    char text[TEXT_ENDPOINT_BYTES];
    struct endpoint endpoint;
    if (any_bool()) {
        text_of_error(any_int, text);
        /*@ check whole: printed == (char *)text && printed_end < TEXT_ERROR_BYTES; */
    } else {
        any_bytes(&endpoint, sizeof endpoint);
        text_of_endpoint(&endpoint, text);
        /*@ check whole: printed == (char *)text && printed_end < TEXT_ENDPOINT_BYTES - 1; */
    }
}
