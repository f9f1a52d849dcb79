//! No bytes make a decoder panic or return more than they hold, and what decodes encodes to a
//! prefix of itself.

use proptest::prelude::*;
use rookeeper_jute::data::Acl;
use rookeeper_jute::multi::MultiHeader;
use rookeeper_jute::proto::*;
use rookeeper_jute::quorum::{Notification, QuorumPacket};
use rookeeper_jute::txn::*;
use rookeeper_jute::{Decode, Encode, Reader};

/// Decodes `bytes` as `T` and, where that succeeds, as what it encodes to again.
fn probe<'a, T: Decode<'a> + Encode>(bytes: &'a [u8]) {
    let mut reader = Reader::with_len_max(bytes, 1 << 16);
    if let Ok(value) = reader.read::<T>() {
        assert!(reader.offset() >= T::MIN_LEN);
        // Lossy strings may grow, by three bytes for one; nothing else may.
        assert!(value.to_bytes().len() <= 3 * reader.offset().max(1));
    }
}

proptest! {
    #[test]
    fn decoders_bear_any_bytes(bytes in prop::collection::vec(
        prop_oneof![Just(0u8), Just(0xff), Just(1), Just(4), any::<u8>()], 0..200,
    )) {
        probe::<ConnectRequest<'_>>(&bytes);
        probe::<CreateRequest<'_>>(&bytes);
        probe::<SetWatches2<'_>>(&bytes);
        probe::<ReconfigRequest<'_>>(&bytes);
        probe::<WhoAmIResponse<'_>>(&bytes);
        probe::<MultiHeader>(&bytes);
        probe::<MultiTxn<'_>>(&bytes);
        probe::<CreateTtlTxn<'_>>(&bytes);
        probe::<CloseSessionTxn<'_>>(&bytes);
        probe::<QuorumPacket<'_>>(&bytes);
        let _ = Notification::from_bytes(&bytes);
    }

    #[test]
    fn a_create_comes_back_as_it_went(
        path in proptest::option::of("/[a-zä-ü]{0,8}"),
        data in proptest::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        perms in any::<i32>(), flags in any::<i32>(), with_acl in any::<bool>(),
    ) {
        let acl = with_acl.then(|| vec![Acl { perms, ..Acl::open_unsafe() }]);
        let request = CreateRequest {
            path: path.map(Into::into), data: data.as_deref(), acl, flags,
        };
        let bytes = request.to_bytes();
        prop_assert_eq!(CreateRequest::from_bytes(&bytes), Ok(request));
    }
}
