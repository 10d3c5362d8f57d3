#pragma once

/* Two stacks in one thread: the server's own, and that of the scenario runner, which judges it.
 * Exactly one of them runs. */

/* `runner` runs on a stack of its own, from the first stacks_to_runner on; it never returns. */
void stacks_start(void (*runner)(void));

void stacks_to_runner(void);
void stacks_to_server(void);
