//! Strict JSON for a privileged program: no repeated keys, no unknown fields.
//!
//! serde_json's own `Value` silently keeps the last of two equal keys, and serde's derived errors quote the
//! offending value, which may be a token. This tree refuses repeated keys. Its readers never repeat a value,
//! only the name of its key.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::Error;

/// A JSON value in which no object has the same key twice and no string holds a NUL.
#[derive(Debug)]
pub enum Json {
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
    /// An integer that fits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string without NUL.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(BTreeMap<String, Json>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        // A number above i64 is outside every bound of the protocol, and stays so as a float.
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
        refuse_nul(&value)?;
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = sequence.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            refuse_nul(&key)?;
            if object.contains_key(&key) {
                return Err(de::Error::custom("an object has the same key twice"));
            }
            object.insert(key, map.next_value()?);
        }
        Ok(Json::Object(object))
    }
}

fn refuse_nul<E: de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') {
        return Err(de::Error::custom("a string has a NUL character"));
    }
    Ok(())
}

/// The fields of one JSON object, taken one by one. [`Fields::finish`] refuses the rest.
#[derive(Debug)]
pub struct Fields(BTreeMap<String, Json>);

impl Fields {
    /// Parses the bytes of one JSON object.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] for anything that is not exactly one JSON object in UTF-8, for a repeated
    /// key, for a NUL character, and for more than 128 levels of nesting.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        match serde_json::from_str(text) {
            Ok(Json::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(malformed("it has to be a JSON object")),
            Err(error) => Err(Error::MalformedRequest(error.to_string())),
        }
    }

    /// Takes an optional field, and reads it with one of the `read_…` functions.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] with the field's name if the value has another form.
    pub fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Json) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).map_err(|form| wrong(name, &form)),
        }
    }

    /// Takes a required field.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] with the field's name if it is missing or has another form.
    pub fn require<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Json) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.take(name, read)?
            .ok_or_else(|| Error::MalformedRequest(format!("the field \"{name}\" is missing")))
    }

    /// Ends the reading. A field that nobody took is unknown.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] with the name of the first unknown field.
    pub fn finish(self) -> Result<(), Error> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(Error::MalformedRequest(format!("the field {name:?} is unknown here")))
            }
        }
    }
}

fn malformed(sentence: &str) -> Error {
    Error::MalformedRequest(sentence.to_owned())
}

fn wrong(name: &str, form: &str) -> Error {
    Error::MalformedRequest(format!("the field \"{name}\" has to be {form}"))
}

/// Reads a boolean.
///
/// # Errors
/// The expected form, as for all readers below.
pub fn read_boolean(value: Json) -> Result<bool, String> {
    match value {
        Json::Boolean(value) => Ok(value),
        _ => Err("true or false".to_owned()),
    }
}

/// Reads a string.
///
/// # Errors
/// The expected form.
pub fn read_text(value: Json) -> Result<String, String> {
    match value {
        Json::Text(text) => Ok(text),
        _ => Err("a string".to_owned()),
    }
}

/// Reads an integer within bounds.
///
/// # Errors
/// The expected form.
pub fn read_integer(bounds: RangeInclusive<i64>) -> impl FnOnce(Json) -> Result<i64, String> {
    move |value| match value {
        Json::Integer(number) if bounds.contains(&number) => Ok(number),
        _ => Err(format!("an integer from {} to {}", bounds.start(), bounds.end())),
    }
}

/// Reads a finite number within bounds.
///
/// # Errors
/// The expected form.
pub fn read_number(bounds: RangeInclusive<f64>) -> impl FnOnce(Json) -> Result<f64, String> {
    move |value| {
        let number = match value {
            Json::Float(number) => number,
            // Exact for every integer within the bounds of the protocol.
            Json::Integer(number) => number as f64,
            _ => f64::NAN,
        };
        if bounds.contains(&number) {
            return Ok(number);
        }
        Err(format!("a number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// Reads a list of strings with at most `most` elements.
///
/// # Errors
/// The expected form.
pub fn read_texts(most: usize) -> impl FnOnce(Json) -> Result<Vec<String>, String> {
    move |value| {
        let form = || format!("a list of at most {most} strings");
        match value {
            Json::List(items) if items.len() <= most => {
                items.into_iter().map(|item| read_text(item).map_err(|_| form())).collect()
            }
            _ => Err(form()),
        }
    }
}

/// Reads an object whose values are all strings.
///
/// # Errors
/// The expected form, with the key whose value is not a string.
pub fn read_text_by_name(value: Json) -> Result<BTreeMap<String, String>, String> {
    let Json::Object(object) = value else {
        return Err("an object of strings".to_owned());
    };
    object
        .into_iter()
        .map(|(name, value)| match value {
            Json::Text(text) => Ok((name, text)),
            _ => Err(format!("an object of strings, but {name:?} is none")),
        })
        .collect()
}

/// Reads an object as a set of fields.
///
/// # Errors
/// The expected form.
pub fn read_fields(value: Json) -> Result<Fields, String> {
    match value {
        Json::Object(fields) => Ok(Fields(fields)),
        _ => Err("an object".to_owned()),
    }
}
