//! The journal's bytes, there and back, and damaged.

use super::*;

fn sample() -> Record {
    let send = |partition| Send {
        topic: 7,
        partition,
        segment: 100,
        position: 4096,
        offset: 123,
        count: 2,
        first: 80,
        bytes: 160,
    };
    let settle = |offset| Settle {
        group: 9,
        topic: 8,
        partition: 1,
        offset,
        attempt: 3,
        epoch: 6,
    };
    Record {
        id: 0xABCD,
        sync: true,
        wrap: false,
        sends: vec![send(0), send(5)],
        settles: vec![settle(1), settle(2), settle(3)],
    }
}

#[test]
fn records_slots_headers_and_places_round_trip() {
    let bytes = sample().encode(77, 5);
    assert_eq!(bytes.len() as u64, length_of(2, 3));
    assert_eq!(Record::decode(&bytes, 77, 5), Some(sample()));
    assert_eq!(Record::decode(&bytes, 78, 5), None, "an earlier round");
    assert_eq!(Record::decode(&bytes, 77, 6), None, "another file's");
    assert_eq!(decode_header(&encode_header(9)), Ok(9));
    let slot = Slot {
        generation: 4,
        head: Place::first(),
        boot: [3; 16],
    };
    assert_eq!(Slot::decode(&slot.encode()), Some(slot));
    assert_eq!(Place::of(Place::first().word()), Some(Place::first()));
    let last = Place {
        number: 9,
        position: FILE - UNIT,
    };
    assert_eq!(last.behind(40).position, RECORDS);
}

#[test]
fn p3_p18_every_flipped_bit_and_every_cut_is_seen() {
    let bytes = sample().encode(77, 5);
    for bit in 0..bytes.len() * 8 {
        let at = bit / 8;
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (bit % 8);
        let applied = (record::APPLIED..record::HEADER).contains(&at);
        let found = Record::decode(&damaged, 77, 5);
        assert_eq!(found.is_some(), applied, "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert_eq!(Record::decode(&bytes[..cut], 77, 5), None);
    }
    let header = encode_header(9);
    for bit in 0..HEADER * 8 {
        let mut damaged = header;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_header(&damaged).is_err(), "bit {bit}");
    }
}
