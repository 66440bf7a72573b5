/* libqueue.h from C++: DIR. The macros and the inline helper compile and mean the same. */
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    lq_store_options options = LQ_STORE_OPTIONS_INIT;
    lq_store *store = nullptr;
    lq_topic *topic = nullptr;
    lq_consumer *consumer = nullptr;
    OK(lq_store_open(inside(argv[1], "plain"), &options, &store));
    OK(lq_topic_open(store, "orders", nullptr, &topic));
    OK(lq_consumer_open(topic, "billing", nullptr, &consumer));
    send_text(topic, "k", "from C++");
    lq_batch *batch = nullptr;
    OK(lq_receive(consumer, 1, LQ_FOREVER, &batch));
    CHECK(same(lq_batch_get(batch, 0)->payload, "from C++"));
    OK(lq_ack(consumer, &lq_batch_get(batch, 0)->receipt, 1));
    OK(lq_batch_free(batch));
    OK(lq_consumer_close(consumer));
    OK(lq_topic_close(topic));
    OK(lq_store_close(store));
    return 0;
}
