#pragma once

/* Two stacks in one thread: the server's own, and that of the player, which judges it. Exactly one
 * of them runs. */

/* `player` runs on a stack of its own, from the first stacks_to_player on; it never returns. */
void stacks_start(void (*player)(void));

void stacks_to_player(void);
void stacks_to_server(void);
