#pragma once

/* Catches system calls that no function of libc makes: those of syscall(), and of inline assembly
 * in this thread, by syscall user dispatch (Linux 5.11). */
void trap_start(void);
