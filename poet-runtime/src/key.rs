//! What makes two calls identical, and two answers: one keyed hash over what serde sees of a value.
//!
//! A value is walked once and fed into SipHash with a secret key, drawn once per process, so that nobody who chooses
//! arguments can make two calls share an answer. Nothing is allocated and nothing is written out. Every value is fed
//! with a tag of its kind, and every text with its length, so that no two values feed alike: tags lie seven to a word,
//! a word of content follows the tag that says what it is, and so what was fed can be read back in one way only. The
//! entries of a map are hashed one by one and added up, because whether a map of `serde_json` keeps their order depends
//! on a feature that any other crate can switch on. Numbers stand as they are: JCS would send them through a double and
//! give two 64-bit ids one key.

use crate::sip::Sip;
use once_cell::sync::OnceCell;
use serde::ser::{self, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// The key under which identical calls share one flight and one kept answer.
///
/// Good within one process only: every process hashes with secrets of its own.
///
/// # Examples
///
/// ```
/// use poet_runtime::service::CacheKey;
///
/// assert_eq!(CacheKey::of(&("orders", 7_u8)), CacheKey::of(&("orders", 7_u64)));
/// assert_ne!(CacheKey::of(&("orders", 7)), CacheKey::of(&("orders", "7")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheKey {
    // Two words and no `u128`, whose alignment every call that may carry one would have to have.
    high: u64,
    low: u64,
}

impl CacheKey {
    /// The key of what cannot be serialised. It identifies nothing, and nothing is kept under it.
    const NONE: Self = Self { high: 0, low: 0 };

    /// The key of a value: of the arguments of a call, together with whatever else tells it from others.
    ///
    /// Maps are equal whatever their order; sets are walked in theirs, so that one that is not ordered is not always
    /// found again.
    pub fn of<K: Serialize + ?Sized>(parts: &K) -> Self {
        digest(parts).map_or(Self::NONE, |digest| Self::new(digest.hash))
    }

    /// The key of a request. The identity it is sent with is part of it: what one may read is not shared with another.
    pub(crate) fn of_request(service: &str, operation: &str, identity: u64, arguments: &Map<String, Value>) -> Self {
        Self::of(&(identity, service, operation, arguments))
    }

    /// Whether it identifies anything.
    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// The key of the same call under another circumstance. A key is a secret hash, so that adding to it leaves
    /// different ones as different as they were.
    pub(crate) fn with(self, circumstance: u64) -> Self {
        if !self.is_some() {
            return self;
        }
        // Spread over the word, because addresses and moments differ in a few low bits.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let whole = u128::from(self.high) << 64 | u128::from(self.low);
        Self::new(whole.wrapping_add(u128::from(circumstance).wrapping_mul(SPREAD)))
    }

    fn new(hash: u128) -> Self {
        Self { high: (hash >> 64) as u64, low: hash as u64 }
    }
}

/// Half of a key is as good as random.
impl Hash for CacheKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({:016x}{:016x})", self.high, self.low)
    }
}

/// What is known of a value that was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) hash: u128,
    /// About the bytes it takes in memory.
    pub(crate) bytes: usize,
}

/// Walks a value; `None` for one that cannot be serialised.
pub(crate) fn digest<V: Serialize + ?Sized>(value: &V) -> Option<Digest> {
    let mut walk = Walk::new();
    value.serialize(&mut walk).ok()?;
    Some(Digest { hash: walk.hash(), bytes: walk.bytes })
}

/// The kinds of what is fed. No value of one kind feeds like a value of another.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    // No tag is 0, which is no tag.
    Unit = 1,
    False,
    True,
    Natural,
    Negative,
    Wide,
    Single,
    Double,
    Char,
    Text,
    Shown,
    Bytes,
    None,
    Some,
    Sequence,
    End,
    Map,
    Struct,
    Variant,
}

/// What a node of a tree takes beside its text: the size of a `serde_json::Value`.
const NODE: usize = size_of::<Value>();

struct Walk {
    sip: Sip,
    /// Tags that are not fed yet, a byte each: a word of them is fed when it is full, or when a word of content follows.
    tags: u64,
    bytes: usize,
}

impl Walk {
    #[inline]
    fn new() -> Self {
        static SECRET: OnceCell<[u64; 2]> = OnceCell::new();
        let secret = SECRET.get_or_init(|| [0, 1].map(|half| RandomState::new().hash_one(half)));
        Self { sip: Sip::new(*secret), tags: 0, bytes: 0 }
    }

    #[inline]
    fn hash(&self) -> u128 {
        self.sip.finish(self.tags)
    }

    /// Feeds content, which the tag before it says the length of.
    #[inline]
    fn feed(&mut self, word: u64) {
        if self.tags != 0 {
            self.sip.word(std::mem::take(&mut self.tags));
        }
        self.sip.word(word);
    }

    #[inline]
    fn tag(&mut self, tag: Tag) {
        self.bytes += NODE;
        self.mark(tag);
    }

    /// A tag that is no node. Seven to a word, so that what is left at the end has room in the last one.
    #[inline]
    fn mark(&mut self, tag: Tag) {
        if self.tags >= 1 << 48 {
            self.sip.word(std::mem::take(&mut self.tags));
        }
        self.tags = self.tags << 8 | tag as u64;
    }

    #[inline]
    fn word(&mut self, tag: Tag, word: u64) {
        self.tag(tag);
        self.feed(word);
    }

    fn wide(&mut self, tag: Tag, sign: u8, word: u128) {
        self.word(tag, u64::from(sign));
        self.feed(word as u64);
        self.feed((word >> 64) as u64);
    }

    /// The length comes first, so that the zeroes after the end are nobody's.
    #[inline]
    fn sized(&mut self, tag: Tag, bytes: &[u8]) {
        self.word(tag, bytes.len() as u64);
        self.bytes += bytes.len();
        let (whole, rest) = bytes.as_chunks::<8>();
        for chunk in whole {
            self.sip.word(u64::from_le_bytes(*chunk));
        }
        if !rest.is_empty() {
            self.sip.word(last(rest));
        }
    }
}

/// The bytes of a word that is not full.
#[inline]
fn last(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A value says that it cannot be serialised.
#[derive(Debug)]
struct Unserialisable;

impl fmt::Display for Unserialisable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot be serialised")
    }
}

impl std::error::Error for Unserialisable {}

impl ser::Error for Unserialisable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Fed = Result<(), Unserialisable>;

/// Takes a text as it is written, where its length is not known before: in words, however it comes in pieces.
struct Piecewise<'a> {
    walk: &'a mut Walk,
    word: [u8; 8],
    filled: usize,
}

impl fmt::Write for Piecewise<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.walk.bytes += piece.len();
        for byte in piece.bytes() {
            self.push(byte);
        }
        Ok(())
    }
}

impl Piecewise<'_> {
    fn push(&mut self, byte: u8) {
        self.word[self.filled] = byte;
        self.filled += 1;
        if self.filled == self.word.len() {
            self.walk.feed(u64::from_le_bytes(self.word));
            self.filled = 0;
        }
    }

    /// No text has such a byte.
    fn end(mut self) {
        self.push(0xff);
        if self.filled > 0 {
            self.walk.feed(last(&self.word[..self.filled]));
        }
    }
}

impl<'a> ser::Serializer for &'a mut Walk {
    type Ok = ();
    type Error = Unserialisable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    /// The compact form of a type says as much as the readable one, and costs less.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Fed {
        self.tag(if value { Tag::True } else { Tag::False });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Fed {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Fed {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Fed {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Fed {
        let magnitude = value.unsigned_abs();
        self.word(if value < 0 { Tag::Negative } else { Tag::Natural }, magnitude);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Fed {
        if let Ok(narrow) = i64::try_from(value) {
            return self.serialize_i64(narrow);
        }
        if value >= 0 {
            return self.serialize_u128(value.unsigned_abs());
        }
        self.wide(Tag::Wide, 1, value.unsigned_abs());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Fed {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Fed {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Fed {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Fed {
        self.word(Tag::Natural, value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Fed {
        match u64::try_from(value) {
            Ok(narrow) => self.word(Tag::Natural, narrow),
            Err(_) => self.wide(Tag::Wide, 0, value),
        }
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Fed {
        self.word(Tag::Single, value.to_bits().into());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Fed {
        self.word(Tag::Double, value.to_bits());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Fed {
        self.word(Tag::Char, u32::from(value).into());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Fed {
        self.sized(Tag::Text, value.as_bytes());
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Fed {
        self.tag(Tag::Shown);
        let mut text = Piecewise { walk: self, word: [0; 8], filled: 0 };
        fmt::write(&mut text, format_args!("{value}")).map_err(|_| Unserialisable)?;
        text.end();
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Fed {
        self.sized(Tag::Bytes, value);
        Ok(())
    }

    fn serialize_none(self) -> Fed {
        self.tag(Tag::None);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Fed {
        self.tag(Tag::Some);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Fed {
        self.tag(Tag::Unit);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Fed {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, name: &'static str) -> Fed {
        self.word(Tag::Variant, index.into());
        self.serialize_str(name)?;
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Fed {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        value: &T,
    ) -> Fed {
        self.word(Tag::Variant, index.into());
        self.serialize_str(name)?;
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unserialisable> {
        self.tag(Tag::Sequence);
        Ok(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self, Unserialisable> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self, Unserialisable> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Self, Unserialisable> {
        self.word(Tag::Variant, index.into());
        self.serialize_str(name)?;
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, Unserialisable> {
        Ok(Entries { outer: self, entry: None, sum: 0, count: 0 })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unserialisable> {
        self.tag(Tag::Struct);
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Self, Unserialisable> {
        self.word(Tag::Variant, index.into());
        self.serialize_str(name)?;
        self.serialize_struct(name, len)
    }
}

/// The entries of a map, of which each is hashed by itself.
struct Entries<'a> {
    outer: &'a mut Walk,
    /// The entry whose value is still to come.
    entry: Option<Walk>,
    sum: u128,
    count: u64,
}

impl Entries<'_> {
    fn add(&mut self, entry: &Walk) {
        self.sum = self.sum.wrapping_add(entry.hash());
        self.count += 1;
        self.outer.bytes += entry.bytes;
    }
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Unserialisable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Fed {
        let mut entry = Walk::new();
        key.serialize(&mut entry)?;
        self.entry = Some(entry);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Fed {
        let mut entry = self.entry.take().ok_or(Unserialisable)?;
        value.serialize(&mut entry)?;
        self.add(&entry);
        Ok(())
    }

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(&mut self, key: &K, value: &V) -> Fed {
        let mut entry = Walk::new();
        key.serialize(&mut entry)?;
        value.serialize(&mut entry)?;
        self.add(&entry);
        Ok(())
    }

    fn end(self) -> Fed {
        self.outer.word(Tag::Map, self.count);
        self.outer.feed(self.sum as u64);
        self.outer.feed((self.sum >> 64) as u64);
        Ok(())
    }
}

/// A sequence is over when it says so; its length need not be known before.
macro_rules! elements {
    ($($kind:ident . $element:ident),*) => {$(
        impl ser::$kind for &mut Walk {
            type Ok = ();
            type Error = Unserialisable;

            #[inline]
            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Fed {
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Fed {
                self.mark(Tag::End);
                Ok(())
            }
        }
    )*};
}

elements!(
    SerializeSeq.serialize_element,
    SerializeTuple.serialize_element,
    SerializeTupleStruct.serialize_field,
    SerializeTupleVariant.serialize_field
);

/// The names of fields are fed too: one that is skipped must not make its neighbour take its place.
macro_rules! fields {
    ($($kind:ident),*) => {$(
        impl ser::$kind for &mut Walk {
            type Ok = ();
            type Error = Unserialisable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Fed {
                self.sized(Tag::Text, name.as_bytes());
                value.serialize(&mut **self)
            }

            fn end(self) -> Fed {
                self.mark(Tag::End);
                Ok(())
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests;
