/* New processes: one of a server that waits already would share simulated descriptors with it,
 * which are not modelled. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "under/real.h"
#include "under/world.h"

static void forbid(const char *call) {
    if (world_runs()) world_unsupported(call);
}

pid_t fork(void) {
    static pid_t (*libc_fork)(void);
    forbid("fork");
    if (libc_fork == NULL) *(void **)&libc_fork = real_function("fork");
    return libc_fork();
}

/* What is right after vfork is right after fork. */
pid_t vfork(void) { return fork(); }

int system(const char *command) {
    static int (*libc_system)(const char *);
    forbid("system");
    if (libc_system == NULL) *(void **)&libc_system = real_function("system");
    return libc_system(command);
}

FILE *popen(const char *command, const char *type) {
    static FILE *(*libc_popen)(const char *, const char *);
    forbid("popen");
    if (libc_popen == NULL) *(void **)&libc_popen = real_function("popen");
    return libc_popen(command, type);
}

typedef int spawn(pid_t *, const char *, const posix_spawn_file_actions_t *,
                  const posix_spawnattr_t *, char *const *, char *const *);

int posix_spawn(pid_t *restrict pid, const char *restrict path,
                const posix_spawn_file_actions_t *restrict actions,
                const posix_spawnattr_t *restrict attributes, char *const arguments[restrict],
                char *const environment[restrict]) {
    static spawn *libc_spawn;
    forbid("posix_spawn");
    if (libc_spawn == NULL) *(void **)&libc_spawn = real_function("posix_spawn");
    return libc_spawn(pid, path, actions, attributes, arguments, environment);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[],
                 char *const environment[]) {
    static spawn *libc_spawn;
    forbid("posix_spawnp");
    if (libc_spawn == NULL) *(void **)&libc_spawn = real_function("posix_spawnp");
    return libc_spawn(pid, file, actions, attributes, arguments, environment);
}
