/* Dedup ids and named producers (P8), from C: dedup DIR. */
#include "check.h"

static lq_message_id send_as(lq_topic *topic, const char *id, const char *text)
{
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id sent;
    message.payload = lq_bytes_of(text);
    message.dedup_id = lq_bytes_of(id);
    OK(lq_send(topic, &message, 1, &sent));
    return sent;
}

static int equal(lq_message_id a, lq_message_id b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static uint64_t messages_of(lq_topic *topic)
{
    lq_topic_stats stats = LQ_TOPIC_STATS_INIT;
    OK(lq_topic_get_stats(topic, &stats));
    return stats.messages;
}

/* P8: a repeated id returns the first send's id, alone and in a batch. */
static void ids(lq_topic *topic, lq_message_id *first)
{
    lq_message batch[3];
    lq_message_id got[3];
    const lq_message init = LQ_MESSAGE_INIT;
    *first = send_as(topic, "a", "one");
    CHECK(equal(send_as(topic, "a", "another"), *first) && messages_of(topic) == 1);
    for (int i = 0; i < 3; i++) {
        batch[i] = init;
        batch[i].dedup_id = lq_bytes_of(i == 0 ? "a" : "b");
    }
    OK(lq_send(topic, batch, 3, got));
    CHECK(equal(got[0], *first) && equal(got[1], got[2]) && !equal(got[1], *first));
    CHECK(messages_of(topic) == 2);
}

/* Ids that cannot be, and a topic that takes none. */
static void bad_ids(lq_store *store, lq_topic *topic)
{
    static char room[10000];
    lq_message message = LQ_MESSAGE_INIT;
    lq_topic *plain = NULL;
    memset(room, 'x', sizeof room);
    message.dedup_id.data = (const uint8_t *)room;
    INVALID(lq_send(topic, &message, 1, NULL));
    TELLS("empty");
    message.dedup_id.len = sizeof room;
    INVALID(lq_send(topic, &message, 1, NULL));
    TELLS("1 to 255");
    message.dedup_id.data = NULL;
    INVALID(lq_send(topic, &message, 1, NULL));
    OK(lq_topic_open(store, "plain", NULL, &plain));
    message.dedup_id = lq_bytes_of("a");
    INVALID(lq_send(plain, &message, 1, NULL));
    TELLS("dedup_window");
    CHECK(messages_of(plain) == 0);
    OK(lq_topic_close(plain));
}

/* The window is stored, and can be changed. */
static void window(lq_topic *topic)
{
    lq_topic_options config = LQ_TOPIC_OPTIONS_INIT, changes = LQ_TOPIC_OPTIONS_INIT;
    OK(lq_topic_config(topic, &config));
    CHECK(config.dedup_window_ms == 60000);
    changes.dedup_window_ms = LQ_DEDUP_UNTIL_SETTLED;
    OK(lq_topic_configure(topic, &changes));
    OK(lq_topic_config(topic, &config));
    CHECK(config.dedup_window_ms == LQ_DEDUP_UNTIL_SETTLED);
    changes.dedup_window_ms = -3;
    INVALID(lq_topic_configure(topic, &changes));
    TELLS("dedup_window_ms");
    changes.dedup_window_ms = LQ_DEDUP_OFF;
    OK(lq_topic_configure(topic, &changes));
    OK(lq_topic_config(topic, &config));
    CHECK(config.dedup_window_ms == LQ_DEDUP_OFF);
    changes.dedup_window_ms = 60000;
    OK(lq_topic_configure(topic, &changes));
}

/* P8, P14: a producer waits for room as long as it says, and a repeat needs none. */
static void waits(lq_store *store)
{
    lq_topic_options limits = LQ_TOPIC_OPTIONS_INIT;
    lq_send_options patience = LQ_SEND_OPTIONS_INIT;
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id first, again;
    lq_topic *full = NULL;
    lq_producer *till = NULL;
    uint64_t last = 0;
    limits.max_messages = 1;
    limits.on_full = LQ_ON_FULL_BLOCK;
    OK(lq_topic_open(store, "full", &limits, &full));
    OK(lq_producer_open(full, "till", &till));
    OK(lq_producer_send_with(till, &message, 1, NULL, &first));
    patience.timeout_ms = 20;
    GIVES(LQ_TIMEOUT, lq_producer_send_with(till, &message, 2, &patience, NULL));
    TELLS("nothing was sent");
    patience.timeout_ms = 0;
    OK(lq_producer_send_with(till, &message, 1, &patience, &again));
    CHECK(equal(first, again));
    OK(lq_producer_last_sequence(till, &last));
    CHECK(last == 1);
    patience.timeout_ms = -7;
    INVALID(lq_producer_send_with(till, &message, 2, &patience, NULL));
    patience.size = 1;
    INVALID(lq_producer_send_with(till, &message, 2, &patience, NULL));
    INVALID(lq_producer_send_with(till, NULL, 2, NULL, NULL));
    INVALID(lq_producer_send_with(NULL, &message, 2, NULL, NULL));
    OK(lq_producer_close(till));
    OK(lq_topic_close(full));
}

/* P8: sequences, and fencing. */
static void producer(lq_topic *topic, lq_message_id *first)
{
    lq_producer *older = NULL, *till = NULL;
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id again;
    uint64_t last = 99;
    OK(lq_producer_open(topic, "till", &older));
    OK(lq_producer_last_sequence(older, &last));
    CHECK(last == 0);
    OK(lq_producer_send(older, &message, 1, first));
    OK(lq_producer_send(older, &message, 1, &again));
    CHECK(equal(*first, again));
    OK(lq_producer_send(older, &message, 5, NULL));
    OK(lq_producer_send(older, &message, 0, NULL));
    OK(lq_producer_last_sequence(older, &last));
    CHECK(last == 6);
    INVALID(lq_producer_send(older, &message, 3, NULL));
    TELLS("passed over");
    OK(lq_producer_open(topic, "till", &till));
    GIVES(LQ_FENCED, lq_producer_send(older, &message, 7, NULL));
    TELLS("till");
    OK(lq_producer_send(till, &message, 1, &again));
    CHECK(equal(*first, again));
    message.dedup_id = lq_bytes_of("x");
    INVALID(lq_producer_send(till, &message, 7, NULL));
    INVALID(lq_producer_send(till, NULL, 7, NULL));
    INVALID(lq_producer_send(NULL, &message, 7, NULL));
    INVALID(lq_producer_last_sequence(till, NULL));
    GIVES(LQ_INVALID_NAME, lq_producer_open(topic, "a/b", &till));
    INVALID(lq_producer_open(topic, NULL, &till));
    OK(lq_producer_close(older));
    INVALID(lq_producer_close(older));
    OK(lq_producer_close(till));
    OK(lq_producer_close(NULL));
}

int main(int argc, char **argv)
{
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    lq_producer *till = NULL;
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id first, by_till, again;
    CHECK(argc == 2);
    options.dedup_window_ms = 60000;
    for (int life = 0; life < 2; life++) {
        OK(lq_store_open(inside(argv[1], "store"), NULL, &store));
        OK(lq_topic_open(store, "t", &options, &topic));
        if (life == 0) {
            ids(topic, &first);
            bad_ids(store, topic);
            window(topic);
            producer(topic, &by_till);
            waits(store);
        } else {
            CHECK(equal(send_as(topic, "a", "one"), first));
            OK(lq_producer_open(topic, "till", &till));
            OK(lq_producer_send(till, &message, 1, &again));
            CHECK(equal(again, by_till) && messages_of(topic) == 5);
            GIVES(LQ_BUSY, lq_store_close(store));
            OK(lq_producer_close(till));
        }
        OK(lq_topic_close(topic));
        OK(lq_store_close(store));
    }
    return 0;
}
