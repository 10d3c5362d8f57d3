/* What snprintf and vsnprintf do, for any arguments: how long a text becomes, and where it is
 * written; of its bytes only that they are any, and that the text ends. The modules under proof
 * call these instead, since Frama-C's own say nothing about lengths. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "any.h"

/* The memory that was printed to last, and where in it the text ends at the latest. */
static const char *printed;
static size_t printed_end;

/*@ assigns \result \from text;
  @ ensures \result == \base_addr(text); */
const char *base_of(const char *text);

/* The length of a string; of the one that was printed last, any that it may have. */
static size_t any_length(const char *text) {
    if (base_of(text) == printed)
        return Frama_C_unsigned_long_interval(0, printed_end - Frama_C_offset(text));
    return strlen(text);
}

/* Between the digits of the least and the greatest value that the number can have: comparisons are
 * added, so that lengths are not cases. */
static size_t digits_of(uint64_t number, unsigned base, size_t least) {
    size_t digits = 1;
    uint64_t power = base;
    for (; power <= UINT64_MAX / base; power *= base)
        digits += number >= power;
    digits += number >= power;
    return digits < least ? least : digits;
}

static int any_vsnprintf(char *text, size_t room, const char *format, va_list arguments) {
    size_t length = 0;
    for (const char *next = format; *next != '\0'; next++) {
        if (*next != '%') {
            length++;
            continue;
        }
        size_t least = 0, most = SIZE_MAX;
        bool is_long = false;
        next++;
        if (*next == '-') next++;
        for (; *next >= '0' && *next <= '9'; next++)
            least = least * 10 + (size_t)(*next - '0');
        if (*next == '.')
            for (most = 0, next++; *next >= '0' && *next <= '9'; next++)
                most = most * 10 + (size_t)(*next - '0');
        if (next[0] == 'l' && next[1] == 'l') {
            is_long = true;
            next += 2;
        }
        switch (*next) {
        case '%': length++; break;
        case 'c':
            (void)va_arg(arguments, int);
            length++;
            break;
        case 's': {
            size_t size = any_length(va_arg(arguments, const char *));
            size = size > most ? most : size;
            length += size < least ? least : size;
            break;
        }
        case 'd': {
            int number = va_arg(arguments, int);
            if (number < 0) length++;
            length +=
                digits_of(number < 0 ? (uint64_t) - (int64_t)number : (uint64_t)number, 10, 0);
            break;
        }
        case 'u':
            length += digits_of(is_long ? va_arg(arguments, unsigned long long)
                                        : va_arg(arguments, unsigned),
                                10, least);
            break;
        case 'x': length += digits_of(va_arg(arguments, unsigned), 16, least); break;
        default: /*@ check conversion: \false; */ break;
        }
    }
    size_t written = length < room ? length : room - 1;
    /*@ check room: room >= 1 && \valid(text + (0 .. written)); */
    any_bytes(text, written);
    text[written] = '\0';
    printed = base_of(text);
    printed_end = Frama_C_offset(text) + written;
    return (int)length;
}

static int any_snprintf(char *text, size_t room, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = any_vsnprintf(text, room, format, arguments);
    va_end(arguments);
    return length;
}

#define vsnprintf any_vsnprintf
#define snprintf any_snprintf
