#include "under/stacks.h"

#include <stddef.h>
#include <stdint.h>

#define STACK_BYTES (1u << 20)
#define SAVED_REGISTERS 6

static _Alignas(64) uint8_t memory[STACK_BYTES];
static void *server, *runner;

/* Saves what a function must preserve (System V ABI, x86-64), and goes on where `load` is from. */
__attribute__((naked, noinline)) static void swap(void **save, void *load) {
    __asm__("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
            "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
            "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}

void stacks_start(void (*entry)(void)) {
    void **top = (void **)(memory + STACK_BYTES);
    *--top = NULL; /* where a caller's address would be */
    *--top = (void *)(uintptr_t)entry;
    for (int i = 0; i < SAVED_REGISTERS; i++)
        *--top = NULL;
    runner = top;
}

void stacks_to_runner(void) { swap(&server, runner); }

void stacks_to_server(void) { swap(&runner, server); }
