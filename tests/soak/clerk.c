/*
 * A clerk of the soak: FOLDER TOPIC GROUP NAME SPACE SEED (GROUP is whose name it sends under)
 *
 * The twin of clerk.py; ledger.py says what its lines mean.
 */
#define _GNU_SOURCE
#include "work.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHILD_ROUNDS 30
#define PAUSE_US 20000
#define FENCED_US 600000
/* A sequence is known among the last 1,000. */
#define REMEMBERED 300
#define HEAD_MOST 100
#define BODY_MOST 500

/* One life's opening of its name. */
struct clerk {
    struct worker me;
    int file;
    lq_producer *producer;
    uint64_t last;
};

static unsigned long long big(uint64_t number)
{
    return (unsigned long long)number;
}

/* The worker's history is another file. */
static void put_down(struct clerk *clerk, struct lines *lines)
{
    if (write(clerk->file, lines->text, lines->len) != (ssize_t)lines->len) {
        fprintf(stderr, "%s: no room for a line\n", clerk->me.name);
        exit(1);
    }
    lines->len = 0;
}

/* Whoever had the name is fenced. */
static void open_name(struct clerk *clerk)
{
    struct lines lines = {.len = 0};
    const char *name = clerk->me.group_name;
    say(&lines, "O %llu %s\n", big(boot_ns()), name);
    put_down(clerk, &lines);
    if (lq_producer_open(clerk->me.topic, name, &clerk->producer) != LQ_OK
        || lq_producer_last_sequence(clerk->producer, &clerk->last) != LQ_OK) {
        die(&clerk->me, "open the name");
    }
    say(&lines, "o %llu %llu\n", big(boot_ns()), big(clerk->last));
    put_down(clerk, &lines);
}

static void begin_life(struct clerk *clerk)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.clerk", clerk->me.folder, clerk->me.name);
    clerk->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0660);
    if (clerk->file < 0) {
        perror(path);
        exit(1);
    }
    open_name(clerk);
}

/* The same for each send of a sequence, as ledger.py makes it. */
static size_t make_body(const struct clerk *clerk, uint64_t number, uint8_t *into)
{
    int head = snprintf((char *)into, HEAD_MOST, "%s %llu\n", clerk->me.group_name, big(number));
    size_t size = (size_t)(number * 7919 % BODY_MOST);
    memset(into + head, (int)(number % 251), size);
    return (size_t)head + size;
}

/* Sends a sequence; false where it was fenced. */
static bool send_one(struct clerk *clerk, uint64_t number)
{
    uint8_t body[HEAD_MOST + BODY_MOST];
    struct lines lines = {.len = 0};
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id id;
    message.payload.len = make_body(clerk, number, body);
    message.payload.data = body;
    say(&lines, "W %llu %llu\n", big(boot_ns()), big(number));
    put_down(clerk, &lines);
    lq_status status = lq_producer_send(clerk->producer, &message, number, &id);
    if (status == LQ_FENCED) {
        say(&lines, "F %llu\n", big(boot_ns()));
        put_down(clerk, &lines);
        return false;
    }
    if (status != LQ_OK) {
        die(&clerk->me, "send under a name");
    }
    say(&lines, "S %llu %llu %lu %llu\n", big(boot_ns()), big(number),
        (unsigned long)id.partition, big(id.offset));
    put_down(clerk, &lines);
    clerk->last = number > clerk->last ? number : clerk->last;
    return true;
}

/* The next one, or one that was sent before, by whomever. */
static uint64_t draw_number(struct clerk *clerk)
{
    uint64_t most = clerk->last < REMEMBERED ? clerk->last : REMEMBERED;
    if (most > 0 && draw(&clerk->me, 4) == 0) {
        return clerk->last - draw(&clerk->me, most);
    }
    return clerk->last + 1;
}

int main(int argc, char **argv)
{
    static struct clerk clerk;
    begin(&clerk.me, "clerk", argc, argv);
    begin_life(&clerk);
    uint64_t left = UINT64_MAX;
    while (left-- > 0 && !should_end(&clerk.me, "stop-producers")) {
        if (forked(&clerk.me)) {
            /* What the parent has open is the parent's. */
            left = CHILD_ROUNDS;
            close(clerk.file);
            begin_life(&clerk);
        }
        if (!send_one(&clerk, draw_number(&clerk))) {
            if (lq_producer_close(clerk.producer) != LQ_OK) {
                die(&clerk.me, "close the name");
            }
            rest_us(draw(&clerk.me, FENCED_US));
            open_name(&clerk);
        }
        rest_us(draw(&clerk.me, PAUSE_US));
    }
    if (lq_producer_close(clerk.producer) != LQ_OK) {
        die(&clerk.me, "close the name");
    }
    end(&clerk.me);
    return 0;
}
