//! Inputs to begin with: valid ones, of what a real store holds.

use super::tree::{TOPIC, Tree};

/// Name and bytes of some inputs of a target.
pub(super) fn of(target: &str) -> Vec<Vec<u8>> {
    let tree = Tree::base(1);
    let file = |name: &str, most: usize| {
        let image = tree.files.get(name);
        image.map_or_else(Vec::new, |image| {
            image.read(0, image.len().min(most as u64) as usize)
        })
    };
    let partition = |name: &str| format!("topics/{TOPIC}/0/{name}");
    let segment = partition("00000000000000000000.log");
    let segment_bytes = file(&segment, 8192);
    let window = format!("topics/{TOPIC}/groups/g/0.window");
    let group_meta = format!("topics/{TOPIC}/groups/g/group.meta");
    let topic_meta = format!("topics/{TOPIC}/topic.meta");
    match target {
        "record" => {
            let marks = tree.marks.get(&segment).cloned().unwrap_or_default();
            let records = marks.iter().skip(1).zip(marks.iter().skip(2));
            let salt = segment_bytes[12..16].to_vec();
            records
                .filter(|(_, to)| **to < 8192)
                .map(|(from, _)| {
                    let length = crate::format::u32_at(&segment_bytes, *from as usize) as usize;
                    let record = &segment_bytes[*from as usize..*from as usize + length];
                    [&salt, record].concat()
                })
                .collect()
        }
        "segment_header" => vec![segment_bytes[..68].to_vec()],
        "index" => {
            let entry = |n: u64| crate::format::index::Entry {
                offset: n,
                timestamp_ns: 5,
                position: n * 70_000,
            };
            let bytes = crate::format::index::encode(7, &[entry(1), entry(2)]);
            vec![[&7_u32.to_le_bytes()[..], &bytes].concat()]
        }
        "window" => vec![[&256_u32.to_le_bytes()[..], &file(&window, 512)].concat()],
        "reserve" => vec![file(&partition("reserve"), 96)],
        "sent" => {
            let entry = crate::format::ledger::Entry {
                key: [7, 8],
                partition: 1,
                offset: 9,
                stamp_ms: 10,
            };
            let header = crate::format::ledger::encode_header(1, 2, 1024);
            let words = header.into_iter().chain(entry.encode());
            let words: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
            let mut extension = Vec::new();
            let (id, sequence) = ([3, 4], 5);
            crate::format::origin::Origin::Producer { id, sequence }.add_to(&mut extension);
            let mark = crate::store::Mark {
                ends: vec![5],
                sealed: vec![1, 2],
                ..Default::default()
            };
            let text = mark.encode("dedup").into_bytes();
            [extension, text]
                .map(|rest| [&words[..], &rest].concat())
                .to_vec()
        }
        "journal" => {
            use crate::format::journal::{Place, Record, Settle, Slot, encode_header};
            let settle = Settle {
                group: 1,
                topic: 2,
                partition: 0,
                offset: 4,
                attempt: 1,
                epoch: 0,
            };
            let record = Record {
                id: 9,
                settles: vec![settle],
                ..Record::default()
            };
            let (salt, number) = (5_u32.to_le_bytes(), 7_u64.to_le_bytes());
            let slot = Slot {
                generation: 1,
                head: Place::first(),
                boot: [1; 16],
            };
            vec![
                [&salt[..], &number, &record.encode(7, 5)].concat(),
                slot.encode().to_vec(),
                encode_header(5).to_vec(),
            ]
        }
        "meta" => ["store.meta", &topic_meta, &group_meta]
            .iter()
            .enumerate()
            .map(|(kind, name)| [&[kind as u8, 0][..], &file(name, 4096)].concat())
            .collect(),
        "names" => [
            "00000000000000000007.log",
            "00000000000000000007.index",
            "7.window",
            "a.snapshot",
            "t.g",
        ]
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect(),
        "headers" => {
            let mut block = Vec::new();
            let headers: [(&str, &[u8]); 2] = [("trace", b"42"), ("", b"")];
            crate::format::headers::encode(&headers, &mut block).expect("small");
            vec![block]
        }
        "snapshot" => {
            let open = |offset| crate::format::snapshot::Open {
                offset,
                attempts: 2,
                failures: 1,
                first_failed_ms: 5,
            };
            let part = crate::format::snapshot::Part {
                floor: 3,
                end: 9,
                open: vec![open(3), open(7)],
            };
            let snapshot = crate::format::snapshot::Snapshot {
                group: 7,
                taken_ns: 5,
                parts: vec![part.clone(), part],
            };
            vec![snapshot.encode()]
        }
        "import" => vec![super::importing::seed()],
        "import_lines" => super::importing::seeds_of_lines(),
        "filter" => [
            r#"{"key_prefix": "eu-", "headers": {"test": false, "kind": {"prefix": "a\u00e9"}}}"#,
            r#"{"any": [{"key": true}, {"all": [{"key": {"base64": "/wA="}}, {"not": {}}]}]}"#,
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        "dump" => [
            &segment,
            "",
            "",
            &window,
            &partition("reserve"),
            "control",
            "store.meta",
        ]
        .iter()
        .chain([&&*topic_meta, &&*group_meta])
        .zip([0_u8, 1, 2, 3, 4, 5, 6, 7, 8])
        .map(|(name, kind)| [&[kind, 0, 0][..], &file(name, 8192)].concat())
        .collect(),
        _ => plans(target),
    }
}

/// Inputs whose bytes are steps: each kind of step once, and some noise.
fn plans(target: &str) -> Vec<Vec<u8>> {
    let mut state = target.len() as u64;
    (0..24_u8)
        .map(|number| {
            let mut bytes = vec![number, 0, number % 5];
            bytes.extend((0..96).map(|_| noise(&mut state) as u8));
            bytes
        })
        .collect()
}

/// The next of a row of numbers without a pattern.
pub(super) fn noise(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    *state >> 33
}
