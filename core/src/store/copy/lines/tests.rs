//! Lines one by one: what each kind of a bad one is told of.

use crate::error::{ErrorKind, Result};
use crate::options::StoreOptions;
use crate::store::{ImportOptions, ImportStats, Message, Store};

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::TempDir::new().expect("folder");
    let store = Store::open(folder.path().join("store"), StoreOptions::default()).expect("open");
    (folder, store)
}

pub(super) fn import(store: &Store, lines: &str) -> Result<ImportStats> {
    import_bytes(store, lines.as_bytes())
}

fn import_bytes(store: &Store, mut lines: &[u8]) -> Result<ImportStats> {
    store.import_lines(&mut lines, &ImportOptions::default(), &mut |_, _| Ok(()))
}

const GOOD: &str = r#"{"topic":"a","payload":"x"}"#;
const GROUP: &str =
    r#"{"group":{"topic":"a","group":"g","id":"00000000000000ab","ordering":"none"}}"#;

#[test]
fn p18_each_kind_of_a_bad_line_has_its_error_and_its_number_and_nothing_is_made() {
    let (_folder, store) = store();
    let long = "b".repeat(70_000);
    let deep = "[".repeat(100_000);
    let named_long = format!(r#"{{"topic":"{long}","payload":"x"}}"#);
    let named_deep = format!(r#"{{"topic":"a","payload":{deep}"#);
    let headers_deep = format!(r#"{{"topic":"a","payload":"x","headers":[[{deep}"#);
    let member_long = format!(r#"{{"topic":"a","payload":"x","{long}":1}}"#);
    let members: Vec<String> = (0..300).map(|one| format!("\"m{one}\":1")).collect();
    let many = format!("{{{}}}", members.join(","));
    let headers: Vec<String> = (0..70_000).map(|one| format!("\"{one}\":\"\"")).collect();
    let headers = format!(
        r#"{{"topic":"a","payload":"x","headers":{{{}}}}}"#,
        headers.join(",")
    );
    let mut wrong = Vec::new();
    for (line, what) in [
        ("{", "EOF while parsing an object at byte 1"),
        ("[]", "expected an object, found '['"),
        ("\0\0\0", "expected an object, found '\\0'"),
        (
            "{\"topic\":\"a\",\"payload\":\"x\"} {}",
            "trailing characters at byte 29",
        ),
        (r#"{"topic":"a"}"#, "expected payload or payload_base64"),
        (
            r#"{"payload":"x"}"#,
            "topic is missing; expected a topic's name",
        ),
        (r#"{"topic":5,"payload":"x"}"#, "topic is 5; expected text"),
        (r#"{"topic":"../b","payload":"x"}"#, "topic name \"../b\""),
        (&named_long, "topic name"),
        (&named_deep, "EOF while parsing a list at byte 100023"),
        (&headers_deep, "at byte"),
        (&member_long, "unknown members: bbbb"),
        (&many, "more than 256 members"),
        (&headers, "more than 65535 members"),
        (
            r#"{"topic":"a","payload":"x","other":1,"more":2}"#,
            "unknown members: more, other;",
        ),
        (
            r#"{"topic":"a","payload":"x","payload_base64":"eA=="}"#,
            "both payload and payload_base64",
        ),
        (
            r#"{"topic":"a","payload_base64":"?"}"#,
            "payload_base64 is no base64",
        ),
        (
            r#"{"topic":"a","payload_base64":"eA"}"#,
            "payload_base64 is no base64",
        ),
        (
            r#"{"topic":"a","payload":{"base64":"eA=="}}"#,
            "payload is {\"base64\":\"eA==\"}; expected text",
        ),
        (
            "{\"topic\":\"a\",\"payload\":\"\\ud800\"}",
            "payload is \"\\ud800\"; expected text",
        ),
        (
            r#"{"topic":"a","payload":"x","partition":1}"#,
            "partition is 1; the topic has 1",
        ),
        (
            r#"{"topic":"a","payload":"x","partition":-1}"#,
            "partition is -1; expected a whole number",
        ),
        (
            r#"{"topic":"a","payload":"x","partition":true}"#,
            "partition is true",
        ),
        (
            r#"{"topic":"a","payload":"x","offset":0}"#,
            "offset is 0; expected 1 or more",
        ),
        (
            r#"{"topic":"a","payload":"x","offset":1.0}"#,
            "offset is 1.0; expected a whole number",
        ),
        (
            r#"{"topic":"a","payload":"x","offset":4611686018427387904}"#,
            "offset is 4611686018427387904",
        ),
        (
            r#"{"topic":"a","payload":"x","timestamp_ns":99999999999999999999}"#,
            "timestamp_ns is 99999999999999999999",
        ),
        (
            r#"{"topic":"a","payload":"x","delay":1e999}"#,
            "delay is 1e999; expected seconds",
        ),
        (
            r#"{"topic":"a","payload":"x","ttl":"soon"}"#,
            "ttl is 'soon'; expected seconds",
        ),
        (
            r#"{"topic":"a","payload":"x","priority":10}"#,
            "priority is 10; expected 0 to 9",
        ),
        (
            r#"{"topic":"a","payload":"x","priority":1000}"#,
            "priority is 1000",
        ),
        (
            r#"{"topic":"a","payload":"x","letter_of_group":"xy"}"#,
            "letter_of_group is 'xy'",
        ),
        (
            r#"{"topic":"a","payload":"x","extension_base64":"AAAAAAEB"}"#,
            "extension_base64",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":5}"#,
            "headers is 5; expected a list",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":{"h":5}}"#,
            "header 'h' is 5; expected text",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":{"h":{"base64":"?"}}}"#,
            "header 'h' is no base64",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":{"h":{"hex":"00"}}}"#,
            "base64 is missing",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":[["h"]]}"#,
            "a header is [\"h\"]; expected name and value",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":[["h","i","j"]]}"#,
            "expected name and value",
        ),
        (
            r#"{"topic":"a","payload":"x","headers":[[1,"i"]]}"#,
            "a header's name is 1; expected text",
        ),
        (
            r#"{"topic_config":{"topic":"a"}}"#,
            "topic is 'a'; expected one that no line before names",
        ),
        (
            r#"{"topic_config":{"topic":"b"},"x":1}"#,
            "topic_config and other members",
        ),
        (
            r#"{"topic_config":{"topic":"b","max_messages":5}}"#,
            "max_messages is 5; expected text",
        ),
        (
            r#"{"topic_config":{"topic":"b","partitions":"0"}}"#,
            "partitions",
        ),
        (
            r#"{"topic_config":{"topic":"b","partitions":"99999999999"}}"#,
            "partitions",
        ),
        (
            r#"{"topic_config":{"topic":"b","a=b":"x\ny"}}"#,
            "a=b is 'x y'; expected one line",
        ),
        (
            r#"{"log_end":{"topic":"a","partition":0,"next_offset":0}}"#,
            "next_offset is 0; expected 1",
        ),
        (
            r#"{"log_end":{"topic":"a","partition":0}}"#,
            "next_offset is missing",
        ),
        (
            r#"{"log_end":{"topic":"a","partition":0,"next_offset":9223372036854775807}}"#,
            "next_offset is",
        ),
        (
            r#"{"group":{"topic":"a","group":"g","id":"x"}}"#,
            "missing or out of range",
        ),
        (
            r#"{"standing":{"topic":"a","group":"g"}}"#,
            "group is 'g'; expected one that a line before",
        ),
        (
            r#"{"snapshot":{"topic":"a","group":"g","name":"s"}}"#,
            "base64 is missing",
        ),
        (
            r#"{"snapshot":{"topic":"a","group":"g","name":"../s","base64":""}}"#,
            "../s",
        ),
        (
            r#"{"end":{"topics":5,"groups":0,"messages":1}}"#,
            "topics of end is 5, but 1 topics were read",
        ),
        (
            r#"{"end":{"topics":1,"groups":0}}"#,
            "messages of end is missing, but 1 messages were read",
        ),
        (GROUP, "missing or out of range"),
    ] {
        let lines = format!("{GOOD}\n\n{line}\n{GOOD}");
        let error = import(&store, &lines).expect_err(what);
        let message = error.message();
        let fits = error.kind() == ErrorKind::InvalidArgument
            && message.starts_with("line 3: ")
            && message.ends_with("; nothing was imported")
            && message.contains(what)
            && message.len() < 400;
        if !fits {
            let message: String = message.chars().take(1000).collect();
            wrong.push(format!("{message}: expected {what}"));
        }
        assert_eq!(store.topics().expect("topics"), Vec::<String>::new());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let error = import_bytes(&store, b"\n{\"topic\":\"a\xff\"}").expect_err("no text");
    assert!(
        error
            .message()
            .starts_with("line 2: byte 12 is not of UTF-8"),
        "{error}"
    );
    let end = r#"{"end":{"topics":1,"groups":0,"messages":1}}"#;
    let error = import(&store, &format!("{GOOD}\n{end}\n{GOOD}")).expect_err("behind the end");
    assert!(
        error
            .message()
            .starts_with("line 3: it is behind the line with end"),
        "{error}"
    );
    import(&store, &format!("{GOOD}\n{end}\n\n")).expect("a whole one");
}

#[test]
fn what_a_group_cannot_be_is_told_of_with_the_line_that_says_it() {
    let (_folder, store) = store();
    let topic = store.topic("a", &Default::default()).expect("topic");
    topic.send_many(&[Message::new(b"x"); 5]).expect("send");
    topic.create_group("g", &Default::default()).expect("group");
    topic
        .group("g")
        .expect("group")
        .snapshot("s")
        .expect("snapshot");
    let mut lines = Vec::new();
    store
        .export_lines(&[], &mut lines, &mut |_, _| Ok(()))
        .expect("export");
    store.delete_topic("a").expect("delete");
    let lines = String::from_utf8(lines).expect("text");
    let place = |kind: &str| {
        let number = lines
            .lines()
            .position(|line| line.starts_with(&format!("{{\"{kind}\"")));
        number.expect("a line") + 3
    };
    let (group, standing, snapshot) = (place("group"), place("standing"), place("snapshot"));
    for (from, to, line, what) in [
        (
            "\"starts\":\"0\"",
            "\"starts\":\"0 0\"",
            group,
            "cannot be one",
        ),
        (
            "\"group\":\"g\",\"id\"",
            "\"group\":\"lq.redrive.g\",\"id\"",
            group,
            "kept for",
        ),
        (
            "\"partition\":0,\"floor\":0",
            "\"partition\":1,\"floor\":0",
            standing,
            "cannot be one",
        ),
        ("\"floor\":0", "\"floor\":9", standing, "contradict"),
        (
            "\"floor\":0",
            "\"floor\":18446744073709551616",
            standing,
            "floor is 18446744073709551616",
        ),
        (
            "\"epoch\":0",
            "\"epoch\":4294967296",
            standing,
            "contradict",
        ),
        (
            "\"counters\":[",
            "\"counters\":[-1,",
            standing,
            "a counter is -1",
        ),
        (
            "\"open\":[]",
            "\"open\":[{\"offset\":0}]",
            standing,
            "state is missing",
        ),
        (
            "\"open\":[]",
            "\"open\":[{\"offset\":0,\"state\":\"leased\"}]",
            standing,
            "state is 'leased'",
        ),
        (
            "\"open\":[]",
            "\"open\":[{\"offset\":0,\"state\":\"dead\"}]",
            standing,
            "cannot be {",
        ),
        (
            "\"open\":[]",
            "\"open\":[{\"offset\":9,\"state\":\"ready\"}]",
            standing,
            "offset 9 is open",
        ),
        (
            "\"open\":[]",
            "\"open\":[5]",
            standing,
            "expected an object",
        ),
        (
            "\"open\":[]",
            "\"open\":{}",
            standing,
            "open is {}; expected a list",
        ),
        (
            "\"name\":\"s\",\"base64\":\"",
            "\"name\":\"s\",\"base64\":\"AAAA",
            snapshot,
            "not whole",
        ),
    ] {
        assert!(lines.contains(from), "{from}: {lines}");
        // Blank lines count.
        let changed = format!("\n \n{}", lines.replacen(from, to, 1));
        let error = import(&store, &changed).expect_err(what);
        let message = error.message();
        assert!(
            message.starts_with(&format!("line {line}: ")),
            "{to}: {message}"
        );
        assert!(message.contains(what), "{message}: expected {what}");
    }
    import(&store, &lines).expect("as it was");
}
