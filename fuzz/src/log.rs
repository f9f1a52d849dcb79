//! Log files. What parses is written again, and parses to the same.

use rookeeper_jute::Encode;
use rookeeper_jute::persistence::{FileHeader, LOG_MAGIC, VERSION};
use rookeeper_store::log::{encode_record, parse};
use rookeeper_tree::{ChangeLog, Tree};

use crate::parts::tree_config;

/// Parses a file, and writes its transactions to another.
pub fn run(input: &[u8]) {
    let parsed = parse(input);
    assert!(parsed.end <= input.len() as u64);
    let mut again = FileHeader { magic: LOG_MAGIC, version: VERSION, dbid: 0 }.to_bytes();
    let mut tree = Tree::new(tree_config());
    for (offset, _) in &parsed.txns {
        let payload = payload_at(input, *offset as usize);
        encode_record(payload, &mut again);
        let _ = tree.apply(payload, &mut ChangeLog::default());
    }
    if parsed.txns.is_empty() {
        return;
    }
    let reparsed = parse(&again);
    let headers = |parsed: &rookeeper_store::log::Parsed| {
        parsed.txns.iter().map(|(_, header)| *header).collect::<Vec<_>>()
    };
    assert_eq!(headers(&reparsed), headers(&parsed));
    assert_eq!((reparsed.bad, reparsed.end), (None, again.len() as u64));
}

/// The transaction of the record at `offset`: behind its checksum and its length.
fn payload_at(file: &[u8], offset: usize) -> &[u8] {
    let head: [u8; 4] = file[offset + 8..offset + 12].try_into().expect("a record has a length");
    &file[offset + 12..][..u32::from_be_bytes(head) as usize]
}
