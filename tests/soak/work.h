/*
 * What the soak's programs in C have in common: who they are, their history, payloads
 * that can be told from anyone else's, chance, and how they end. soak.py starts them; history.py
 * says what the lines mean.
 */
#ifndef SOAK_WORK_H
#define SOAK_WORK_H

#include <libqueue.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MOST (1 << 20)
#define BATCH_MOST 8
/* Should the driver be gone, its workers do not stay. */
#define LIFE_MOST_NS 300000000000u

/* One worker, in one of its lives. */
struct worker {
    const char *role;
    const char *folder;
    const char *topic_name;
    const char *group_name;
    const char *space;
    char name[64];
    int history;
    uint64_t chance;
    uint64_t began;
    unsigned children;
    lq_store *store;
    lq_topic *topic;
};

/* Lines that are written together. */
struct lines {
    char text[8192];
    size_t len;
};

/* Set by SIGUSR1: the driver wants a fork; by SIGTERM: it wants a clean end. */
extern volatile sig_atomic_t fork_wanted;
extern volatile sig_atomic_t end_wanted;

/* FOLDER TOPIC GROUP NAME SPACE SEED: opens history, store and topic, and says who it is. */
void begin(struct worker *me, const char *role, int argc, char **argv);

/* Whether the driver wants it to end; `stop` is a file in the folder. */
bool should_end(const struct worker *me, const char *stop);

/* Forks where the driver wanted it: true in the child, which has a name, a history and a topic of
 * its own then, and may be ended by an alarm at any instruction. */
bool forked(struct worker *me);

/* Closes what `begin` opened. */
void end(struct worker *me);

/* A line for the history, which `put` writes. */
void say(struct lines *lines, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
void put(struct worker *me, struct lines *lines);

/* Writes down that it did something, for the table. */
void mark(struct worker *me, const char *what);

/* Tells the driver what failed, and ends. */
void die(const struct worker *me, const char *doing);

uint64_t boot_ns(void);
int64_t wall_ns(void);
void rest_us(uint64_t us);
/* A number below `most`. */
uint64_t draw(struct worker *me, uint64_t most);

/* Makes a payload of about `size` bytes that names its sender and number; gives its sum. */
uint32_t make_payload(struct worker *me, uint64_t number, uint8_t *into, size_t *size);

/* What a payload says of itself, and whether that is true of its bytes. */
struct claim {
    char sender[64];
    uint64_t number;
    uint32_t sum;
    bool whole;
};
struct claim read_payload(const uint8_t *payload, size_t len);

#endif
