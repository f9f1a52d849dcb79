//! reconfig: what the ensemble's members decide becomes the data of the configuration's znode.

use rookeeper_jute::data::perms;
use rookeeper_jute::proto::ReconfigRequest;
use rookeeper_jute::{Encode, ErrorCode, OpCode};

use super::encode_header;
use super::request::reader;
use super::step::{Failure, Step};
use crate::paths;

/// The version that the configuration's znode has after each change.
const CONFIG_VERSION: i32 = -1;

/// Decides on a change of the ensemble: the new configuration's text, or why there is none. The
/// tree keeps the text and knows nothing of what it says.
pub type DecideReconfig<'a> = &'a mut dyn FnMut(&ReconfigRequest<'_>) -> Result<Vec<u8>, ErrorCode>;

impl Step<'_> {
    /// Checks in Java's order: whether changes are enabled, session, what `decide` checks, access.
    /// Where there is nobody to decide, the server stands alone.
    pub(super) fn reconfig(
        &mut self,
        decide: Option<DecideReconfig<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let request: ReconfigRequest<'_> =
            reader(self.request.body).read().map_err(|_| Failure::Unreadable)?;
        if !self.config.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled.into());
        }
        self.request.session_check?;
        let decide = decide.ok_or(ErrorCode::Unimplemented)?;
        let text = decide(&request)?;
        let key = self.key(paths::CONFIG);
        let mut node = self.state(&key)?;
        self.check_access(&node.acl, perms::WRITE)?;
        encode_header(self.request, OpCode::Reconfig, out);
        paths::CONFIG.encode(out);
        Some(&text[..]).encode(out);
        CONFIG_VERSION.encode(out);
        self.fits(out)?;
        node.stat.version = CONFIG_VERSION;
        node.stat.mtime = self.request.time_ms;
        node.stat.mzxid = self.request.zxid;
        node.data_len = text.len();
        node.path_and_data_crc = self.crc(paths::CONFIG, &text);
        // The configuration is no part of the digest.
        self.set(&key, 0, Some(node));
        Ok(())
    }
}
