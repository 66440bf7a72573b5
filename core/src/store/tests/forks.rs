//! Handles on both sides of a fork.

use super::*;
use crate::shm::Owner;

fn owner(said: &str, prefix: &str) -> Owner {
    let words = said
        .strip_prefix(prefix)
        .unwrap_or_else(|| panic!("{said:?}"));
    let (slot, generation) = words.trim().split_once(' ').expect("two numbers");
    let number = |word: &str| word.parse::<u32>().expect("number");
    Owner {
        slot: number(slot) as u16,
        generation: number(generation),
    }
}

#[test]
fn p17_a_parents_death_is_seen_while_its_child_lives_and_childs_handles_join_anew() {
    let folder = tempfile::tempdir().expect("folder");
    let store = enter(folder.path()).expect("open");
    let mut actor = Actor::start("forks", folder.path());
    let parent = owner(&actor.hear(), "child of");
    assert!(store.env.live.is_alive(parent));
    actor.kill();
    assert!(
        !store.env.live.is_alive(parent),
        "the child keeps its parent's locks"
    );
    actor.go();
    let child = owner(&actor.hear(), "child is");
    let grandchild = owner(&actor.hear(), "grandchild is");
    assert_ne!(child, parent);
    assert_ne!(child, grandchild);
    assert!(store.env.live.is_alive(child) && store.env.live.is_alive(grandchild));
    // Closing its input lets both end.
    drop(actor.input.take());
    until("both are gone", || {
        !store.env.live.is_alive(child) && !store.env.live.is_alive(grandchild)
    });
}
