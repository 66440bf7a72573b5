/* libqueue.hpp: DIR. Handles close themselves in any order, errors are exceptions. */
#include <libqueue.hpp>

#include "check.h"

#include <type_traits>

using std::chrono::milliseconds;

static_assert(!std::is_copy_constructible_v<lq::topic> && std::is_move_constructible_v<lq::topic>);
static_assert(std::is_move_assignable_v<lq::batch> && !std::is_copy_assignable_v<lq::consumer>);

template <typename Call> static lq::error fails(lq_status expected, const Call &call)
{
    try {
        call();
    } catch (const lq::error &error) {
        GIVES(expected, error.status());
        CHECK(std::string(error.what()).size() > 10);
        return error;
    }
    fprintf(stderr, "no error; expected %s\n", lq_status_name(expected));
    exit(1);
}

static void send_and_receive(const std::string &path)
{
    lq::store store(path);
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.partitions = 2;
    lq::topic orders = store.create_topic("orders", options);
    CHECK(orders.name() == "orders" && orders.partitions() == 2 && orders.config().partitions == 2);
    const lq_message_id id = orders.send({"paid", "user-1", {{"trace", "42"}, {"empty", ""}}});
    CHECK(orders.send_many({{"a", ""}, {"b", std::nullopt, {}, 1}}).size() == 2);
    CHECK(orders.send_many({}).empty());
    try {
        store.topic(std::string("nul\0x", 5));
        CHECK(!"a name was cut at its NUL");
    } catch (const lq::error &error) {
        CHECK(error.status() == LQ_INVALID_NAME);
    }
    orders.sync();
    CHECK(orders.wait_durable(id) && orders.durable_offsets().size() == 2);
    CHECK(orders.stats().messages == 3 && orders.stats(id.partition).next_offset > id.offset);
    fails(LQ_INVALID_ARGUMENT, [&] { orders.send({"x", std::nullopt, {}, 0xffffffffu}); });

    lq::consumer billing = orders.consumer("billing");
    CHECK(!billing.name().empty());
    std::size_t seen = 0;
    while (lq::batch batch = billing.receive(10, milliseconds(0))) {
        for (const lq::delivery d : batch) {
            if (d.payload() == "paid") {
                CHECK(d.key() == "user-1" && d.headers().size() == 2 && d.attempt() == 1);
                CHECK(d.headers()[0] == lq::header("trace", "42") && d.headers()[1].second == "");
                CHECK(d.offset() == id.offset && d.partition() == id.partition);
            } else {
                CHECK(d.payload() == "a" ? d.key() == "" : !d.key());
            }
            seen++;
        }
        billing.ack(batch);
        try {
            billing.ack(batch.receipts());
            CHECK(!"stale receipts");
        } catch (const lq::stale_receipt &stale) {
            CHECK(stale.places().size() == batch.size() && stale.places()[0] == 0);
        }
        fails(LQ_INVALID_ARGUMENT, [&] { batch[batch.size()]; });
    }
    CHECK(seen == 3);
    CHECK(store.topics() == std::vector<std::string>{"orders"});
    CHECK(orders.groups() == std::vector<std::string>{"billing"});
    CHECK(store.path().front() == '/' && store.id().size() > 8 && store.stats().members == 1);
    store.sync();
    fails(LQ_BUSY, [&] { store.close(); });
    lq::topic moved = std::move(orders);
    fails(LQ_INVALID_ARGUMENT, [&] { orders.sync(); });
    moved.close();
    billing.close();
    store.close();
    fails(LQ_INVALID_ARGUMENT, [&] { store.sync(); });
}

/* P7: at most once; a batch is settled when it comes. */
static void at_most_once(lq::topic &topic)
{
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.delivery = LQ_DELIVERY_AT_MOST_ONCE;
    options.start = LQ_START_LATEST;
    lq::group group = topic.create_group("alarms", options);
    CHECK(group.config().delivery == LQ_DELIVERY_AT_MOST_ONCE);
    lq::consumer worker = topic.consumer("alarms");
    topic.send({"fire"});
    const lq::batch batch = worker.receive();
    CHECK(batch.size() == 1 && group.stats().acked == 1);
    CHECK(group.stats().waiting_receivers == 0 && topic.stats().sent >= 1);
    CHECK(topic.stats(0).sent_bytes >= topic.stats(0).sent * 48);
    worker.ack(batch[0]);
    worker.nack(batch[0], "nobody heard");
    fails(LQ_INVALID_ARGUMENT, [&] { worker.release(batch[0]); });
    CHECK(group.stats().failed == 1 && !worker.receive(1, milliseconds(0)));
}

static void retain(lq::topic &topic)
{
    lq_topic_options changes = LQ_TOPIC_OPTIONS_INIT;
    changes.retention = LQ_RETENTION_FOREVER;
    topic.configure(changes);
    CHECK(topic.config().retention == LQ_RETENTION_FOREVER);
    changes.retention = LQ_RETENTION_SETTLED;
    topic.configure(changes);
    CHECK(topic.stats().pinned_by == LQ_PINNED_BY_NOTHING);
    lq_topic_options table = LQ_TOPIC_OPTIONS_INIT;
    table.compaction = LQ_COMPACTION_ON;
    topic.configure(table);
    CHECK(topic.config().compaction == LQ_COMPACTION_ON && topic.stats().compacted_bytes == 0);
    fails(LQ_INVALID_ARGUMENT, [&] { topic.configure(changes); });
    changes.compaction = LQ_COMPACTION_OFF;
    topic.configure(changes);
    CHECK(lq_status_name(LQ_REMOVED) == std::string("LQ_REMOVED"));
}

static void settle(lq::topic topic)
{
    lq::group passing = topic.create_group("passing");
    const lq_message_id id = topic.send({"by id"});
    passing.delay(id, std::chrono::hours(1));
    passing.settle(id);
    passing.remove();
    lq_group_options options = LQ_GROUP_OPTIONS_INIT;
    options.max_attempts = 1;
    options.start = LQ_START_LATEST;
    lq::group group = topic.create_group("settling", options);
    lq_group_options changes = LQ_GROUP_OPTIONS_INIT;
    changes.lease_ms = 40000;
    group.configure(changes);
    CHECK(group.config().lease_ms == 40000);
    changes.filter = "{\"not\": {\"key\": \"left out\"}}";
    group.configure(changes);
    CHECK(std::string(group.config().filter) == "{\"not\":{\"key\":\"left out\"}}");
    topic.send({"nobody's", "left out"});
    changes.filter = "[]";
    fails(LQ_INVALID_FILTER, [&] { group.configure(changes); });
    lq_topic_options larger = LQ_TOPIC_OPTIONS_INIT;
    larger.max_message_bytes = 1 << 20;
    topic.configure(larger);
    CHECK(topic.config().max_message_bytes == 1 << 20);
    group.pause();
    CHECK(group.stats().paused == 1);
    group.resume();
    CHECK(group.name() == "settling" && group.config().max_attempts == 1);
    CHECK(group.dead_letter_topic() == "orders.settling.dlq");
    lq::consumer worker = topic.consumer("settling");
    topic.send({"one", "user-12345"});
    lq::batch batch = worker.receive();
    worker.extend(batch[0], milliseconds(60000));
    worker.release(batch[0]);
    batch = worker.receive();
    CHECK(batch.size() == 1 && batch[0].attempt() == 2 && batch[0].deadline_ns() > 0);
    fails(LQ_INVALID_ARGUMENT, [&] { worker.nack(batch[0], "why", milliseconds(-1)); });
    worker.nack(batch[0], "bad total");
    topic.send({"two"});
    batch = worker.receive();
    worker.dead_letter(batch[0], "hopeless");
    const lq::dead_letters dead = group.dead_letters(10);
    CHECK(group.stats().filtered == 1);
    CHECK(dead.size() == 2 && std::string(dead[0].error) == "bad total");
    CHECK(dead.message(1).payload() == "two");
    CHECK(group.stats().dead_lettered == 2);
    CHECK(group.redrive(std::vector<lq_message_id>{}) == 0);
    CHECK(group.redrive(std::vector<lq_message_id>{dead[1].message.id}) == 1);
    fails(LQ_NOT_FOUND, [&] { group.purge_dead_letters({dead[1].message.id}); });
    batch = worker.receive();
    CHECK(batch[0].payload() == "two" && batch[0].id().offset == dead[1].source_offset);
    worker.dead_letter(batch[0], "hopeless again");
    CHECK(group.dead_letters(10)[1].cycles == 1);
    CHECK(group.purge_dead_letters({dead[0].message.id}) == 1 && group.redrive() == 1);
    worker.ack(worker.receive());
    CHECK(group.purge_dead_letters() == 0);
    CHECK(group.stats().redriven == 2 && group.stats().purged == 1);
    group.snapshot("done");
    CHECK(group.snapshots().size() == 1 && std::string(group.snapshots()[0].name) == "done");
    fails(LQ_INVALID_NAME, [&] { group.snapshot("latest"); });
    lq_seek_options to = LQ_SEEK_OPTIONS_INIT;
    to.start = LQ_START_EARLIEST;
    CHECK(group.preview_seek(to)[0].again > 1);
    lq::seek_plan plan = group.seek(to);
    CHECK(plan.size() == topic.partitions() && plan[0].target == 0);
    CHECK(group.stats().lag_messages > 0);
    CHECK(group.seek("done")[0].passed_over == plan[0].again);
    group.delete_snapshot("done");
    fails(LQ_NOT_FOUND, [&] { group.seek("done"); });
    CHECK(worker.fd() >= 0);
    lq_receive_options ask = LQ_RECEIVE_OPTIONS_INIT;
    ask.timeout_ms = 0;
    CHECK(!worker.receive(ask));
    CHECK(worker.drain());
    /* Both handles die here, and with the caller's gone, the store's last. */
}

static void copy(const char *dir, const std::string &path)
{
    lq::store store(path);
    const std::uint64_t topics = store.topics().size();
    CHECK(store.backup(inside(dir, "copy")).topics == topics);
    fails(LQ_ALREADY_EXISTS, [&] { store.backup(inside(dir, "copy")); });
    CHECK(store.export_topics(inside(dir, "all.lqx")).topics == topics);
    CHECK(store.export_topics(inside(dir, "orders.lqx"), {"orders"}).messages > 0);
    fails(LQ_NOT_FOUND, [&] { store.export_topics(inside(dir, "none.lqx"), {"none"}); });
    CHECK(store.export_lines(inside(dir, "all.jsonl")).topics == topics);
    CHECK(store.export_lines(inside(dir, "orders.jsonl"), {"orders"}).messages > 0);
    fails(LQ_NOT_FOUND, [&] { store.export_lines(inside(dir, "none.jsonl"), {"none"}); });
    fails(LQ_ALREADY_EXISTS, [&] { store.import_lines(inside(dir, "orders.jsonl")); });
    lq::store other(inside(dir, "other"));
    CHECK(other.import_topics(inside(dir, "all.lqx")).topics == topics);
    CHECK(other.topics() == store.topics());
    fails(LQ_ALREADY_EXISTS, [&] { other.import_topics(inside(dir, "orders.lqx")); });
}

static void read(lq::topic &topic)
{
    lq::reader reader = topic.reader();
    CHECK(reader.receive(100).size() == 3 && !reader.receive());
    reader.seek(LQ_START_EARLIEST);
    CHECK(reader.receive(1).size() == 1);
}

/* P8: a repeated id or sequence returns the first send's id. */
static void nothing_twice(const std::string &path)
{
    lq::store store(path);
    lq_topic_options options = LQ_TOPIC_OPTIONS_INIT;
    options.dedup_window_ms = 60000;
    lq::topic topic = store.topic("unique", options);
    lq::message message = {"paid"};
    message.dedup_id = "order-17";
    const lq_message_id first = topic.send(message);
    CHECK(topic.send(message).offset == first.offset);
    message.dedup_id = std::nullopt;
    lq::producer older = topic.producer("till");
    const lq_message_id sent = older.send(message, 3);
    CHECK(older.send(message, 3).offset == sent.offset && sent.offset == first.offset + 1);
    CHECK(older.last_sequence() == 3);
    lq::producer till = topic.producer("till");
    fails(LQ_FENCED, [&] { older.send(message); });
    till.send(message);
    CHECK(till.last_sequence() == 4 && topic.stats().messages == 3);
    lq_topic_options limits = LQ_TOPIC_OPTIONS_INIT;
    limits.max_messages = 1;
    limits.on_full = LQ_ON_FULL_BLOCK;
    lq::producer waiting = store.topic("limited", limits).producer("till");
    waiting.send_within(message, std::chrono::milliseconds(0));
    fails(LQ_TIMEOUT, [&] { waiting.send_within(message, std::chrono::milliseconds(20)); });
    CHECK(waiting.last_sequence() == 1);
}

/* P8: all or nothing, and nothing where it ends without a commit. */
static void in_transactions(const std::string &path)
{
    lq::store store(path);
    lq::topic from = store.topic("from"), to = store.topic("to");
    lq::consumer worker = from.consumer("g");
    from.send_many({{"one"}, {"two"}});
    const lq::batch batch = worker.receive(9);
    {
        lq::transaction dropped = store.transaction();
        dropped.send(to, {"never"});
        dropped.ack(worker, batch);
    }
    lq::transaction tx = store.transaction();
    tx.send(to, {"a"});
    tx.send_many(to, {{"b"}, {"c"}});
    tx.ack(worker, batch[0]);
    const std::vector<lq_message_id> ids = tx.commit();
    CHECK(ids.size() == 3 && ids[2].offset == 2);
    fails(LQ_CLOSED, [&] { tx.send(to, {"late"}); });
    lq::transaction again = store.transaction();
    again.send(to, {"never"});
    again.ack(worker, batch);
    try {
        again.commit();
        CHECK(!"it was stale");
    } catch (const lq::stale_receipt &stale) {
        CHECK(stale.places() == std::vector<std::size_t>{0});
    }
    CHECK(to.reader().receive(9).size() == 3);
    worker.ack(batch[1]);
    store.transaction().abort();
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const std::string path = inside(argv[1], "wrap");
    in_transactions(inside(argv[1], "transactions"));
    send_and_receive(path);
    nothing_twice(path);
    {
        lq_store_options options = LQ_STORE_OPTIONS_INIT;
        options.create = 0;
        lq::topic orders = lq::store(path, options).open_topic("orders");
        read(orders);
        at_most_once(orders);
        retain(orders);
        settle(std::move(orders));
    }
    copy(argv[1], path);
    const lq::error error = fails(LQ_NOT_FOUND, [&] { lq::store(path).open_topic("nowhere"); });
    CHECK(std::string(error.name()) == "LQ_NOT_FOUND" && error.os_code() == 0);
    /* All handles above were closed: nobody is a member but this one. */
    CHECK(lq::store(path).stats().members == 1);
    return 0;
}
