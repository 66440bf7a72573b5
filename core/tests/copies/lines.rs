//! Exports and imports as JSON lines.

use super::*;
use libqueue::{ErrorKind, ImportStats};
use tempfile::TempDir;

fn export_lines(store: &Store, topics: &[&str]) -> String {
    let mut bytes = Vec::new();
    let stats = store
        .export_lines(topics, &mut bytes, &mut |done, total| {
            assert!(done <= total);
            Ok(())
        })
        .expect("export");
    assert_eq!(stats.bytes, bytes.len() as u64);
    String::from_utf8(bytes).unwrap()
}

fn import_lines(store: &Store, lines: &str) -> libqueue::Result<ImportStats> {
    let options = ImportOptions {
        append: false,
        bytes: Some(lines.len() as u64),
    };
    let mut last = 0;
    let done = store.import_lines(&mut lines.as_bytes(), &options, &mut |done, total| {
        assert!(done >= last && done <= total, "{last} {done} {total}");
        last = done;
        Ok(())
    });
    if done.is_ok() {
        assert_eq!(last, lines.len() as u64, "all of it is done in the end");
    }
    done
}

/// What a delay is until is by two clocks, and told to the millisecond.
fn without_times(lines: &str) -> String {
    let mut parts = lines.split("\"state\":\"delayed\"");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (_, rest) = part.split_once('}').unwrap();
        text.push_str("\"state\":\"delayed\"}");
        text.push_str(rest);
    }
    text
}

#[test]
fn p1_p6_p12_an_import_of_lines_holds_what_was_exported_and_exports_the_same_lines() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let lines = export_lines(&store, &[]);
    for kind in [
        "topic_config",
        "log_end",
        "group",
        "standing",
        "snapshot",
        "end",
    ] {
        assert!(lines.contains(&format!("{{\"{kind}\":{{")), "{kind}");
    }
    for state in ["ready", "delayed", "held", "dead"] {
        let state = format!("\"state\":\"{state}\"");
        assert!(lines.contains(&state), "{state}");
    }
    let path = folder.path().join("b");
    let other = open(&path);
    let done = import_lines(&other, &lines).unwrap();
    assert_eq!((done.topics, done.groups), (4, 3));
    assert_eq!(contents(&other), contents(&store));
    assert_eq!(
        without_times(&export_lines(&other, &[])),
        without_times(&lines)
    );
    for group in ["billing", "keeper", "fresh"] {
        assert_eq!(
            standing(&store, "orders", group),
            standing(&other, "orders", group),
            "{group}"
        );
        let [ours, theirs] = [&store, &other].map(|one| drain(one, "orders", group));
        assert_eq!(ours, theirs, "{group}");
    }
    other.close().unwrap();
    verified(&path);
    let left = names(&path);
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

/// Lines that were written by the first version of this format.
const KEPT: &str = include_str!("kept.jsonl");

#[test]
fn p6_lines_that_were_written_long_ago_come_back_as_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let done = import_lines(&store, KEPT).unwrap();
    assert_eq!((done.topics, done.groups), (2, 1));
    assert_eq!(export_lines(&store, &[]), KEPT);
    // Nor does it matter which way they go.
    let other = open(&folder.path().join("b"));
    import(&other, &export(&store, &[])).unwrap();
    assert_eq!(export_lines(&other, &[]), KEPT);
}

#[test]
fn p6_lines_and_the_native_format_say_the_same() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let orders = store.topic("orders", &TopicOptions::default()).unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let twice = [("twice", &b"one"[..]), ("twice", b"\xff"), ("é\"", b"")];
    for message in [
        Message::new(b""),
        Message::new(&bytes).key(&bytes),
        Message::new("a\"\\/\u{8}\u{1}\u{7f}é\u{2028}😀\n".as_bytes()).key(b""),
        Message::new(b"x").headers(&twice).priority(9),
        Message::new(b"x").headers(&twice[1..]).ttl(hour()),
        Message::new(b"x").timestamp_ns((1 << 61) + 1),
    ] {
        orders.send(&message).unwrap();
    }
    let native = export(&store, &[]);
    let other = open(&folder.path().join("b"));
    import_lines(&other, &export_lines(&store, &[])).unwrap();
    assert_eq!(export(&other, &[]), native);
    let third = open(&folder.path().join("c"));
    import(&third, &native).unwrap();
    assert_eq!(export_lines(&third, &[]), export_lines(&store, &[]));
}

#[test]
fn lines_may_come_in_any_order_and_say_as_little_as_they_like() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder.path().join("a"));
    let mut lines =
        "\u{feff}{\"topic_config\":{\"topic\":\"wide\",\"partitions\":\"64\"}}\r\n\n \t\n"
            .to_owned();
    // More than is held, so that every partition is put aside in many pieces.
    let long = "y".repeat(3000);
    for number in 0..8000 {
        let topic = ["wide", "plain"][number % 2];
        let key = number / 2;
        lines.push_str(&format!(
            "{{\"payload\":\"{number} {long}\", \"topic\":\"{topic}\",\"key\":\"{key}\",\
             \"partition\":null}}\n"
        ));
    }
    lines.pop();
    let done = import_lines(&store, &lines).unwrap();
    assert_eq!((done.topics, done.groups, done.messages), (2, 0, 8000));
    let found = contents(&store);
    let plain: Vec<_> = found
        .iter()
        .filter(|(place, _)| place.0 == "plain")
        .collect();
    for (number, (place, content)) in plain.iter().enumerate() {
        assert_eq!((place.1, place.2), (0, number as u64));
        let payload = String::from_utf8_lossy(&content.3).into_owned();
        assert_eq!(payload, format!("{} {long}", number * 2 + 1));
    }
    // Keys are where a send would have put them.
    let wide = store.open_topic("wide").unwrap();
    for (place, content) in found
        .iter()
        .filter(|(place, _)| place.0 == "wide")
        .take(200)
    {
        let key = content.1.as_deref().unwrap();
        let id = wide.send(&Message::new(b"").key(key)).unwrap();
        assert_eq!(id.partition, place.1);
    }
}

#[test]
fn a_topic_of_lines_that_exists_is_refused_or_its_messages_are_appended() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let other = open(&folder.path().join("b"));
    other.topic("orders", &TopicOptions::default()).unwrap();
    let lines = export_lines(&store, &["orders"]);
    let refused = import_lines(&other, &lines).expect_err("exists");
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    assert_eq!(other.topics().unwrap(), ["orders"]);
    let options = ImportOptions {
        append: true,
        bytes: None,
    };
    let done = other
        .import_lines(&mut lines.as_bytes(), &options, &mut |_, _| Ok(()))
        .unwrap();
    assert_eq!((done.groups, done.appended), (0, 121));
}

#[test]
fn lines_go_through_files_which_are_there_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let path = folder.path().join("all.jsonl");
    let stop = |_, _| Err(libqueue::Error::new(ErrorKind::Timeout, "enough"));
    let ended = store.export_lines_file(&[], &path, &mut { stop });
    assert_eq!(ended.expect_err("stopped").message(), "enough");
    assert_eq!(names(folder.path()), ["a"]);
    store
        .export_lines_file(&[], &path, &mut |_, _| Ok(()))
        .unwrap();
    assert_eq!(
        without_times(&fs::read_to_string(&path).unwrap()),
        without_times(&export_lines(&store, &[]))
    );
    let other = open(&folder.path().join("b"));
    let options = ImportOptions::default();
    let ended = other.import_lines_file(&path, &options, &mut { stop });
    assert!(ended.expect_err("stopped").message().ends_with("enough"));
    let mut told = 0;
    let done = other
        .import_lines_file(&path, &options, &mut |_, total| {
            told = total;
            Ok(())
        })
        .unwrap();
    assert_eq!((done.topics, told), (4, path.metadata().unwrap().len()));
    assert_eq!(contents(&other), contents(&store));
    let missing = other.import_lines_file(folder.path().join("no"), &options, &mut |_, _| Ok(()));
    assert_eq!(missing.expect_err("missing").kind(), ErrorKind::NotFound);
}

#[test]
fn p18_lines_that_were_cut_or_changed_are_imported_as_what_they_say_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let store = make(&folder.path().join("a"));
    let lines = export_lines(&store, &["orders"]);
    let all: Vec<&str> = lines.lines().collect();
    let path = folder.path().join("b");
    let other = open(&path);
    // Every line but those of messages is missing once, and the end tells.
    for (number, line) in all.iter().enumerate() {
        let counted = ["{\"group\"", "{\"topic\""]
            .iter()
            .any(|kind| line.starts_with(kind));
        if !counted || number % 9 > 0 {
            continue;
        }
        let mut less = all.clone();
        less.remove(number);
        let error = import_lines(&other, &less.join("\n")).expect_err("one is missing");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{line}: {error}");
        assert!(error.message().starts_with("line "), "{error}");
        assert!(error.message().ends_with("nothing was imported"), "{error}");
    }
    for (number, line) in all.iter().enumerate().step_by(5) {
        let mut more = all.clone();
        more.insert(number, line);
        import_lines(&other, &more.join("\n")).expect_err("one comes twice");
    }
    assert_eq!(other.topics().unwrap(), Vec::<String>::new());
    let left = names(&path);
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
    other.close().unwrap();
    verified(&path);
}
