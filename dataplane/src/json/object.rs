//! Finding the members of objects and the items of lists, as they stand in the text.

use std::fmt;

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::Error;

/// Reads one JSON text as `seed` says, to its end.
pub(crate) fn read_slice<'de, S: DeserializeSeed<'de>>(text: &'de [u8], seed: S) -> serde_json::Result<S::Value> {
    // What is known to be UTF-8 as a whole is not looked at again piece by piece.
    match std::str::from_utf8(text) {
        Ok(text) => read_all(serde_json::Deserializer::from_str(text), seed),
        // The parser says where it stumbles. What it passes over without a look is no JSON either.
        Err(error) => read_all(serde_json::Deserializer::from_slice(text), seed)
            .and_then(|_| Err(de::Error::custom(format!("no UTF-8 from byte {} on", error.valid_up_to())))),
    }
}

fn read_all<'de, R: serde_json::de::Read<'de>, S: DeserializeSeed<'de>>(
    mut deserializer: serde_json::Deserializer<R>,
    seed: S,
) -> serde_json::Result<S::Value> {
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// Reads an excerpt as `seed` says.
pub(crate) fn read_raw<'de, S: DeserializeSeed<'de>>(raw: &'de RawValue, seed: S) -> serde_json::Result<S::Value> {
    seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
}

/// A parser's message without its line and column, which are those of an excerpt and would mislead.
pub(crate) fn plain(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    text
}

/// What is wrong with a body that is not `expected`.
pub(crate) fn unreadable(error: &serde_json::Error, expected: &str) -> Error {
    if error.is_data() {
        return Error::malformed(format!("the body: expected {expected} ({})", plain(error)));
    }
    Error::malformed(format!("the body is no JSON: {error}"))
}

/// The members of an object that have these names; `null` is as good as absent, and any other member is passed over.
///
/// Not a derived struct: those read an array as well, as if it were the members in order.
#[derive(Clone, Copy)]
pub(crate) struct Members<'n, const N: usize>(pub(crate) [&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [None; N];
        self.read(&mut map, |position, map| {
            members[position] = map.next_value()?;
            Ok(())
        })?;
        Ok(members)
    }
}

impl<const N: usize> Members<'_, N> {
    /// Calls `value` for each of the members, once.
    pub(crate) fn read<'de, A: MapAccess<'de>>(
        self,
        map: &mut A,
        mut value: impl FnMut(usize, &mut A) -> Result<(), A::Error>,
    ) -> Result<(), A::Error> {
        let mut seen = [false; N];
        while let Some(position) = map.next_key_seed(Key(&self.0))? {
            let Some(position) = position else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[position], true) {
                return Err(de::Error::custom(format!("`{}` is given twice", self.0[position])));
            }
            value(position, map)?;
        }
        Ok(())
    }
}

/// The most tensors of a request: a body of nothing but empty tensors should take no more room than it is long.
pub(crate) const MAX_TENSORS: usize = 1024;

/// [`Members`], the first of which may be lists: a body of instances is gone over once, not once for the body and once for the list.
pub(crate) struct MembersAndLists<'n, const N: usize> {
    pub(crate) members: Members<'n, N>,
    /// How many of the members, from the first.
    pub(crate) lists: usize,
    /// How many items of a list are kept; all are counted.
    pub(crate) most: usize,
}

/// What stands where a list may stand.
pub(crate) enum Listed<'de> {
    /// Its first items, and how many there are.
    Items(Vec<&'de RawValue>, usize),
    /// Something else.
    NoList,
}

impl<'de, const N: usize> DeserializeSeed<'de> for MembersAndLists<'_, N> {
    type Value = ([Option<&'de RawValue>; N], [Option<Listed<'de>>; N]);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for MembersAndLists<'_, N> {
    type Value = ([Option<&'de RawValue>; N], [Option<Listed<'de>>; N]);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut lists) = ([None; N], [const { None }; N]);
        self.members.read(&mut map, |position, map| {
            if position < self.lists {
                lists[position] = map.next_value_seed(PerhapsList { most: self.most })?;
            } else {
                members[position] = map.next_value()?;
            }
            Ok(())
        })?;
        Ok((members, lists))
    }
}

struct PerhapsList {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for PerhapsList {
    type Value = Option<Listed<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PerhapsList {
    type Value = Option<Listed<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut count) = (Vec::new(), 0);
        while let Some(item) = sequence.next_element()? {
            count += 1;
            if count <= self.most {
                items.push(item);
            }
        }
        Ok(Some(Listed::Items(items, count)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(Listed::NoList))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Some(Listed::NoList))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Some(Listed::NoList))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Some(Listed::NoList))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Some(Listed::NoList))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Some(Listed::NoList))
    }
}

/// Which of these names a key is.
struct Key<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// An item as it stands in the text.
#[derive(Clone, Copy)]
pub(crate) struct Raw;

impl<'de> DeserializeSeed<'de> for Raw {
    type Value = &'de RawValue;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        <&RawValue>::deserialize(deserializer)
    }
}

/// The items of an array, each read as `item` says. The first `most` are kept and all are counted, so that a long list of nothing
/// takes no room.
pub(crate) struct List<S> {
    pub(crate) item: S,
    pub(crate) most: usize,
}

impl<'de, S: DeserializeSeed<'de> + Clone> DeserializeSeed<'de> for List<S> {
    type Value = (Vec<S::Value>, usize);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Clone> Visitor<'de> for List<S> {
    type Value = (Vec<S::Value>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.most {
            match sequence.next_element_seed(self.item.clone()) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return Err(de::Error::custom(format!("item {}: {error}", items.len()))),
            }
        }
        let mut count = items.len();
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((items, count))
    }
}
