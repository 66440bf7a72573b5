#define _GNU_SOURCE
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t fork_wanted;
volatile sig_atomic_t end_wanted;

/* Payloads are pieces of these bytes, so that making one costs a copy. */
static uint8_t noise[2 * PAYLOAD_MOST];

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t boot_ns(void)
{
    return clock_ns(CLOCK_BOOTTIME);
}

int64_t wall_ns(void)
{
    return (int64_t)clock_ns(CLOCK_REALTIME);
}

void rest_us(uint64_t us)
{
    struct timespec time = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}

uint64_t draw(struct worker *me, uint64_t most)
{
    me->chance ^= me->chance << 13;
    me->chance ^= me->chance >> 7;
    me->chance ^= me->chance << 17;
    return (me->chance * 0x2545F4914F6CDD1Du >> 32) % most;
}

/* The CRC-32 of zip, as Python's zlib.crc32. */
static uint32_t crc32_of(uint32_t crc, const uint8_t *bytes, size_t len)
{
    static uint32_t table[256];
    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) {
                value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0);
            }
            table[i] = value;
        }
    }
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc = table[(crc ^ bytes[i]) & 0xFF] ^ (crc >> 8);
    }
    return ~crc;
}

void say(struct lines *lines, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    size_t room = sizeof lines->text - lines->len;
    int wrote = vsnprintf(lines->text + lines->len, room, format, values);
    va_end(values);
    if (wrote < 0 || (size_t)wrote >= room) {
        fprintf(stderr, "no room for a line of history\n");
        _exit(1);
    }
    lines->len += (size_t)wrote;
}

void put(struct worker *me, struct lines *lines)
{
    /* One call: a kill leaves at most one half line, the last. */
    if (write(me->history, lines->text, lines->len) != (ssize_t)lines->len) {
        fprintf(stderr, "%s: history: %s\n", me->name, strerror(errno));
        _exit(1);
    }
    lines->len = 0;
}

void mark(struct worker *me, const char *what)
{
    struct lines lines = {.len = 0};
    say(&lines, "M %llu %s -\n", (unsigned long long)boot_ns(), what);
    put(me, &lines);
}

void die(const struct worker *me, const char *doing)
{
    fprintf(stderr, "%s: %s: %s: %s\n", me->name, doing, lq_status_name(lq_last_error_status()),
            lq_last_error_message());
    _exit(1);
}

static void open_history(struct worker *me)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/history/%s.log", me->folder, me->name);
    me->history = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0660);
    if (me->history < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        _exit(1);
    }
    struct lines lines = {.len = 0};
    say(&lines, "B %llu %s %s %s %s %ld\n", (unsigned long long)boot_ns(), me->role,
        me->topic_name, me->group_name, me->space, (long)getpid());
    put(me, &lines);
}

static void on_fork_wanted(int number)
{
    (void)number;
    fork_wanted = 1;
}

static void on_end_wanted(int number)
{
    (void)number;
    end_wanted = 1;
}

void begin(struct worker *me, const char *role, int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: %s FOLDER TOPIC GROUP NAME SPACE SEED\n", argv[0]);
        exit(2);
    }
    memset(me, 0, sizeof *me);
    me->role = role;
    me->folder = argv[1];
    me->topic_name = argv[2];
    me->group_name = argv[3];
    snprintf(me->name, sizeof me->name, "%s", argv[4]);
    me->space = argv[5];
    me->began = boot_ns();
    me->chance = strtoull(argv[6], NULL, 10) * 2 + 1;
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)draw(me, 256);
    }
    signal(SIGUSR1, on_fork_wanted);
    signal(SIGTERM, on_end_wanted);
    /* Children that end are not waited for: what went wrong in them is on standard error. */
    signal(SIGCHLD, SIG_IGN);
    /* Where only ancestors may trace, the stepper may too. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    open_history(me);
    char path[4096];
    snprintf(path, sizeof path, "%s/store", me->folder);
    lq_store_options options = LQ_STORE_OPTIONS_INIT;
    options.create = 0;
    if (lq_store_open(path, &options, &me->store) != LQ_OK) {
        die(me, "open the store");
    }
    if (lq_topic_open_existing(me->store, me->topic_name, &me->topic) != LQ_OK) {
        die(me, "open the topic");
    }
}

bool should_end(const struct worker *me, const char *stop)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", me->folder, stop);
    bool over = end_wanted || boot_ns() - me->began > LIFE_MOST_NS;
    return over || access(path, F_OK) == 0;
}

bool forked(struct worker *me)
{
    if (!fork_wanted) {
        return false;
    }
    fork_wanted = 0;
    me->children++;
    uint64_t seed = me->chance;
    draw(me, 2);
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "%s: fork: %s\n", me->name, strerror(errno));
        _exit(1);
    }
    if (child > 0) {
        return false;
    }
    size_t len = strlen(me->name);
    snprintf(me->name + len, sizeof me->name - len, "f%u", me->children);
    me->chance = seed ^ 0x9E3779B97F4A7C15u;
    me->children = 0;
    close(me->history);
    open_history(me);
    if (draw(me, 2) == 0) {
        /* An alarm that nobody handles ends the process as abruptly as SIGKILL. */
        uint64_t us = 1000 + draw(me, 300000);
        struct lines lines = {.len = 0};
        say(&lines, "T %llu\n", (unsigned long long)(boot_ns() + us * 1000));
        put(me, &lines);
        struct itimerval alarm = {{0, 0}, {0, (suseconds_t)us}};
        setitimer(ITIMER_REAL, &alarm, NULL);
    }
    /* What was opened from the store before says why it does not work; the store works on. */
    lq_message message = LQ_MESSAGE_INIT;
    if (lq_send(me->topic, &message, 1, NULL) != LQ_FORKED) {
        die(me, "the parent's topic in a child did not say that it was forked");
    }
    lq_topic *topic = NULL;
    if (lq_topic_open_existing(me->store, me->topic_name, &topic) != LQ_OK) {
        die(me, "open the topic in a child");
    }
    lq_topic_close(me->topic);
    me->topic = topic;
    return true;
}

void end(struct worker *me)
{
    if (lq_topic_close(me->topic) != LQ_OK || lq_store_close(me->store) != LQ_OK) {
        die(me, "close");
    }
    struct lines lines = {.len = 0};
    say(&lines, "c %llu\n", (unsigned long long)boot_ns());
    put(me, &lines);
}

static uint32_t sum_of(const char *head, const uint8_t *rest, size_t len)
{
    uint32_t crc = crc32_of(0, (const uint8_t *)head, strlen(head));
    return crc32_of(crc, rest, len);
}

uint32_t make_payload(struct worker *me, uint64_t number, uint8_t *into, size_t *size)
{
    char head[128];
    const uint8_t *rest = noise + draw(me, PAYLOAD_MOST);
    snprintf(head, sizeof head, "%s %llu", me->name, (unsigned long long)number);
    uint32_t sum = sum_of(head, rest, *size);
    int len = snprintf((char *)into, 128, "%s %08lx\n", head, (unsigned long)sum);
    memcpy(into + len, rest, *size);
    *size += (size_t)len;
    return sum;
}

struct claim read_payload(const uint8_t *payload, size_t len)
{
    struct claim claim = {.sender = "?", .number = 0, .sum = 0, .whole = false};
    const uint8_t *newline = memchr(payload, '\n', len < 128 ? len : 128);
    char line[128], head[128];
    if (newline == NULL) {
        return claim;
    }
    size_t width = (size_t)(newline - payload);
    memcpy(line, payload, width);
    line[width] = '\0';
    unsigned long long number = 0;
    unsigned long sum = 0;
    if (sscanf(line, "%63s %llu %lx", claim.sender, &number, &sum) != 3) {
        snprintf(claim.sender, sizeof claim.sender, "?");
        return claim;
    }
    claim.number = number;
    claim.sum = (uint32_t)sum;
    snprintf(head, sizeof head, "%s %llu", claim.sender, number);
    claim.whole = sum_of(head, newline + 1, len - width - 1) == claim.sum;
    return claim;
}
