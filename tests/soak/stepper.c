/*
 * Stops or kills a process inside a critical section: STORE PID SEED kill|stop
 *
 * Traces the process PID, lets it run until it has written to its history (what follows is a call
 * of the library), then lets it go on by single instructions, until one of the lock words of
 * `control` names it as owner, and some instructions further. There it dies by SIGKILL, or stays
 * stopped for a while, in which nobody may take the lock from it.
 *
 * Says in one line how it went:
 *     killed TIME LOCK STEPS | stopped TIME TIME LOCK STEPS | robbed LOCK WORD WORD
 *     missed WHY | gone
 */
#define _GNU_SOURCE
#include "locks.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ptrace.h>

#define THREADS_MOST 64
#define STEPS_MOST 25000
#define STEPS_SPARE 2000
#define SECONDS_MOST 3
#define WRITES_MOST 12
#define SIGNALS_MOST 16

struct victim {
    pid_t pid;
    pid_t threads[THREADS_MOST];
    size_t count;
    struct locks locks;
    uint32_t word;
    uint64_t chance;
    /* Whether the main thread is known to be stopped. */
    bool still;
};

static volatile sig_atomic_t time_is_over;

static void on_alarm(int number)
{
    (void)number;
    time_is_over = 1;
}

static unsigned long long boot_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec;
}

static uint64_t draw(struct victim *victim, uint64_t most)
{
    victim->chance ^= victim->chance << 13;
    victim->chance ^= victim->chance >> 7;
    victim->chance ^= victim->chance << 17;
    return (victim->chance * 0x2545F4914F6CDD1Du >> 32) % most;
}

/* Whether the trap of a step is still to be told of: one that ends in a system call comes behind a
 * stop that was asked for meanwhile, and would end a process that nobody traces. */
static bool has_trap_ahead(pid_t pid)
{
    struct ptrace_peeksiginfo_args all = {.off = 0, .flags = 0, .nr = SIGNALS_MOST};
    siginfo_t signals[SIGNALS_MOST];
    long count = ptrace(PTRACE_PEEKSIGINFO, pid, &all, signals);
    for (long i = 0; i < count; i++) {
        if (signals[i].si_signo == SIGTRAP) {
            return true;
        }
    }
    return false;
}

/* Says it and ends. Who is still traced is let go: the main thread by hand, for the kernel would
 * leave it stepping; the others by the kernel. */
static void finish(struct victim *victim, const char *line)
{
    int status = 0;
    alarm(1);
    if (!victim->still) {
        ptrace(PTRACE_INTERRUPT, victim->pid, NULL, NULL);
        waitpid(victim->pid, &status, __WALL);
    }
    if (has_trap_ahead(victim->pid) && ptrace(PTRACE_CONT, victim->pid, NULL, NULL) == 0) {
        waitpid(victim->pid, &status, __WALL);
    }
    ptrace(PTRACE_DETACH, victim->pid, NULL, NULL);
    printf("%s\n", line);
    exit(0);
}

static void gone(void)
{
    printf("gone\n");
    exit(0);
}

/* Waits until the main thread stops, which it does at once but in a system call that sleeps. False
 * when the time is over. */
static bool stops(struct victim *victim, int *status)
{
    victim->still = false;
    while (!time_is_over) {
        if (waitpid(victim->pid, status, __WALL) == victim->pid) {
            if (!WIFSTOPPED(*status)) {
                gone();
            }
            victim->still = true;
            return true;
        }
        if (errno == ECHILD) {
            gone();
        }
    }
    return false;
}

/* The signal that a stop would have delivered; none where the stop is the tracer's own. */
static long signal_of(int status)
{
    int number = WSTOPSIG(status);
    bool own = status >> 16 != 0 || number == SIGTRAP || number == (SIGTRAP | 0x80);
    return own ? 0 : number;
}

static void seize_all(struct victim *victim)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/task", (long)victim->pid);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        gone();
    }
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL && victim->count < THREADS_MOST) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread <= 0) {
            continue;
        }
        if (ptrace(PTRACE_SEIZE, thread, NULL, PTRACE_O_TRACESYSGOOD) == 0) {
            victim->threads[victim->count++] = thread;
        } else if (thread == victim->pid) {
            if (errno == ESRCH) {
                gone();
            }
            printf("missed: tracing: %s\n", strerror(errno));
            exit(0);
        }
    }
    closedir(folder);
}

/* Whether lines of history that begin at this address come before a call that takes locks: before
 * a send (W), a settle (V) or a redrive (K), or behind a settle (D), where a receive follows. */
static bool comes_before_locks(pid_t pid, uint64_t address)
{
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, pid, (void *)(uintptr_t)address, NULL);
    char first = (char)(word & 0xFF);
    return errno == 0 && (first == 'W' || first == 'V' || first == 'D' || first == 'K');
}

/* Lets the main thread run until it has written such lines. */
static bool run_to_a_write(struct victim *victim)
{
    int status = SIGTRAP << 8 | 0x7F;
    bool writing = false;
    if (!victim->still) {
        ptrace(PTRACE_INTERRUPT, victim->pid, NULL, NULL);
        if (!stops(victim, &status)) {
            return false;
        }
    }
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, victim->pid, NULL, signal_of(status)) != 0) {
            gone();
        }
        if (!stops(victim, &status)) {
            return false;
        }
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            continue;
        }
        struct ptrace_syscall_info info;
        long got = ptrace(PTRACE_GET_SYSCALL_INFO, victim->pid, sizeof info, &info);
        if (got <= 0) {
            return false;
        }
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            writing = info.entry.nr == SYS_write
                && comes_before_locks(victim->pid, info.entry.args[1]);
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && writing) {
            return true;
        }
    }
}

/* Steps into a lock of the victim's and `deeper` instructions further in; the lock's number, -1
 * where none was met. A section that ended before says how deep the next one may be gone into, so
 * that each of its instructions is met as often. */
static int step_into_lock(struct victim *victim, unsigned *deeper, unsigned most, unsigned *steps)
{
    int status = SIGTRAP << 8 | 0x7F, held = -1;
    unsigned inside = 0;
    for (*steps = 0; *steps < most && !time_is_over; ++*steps) {
        int owned = owned_by(&victim->locks, victim->word);
        if (owned < 0 && held >= 0) {
            *deeper = (unsigned)draw(victim, inside + 1);
            return -1;
        }
        inside = owned >= 0 && owned == held ? inside + 1 : 0;
        held = owned;
        if (held >= 0 && inside >= *deeper) {
            return held;
        }
        if (ptrace(PTRACE_SINGLESTEP, victim->pid, NULL, signal_of(status)) != 0) {
            gone();
        }
        if (!stops(victim, &status)) {
            return -1;
        }
    }
    return -1;
}

/* Stops the other threads too, so that nothing of the victim moves. */
static void hold_still(struct victim *victim)
{
    for (size_t i = 0; i < victim->count; i++) {
        int status = 0;
        if (victim->threads[i] != victim->pid
            && ptrace(PTRACE_INTERRUPT, victim->threads[i], NULL, NULL) == 0) {
            while (waitpid(victim->threads[i], &status, __WALL) < 0 && errno == EINTR
                   && !time_is_over) {
            }
        }
    }
}

static void let_go(struct victim *victim)
{
    for (size_t i = 0; i < victim->count; i++) {
        ptrace(PTRACE_DETACH, victim->threads[i], NULL, NULL);
    }
}

/* In a lock, with nothing moving: the end of the victim, or a pause that nobody may use. */
static void strike(struct victim *victim, int lock, unsigned steps, bool kills)
{
    char name[64], line[200];
    name_of(&victim->locks, lock, name, sizeof name);
    unsigned long long began = boot_ns();
    if (kills) {
        kill(victim->pid, SIGKILL);
        /* The end of the main thread is only told once those of the others were asked for. */
        int status = 0;
        pid_t ended = 0;
        while (ended != victim->pid && !time_is_over) {
            ended = waitpid(-1, &status, __WALL);
        }
        printf("killed %llu %s %u\n", began, name, steps);
        exit(0);
    }
    struct timespec pause = {0, (long)(1000000 + draw(victim, 60000000))};
    nanosleep(&pause, NULL);
    uint32_t found = word_of(&victim->locks, lock);
    let_go(victim);
    if (found != victim->word) {
        snprintf(line, sizeof line, "robbed %s %08lx %08lx", name, (unsigned long)victim->word,
                 (unsigned long)found);
    } else {
        snprintf(line, sizeof line, "stopped %llu %llu %s %u", began, boot_ns(), name, steps);
    }
    printf("%s\n", line);
    exit(0);
}

int main(int argc, char **argv)
{
    static struct victim victim;
    if (argc != 5) {
        fprintf(stderr, "usage: stepper STORE PID SEED kill|stop\n");
        return 2;
    }
    victim.pid = (pid_t)strtol(argv[2], NULL, 10);
    victim.chance = strtoull(argv[3], NULL, 10) * 2 + 1;
    if (!find_locks(&victim.locks, argv[1])) {
        return 1;
    }
    if (!find_owner(&victim.locks, argv[1], victim.pid, &victim.word)) {
        printf("missed: it is no member\n");
        return 0;
    }
    /* Interrupts waits, so that a victim that sleeps does not keep the stepper. */
    struct sigaction action = {0};
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    seize_all(&victim);
    alarm(SECONDS_MOST);
    bool kills = strcmp(argv[4], "kill") == 0;
    /* Mostly the first section is only measured. Some die in it: the rare ones come but once. */
    bool measures = draw(&victim, 3) > 0;
    unsigned deeper = measures ? STEPS_MOST : (unsigned)draw(&victim, 1u << draw(&victim, 10));
    unsigned most = STEPS_MOST;
    for (unsigned writes = 0; writes < WRITES_MOST && !time_is_over; writes++) {
        unsigned steps = 0;
        if (!run_to_a_write(&victim)) {
            break;
        }
        unsigned before = deeper;
        int lock = step_into_lock(&victim, &deeper, most, &steps);
        if (lock < 0) {
            /* How far a section is from the write is known once one was passed. */
            most = deeper != before ? 2 * steps + STEPS_SPARE : most;
            continue;
        }
        hold_still(&victim);
        if (owned_by(&victim.locks, victim.word) == lock) {
            strike(&victim, lock, steps, kills);
        }
        finish(&victim, "missed: another of its threads let the lock go");
    }
    finish(&victim, "missed: it took no lock in time");
    return 0;
}
