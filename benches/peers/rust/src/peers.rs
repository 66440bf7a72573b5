//! The peers that this program knows, in the order of `list`.

use crate::peer::Peer;
use crate::{beanstalkd, lmdb, nats, okaywal, rabbitmq, redis, sqlite, walrus, yaque};

pub(crate) static PEERS: [&dyn Peer; 11] = [
    &sqlite::QUEUE,
    &sqlite::BARE,
    &lmdb::QUEUE,
    &lmdb::BARE,
    &walrus::WALRUS,
    &yaque::YAQUE,
    &okaywal::OKAYWAL,
    &redis::REDIS,
    &nats::NATS,
    &rabbitmq::RABBITMQ,
    &beanstalkd::BEANSTALKD,
];
