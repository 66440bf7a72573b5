/*
 * The lock words of a store's `control`, and who owns them. Where they are is specified in
 * core/docs/format.md.
 */
#ifndef SOAK_LOCKS_H
#define SOAK_LOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOCKS_MOST 256

struct locks {
    const volatile uint8_t *control;
    size_t size;
    size_t at[LOCKS_MOST];
    const char *what[LOCKS_MOST];
    unsigned part[LOCKS_MOST];
    int count;
};

/* Maps `control` and lists its locks; says on standard error what was wrong. */
bool find_locks(struct locks *locks, const char *store);

/* The lock word of a process that is a member of the store: which slot's byte of the file `lock`
 * it holds is known to the kernel, whatever namespace the process is in. */
bool find_owner(const struct locks *locks, const char *store, pid_t pid, uint32_t *word);

/* A lock's word without the bit that says that somebody waits. */
uint32_t word_of(const struct locks *locks, int lock);

/* The first lock that the word owns, or -1. */
int owned_by(const struct locks *locks, uint32_t word);

void name_of(const struct locks *locks, int lock, char *into, size_t room);

#endif
