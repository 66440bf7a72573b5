//! Segments whose name or folder says something else than their header: they are read as what their
//! header says, which has a checksum.

use std::collections::HashMap;

use super::plan::{Listed, PartitionPlan, SegmentPlan, TopicPlan, named};
use super::text;
use crate::format::names;
use crate::options::PARTITIONS_MAX;

/// The id of a topic: what its configuration says, else what most of its segments do.
pub(super) fn id_of(files: &[Listed], partitions: &[PartitionPlan]) -> Option<u64> {
    let meta = named(files, names::TOPIC_META);
    let told = meta.and_then(|listed| text::look("topic", &listed.path, &[]).ok());
    if let Some(id) = told.and_then(|(fields, _)| text::id(&fields)) {
        return Some(id);
    }
    let mut counts: HashMap<u64, usize> = HashMap::new();
    let segments = partitions.iter().flat_map(|one| &one.segments);
    for header in segments.filter_map(|one| one.header.as_ref()) {
        *counts.entry(header.topic).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(id, count)| (*count, *id));
    most.map(|(id, _)| id)
}

/// Gives each segment to the partition that its header names, if nothing else stands there.
pub(super) fn place(topics: &mut [TopicPlan]) {
    let mut strays = Vec::new();
    for (at, topic) in topics.iter_mut().enumerate() {
        for partition in &mut topic.partitions {
            let number = partition.number;
            let (here, astray): (Vec<_>, Vec<_>) = std::mem::take(&mut partition.segments)
                .into_iter()
                .partition(|one| is_in_place(one, topic.id, number));
            partition.segments = here;
            strays.extend(astray.into_iter().map(|one| (at, number, one)));
        }
    }
    for (at, number, mut stray) in strays {
        let Some(header) = stray.header else {
            continue;
        };
        stray.misplaced = Some(format!(
            "it is the segment of topic {:016x}, partition {}, offset {}; its name and folder say \
             partition {number} of topic {}, offset {}",
            header.topic, header.partition, header.base, topics[at].name, stray.base
        ));
        let home = topics
            .iter()
            .position(|topic| topic.id == Some(header.topic));
        let home = home.filter(|_| header.partition < PARTITIONS_MAX);
        let free = home.is_some_and(|home| {
            let known = topics[home].partitions.iter();
            let mut there = known.filter(|one| one.number == header.partition);
            !there.any(|one| one.segments.iter().any(|other| other.base == header.base))
        });
        if let Some(home) = home.filter(|_| free) {
            stray.base = header.base;
            partition(&mut topics[home], header.partition)
                .segments
                .push(stray);
        } else {
            partition(&mut topics[at], number).strangers.push(stray);
        }
    }
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.segments.sort_by_key(|one| one.base);
    }
}

fn is_in_place(segment: &SegmentPlan, topic: Option<u64>, number: u32) -> bool {
    segment.header.is_none_or(|header| {
        let topic = topic.unwrap_or(header.topic);
        (header.topic, header.partition, header.base) == (topic, number, segment.base)
    })
}

/// The partition with this number, of which nothing may have been found yet.
fn partition(topic: &mut TopicPlan, number: u32) -> &mut PartitionPlan {
    let place = topic.partitions.partition_point(|one| one.number < number);
    if topic
        .partitions
        .get(place)
        .is_none_or(|one| one.number != number)
    {
        let folder = names::partition_folder(&topic.folder, number);
        topic
            .partitions
            .insert(place, PartitionPlan::empty(number, folder));
    }
    &mut topic.partitions[place]
}
