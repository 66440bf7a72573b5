/*
 * Normal life across processes: DIR. One process lays out, others send and receive after fork and
 * exec, one of them is killed with messages in hand; every message is acknowledged exactly once,
 * and only the one that the killed process had begun with is charged with a failure.
 */
#define _DEFAULT_SOURCE
#include "check.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define SENDERS 2
#define EACH 500
#define WORKERS 3

static pid_t start(const char *program, const char *dir, const char *role, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl(program, program, dir, role, text, (char *)NULL);
        perror(program);
        _exit(127);
    }
    return child;
}

static void join(pid_t child)
{
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void send_all(lq_topic *topic, int number)
{
    for (int i = 0; i < EACH; i++) {
        char key[16];
        char text[32];
        snprintf(key, sizeof key, "key-%d", i % 7);
        snprintf(text, sizeof text, "%d", number * EACH + i);
        lq_header header = {lq_bytes_of("sender"), lq_bytes_of(key)};
        lq_message message = LQ_MESSAGE_INIT;
        message.key = lq_bytes_of(key);
        message.payload = lq_bytes_of(text);
        message.headers = &header;
        message.headers_len = 1;
        OK(lq_send(topic, &message, 1, NULL));
    }
}

/* Acknowledges until nothing is left, and sends what it saw to the topic "seen". */
static void work(lq_topic *topic, lq_topic *seen)
{
    lq_consumer *consumer = NULL;
    OK(lq_consumer_open(topic, "workers", NULL, &consumer));
    lq_group *group = NULL;
    OK(lq_group_open(topic, "workers", &group));
    for (;;) {
        lq_batch *batch = NULL;
        lq_status status = lq_receive(consumer, 20, 100, &batch);
        if (status == LQ_TIMEOUT) {
            lq_group_stats stats = LQ_GROUP_STATS_INIT;
            OK(lq_group_get_stats(group, &stats));
            if (stats.lag_messages == 0) {
                break;
            }
            continue;
        }
        GIVES(LQ_OK, status);
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            const lq_delivery *d = lq_batch_get(batch, i);
            CHECK(d->headers_len == 1 && same(d->headers[0].name, "sender"));
            CHECK(d->headers[0].value.len == d->key.len);
            CHECK(d->deadline_ns > d->timestamp_ns);
            OK(lq_ack(consumer, &d->receipt, 1));
            lq_message message = LQ_MESSAGE_INIT;
            message.payload = d->payload;
            OK(lq_send(seen, &message, 1, NULL));
        }
        OK(lq_batch_free(batch));
    }
    OK(lq_group_close(group));
    OK(lq_consumer_close(consumer));
}

/* Takes messages, begins with one, says so through standard output, and waits to be killed. */
static void hold(lq_topic *topic)
{
    lq_consumer *consumer = NULL;
    OK(lq_consumer_open(topic, "workers", NULL, &consumer));
    lq_batch *batch = NULL;
    OK(lq_receive(consumer, 10, 20000, &batch));
    CHECK(lq_batch_len(batch) > 1 && lq_batch_get(batch, 0) != NULL);
    CHECK(write(STDOUT_FILENO, "h", 1) == 1);
    for (;;) {
        pause();
    }
}

static void kill_one_that_holds(const char *program, const char *dir)
{
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    int out = dup(STDOUT_FILENO);
    CHECK(out >= 0 && dup2(pipes[1], STDOUT_FILENO) >= 0);
    pid_t holder = start(program, dir, "hold", 0);
    CHECK(dup2(out, STDOUT_FILENO) >= 0);
    close(out);
    close(pipes[1]);
    char byte = 0;
    CHECK(read(pipes[0], &byte, 1) == 1 && byte == 'h');
    close(pipes[0]);
    CHECK(kill(holder, SIGKILL) == 0);
    int status = 0;
    CHECK(waitpid(holder, &status, 0) == holder && WIFSIGNALED(status));
}

static void check_seen(lq_topic *seen)
{
    static int times[SENDERS * EACH];
    lq_reader *reader = NULL;
    OK(lq_reader_open(seen, NULL, &reader));
    lq_batch *batch = NULL;
    lq_status status;
    size_t total = 0;
    while ((status = lq_reader_receive(reader, 100, 0, &batch)) == LQ_OK) {
        for (size_t i = 0; i < lq_batch_len(batch); i++) {
            const lq_delivery *d = lq_batch_get(batch, i);
            CHECK(d->attempt == 0 && d->deadline_ns == 0 && d->receipt.attempt == 0);
            CHECK(d->key.data == NULL && d->headers == NULL);
            char text[32] = {0};
            CHECK(d->payload.len < sizeof text);
            memcpy(text, d->payload.data, d->payload.len);
            int number = atoi(text);
            CHECK(number >= 0 && number < SENDERS * EACH);
            times[number]++;
            total++;
        }
        OK(lq_batch_free(batch));
    }
    CHECK(status == LQ_TIMEOUT);
    OK(lq_reader_close(reader));
    CHECK(total == SENDERS * EACH);
    for (int i = 0; i < SENDERS * EACH; i++) {
        CHECK(times[i] == 1);
    }
}

static void check_charged(lq_topic *topic)
{
    lq_group *group = NULL;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    OK(lq_group_open(topic, "workers", &group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.acked == SENDERS * EACH && stats.lag_messages == 0 && stats.consumers == 0);
    CHECK(stats.redelivered > 1 && stats.failed == 1 && stats.dead_lettered == 0);
    OK(lq_group_close(group));
}

static void lay_out_and_watch(const char *program, const char *dir, lq_topic *topic,
                              lq_topic *seen)
{
    pid_t children[SENDERS + WORKERS];
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.backoff_first_ms = 0;
    lq_group *group = NULL;
    OK(lq_group_create(topic, "workers", &options, &group));
    OK(lq_group_close(group));
    for (int i = 0; i < SENDERS; i++) {
        children[i] = start(program, dir, "send", i);
    }
    for (int i = 0; i < SENDERS; i++) {
        join(children[i]);
    }
    kill_one_that_holds(program, dir);
    for (int i = 0; i < WORKERS; i++) {
        children[i] = start(program, dir, "work", i);
    }
    for (int i = 0; i < WORKERS; i++) {
        join(children[i]);
    }
    check_seen(seen);
    check_charged(topic);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 || argc == 4);
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    lq_topic *seen = NULL;
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.partitions = 3;
    OK(lq_store_open(inside(argv[1], "life"), NULL, &store));
    OK(lq_topic_open(store, "numbers", &options, &topic));
    OK(lq_topic_open(store, "seen", NULL, &seen));
    if (argc == 2) {
        lay_out_and_watch(argv[0], argv[1], topic, seen);
    } else if (strcmp(argv[2], "send") == 0) {
        send_all(topic, atoi(argv[3]));
    } else if (strcmp(argv[2], "work") == 0) {
        work(topic, seen);
    } else {
        hold(topic);
    }
    OK(lq_topic_close(topic));
    OK(lq_topic_close(seen));
    OK(lq_store_close(store));
    return 0;
}
