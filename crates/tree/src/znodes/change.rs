//! Everything that changes znodes. Each function keeps index, children, counts, owners and digest
//! in step, and lets a running snapshot have the znode as it was.

use rookeeper_jute::{StatPersisted, Zxid};

use super::blob::{self, Fields, Place};
use super::blobs::Handle;
use super::children::Children;
use super::index::PathHash;
use super::interior::Interior;
use super::{DataSet, NO_SLOT, NodeId, Slot, Znodes, data_len, name_units};
use crate::acls::AclIndex;
use crate::digest;

impl Znodes {
    /// Adds a child, which must not be there yet. The parent's own stat stays as it is: see
    /// [`Znodes::set_children_stat`].
    ///
    /// # Panics
    /// If the child is there already: whoever inserts has looked.
    pub fn insert(
        &mut self,
        parent: NodeId,
        name: &str,
        data: Option<&[u8]>,
        acl: AclIndex,
        stat: &StatPersisted,
    ) -> NodeId {
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        self.path_below_root(parent, &mut path);
        path.push('/');
        path.push_str(name);
        let id = self.insert_path(parent, &path, data, acl, stat);
        path.shrink_to(4096);
        self.path = path;
        id.expect("who inserts a child has looked whether it is there")
    }

    /// Like [`Znodes::insert`], for who has the whole path at hand; the name is its last component.
    /// `None`, and nothing is changed, if the child is there already.
    pub(crate) fn insert_path(
        &mut self,
        parent: NodeId,
        path: &str,
        data: Option<&[u8]>,
        acl: AclIndex,
        stat: &StatPersisted,
    ) -> Option<NodeId> {
        let hash = self.index.hash(path.as_bytes());
        if self.find(hash).is_some() {
            return None;
        }
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let number = self.make_interior(parent);
        let bytes = data.unwrap_or_default();
        let interior = self.interiors.get_mut(number);
        let data_crc = digest::child_crc(interior.path_crc, name.as_bytes(), bytes);
        let is_counted = self.digest_enabled && !interior.is_excluding;
        let place = Place::Leaf { data_crc };
        let fields = Fields { place, name: name.as_bytes(), stat: *stat, acl, data };
        blob::encode_header(&fields, data.map(<[u8]>::len), &mut self.header);
        let id = self.allocate(hash, parent.0, bytes);

        let interior = self.interiors.get_mut(number);
        let slots = &mut self.slots;
        let mut moved = |id: NodeId, position| slots.get_mut(id.0).position = position;
        let position = interior.push(id, stat.czxid, self.is_loading, &mut moved);
        self.data_size += i64::from(interior.path_units + name_units(name));
        self.data_size += data_len(data) as i64;
        if is_counted {
            let part = digest::digest_of_stat(data_crc, stat);
            self.digest = self.digest.wrapping_add(i64::from(part));
        }
        self.slots.get_mut(id.0).position = position;
        self.index.insert(hash, id.0, |slot| self.slots.get(slot).hash);
        self.interiors.count(number, 1, data_len(data) as i64);
        self.owners.insert(stat.ephemeral_owner, id);
        Some(id)
    }

    /// Removes a znode that has no children and is not the root. The parent's own stat stays as it
    /// is: see [`Znodes::set_children_stat`].
    ///
    /// # Panics
    /// If it has children or is the root: whoever removes has looked.
    pub fn remove(&mut self, id: NodeId) {
        assert!(id != NodeId::ROOT, "the root stays");
        assert!(self.child_count(id) == 0, "a znode with children stays");
        self.preserve(id);
        self.subtract_digest(id);
        let fields = blob::parse(self.blob(id));
        let (owner, len) = (fields.stat.ephemeral_owner, data_len(fields.data) as i64);
        let units = name_units(self.name(id));
        self.owners.remove(owner, id);

        let number = self.parent_interior(id);
        let slot = self.slots.get(id.0);
        let (hash, parent, position) = (slot.hash, NodeId(slot.parent), slot.position);
        let interior = self.interiors.get_mut(number);
        self.data_size -= i64::from(interior.path_units + units) + len;
        let slots = &mut self.slots;
        let mut moved = |id: NodeId, position| slots.get_mut(id.0).position = position;
        interior.children.remove(position, &mut moved);
        self.interiors.count(number, -1, -len);
        self.index.remove(hash, id.0, |slot| self.slots.get(slot).hash);
        let slot = self.slots.get_mut(id.0);
        self.blobs.remove(slot.blob);
        slot.blob = Handle::NONE;
        slot.parent = self.free;
        self.free = id.0;
        self.blobs.tidy(&mut self.slots);
        self.drop_empty_interior(parent);
    }

    /// Sets the data with what the transaction says of it, and returns what a reply needs.
    pub fn set_data(
        &mut self,
        id: NodeId,
        data: Option<&[u8]>,
        mzxid: Zxid,
        mtime: i64,
        version: i32,
    ) -> DataSet {
        self.preserve(id);
        let bytes = data.unwrap_or_default();
        let mut header = std::mem::take(&mut self.header);
        let mut fields = self.fields(id);
        let parent = (id != NodeId::ROOT).then(|| self.parent_interior(id));
        let above = parent.map(|number| self.interiors.get(number));
        let data_crc = match above {
            Some(above) => digest::child_crc(above.path_crc, fields.name, bytes),
            None => digest::extend_crc(0, bytes),
        };
        let before = digest::digest_of_stat(self.data_crc(fields.place), &fields.stat);
        let growth = data_len(data) as i64 - data_len(fields.data) as i64;
        (fields.stat.mzxid, fields.stat.mtime, fields.stat.version) = (mzxid, mtime, version);
        fields.data = data;
        if let Place::Leaf { data_crc: kept } = &mut fields.place {
            *kept = data_crc;
        }
        let after = digest::digest_of_stat(data_crc, &fields.stat);
        let is_counted = self.digest_enabled && !above.is_some_and(|above| above.is_excluding);
        let set = DataSet { stat: self.visible(&fields), acl: fields.acl, growth };
        blob::encode_header(&fields, data.map(<[u8]>::len), &mut header);
        if let Place::Interior(number) = fields.place {
            self.interiors.get_mut(number).data_crc = data_crc;
        }
        if is_counted {
            self.digest = self.digest.wrapping_add(i64::from(after) - i64::from(before));
        }

        let slot = self.slots.get_mut(id.0);
        slot.blob = self.blobs.replace(slot.blob, &header, bytes);
        self.blobs.tidy(&mut self.slots);
        self.header = header;
        if growth != 0 {
            self.data_size += growth;
            if let Some(number) = parent {
                self.interiors.count(number, 0, growth);
            }
        }
        set
    }

    /// Sets the access control list.
    pub fn set_acl(&mut self, id: NodeId, acl: AclIndex, aversion: i32) {
        self.preserve(id);
        self.subtract_digest(id);
        self.rewrite(id, |fields| {
            fields.acl = acl;
            fields.stat.aversion = aversion;
        });
        self.add_digest(id);
    }

    /// Sets what the stat says of the children.
    pub fn set_children_stat(&mut self, id: NodeId, cversion: i32, pzxid: Zxid) {
        self.preserve(id);
        self.subtract_digest(id);
        match blob::interior(self.blob(id)) {
            Some(number) => {
                let interior = self.interiors.get_mut(number);
                (interior.cversion, interior.pzxid) = (cversion, pzxid);
            }
            None => self.rewrite(id, |fields| {
                (fields.stat.cversion, fields.stat.pzxid) = (cversion, pzxid);
            }),
        }
        self.add_digest(id);
    }

    /// Puts children that came out of order, as happens in replay, into czxid order, and those of
    /// one transaction into the order of their names.
    pub(crate) fn sort_disordered_children(&mut self) {
        for number in self.interiors.disordered() {
            let children = &self.interiors.get(number).children;
            let czxid = |id: NodeId| blob::parse(self.blob(id)).stat.czxid;
            let mut keyed: Vec<(Zxid, NodeId)> =
                children.iter().map(|id| (czxid(id), id)).collect();
            keyed.sort_by(|(a_czxid, a), (b_czxid, b)| {
                a_czxid.cmp(b_czxid).then_with(|| self.name(*a).cmp(self.name(*b)))
            });
            let slots = &mut self.slots;
            let ids = keyed.into_iter().map(|(_, id)| id);
            let children = Children::from_ids(ids, &mut |id, position| {
                slots.get_mut(id.0).position = position;
            });
            let interior = self.interiors.get_mut(number);
            interior.children = children;
            interior.is_disordered = false;
        }
    }

    /// From now on, children of one transaction come in an order that means nothing (`true`), as in
    /// a snapshot, or in that of their creation.
    pub(crate) fn set_loading(&mut self, is_loading: bool) {
        self.is_loading = is_loading;
    }

    /// Makes the root what a snapshot says.
    pub(crate) fn replace_root(
        &mut self,
        data: Option<&[u8]>,
        acl: AclIndex,
        stat: &StatPersisted,
    ) {
        self.set_data(NodeId::ROOT, data, stat.mzxid, stat.mtime, stat.version);
        self.set_children_stat(NodeId::ROOT, stat.cversion, stat.pzxid);
        self.subtract_digest(NodeId::ROOT);
        self.rewrite(NodeId::ROOT, |fields| (fields.stat, fields.acl) = (*stat, acl));
        self.add_digest(NodeId::ROOT);
    }

    /// Makes the root of a tree that has none yet.
    pub(super) fn make_root(&mut self) {
        let number = self.interiors.insert(Interior::root());
        let stat = StatPersisted::default();
        let acl = AclIndex::OPEN;
        let place = Place::Interior(number);
        let fields = Fields { place, name: b"", stat, acl, data: Some(b"") };
        blob::encode_header(&fields, Some(0), &mut self.header);
        let root = self.allocate([0; 2], NO_SLOT, b"");
        assert!(root == NodeId::ROOT, "the root has the first slot");
        self.add_digest(root);
    }

    /// Gives a znode a slot, and a blob of the header that was just written and of `data`.
    fn allocate(&mut self, hash: PathHash, parent: u32, data: &[u8]) -> NodeId {
        let mut slot = Slot { hash, blob: Handle::NONE, parent, position: 0 };
        let number = self.free;
        if number == NO_SLOT {
            slot.blob = self.blobs.insert(self.slots.len(), &self.header, data);
            return NodeId(self.slots.push(slot));
        }
        slot.blob = self.blobs.insert(number, &self.header, data);
        let free = self.slots.get_mut(number);
        self.free = free.parent;
        *free = slot;
        if let Some(cursor) = &mut self.cursor {
            cursor.skip(NodeId(number));
        }
        NodeId(number)
    }

    /// Writes a blob's header anew with changed fields and the data as it is.
    fn rewrite(&mut self, id: NodeId, change: impl FnOnce(&mut Fields<'_>)) {
        let mut header = std::mem::take(&mut self.header);
        let mut fields = blob::parse(self.blob(id));
        change(&mut fields);
        blob::encode_header(&fields, fields.data.map(<[u8]>::len), &mut header);
        let slot = self.slots.get_mut(id.0);
        slot.blob = self.blobs.replace_header(slot.blob, &header);
        self.blobs.tidy(&mut self.slots);
        self.header = header;
    }

    /// The number of the znode's interior record, which is made where there is none.
    fn make_interior(&mut self, id: NodeId) -> u32 {
        let fields = blob::parse(self.blob(id));
        let data_crc = match fields.place {
            Place::Interior(number) => return number,
            Place::Leaf { data_crc } => data_crc,
        };
        let parent_number = self.parent_interior(id);
        let parent = self.interiors.get(parent_number);
        let path_crc = digest::child_crc(parent.path_crc, fields.name, b"");
        let is_zookeeper = self.parent(id) == Some(NodeId::ROOT) && fields.name == b"zookeeper";
        let interior = Interior {
            parent: parent_number,
            cversion: fields.stat.cversion,
            pzxid: fields.stat.pzxid,
            is_excluding: parent.is_excluding || is_zookeeper,
            path_crc,
            data_crc,
            path_units: parent.path_units + name_units(self.name(id)),
            ..Interior::root()
        };
        let number = self.interiors.insert(interior);
        self.rewrite(id, |fields| fields.place = Place::Interior(number));
        number
    }

    /// Gives the interior record back if the last child is gone.
    fn drop_empty_interior(&mut self, id: NodeId) {
        let Some(number) = blob::interior(self.blob(id)) else { return };
        let interior = self.interiors.get(number);
        if id == NodeId::ROOT || interior.children.len() > 0 {
            return;
        }
        let (cversion, pzxid) = (interior.cversion, interior.pzxid);
        let place = Place::Leaf { data_crc: interior.data_crc };
        self.interiors.remove(number);
        self.rewrite(id, |fields| {
            fields.place = place;
            (fields.stat.cversion, fields.stat.pzxid) = (cversion, pzxid);
        });
    }

    fn subtract_digest(&mut self, id: NodeId) {
        if self.digest_enabled {
            self.digest = self.digest.wrapping_sub(self.digest_of(id));
        }
    }

    fn add_digest(&mut self, id: NodeId) {
        if self.digest_enabled {
            self.digest = self.digest.wrapping_add(self.digest_of(id));
        }
    }
}
