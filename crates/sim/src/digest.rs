//! The digest of the model, by the rule that servers follow.

use rookeeper_tree::digest::node_digest;

use crate::model::Model;

/// The sum over all znodes.
pub fn digest(model: &Model) -> i64 {
    let nodes = model.nodes().iter();
    nodes.fold(0, |sum: i64, (path, node)| {
        sum.wrapping_add(node_digest(path, node.data.as_deref(), &node.stat))
    })
}
