//! The macro that turns a list of fields into a jute record: fields in order, no tags, no
//! version, exactly as Java's generated classes write them.

/// Defines a record struct with [`crate::Encode`] and [`crate::Decode`].
///
/// A record that borrows from its input names the lifetime: `record! { pub struct R<'a> { .. } }`.
#[macro_export]
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident<$lt:lifetime> {
        $($(#[$fmeta:meta])* $field:ident: $ty:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name<$lt> { $($(#[$fmeta])* pub $field: $ty),* }
        impl<$lt> $crate::wire::Encode for $name<$lt> {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::wire::Encode::encode(&self.$field, out);)*
            }
        }
        impl<$lt> $crate::wire::Decode<$lt> for $name<$lt> {
            const MIN_LEN: usize = 0 $(+ <$ty as $crate::wire::Decode<$lt>>::MIN_LEN)*;
            fn decode(
                reader: &mut $crate::wire::Reader<$lt>,
            ) -> Result<Self, $crate::wire::DecodeError> {
                Ok($name { $($field: $crate::wire::Decode::decode(reader)?),* })
            }
        }
    };
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* $field:ident: $ty:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }
        impl $crate::wire::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::wire::Encode::encode(&self.$field, out);)*
            }
        }
        impl<'de> $crate::wire::Decode<'de> for $name {
            const MIN_LEN: usize = 0 $(+ <$ty as $crate::wire::Decode<'de>>::MIN_LEN)*;
            fn decode(
                reader: &mut $crate::wire::Reader<'de>,
            ) -> Result<Self, $crate::wire::DecodeError> {
                Ok($name { $($field: $crate::wire::Decode::decode(reader)?),* })
            }
        }
    };
}
