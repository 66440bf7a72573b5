/*
 * What becomes of a group's dead: DIR. Dead-letter topics in a circle, the brake, held keys.
 */
#include "check.h"

static lq_store *store;

static lq_topic *open_topic(const char *name)
{
    lq_topic *topic = NULL;
    OK(lq_topic_open(store, name, NULL, &topic));
    return topic;
}

/* Groups whose dead letters would come back to where they came from are refused. */
static void circles(void)
{
    lq_topic *a = open_topic("a");
    lq_topic *b = open_topic("b");
    lq_group *group = NULL;
    lq_group *other = NULL;
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.dead_letters = LQ_DEAD_LETTERS_TOPIC;
    options.dead_letter_topic = "b";
    OK(lq_group_create(a, "g", &options, &group));
    options.dead_letter_topic = "a";
    INVALID(lq_group_create(b, "h", &options, &other));
    TELLS("b/h -> a/g -> b");
    OK(lq_group_create(b, "h", NULL, &other));
    INVALID(lq_group_configure(other, &options));
    TELLS("b/h -> a/g -> b");
    OK(lq_group_close(other));
    OK(lq_group_close(group));
    OK(lq_topic_close(b));
    OK(lq_topic_close(a));
}

/* Has a message of the consumer die; 0 where none was handed out. */
static size_t one_dies(lq_topic *topic, lq_consumer *consumer)
{
    lq_batch *batch = NULL;
    send_text(topic, "k", "x");
    lq_status status = lq_receive(consumer, 1, 0, &batch);
    CHECK(status == LQ_OK || status == LQ_TIMEOUT);
    if (status == LQ_TIMEOUT)
        return 0;
    OK(lq_dead_letter(consumer, &lq_batch_get(batch, 0)->receipt, 1, "no"));
    OK(lq_batch_free(batch));
    return 1;
}

/* Too many of its messages die: the group is paused, says why, and goes on when it is resumed. */
static void braking(void)
{
    lq_topic *topic = open_topic("braked");
    lq_group *group = NULL;
    lq_consumer *consumer = NULL;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.brake_messages = 1;
    options.brake_within_ms = 60000;
    OK(lq_group_create(topic, "g", &options, &group));
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    CHECK(one_dies(topic, consumer) == 1);
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.paused == 0 && stats.paused_by == LQ_PAUSED_BY_NOBODY && stats.paused_at_ns == 0);
    CHECK(one_dies(topic, consumer) == 1);
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.paused == 1 && stats.paused_by == LQ_PAUSED_BY_BRAKE && stats.paused_at_ns > 0);
    CHECK(one_dies(topic, consumer) == 0);
    OK(lq_group_resume(group));
    CHECK(one_dies(topic, consumer) == 1);
    OK(lq_group_pause(group));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.paused_by == LQ_PAUSED_BY_USER);

    lq_group_options stored = LQ_GROUP_OPTIONS_INIT;
    CHECK(stored.brake_messages == -1);
    OK(lq_group_config(group, &stored));
    CHECK(stored.brake_messages == 1 && stored.brake_within_ms == 60000);
    lq_group_options none = LQ_GROUP_OPTIONS_INIT;
    none.dead_letters = LQ_DEAD_LETTERS_DROP;
    INVALID(lq_group_configure(group, &none));
    TELLS("take the brake off");
    none.brake_messages = 0;
    GIVES(LQ_BUSY, lq_group_configure(group, &none));
    TELLS("has 3 dead letters");
    OK(lq_group_purge_dead_letters(group, NULL, 0, NULL, NULL));
    OK(lq_group_configure(group, &none));
    OK(lq_group_config(group, &stored));
    CHECK(stored.brake_messages == 0 && stored.brake_within_ms == 0);
    none.brake_within_ms = 5;
    INVALID(lq_group_configure(group, &none));
    none.brake_messages = 10001;
    INVALID(lq_group_configure(group, &none));
    none.brake_messages = -2;
    INVALID(lq_group_configure(group, &none));
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
}

/* A dead letter holds its key until it is redriven, and then comes first. */
static void holding(void)
{
    lq_topic *topic = open_topic("holding");
    lq_group *group = NULL;
    lq_consumer *consumer = NULL;
    lq_batch *batch = NULL;
    lq_peeked *peeked = NULL;
    uint64_t redriven = 0;
    lq_group_stats stats = LQ_GROUP_STATS_INIT;
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    lq_group_options stored = LQ_GROUP_OPTIONS_INIT;
    options.on_dead_letter = LQ_ON_DEAD_LETTER_HOLD_KEY;
    options.ordering = LQ_ORDERING_NONE;
    INVALID(lq_group_create(topic, "g", &options, &group));
    options.ordering = LQ_ORDERING_KEY;
    OK(lq_group_create(topic, "g", &options, &group));
    OK(lq_group_config(group, &stored));
    CHECK(stored.on_dead_letter == LQ_ON_DEAD_LETTER_HOLD_KEY);
    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    CHECK(one_dies(topic, consumer) == 1);
    send_text(topic, "k", "second");
    GIVES(LQ_TIMEOUT, lq_receive(consumer, 1, 0, &batch));
    OK(lq_group_get_stats(group, &stats));
    CHECK(stats.holding == 1 && stats.held == 1 && stats.dead_lettered == 1);
    OK(lq_group_peek(group, 0, 0, &peeked));
    CHECK(lq_peeked_get(peeked)->state == LQ_STATE_HOLDING);
    OK(lq_peeked_free(peeked));
    stored.on_dead_letter = LQ_ON_DEAD_LETTER_CONTINUE;
    GIVES(LQ_BUSY, lq_group_configure(group, &stored));
    TELLS("redrive or purge");
    OK(lq_group_redrive(group, NULL, NULL, &redriven));
    CHECK(redriven == 1);
    OK(lq_receive(consumer, 1, 0, &batch));
    CHECK(same(lq_batch_get(batch, 0)->payload, "x"));
    OK(lq_ack(consumer, &lq_batch_get(batch, 0)->receipt, 1));
    OK(lq_batch_free(batch));
    OK(lq_receive(consumer, 1, 0, &batch));
    CHECK(same(lq_batch_get(batch, 0)->payload, "second"));
    OK(lq_batch_free(batch));
    OK(lq_group_configure(group, &stored));
    stored.on_dead_letter = 3;
    INVALID(lq_group_configure(group, &stored));
    OK(lq_consumer_close(consumer));
    OK(lq_group_close(group));
    OK(lq_topic_close(topic));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
    circles();
    braking();
    holding();
    OK(lq_store_close(store));
    return 0;
}
