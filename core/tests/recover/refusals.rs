//! What is refused, and that it leaves nothing behind.

use std::fs;

use libqueue::{Error, ErrorKind};

use super::*;

fn kind(from: &Path, to: &Path) -> (ErrorKind, String) {
    let error = recover(from, to).expect_err("refused");
    (error.kind(), error.message().to_owned())
}

#[test]
fn a_store_that_others_have_in_use_is_not_copied_and_they_are_named() {
    let original = Original::make();
    let (from, to) = (original.path(), original.folder.path().join("to"));
    let store = open(&from);
    let (kind, message) = kind(&from, &to);
    assert_eq!(kind, ErrorKind::Busy, "{message}");
    assert!(
        message.contains(&std::process::id().to_string()),
        "{message}"
    );
    assert!(!to.exists());
    store.close().unwrap();
    recover(&from, &to).expect("nobody has it in use");
    // It can be opened again at once.
    open(&from).close().unwrap();
}

#[test]
fn who_opens_the_store_while_it_is_copied_waits() {
    let original = Original::make();
    let (from, to) = (original.path(), original.folder.path().join("to"));
    let options = || libqueue::StoreOptions {
        lock_timeout: Duration::from_millis(50),
        ..Default::default()
    };
    let mut refused = 0;
    let recovered = inspect::recover(&from, &to, &mut |done, total| {
        if done > 0 && done < total {
            let opened = libqueue::Store::open(&from, options());
            assert_eq!(opened.expect_err("locked").kind(), ErrorKind::Stuck);
            refused += 1;
        }
        Ok(())
    });
    assert_eq!(recovered.unwrap().messages, 121);
    assert!(refused > 0);
}

#[test]
fn only_an_empty_or_new_folder_outside_of_the_store_is_filled() {
    let original = Original::make();
    let (from, to) = (original.path(), original.folder.path().join("to"));
    let place = original.folder.path().join("file");
    fs::write(&place, "mine").unwrap();
    assert_eq!(kind(&from, &place).0, ErrorKind::AlreadyExists);
    assert_eq!(
        kind(&from, original.folder.path()).0,
        ErrorKind::AlreadyExists
    );
    assert_eq!(kind(&from, &from).0, ErrorKind::InvalidArgument);
    assert_eq!(
        kind(&from, &from.join("inside")).0,
        ErrorKind::InvalidArgument
    );
    fs::create_dir_all(to.join(".recovering")).unwrap();
    let (found, message) = kind(&from, &to);
    assert_eq!(found, ErrorKind::AlreadyExists);
    assert!(message.contains("interrupted recovery"), "{message}");
    let opened = libqueue::Store::open(&to, Default::default());
    assert_eq!(
        opened.expect_err("not one yet").kind(),
        ErrorKind::NotAStore
    );
    fs::remove_dir(to.join(".recovering")).unwrap();
    assert_eq!(recover(&from, &to).unwrap().messages, 121);
    assert_eq!(kind(&from, &to).0, ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&place).unwrap(), b"mine");
}

#[test]
fn what_is_no_store_is_said_to_be_none() {
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("to");
    let none = folder.path().join("none");
    assert_eq!(kind(&none, &to).0, ErrorKind::NotFound);
    fs::create_dir_all(none.join("topics")).unwrap();
    assert_eq!(kind(&none, &to).0, ErrorKind::NotAStore);
    assert!(!to.exists());
    let original = Original::make();
    let meta = original.path().join("store.meta");
    // Whole, and of another version.
    fs::write(&meta, "libqueue store 2\ncrc=b2bc2b8a\n").unwrap();
    let text = format!("libqueue store 2\ncrc={:08x}\n", crc(b"libqueue store 2\n"));
    fs::write(&meta, text).unwrap();
    assert_eq!(kind(&original.path(), &to).0, ErrorKind::Incompatible);
    assert!(!to.exists());
}

/// CRC-32, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ ((sum & 1) * 0xEDB8_8320);
    !bytes
        .iter()
        .fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[test]
fn a_copy_ends_where_progress_says_so_and_leaves_nothing() {
    let original = Original::make();
    let before = fingerprint(&original.path());
    let to = original.folder.path().join("to");
    for empty in [false, true] {
        if empty {
            fs::create_dir(&to).unwrap();
        }
        let ended = inspect::recover(&original.path(), &to, &mut |done, _| match done {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Internal, "enough")),
        });
        assert_eq!(ended.expect_err("ended").message(), "enough");
        assert_eq!(to.exists(), empty, "only what was made is removed");
        assert!(!empty || fs::read_dir(&to).unwrap().next().is_none());
    }
    assert_eq!(fingerprint(&original.path()), before);
    open(&original.path()).close().unwrap();
}
