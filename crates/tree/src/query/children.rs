//! Names of children, all at once or by page. All come in czxid order; Java's order is a hash
//! set's.

use rookeeper_jute::limits::JUTE_MAXBUFFER_DEFAULT;
use rookeeper_jute::proto::GetChildrenPaginatedRequest;
use rookeeper_jute::wire::{encode_str, encode_vector_len};
use rookeeper_jute::{Encode, ErrorCode, Zxid};

use super::{
    GetChildren2Request, GetChildrenRequest, Query, Watch, WatchKind, decode, not_null, wanted,
};
use crate::znodes::NodeId;

/// Largest page in bytes of names with their lengths: with Stat and headers it stays below the
/// largest reply that clients take by default.
const PAGE_LEN_MAX: usize = JUTE_MAXBUFFER_DEFAULT - 1024;

impl Query<'_> {
    pub(super) fn get_children<'a>(
        &self,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Watch<'a>, ErrorCode> {
        let GetChildrenRequest { path, watch } = decode(body)?;
        let path = not_null(path)?;
        self.encode_children(&path, out)?;
        Ok(wanted(watch, path, WatchKind::Child))
    }

    pub(super) fn get_children2<'a>(
        &self,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Watch<'a>, ErrorCode> {
        let GetChildren2Request { path, watch } = decode(body)?;
        let path = not_null(path)?;
        let id = self.encode_children(&path, out)?;
        self.tree.znodes().stat(id).encode(out);
        Ok(wanted(watch, path, WatchKind::Child))
    }

    pub(super) fn encode_children(
        &self,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<NodeId, ErrorCode> {
        let id = self.readable(path)?;
        let znodes = self.tree.znodes();
        encode_vector_len(znodes.child_count(id), out);
        for child in znodes.children(id) {
            encode_str(znodes.name(child), out);
        }
        Ok(id)
    }

    /// A page starts with the child at `czxid_offset` among those of `min_czxid` or later. The
    /// watch is left by the last page, so that a reader of all pages misses no change: what comes
    /// while it reads is on a later page (ZOOKEEPER-2260 as Helix uses it).
    pub(super) fn get_children_paginated<'a>(
        &self,
        body: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Watch<'a>, ErrorCode> {
        let request: GetChildrenPaginatedRequest<'a> = decode(body)?;
        let path = not_null(request.path)?;
        if request.max_returned <= 0 {
            return Err(ErrorCode::BadArguments);
        }
        let id = self.readable(&path)?;
        let start = PageStart { czxid: request.min_czxid, offset: request.czxid_offset };
        let next = self.encode_page(id, start, request.max_returned, out);
        self.tree.znodes().stat(id).encode(out);
        let last = PageStart { czxid: Zxid(-1), offset: -1 };
        let PageStart { czxid, offset } = next.unwrap_or(last);
        czxid.encode(out);
        offset.encode(out);
        Ok(wanted(request.watch && next.is_none(), path, WatchKind::Child))
    }

    /// Appends the names; where the next page starts if there is one.
    fn encode_page(
        &self,
        id: NodeId,
        start: PageStart,
        max_returned: i32,
        out: &mut Vec<u8>,
    ) -> Option<PageStart> {
        let znodes = self.tree.znodes();
        let count_at = out.len();
        encode_vector_len(0, out);
        let mut count = 0i32;
        let mut next = None;
        let mut at = PageStart { czxid: start.czxid, offset: 0 };
        for child in znodes.children(id) {
            let czxid = znodes.persisted(child).czxid;
            if czxid < start.czxid {
                continue;
            }
            if czxid != at.czxid {
                at = PageStart { czxid, offset: 0 };
            }
            let is_skipped = czxid == start.czxid && at.offset < start.offset;
            if !is_skipped {
                let name = znodes.name(child);
                let page_len = out.len() - count_at + 4 + name.len();
                if count == max_returned || (count > 0 && page_len > PAGE_LEN_MAX) {
                    next = Some(at);
                    break;
                }
                encode_str(name, out);
                count += 1;
            }
            at.offset += 1;
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        next
    }
}

/// Where a page starts: so many children of this czxid are left out.
#[derive(Debug, Clone, Copy)]
struct PageStart {
    czxid: Zxid,
    offset: i32,
}
