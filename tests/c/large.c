/*
 * A message of the largest size, and one of a byte more: DIR. By itself, since it wants 3 GiB of
 * memory and 1 GiB of disk: LIBQUEUE_TEST_LARGE=1 tests/c/run.sh, or make test-large.
 */
#include "check.h"

static const size_t LARGEST = (size_t)1 << 30;

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    lq_store *store = NULL;
    lq_topic *topic = NULL;
    lq_consumer *consumer = NULL;
    lq_batch *batch = NULL;
    lq_message message = LQ_MESSAGE_INIT;
    lq_message_id id;
    unsigned char *payload = malloc(LARGEST + 1);
    CHECK(payload != NULL);
    for (size_t i = 0; i <= LARGEST; i++) {
        payload[i] = (unsigned char)(i * 31 >> 7);
    }
    OK(lq_store_open(inside(argv[1], "s"), NULL, &store));
    OK(lq_topic_open(store, "large", NULL, &topic));

    message.payload.data = payload;
    message.payload.len = LARGEST + 1;
    GIVES(LQ_TOO_LARGE, lq_send(topic, &message, 1, &id));
    TELLS("1073741824");
    /* Key and headers count. */
    message.payload.len = LARGEST;
    message.key = lq_bytes_of("k");
    GIVES(LQ_TOO_LARGE, lq_send(topic, &message, 1, &id));
    message.payload.len = LARGEST - 1;
    OK(lq_send(topic, &message, 1, &id));
    CHECK(id.offset == 0);

    OK(lq_consumer_open(topic, "g", NULL, &consumer));
    OK(lq_receive(consumer, 10, 0, &batch));
    CHECK(lq_batch_len(batch) == 1);
    const lq_delivery *got = lq_batch_get(batch, 0);
    CHECK(got->payload.len == LARGEST - 1 && same(got->key, "k"));
    CHECK(memcmp(got->payload.data, payload, LARGEST - 1) == 0);
    OK(lq_ack(consumer, &got->receipt, 1));
    OK(lq_batch_free(batch));
    OK(lq_consumer_close(consumer));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    free(payload);
    return 0;
}
