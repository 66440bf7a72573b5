/*
 * Seeking a group, looking at what that would do, and snapshots of a group: DIR.
 */
#include "check.h"

static lq_store *store;
static lq_topic *topic;
static lq_group *group;
static lq_consumer *consumer;

/* Receives all there is, and acknowledges it; how many, and the offset of the first. */
static size_t manage(uint64_t *first)
{
    lq_batch *batch = NULL;
    if (lq_receive(consumer, 100, 0, &batch) != LQ_OK) {
        return 0;
    }
    size_t len = lq_batch_len(batch);
    *first = lq_batch_get(batch, 0)->id.offset;
    for (size_t i = 0; i < len; i++) {
        OK(lq_ack(consumer, &lq_batch_get(batch, i)->receipt, 1));
    }
    OK(lq_batch_free(batch));
    return len;
}

static void seeking(void)
{
    lq_seek_options to = LQ_SEEK_OPTIONS_INIT;
    lq_seek_plan *plan = NULL;
    lq_batch *batch = NULL;
    uint64_t first = 0;
    CHECK(manage(&first) == 4);
    lq_message m = LQ_MESSAGE_INIT;
    m.payload = lq_bytes_of("4");
    OK(lq_send(topic, &m, 1, NULL));
    OK(lq_receive(consumer, 1, 0, &batch));
    lq_receipt receipt = lq_batch_get(batch, 0)->receipt;
    OK(lq_batch_free(batch));

    to.start = LQ_START_OFFSET;
    to.start_at = 2;
    OK(lq_group_preview_seek(group, &to, &plan));
    CHECK(lq_seek_plan_len(plan) == 1);
    const lq_seek_partition *one = lq_seek_plan_get(plan, 0);
    CHECK(one->partition == 0 && one->position == 4 && one->target == 2 && one->again == 2);
    CHECK(one->passed_over == 0 && one->stale_leases == 1 && one->gone == 0);
    CHECK(lq_seek_plan_get(plan, 1) == NULL);
    OK(lq_seek_plan_free(plan));
    INVALID(lq_seek_plan_free(plan));
    CHECK(manage(&first) == 0);

    OK(lq_group_seek(group, &to, NULL));
    CHECK(lq_ack(consumer, &receipt, 1) == LQ_STALE_RECEIPT);
    CHECK(manage(&first) == 3 && first == 2);
    to.start = LQ_START_EARLIEST;
    to.start_at = 0;
    to.partition = 0;
    OK(lq_group_seek(group, &to, &plan));
    CHECK(lq_seek_plan_get(plan, 0)->again == 5);
    OK(lq_seek_plan_free(plan));
    CHECK(manage(&first) == 5 && first == 0);
    to.start = LQ_START_TIME;
    to.start_at = INT64_MAX;
    OK(lq_group_seek(group, &to, NULL));
    to.start = LQ_START_LATEST;
    to.start_at = 0;
    OK(lq_group_seek(group, &to, NULL));
    CHECK(manage(&first) == 0);

    to.start = LQ_START_OFFSET;
    to.start_at = 6;
    INVALID(lq_group_seek(group, &to, NULL));
    TELLS("to 5");
    to.start_at = -1;
    INVALID(lq_group_seek(group, &to, NULL));
    to.start_at = 1;
    to.partition = 1;
    INVALID(lq_group_seek(group, &to, NULL));
    to.partition = -2;
    INVALID(lq_group_seek(group, &to, NULL));
    to = (lq_seek_options)LQ_SEEK_OPTIONS_INIT;
    INVALID(lq_group_seek(group, &to, NULL));
    TELLS("LQ_START_EARLIEST");
    INVALID(lq_group_seek(group, NULL, NULL));
    INVALID(lq_group_preview_seek(group, &to, NULL));
    to.start = LQ_START_EARLIEST;
    to.snapshot = "both";
    INVALID(lq_group_seek(group, &to, NULL));
    INVALID(lq_group_seek(NULL, &to, NULL));
    CHECK(lq_seek_plan_len(NULL) == 0 && lq_seek_plan_get(NULL, 0) == NULL);
}

static void snapshots(void)
{
    lq_seek_options to = LQ_SEEK_OPTIONS_INIT;
    lq_snapshots *list = NULL;
    uint64_t first = 0;
    to.start = LQ_START_OFFSET;
    to.start_at = 3;
    OK(lq_group_seek(group, &to, NULL));
    OK(lq_group_snapshot(group, "before"));
    CHECK(lq_group_snapshot(group, "before") == LQ_ALREADY_EXISTS);
    CHECK(lq_group_snapshot(group, "latest") == LQ_INVALID_NAME);
    INVALID(lq_group_snapshot(group, NULL));
    CHECK(manage(&first) == 2 && first == 3);
    OK(lq_group_snapshots(group, &list));
    CHECK(lq_snapshots_len(list) == 1);
    const lq_snapshot *one = lq_snapshots_get(list, 0);
    CHECK(strcmp(one->name, "before") == 0 && one->whole == 1 && one->open == 0);
    CHECK(one->taken_ns > 0 && one->bytes > 64 && lq_snapshots_get(list, 1) == NULL);
    OK(lq_snapshots_free(list));
    INVALID(lq_snapshots_free(list));

    to = (lq_seek_options)LQ_SEEK_OPTIONS_INIT;
    to.snapshot = "none";
    CHECK(lq_group_seek(group, &to, NULL) == LQ_NOT_FOUND);
    to.snapshot = "before";
    OK(lq_group_seek(group, &to, NULL));
    CHECK(manage(&first) == 2 && first == 3);
    OK(lq_group_delete_snapshot(group, "before"));
    CHECK(lq_group_delete_snapshot(group, "before") == LQ_NOT_FOUND);
    INVALID(lq_group_delete_snapshot(NULL, "before"));
    INVALID(lq_group_snapshots(group, NULL));
    OK(lq_group_snapshots(group, &list));
    CHECK(lq_snapshots_len(list) == 0);
    OK(lq_snapshots_free(list));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(argv[1], NULL, &store));
    OK(lq_topic_open(store, "orders", NULL, &topic));
    OK(lq_consumer_open(topic, "billing", NULL, &consumer));
    OK(lq_group_open(topic, "billing", &group));
    for (int i = 0; i < 4; i++) {
        lq_message m = LQ_MESSAGE_INIT;
        m.payload = lq_bytes_of("x");
        OK(lq_send(topic, &m, 1, NULL));
    }
    seeking();
    snapshots();
    OK(lq_group_close(group));
    OK(lq_consumer_close(consumer));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
