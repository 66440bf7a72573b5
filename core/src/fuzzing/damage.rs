//! What an input does to the files of a store before it is opened.

use super::image::Image;
use super::input::Input;
use super::tree::Tree;
use crate::format::checksum::{crc32, crc32_from};
use crate::format::record::{self, HEADER, MESSAGE};
use crate::format::window::{self, header};
use crate::format::{index, reserve, segment, u32_at};

/// A damaged store.
pub(super) struct Damaged {
    pub(super) tree: Tree,
    /// Checksums were made right behind the damage, so that wrong bytes may be believed.
    pub(super) forged: bool,
    /// Nothing was done to it.
    pub(super) untouched: bool,
}

/// The tree that the input names, with the damage that it describes; what is left of the input says
/// what is done with it.
pub(super) fn damage(input: &mut Input<'_>) -> Damaged {
    let mut tree = Tree::base(input.pick(2)).clone();
    let count = input.byte() % 16;
    let mut forged = false;
    for _ in 0..count {
        forged |= one(&mut tree, input);
    }
    let untouched = count == 0;
    Damaged {
        tree,
        forged,
        untouched,
    }
}

/// One change; whether it was forged to look whole.
fn one(tree: &mut Tree, input: &mut Input<'_>) -> bool {
    let kind = input.byte() % 11;
    let Some(name) = tree.files.keys().nth(input.pick(tree.files.len())).cloned() else {
        return false;
    };
    let other = tree.files.keys().nth(input.pick(tree.files.len())).cloned();
    let marks = tree.marks.get(&name).cloned().unwrap_or_default();
    let at = marks.get(input.pick(marks.len())).copied().unwrap_or(0) + u64::from(input.byte());
    let Some(image) = tree.files.get_mut(&name) else {
        return false;
    };
    match kind {
        0 | 1 => {
            let len = usize::from(input.byte());
            image.write(at, input.bytes(len));
        }
        2 => image.write(at, &input.odd_number().to_le_bytes()),
        3 => image.set_len(input.odd_number() % (image.len() + 1)),
        4 => image.set_len(image.len() + u64::from(input.u16())),
        5 => {
            let len = usize::from(input.u16());
            *image = Image::of(input.bytes(len));
        }
        6 => drop(tree.files.remove(&name)),
        7 => {
            // The other's bytes under this name.
            if let Some(bytes) = other.and_then(|other| tree.files.get(&other).cloned()) {
                tree.files.insert(name, bytes);
            }
        }
        8 => {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let base = input.odd_number();
            let new = [
                crate::format::names::segment(base),
                crate::format::names::index(base),
                crate::format::names::window(base as u32),
                "next".to_owned(),
            ];
            let bytes = image.clone();
            let new = &new[input.pick(new.len())];
            tree.files.insert(format!("{folder}/{new}"), bytes);
        }
        _ => {
            let len = input.byte() % 9;
            image.write(at, &input.odd_number().to_le_bytes()[..usize::from(len)]);
            forge(&name, image, at);
            return true;
        }
    }
    false
}

/// Makes the checksums of a file right; of a segment that of its header and of the record around a
/// position.
pub(super) fn forge(name: &str, image: &mut Image, at: u64) {
    let file = name.rsplit('/').next().unwrap_or(name);
    if file.ends_with(".log") || file == "next" {
        sum_up(image, 0, segment::CRC);
        forge_record(image, at / 8 * 8);
        forge_record(image, at.saturating_sub(at % 256) / 8 * 8);
    } else if file.ends_with(".index") {
        let bytes = image.read(0, image.len().min(1 << 20) as usize);
        if let Some(entries) = bytes.get(index::HEADER..) {
            let crc = crc32_from(crc32(&bytes[..index::CRC]), entries);
            image.write(index::CRC as u64, &crc.to_le_bytes());
        }
    } else if file.ends_with(".window") {
        forge_window(image);
    } else if file == "reserve" {
        for slot in reserve::SLOTS {
            sum_up(image, slot, reserve::CRC);
        }
    } else if file.ends_with(".meta") {
        let bytes = image.read(0, image.len().min(1 << 16) as usize);
        let text = String::from_utf8_lossy(&bytes);
        if let Some(covered) = text.rfind("crc=") {
            let crc = crc32(&text.as_bytes()[..covered]);
            *image = Image::of(format!("{}crc={crc:08x}\n", &text[..covered]).as_bytes());
        }
    }
}

/// Stores the CRC of `len` bytes behind them.
fn sum_up(image: &mut Image, at: u64, len: usize) {
    let crc = crc32(&image.read(at, len));
    image.write(at + len as u64, &crc.to_le_bytes());
}

fn forge_record(image: &mut Image, at: u64) {
    let salt = image.u32(segment::SALT as u64);
    let bytes = image.read(at, HEADER);
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return;
    };
    let body = u32_at(head, record::LENGTH).saturating_sub(HEADER as u32);
    let covered = head[record::KIND] == MESSAGE && body < 1 << 20;
    let body = if covered { body as usize } else { 0 };
    let crc = crc32(&image.read(at + HEADER as u64, body));
    let crc = record::crc_of(head, salt, crc);
    image.write(at + record::CRC as u64, &crc.to_le_bytes());
}

fn forge_window(image: &mut Image) {
    let word = |image: &Image, at: usize| image.u64(at as u64 * 8);
    let limit = word(image, header::LIMIT).min(u64::from(crate::options::WINDOW_MAX));
    let entries = window::Parts::of(limit as u32).entries as u64;
    let (floor, next) = (word(image, header::FLOOR), word(image, header::NEXT));
    let mask = word(image, header::CAPACITY).wrapping_sub(1);
    let mut sum = window::sum_header(|at| word(image, at));
    for number in 0..next.wrapping_sub(floor).min(1024) {
        let index = floor.wrapping_add(number) & mask & 0xFFFF;
        let entry = entries + index * window::ENTRY as u64;
        sum = window::sum_entry(sum, |at| image.u64(entry + at as u64 * 8));
    }
    image.write(header::CRC as u64 * 8, &u64::from(sum).to_le_bytes());
}
