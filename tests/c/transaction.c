/* Transactions (P8) from C: transaction DIR. */
#include "check.h"

static lq_topic *topic_of(lq_store *store, const char *name)
{
    lq_topic *topic = NULL;
    OK(lq_topic_open(store, name, NULL, &topic));
    return topic;
}

static size_t count_of(lq_topic *topic)
{
    lq_reader *reader = NULL;
    lq_batch *batch = NULL;
    OK(lq_reader_open(topic, NULL, &reader));
    size_t count = 0;
    if (lq_reader_receive(reader, 100, 0, &batch) == LQ_OK) {
        count = lq_batch_len(batch);
        OK(lq_batch_free(batch));
    }
    OK(lq_reader_close(reader));
    return count;
}

/* P8: all of it happens, and the ids come in the order of the sends. */
static void all_of_it(lq_store *store, lq_topic *orders, lq_topic *invoices, lq_consumer *billing)
{
    lq_transaction *tx = NULL;
    lq_batch *batch = NULL;
    lq_message_id ids[3];
    lq_message two[2] = {LQ_MESSAGE_INIT, LQ_MESSAGE_INIT};
    lq_header header = {lq_bytes_of("trace"), lq_bytes_of("42")};
    send_text(orders, "k", "one");
    send_text(orders, "l", "two");
    OK(lq_receive(billing, 9, 0, &batch));
    CHECK(lq_batch_len(batch) == 2);
    OK(lq_transaction_begin(store, &tx));
    two[0].payload = lq_bytes_of("first");
    two[0].headers = &header;
    two[0].headers_len = 1;
    two[1].payload = lq_bytes_of("second");
    OK(lq_transaction_send(tx, invoices, two, 2));
    OK(lq_transaction_send(tx, orders, two, 1));
    OK(lq_transaction_send(tx, orders, two, 0));
    for (size_t i = 0; i < 2; i++) {
        OK(lq_transaction_ack(tx, billing, &lq_batch_get(batch, i)->receipt, 1));
    }
    CHECK(count_of(invoices) == 0);
    INVALID(lq_transaction_commit(tx, ids, 2));
    TELLS("expected 3");
    OK(lq_transaction_commit(tx, ids, 3));
    CHECK(ids[0].topic_id == ids[1].topic_id && ids[2].topic_id != ids[0].topic_id);
    CHECK(ids[0].offset == 0 && ids[1].offset == 1 && ids[2].offset == 2);
    CHECK(count_of(invoices) == 2 && count_of(orders) == 3);
    /* It is over. */
    GIVES(LQ_CLOSED, lq_transaction_commit(tx, NULL, 0));
    GIVES(LQ_CLOSED, lq_transaction_send(tx, orders, two, 1));
    GIVES(LQ_CLOSED, lq_transaction_ack(tx, billing, &lq_batch_get(batch, 0)->receipt, 1));
    OK(lq_transaction_abort(tx));
    INVALID(lq_transaction_abort(tx));
    GIVES(LQ_STALE_RECEIPT, lq_ack(billing, &lq_batch_get(batch, 0)->receipt, 1));
    OK(lq_batch_free(batch));
}

/* P8, P9: a stale receipt fails all of it, and is named. */
static void nothing_of_it(lq_store *store, lq_topic *invoices, lq_consumer *billing)
{
    lq_transaction *tx = NULL;
    lq_batch *batch = NULL;
    lq_message one = LQ_MESSAGE_INIT;
    lq_status results[2] = {LQ_INTERNAL, LQ_INTERNAL};
    one.payload = lq_bytes_of("never");
    OK(lq_receive(billing, 9, 0, &batch));
    CHECK(lq_batch_len(batch) == 1);
    const lq_receipt receipt = lq_batch_get(batch, 0)->receipt;
    lq_receipt stale = receipt;
    stale.attempt += 1;
    OK(lq_transaction_begin(store, &tx));
    OK(lq_transaction_send(tx, invoices, &one, 1));
    OK(lq_transaction_ack(tx, billing, &receipt, 1));
    OK(lq_transaction_ack(tx, billing, &stale, 1));
    INVALID(lq_transaction_commit_results(tx, NULL, 0, results, 1));
    GIVES(LQ_STALE_RECEIPT, lq_transaction_commit_results(tx, NULL, 0, results, 2));
    TELLS("nothing of the transaction");
    CHECK(results[0] == LQ_OK && results[1] == LQ_STALE_RECEIPT);
    OK(lq_transaction_abort(tx));
    CHECK(count_of(invoices) == 2);
    /* Dropped: the delivery is still out. */
    OK(lq_transaction_begin(store, &tx));
    OK(lq_transaction_ack(tx, billing, &receipt, 1));
    OK(lq_transaction_abort(tx));
    OK(lq_ack(billing, &receipt, 1));
    OK(lq_batch_free(batch));
}

/* P14: there is room for all of it, or nothing happens. */
static void limits(lq_store *store, lq_topic *orders, lq_topic *invoices, lq_consumer *billing)
{
    lq_transaction *tx = NULL;
    lq_topic *few = NULL;
    lq_batch *batch = NULL;
    lq_message two[2] = {LQ_MESSAGE_INIT, LQ_MESSAGE_INIT};
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.max_messages = 1;
    options.send_timeout_ms = 20;
    OK(lq_topic_open(store, "few", &options, &few));
    send_text(orders, "k", "three");
    OK(lq_receive(billing, 1, 0, &batch));
    const lq_receipt receipt = lq_batch_get(batch, 0)->receipt;
    const size_t before = count_of(invoices);
    const struct {
        int32_t on_full;
        size_t count;
        lq_status gives;
    } tries[] = {
        {LQ_ON_FULL_REJECT, 2, LQ_TOO_LARGE}, {LQ_ON_FULL_REJECT, 1, LQ_OK},
        {LQ_ON_FULL_REJECT, 1, LQ_FULL},      {LQ_ON_FULL_BLOCK, 1, LQ_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
        changes.on_full = tries[i].on_full;
        OK(lq_topic_configure(few, &changes));
        OK(lq_transaction_begin(store, &tx));
        if (tries[i].gives != LQ_OK) {
            OK(lq_transaction_send(tx, invoices, two, 1));
            OK(lq_transaction_ack(tx, billing, &receipt, 1));
        }
        OK(lq_transaction_send(tx, few, two, tries[i].count));
        GIVES(tries[i].gives, lq_transaction_commit(tx, NULL, 0));
        OK(lq_transaction_abort(tx));
    }
    TELLS("nothing was sent");
    CHECK(count_of(few) == 1 && count_of(invoices) == before);
    OK(lq_ack(billing, &receipt, 1));
    OK(lq_batch_free(batch));
    OK(lq_topic_close(few));
}

/* Bad pointers, other stores, and a store that is left with one open. */
static void wrong_uses(lq_store *store, lq_topic *orders, lq_consumer *billing, const char *dir)
{
    lq_transaction *tx = NULL;
    lq_store *other = NULL;
    lq_message one = LQ_MESSAGE_INIT;
    INVALID(lq_transaction_begin(NULL, &tx));
    INVALID(lq_transaction_begin(store, NULL));
    INVALID(lq_transaction_send((lq_transaction *)orders, orders, &one, 1));
    INVALID(lq_transaction_commit(NULL, NULL, 0));
    OK(lq_transaction_abort(NULL));
    OK(lq_store_open(inside(dir, "other"), NULL, &other));
    lq_topic *far = topic_of(other, "orders");
    OK(lq_transaction_begin(store, &tx));
    INVALID(lq_transaction_send(tx, far, &one, 1));
    TELLS("another opening");
    INVALID(lq_transaction_send(tx, orders, NULL, 1));
    INVALID(lq_transaction_ack(tx, billing, NULL, 1));
    GIVES(LQ_BUSY, lq_store_close(store));
    TELLS("a transaction");
    OK(lq_transaction_abort(tx));
    OK(lq_topic_close(far));
    OK(lq_store_close(other));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    lq_store *store = NULL;
    lq_consumer *billing = NULL;
    OK(lq_store_open(inside(argv[1], "queue"), NULL, &store));
    lq_topic *orders = topic_of(store, "orders");
    lq_topic *invoices = topic_of(store, "invoices");
    OK(lq_consumer_open(orders, "billing", NULL, &billing));
    all_of_it(store, orders, invoices, billing);
    nothing_of_it(store, invoices, billing);
    limits(store, orders, invoices, billing);
    wrong_uses(store, orders, billing, argv[1]);
    OK(lq_consumer_close(billing));
    OK(lq_topic_close(orders));
    OK(lq_topic_close(invoices));
    OK(lq_store_close(store));
    return 0;
}
