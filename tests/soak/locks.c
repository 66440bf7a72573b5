#define _GNU_SOURCE
#include "locks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* From core/docs/format.md: words of 8 bytes of `control`, and bytes of `lock`. */
#define SIGNATURE "LQCTRL11"
#define FIRST_BLOCK 7
#define MEMBERS_AT 512
#define MEMBER_SLOTS 1024
#define MEMBER_WORDS 8
#define MEMBER_BYTES 16
#define BLOCK_WORDS 32
#define TOPIC_KIND 1
#define TOPIC_PARTITION_WORDS 48
#define GROUP_PARTITION_WORDS 24
#define WAITERS (1u << 31)
#define SLOT_BITS 11
#define GENERATION_MASK ((1u << 20) - 1)

struct place {
    size_t word;
    const char *name;
};

static const struct place of_header[] = {
    {5, "registry"}, {6, "create"}, {9, "death"}, {11, "ballast"},
    {13, "transactions"}, {14, "transactions' sync"},
};
static const struct place of_group[] = {{8, "mover"}, {9, "life"}};
static const struct place of_topic[] = {{20, "retain"}};
static const struct place of_topic_partition[] = {
    {0, "append"}, {1, "sync"}, {2, "slow"}, {24, "large"},
};
static const struct place of_group_partition[] = {{0, "window"}};
static const struct place of_flow[] = {{0, "flow"}, {1, "count"}};

static uint64_t word_at(const struct locks *locks, size_t at)
{
    if (at % 8 != 0 || at + 8 > locks->size) {
        return 0;
    }
    return *(const volatile uint64_t *)(const volatile void *)(locks->control + at);
}

static void list(struct locks *locks, size_t base, const struct place *places, size_t count,
                 unsigned part)
{
    for (size_t i = 0; i < count && locks->count < LOCKS_MOST; i++) {
        size_t at = base + places[i].word * 8;
        if (at + 8 <= locks->size) {
            locks->at[locks->count] = at;
            locks->what[locks->count] = places[i].name;
            locks->part[locks->count++] = part;
        }
    }
}

#define LIST(locks, base, places, part) \
    list(locks, base, places, sizeof places / sizeof places[0], part)

static bool wrong(const char *path, const char *what)
{
    fprintf(stderr, "stepper: %s: %s\n", path, what);
    return false;
}

bool find_locks(struct locks *locks, const char *store)
{
    char path[4096];
    struct stat status;
    snprintf(path, sizeof path, "%s/control", store);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        return wrong(path, strerror(errno));
    }
    locks->size = (size_t)status.st_size;
    void *mapped = mmap(NULL, locks->size, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) {
        return wrong(path, strerror(errno));
    }
    locks->control = mapped;
    if (memcmp(mapped, SIGNATURE, 8) != 0) {
        return wrong(path, "laid out in another way than the stepper knows");
    }
    LIST(locks, 0, of_header, 0);
    size_t block = (size_t)word_at(locks, FIRST_BLOCK * 8);
    for (int blocks = 0; block != 0 && blocks < LOCKS_MOST; blocks++) {
        bool topic = word_at(locks, block + 24) == TOPIC_KIND;
        uint64_t partitions = word_at(locks, block + 16);
        size_t words = topic ? TOPIC_PARTITION_WORDS : GROUP_PARTITION_WORDS;
        if (topic) {
            LIST(locks, block, of_topic, 0);
        } else {
            LIST(locks, block, of_group, 0);
        }
        for (unsigned i = 0; i < partitions && i < LOCKS_MOST; i++) {
            size_t at = block + (BLOCK_WORDS + i * words) * 8;
            if (topic) {
                LIST(locks, at, of_topic_partition, i);
            } else {
                LIST(locks, at, of_group_partition, i);
            }
        }
        if (topic) {
            LIST(locks, block + (BLOCK_WORDS + partitions * words) * 8, of_flow, 0);
        }
        block = (size_t)word_at(locks, block);
    }
    return true;
}

/* The slot whose byte an open file of the process holds, by a line of /proc/PID/fdinfo/N as
 * "lock: 1: OFDLCK ADVISORY WRITE -1 fd:00:1234 16 16"; -1 for none. */
static long slot_of_file(pid_t pid, const char *number)
{
    char path[512], line[256];
    long slot = -1;
    snprintf(path, sizeof path, "/proc/%ld/fdinfo/%s", (long)pid, number);
    FILE *info = fopen(path, "r");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        const char *at = strstr(line, " WRITE ");
        long begin = 0, end = 0;
        if (strncmp(line, "lock:", 5) == 0 && at != NULL
            && sscanf(at, " WRITE %*s %*s %ld %ld", &begin, &end) == 2 && begin == end
            && begin >= MEMBER_BYTES && begin < MEMBER_BYTES + MEMBER_SLOTS) {
            slot = begin - MEMBER_BYTES;
        }
    }
    if (info != NULL) {
        fclose(info);
    }
    return slot;
}

bool find_owner(const struct locks *locks, const char *store, pid_t pid, uint32_t *word)
{
    char path[4096], wanted[4096];
    struct stat lock, file;
    snprintf(wanted, sizeof wanted, "%s/lock", store);
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    DIR *folder = opendir(path);
    if (folder == NULL || stat(wanted, &lock) != 0) {
        return false;
    }
    long slot = -1;
    struct dirent *entry;
    while (slot < 0 && (entry = readdir(folder)) != NULL) {
        snprintf(path, sizeof path, "/proc/%ld/fd/%s", (long)pid, entry->d_name);
        if (entry->d_name[0] != '.' && stat(path, &file) == 0 && file.st_ino == lock.st_ino
            && file.st_dev == lock.st_dev) {
            slot = slot_of_file(pid, entry->d_name);
        }
    }
    closedir(folder);
    if (slot < 0) {
        return false;
    }
    uint64_t state = word_at(locks, MEMBERS_AT + (size_t)slot * MEMBER_WORDS * 8);
    *word = ((uint32_t)state & GENERATION_MASK) << SLOT_BITS | (uint32_t)(slot + 1);
    return true;
}

uint32_t word_of(const struct locks *locks, int lock)
{
    const volatile void *at = locks->control + locks->at[lock];
    return *(const volatile uint32_t *)at & ~WAITERS;
}

int owned_by(const struct locks *locks, uint32_t word)
{
    for (int lock = 0; lock < locks->count; lock++) {
        if (word_of(locks, lock) == word) {
            return lock;
        }
    }
    return -1;
}

void name_of(const struct locks *locks, int lock, char *into, size_t room)
{
    snprintf(into, room, "%s/%u", locks->what[lock], locks->part[lock]);
}
