/* Descriptors, batches, bounded leases and draining, from C: events DIR. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG 20000 /* ms; nothing here waits for so long unless it is lost */

static int readable(lq_consumer *consumer, int within_ms)
{
    struct pollfd polled = {-1, POLLIN, 0};
    OK(lq_consumer_fd(consumer, &polled.fd));
    return poll(&polled, 1, within_ms) == 1;
}

static size_t take(lq_consumer *consumer, size_t max, lq_receipt *receipts)
{
    lq_batch *batch = NULL;
    lq_status status = lq_receive(consumer, max, 0, &batch);
    size_t count = lq_batch_len(batch);
    if (status == LQ_TIMEOUT)
        return 0;
    CHECK(status == LQ_OK);
    for (size_t i = 0; i < count; i++)
        receipts[i] = lq_batch_get(batch, i)->receipt;
    OK(lq_batch_free(batch));
    return count;
}

/* P10: readable from a send, of this or of another process, to the receive that empties. */
static void a_descriptor_is_a_level(lq_topic *topic, const char *path)
{
    lq_consumer *consumer = NULL;
    lq_receipt receipts[4];
    int fd = -1, again = -1;
    OK(lq_consumer_open(topic, "level", NULL, &consumer));
    OK(lq_consumer_fd(consumer, &fd));
    OK(lq_consumer_fd(consumer, &again));
    CHECK(fd >= 0 && fd == again);
    INVALID(lq_consumer_fd(consumer, NULL));
    INVALID(lq_consumer_fd(NULL, &fd));
    CHECK(!readable(consumer, 100));
    for (int round = 0; round < 50; round++) {
        send_text(topic, NULL, "a");
        send_text(topic, NULL, "b");
        CHECK(readable(consumer, LONG));
        CHECK(take(consumer, 1, receipts) == 1);
        CHECK(readable(consumer, 0));
        CHECK(take(consumer, 1, receipts + 1) == 1);
        CHECK(!readable(consumer, 0));
        OK(lq_ack(consumer, receipts, 2));
    }
    /* P17: in the child of a fork the consumer is the parent's; the child's own has its own. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        lq_store *store = NULL;
        lq_topic *same_topic = NULL;
        lq_consumer *own = NULL;
        GIVES(LQ_FORKED, lq_consumer_fd(consumer, &fd));
        OK(lq_store_open(path, NULL, &store));
        OK(lq_topic_open(store, "events", NULL, &same_topic));
        OK(lq_consumer_open(same_topic, "child", NULL, &own));
        CHECK(readable(own, LONG)); /* of the earliest message on */
        while (take(own, 4, receipts) > 0)
            ;
        CHECK(!readable(own, 0));
        send_text(same_topic, NULL, "of the child");
        CHECK(readable(own, LONG));
        OK(lq_consumer_close(own));
        OK(lq_topic_close(same_topic));
        OK(lq_store_close(store));
        _exit(0);
    }
    int status = 1;
    CHECK(readable(consumer, LONG));
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(take(consumer, 4, receipts) == 1);
    OK(lq_ack(consumer, receipts, 1));
    CHECK(!readable(consumer, 0));
    OK(lq_consumer_close(consumer));
}

/* P6, P9: so many bytes, so many messages or the timeout, and a lease of the call's own. */
static void a_batch_is_what_was_asked_for(lq_topic *topic)
{
    lq_consumer *consumer = NULL;
    lq_consumer_options options = LQ_CONSUMER_OPTIONS_INIT;
    lq_group_options group = LQ_GROUP_OPTIONS_INIT;
    lq_receive_options ask = LQ_RECEIVE_OPTIONS_INIT;
    lq_batch *batch = NULL;
    lq_receipt receipts[3];
    lq_status results[3] = {-1, -1, -1};
    group.start = LQ_START_LATEST;
    group.lease_ms = 10000;
    group.max_lease_ms = 30000;
    options.group = &group;
    options.lease_ms = 30001;
    INVALID(lq_consumer_open(topic, "batches", &options, &consumer));
    options.lease_ms = 5000;
    options.auto_extend = 2;
    INVALID(lq_consumer_open(topic, "batches", &options, &consumer));
    options.auto_extend = 1;
    OK(lq_consumer_open(topic, "batches", &options, &consumer));
    for (int i = 0; i < 3; i++)
        send_text(topic, NULL, "0123456789");
    ask.max_messages = 0;
    INVALID(lq_receive_with(consumer, &ask, &batch));
    ask.max_messages = 10;
    ask.min_messages = 4;
    INVALID(lq_receive_with(consumer, &ask, &batch)); /* no timeout */
    TELLS("timeout");
    ask.timeout_ms = 50;
    ask.max_bytes = 25;
    OK(lq_receive_with(consumer, &ask, &batch)); /* full, though less than the least */
    CHECK(lq_batch_len(batch) == 2);
    receipts[0] = lq_batch_get(batch, 0)->receipt;
    receipts[1] = lq_batch_get(batch, 1)->receipt;
    OK(lq_batch_free(batch));
    OK(lq_receive_with(consumer, &ask, &batch)); /* after the timeout what there is */
    CHECK(lq_batch_len(batch) == 1);
    CHECK(lq_batch_get(batch, 0)->attempt == 1);
    receipts[2] = lq_batch_get(batch, 0)->receipt;
    OK(lq_batch_free(batch));
    GIVES(LQ_TIMEOUT, lq_receive_with(consumer, &ask, &batch));
    /* Each receipt has its own result. */
    OK(lq_extend(consumer, receipts, 3, 20000));
    OK(lq_ack(consumer, receipts + 1, 1));
    GIVES(LQ_STALE_RECEIPT, lq_extend_results(consumer, receipts, 3, 40000, results));
    CHECK(results[0] == LQ_INVALID_ARGUMENT && results[1] == LQ_STALE_RECEIPT);
    CHECK(results[2] == LQ_INVALID_ARGUMENT);
    INVALID(lq_extend(consumer, receipts, 1, 40000));
    TELLS("max_lease");
    GIVES(LQ_STALE_RECEIPT, lq_ack_results(consumer, receipts, 3, results));
    CHECK(results[0] == LQ_OK && results[1] == LQ_STALE_RECEIPT && results[2] == LQ_OK);
    OK(lq_consumer_close(consumer));
    lq_group *handle = NULL;
    lq_group_options stored = LQ_GROUP_OPTIONS_INIT;
    OK(lq_group_open(topic, "batches", &handle));
    OK(lq_group_config(handle, &stored));
    CHECK(stored.max_lease_ms == 30000 && stored.lease_ms == 10000);
    OK(lq_group_close(handle));
}

struct handler {
    lq_consumer *consumer;
    lq_receipt receipt;
};

static void *handle_one(void *of)
{
    struct timespec nap = {0, 200 * 1000 * 1000};
    struct handler *handler = of;
    nanosleep(&nap, NULL);
    OK(lq_ack(handler->consumer, &handler->receipt, 1));
    return NULL;
}

/* P10: draining hands out nothing and waits for the handler that runs. */
static void a_consumer_drains(lq_topic *topic)
{
    struct handler handler;
    lq_batch *batch = NULL;
    pthread_t thread;
    lq_consumer_options options = LQ_CONSUMER_OPTIONS_INIT;
    lq_group_options group = LQ_GROUP_OPTIONS_INIT;
    group.start = LQ_START_LATEST;
    options.group = &group;
    OK(lq_consumer_open(topic, "drain", &options, &handler.consumer));
    send_text(topic, NULL, "a");
    CHECK(take(handler.consumer, 1, &handler.receipt) == 1);
    CHECK(!readable(handler.consumer, 0));
    GIVES(LQ_TIMEOUT, lq_consumer_drain(handler.consumer, 10));
    INVALID(lq_consumer_drain(handler.consumer, -2));
    INVALID(lq_consumer_drain(NULL, 0));
    CHECK(readable(handler.consumer, 0)); /* to be told that nothing comes any more */
    send_text(topic, NULL, "b");
    GIVES(LQ_CLOSED, lq_receive(handler.consumer, 1, 0, &batch));
    CHECK(pthread_create(&thread, NULL, handle_one, &handler) == 0);
    OK(lq_consumer_drain(handler.consumer, LQ_FOREVER));
    CHECK(pthread_join(thread, NULL) == 0);
    OK(lq_consumer_close(handler.consumer));
}

int main(int argc, char **argv)
{
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    CHECK(argc == 2);
    const char *path = inside(argv[1], "store");
    OK(lq_store_open(path, NULL, &store));
    OK(lq_topic_open(store, "events", NULL, &topic));
    a_descriptor_is_a_level(topic, path);
    a_batch_is_what_was_asked_for(topic);
    a_consumer_drains(topic);
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
