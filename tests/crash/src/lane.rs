//! One session that writes to znodes of its own until the server is gone.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use rookeeper_jute::multi::next_part;
use rookeeper_jute::proto::SetDataResponse;
use rookeeper_jute::{Decode, Reader, Xid, Zxid};

use crate::model::{State, Write};
use crate::wire::{Reply, Session, Wire};

/// Znodes that a lane writes at most.
const SLOTS: u64 = 60;
/// Ephemerals that a lane holds at most.
const EPHEMERALS: u64 = 10;

/// A lane: what is sure, what is in flight, and the session.
pub struct Lane {
    /// Its number; its znodes are under `/crash/l<number>`.
    pub number: usize,
    /// Made by all acknowledged writes.
    pub sure: State,
    /// Written and not acknowledged, in order.
    pub in_flight: VecDeque<Write>,
    /// The session, where one lives.
    pub session: Option<Session>,
    /// How many writes were acknowledged.
    pub acknowledged: u64,
    random: u64,
    stamp: u64,
}

impl Lane {
    /// A lane without znodes; `seed` draws its writes.
    pub fn new(number: usize, seed: u64) -> Lane {
        Lane {
            number,
            sure: State::default(),
            in_flight: VecDeque::new(),
            session: None,
            acknowledged: 0,
            random: seed | 1,
            stamp: 0,
        }
    }

    /// The znode above all of the lane's.
    pub fn root(&self) -> String {
        format!("/crash/l{}", self.number)
    }

    /// Draws a number below `below` (xorshift64*).
    pub fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    /// Writes with `depth` requests in flight until the connection breaks; returns why it ended.
    /// `stop` ends it too, once all is acknowledged.
    ///
    /// # Errors
    /// A reply that is wrong, as text: an error, or another request's.
    pub fn run(
        &mut self,
        address: SocketAddr,
        depth: usize,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let connected = match Wire::connect(address, self.session.as_ref()) {
            Ok(connected) => connected,
            Err(_) => return Ok(()),
        };
        let Some(mut wire) = connected else {
            return Err(format!("lane {}: the session was refused", self.number));
        };
        self.session = Some(wire.session.clone());
        let mut ahead = self.sure.clone();
        let mut xids = VecDeque::new();
        loop {
            while xids.len() < depth && !ahead.closed && !stop.load(Ordering::Relaxed) {
                let write = self.next_write(&ahead);
                ahead.apply(&write, None);
                xids.push_back(wire.queue(write.op(), &write.body()));
                self.in_flight.push_back(write);
            }
            if xids.is_empty() || wire.flush().is_err() {
                self.read_rest(&mut wire, &mut xids)?;
                return Ok(());
            }
            match wire.read_reply() {
                Ok(reply) => self.acknowledge(&reply, xids.pop_front())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(format!("lane {}: no reply for half a minute", self.number));
                }
                Err(_) => return Ok(()),
            }
        }
    }

    /// Replies that the server sent before it died.
    fn read_rest(&mut self, wire: &mut Wire, xids: &mut VecDeque<Xid>) -> Result<(), String> {
        while !xids.is_empty() {
            match wire.read_reply() {
                Ok(reply) => self.acknowledge(&reply, xids.pop_front())?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, reply: &Reply, xid: Option<Xid>) -> Result<(), String> {
        let lane = self.number;
        if Some(reply.xid) != xid || reply.err != 0 {
            return Err(format!("lane {lane}: reply {} err {} for {xid:?}", reply.xid, reply.err));
        }
        let write = self.in_flight.pop_front().ok_or(format!("lane {lane}: a reply too many"))?;
        let mzxid = told_zxid(&write, reply).map_err(|why| format!("lane {lane}: {why}"))?;
        self.sure.apply(&write, mzxid);
        self.acknowledged += 1;
        Ok(())
    }

    /// A write that is valid after `ahead`.
    fn next_write(&mut self, ahead: &State) -> Write {
        match self.draw(1000) {
            0..2 => Write::Close,
            2..80 => self.next_ephemeral(ahead),
            80..200 => {
                let first = self.next_plain(ahead);
                let mut after = ahead.clone();
                after.apply(&first, None);
                let second = self.next_plain(&after);
                after.apply(&second, None);
                let third = self.next_plain(&after);
                Write::Multi(vec![first, second, third])
            }
            _ => self.next_plain(ahead),
        }
    }

    fn next_ephemeral(&mut self, ahead: &State) -> Write {
        let path = format!("{}/e{}", self.root(), self.draw(EPHEMERALS));
        if ahead.znodes.contains_key(&path) {
            Write::Delete { path }
        } else {
            let data = self.next_data();
            Write::Create { path, data, ephemeral: true }
        }
    }

    fn next_plain(&mut self, ahead: &State) -> Write {
        let path = format!("{}/n{}", self.root(), self.draw(SLOTS));
        if !ahead.znodes.contains_key(&path) {
            let data = self.next_data();
            Write::Create { path, data, ephemeral: false }
        } else if self.draw(5) == 0 {
            Write::Delete { path }
        } else {
            let data = self.next_data();
            Write::Set { path, data }
        }
    }

    /// Data that no other write has; now and then longer than a page, or than many.
    fn next_data(&mut self) -> Vec<u8> {
        self.stamp += 1;
        let len = match self.draw(100) {
            0 => 20_000 + self.draw(40_000),
            1..10 => 1000 + self.draw(5000),
            _ => self.draw(200),
        };
        let mut data = format!("{}:{}:", self.number, self.stamp).into_bytes();
        let filling = self.draw(256) as u8;
        data.resize(data.len() + len as usize, filling);
        data
    }
}

/// The zxid of the change, where the reply has it: in the Stat of a set.
fn told_zxid(write: &Write, reply: &Reply) -> Result<Option<Zxid>, String> {
    match write {
        Write::Set { .. } => SetDataResponse::from_bytes(&reply.body)
            .map(|response| Some(response.stat.mzxid))
            .map_err(|error| format!("set: {error}")),
        Write::Multi(parts) => {
            let mut reader = Reader::new(&reply.body);
            let first = next_part(&mut reader).map_err(|error| format!("multi: {error}"))?;
            match first {
                Some(part) if part.op == parts[0].op().to_i32() => Ok(None),
                other => Err(format!("multi failed: {other:?}")),
            }
        }
        _ => Ok(None),
    }
}
