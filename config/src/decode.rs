//! A tree into a type, collecting everything that is wrong on the way.
//!
//! A serde deserializer that does not stop: where a value has the wrong type it notes the fault, with place and
//! path, and goes on with a default; a key that the type does not have is noted, with the key that was probably
//! meant. So one run over a document tells the operator everything.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use crate::path::{Step, join};
use crate::suggest::did_you_mean;
use crate::tree::{Fault, Mark, NOT_ONE_OF, Node, Plain, Value, resolve};

/// What a bare number or boolean must be where text is wanted.
pub(crate) const IN_QUOTES: &str = "text (put it in quotes)";

/// How strict to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A key that the type does not have is a fault.
    pub(crate) unknown_keys: bool,
    /// A bare number or boolean is not text.
    pub(crate) strict_text: bool,
}

impl Rules {
    /// Custom resources: what the API server would refuse is wrong.
    pub(crate) const RESOURCE: Self = Self {
        unknown_keys: true,
        strict_text: true,
    };

    /// The legacy format, whose decoder took any scalar for text.
    pub(crate) const LEGACY: Self = Self {
        unknown_keys: true,
        strict_text: false,
    };

    /// Kinds of Kubernetes itself, of which only a part is read.
    pub(crate) const FOREIGN: Self = Self {
        unknown_keys: false,
        strict_text: false,
    };
}

/// What `node` says, as a `T`; whatever is wrong is added to `faults`, with `base` before its path.
///
/// With faults added the `T` has defaults in their places; it is `None` when not even that could be made.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    node: &'a Node,
    rules: Rules,
    base: &[Step<'a>],
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let state = State {
        rules,
        path: RefCell::new(base.to_vec()),
        faults: RefCell::new(Vec::new()),
    };
    let result = T::deserialize(Reader {
        node,
        state: &state,
        secret: false,
    });
    let value = match result {
        Ok(value) => Some(value),
        Err(error) => {
            let (mark, path) = error
                .place
                .unwrap_or_else(|| (node.mark, join(&state.path.borrow())));
            state
                .faults
                .borrow_mut()
                .push(Fault::new(mark, path, error.message));
            None
        }
    };
    faults.append(&mut state.faults.into_inner());
    value
}

struct State<'a> {
    rules: Rules,
    path: RefCell<Vec<Step<'a>>>,
    faults: RefCell<Vec<Fault>>,
}

impl State<'_> {
    fn fault(&self, mark: Mark, message: String) {
        let path = join(&self.path.borrow());
        self.faults
            .borrow_mut()
            .push(Fault::new(mark, path, message));
    }
}

/// A value that could not be made at all.
#[derive(Debug)]
struct Failure {
    message: String,
    place: Option<(Mark, String)>,
}

impl Failure {
    /// Says where it was, unless something deeper has said so already.
    fn at(mut self, mark: Mark, state: &State<'_>) -> Self {
        self.place
            .get_or_insert_with(|| (mark, join(&state.path.borrow())));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            place: None,
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a, 's> {
    node: &'a Node,
    state: &'s State<'a>,
    /// Whether the value must not be shown.
    secret: bool,
}

impl<'a, 's> Reader<'a, 's> {
    /// Notes that the value is not `wanted`.
    fn mismatch(&self, wanted: &str) {
        self.mismatch_with(wanted, "");
    }

    /// The same, with what to do about it.
    fn mismatch_with(&self, wanted: &str, hint: &str) {
        let found = self.describe();
        let message = format!("must be {wanted}, not {found}{hint}");
        self.state.fault(self.node.mark, message);
    }

    /// What to do about text that would be right if it were not text.
    fn without_quotes(&self, is_right: impl Fn(Plain) -> bool) -> &'static str {
        match &self.node.value {
            Value::Scalar { text, .. } if is_right(resolve(text)) => "; leave out the quotes",
            _ => "",
        }
    }

    fn describe(&self) -> String {
        let text = |text: &str| text.chars().take(60).collect::<String>();
        match (&self.node.value, self.node.plain()) {
            (Value::Sequence(_), _) => "a list".to_owned(),
            (Value::Mapping(_), _) => "a map".to_owned(),
            (_, Some(Plain::Null)) => "nothing".to_owned(),
            (Value::Scalar { .. }, _) if self.secret => "a value of another type".to_owned(),
            (Value::Scalar { text: bare, .. }, Some(Plain::Bool(_))) => {
                format!("the boolean {bare}")
            }
            (Value::Scalar { text: bare, .. }, Some(Plain::Integer(_) | Plain::Float(_))) => {
                format!("the number {}", text(bare))
            }
            (Value::Scalar { text: quoted, .. }, _) => format!("the text \"{}\"", text(quoted)),
        }
    }

    /// The text of the scalar, noted as wrong where it is none.
    fn text(&self) -> &'a str {
        let Value::Scalar { text, .. } = &self.node.value else {
            self.mismatch("text");
            return "";
        };
        match self.node.plain() {
            None | Some(Plain::Text) => text,
            Some(Plain::Null) => "",
            Some(_) if self.state.rules.strict_text => {
                self.mismatch(IN_QUOTES);
                text
            }
            Some(_) => text,
        }
    }

    fn integer(&self) -> i64 {
        let value = match self.node.plain() {
            Some(Plain::Integer(value)) => i64::try_from(value).ok(),
            Some(Plain::Float(value)) if value.fract() == 0.0 && value.abs() < 9e15 => {
                // Exact: a whole number below 2^53.
                #[allow(clippy::cast_possible_truncation)]
                Some(value as i64)
            }
            _ => None,
        };
        value.unwrap_or_else(|| {
            let hint = self.without_quotes(|plain| matches!(plain, Plain::Integer(_)));
            self.mismatch_with("a whole number", hint);
            0
        })
    }

    fn sequence(&self) -> &'a [Node] {
        match &self.node.value {
            Value::Sequence(items) => items,
            _ if self.node.is_null() => &[],
            _ => {
                let hint = match self.node.value {
                    Value::Mapping(_) => "; put a dash before its first key",
                    _ => "; put it in brackets, or behind a dash",
                };
                self.mismatch_with("a list", hint);
                &[]
            }
        }
    }

    fn mapping(&self) -> &'a [(Node, Node)] {
        match &self.node.value {
            Value::Mapping(entries) => entries,
            _ if self.node.is_null() => &[],
            _ => {
                self.mismatch("a map");
                &[]
            }
        }
    }

    fn choose(&self, variants: &'static [&'static str]) -> &'static str {
        let text = self.text();
        if let Some(found) = variants.iter().find(|variant| **variant == text) {
            return found;
        }
        let hint = match did_you_mean(text, variants.iter().copied()) {
            Some(name) => format!("; did you mean \"{name}\"?"),
            None => String::new(),
        };
        let message = format!("\"{text}\" {NOT_ONE_OF} {}{hint}", variants.join(", "));
        self.state.fault(self.node.mark, message);
        variants.first().copied().unwrap_or_default()
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.visit_i64(self.integer())
        })*
    };
}

impl<'a> Deserializer<'a> for Reader<'a, '_> {
    type Error = Failure;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match (&self.node.value, self.node.plain()) {
            (Value::Sequence(_), _) => self.deserialize_seq(visitor),
            (Value::Mapping(_), _) => self.deserialize_map(visitor),
            (_, Some(Plain::Null)) => visitor.visit_unit(),
            (_, Some(Plain::Bool(value))) => visitor.visit_bool(value),
            (_, Some(Plain::Integer(_))) => visitor.visit_i64(self.integer()),
            (_, Some(Plain::Float(value))) => visitor.visit_f64(value),
            (Value::Scalar { text, .. }, _) => visitor.visit_borrowed_str(text),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Some(Plain::Bool(value)) = self.node.plain() else {
            let hint = self.without_quotes(|plain| matches!(plain, Plain::Bool(_)));
            self.mismatch_with("true or false", hint);
            return visitor.visit_bool(false);
        };
        visitor.visit_bool(value)
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.plain() {
            Some(Plain::Float(value)) => visitor.visit_f64(value),
            _ => visitor.visit_i64(self.integer()),
        }
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(Items {
            items: self.sequence(),
            next: 0,
            parent: self,
        })
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Entries {
            entries: self.mapping(),
            fields: None,
            value: None,
            parent: self,
        })
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_map(Entries {
            entries: self.mapping(),
            fields: Some(fields),
            value: None,
            parent: self,
        })
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(self.choose(variants).into_deserializer())
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.node.key().unwrap_or_default())
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

struct Items<'a, 's> {
    items: &'a [Node],
    next: usize,
    parent: Reader<'a, 's>,
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.items.get(self.next) else {
            return Ok(None);
        };
        let Reader { state, secret, .. } = self.parent;
        state.path.borrow_mut().push(Step::Index(self.next));
        self.next += 1;
        if node.is_null() {
            state.fault(node.mark, "must be a value, not nothing".to_owned());
        }
        let result = seed.deserialize(Reader {
            node,
            state,
            secret,
        });
        let result = result.map_err(|error| error.at(node.mark, state));
        state.path.borrow_mut().pop();
        result.map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len().saturating_sub(self.next))
    }
}

struct Entries<'a, 's> {
    entries: &'a [(Node, Node)],
    /// The keys that there may be; `None` for any.
    fields: Option<&'static [&'static str]>,
    value: Option<(&'a str, &'a Node)>,
    parent: Reader<'a, 's>,
}

impl Entries<'_, '_> {
    fn unknown(&self, key: &Node, fields: &[&str]) {
        let state = self.parent.state;
        if !state.rules.unknown_keys {
            return;
        }
        let name = key.key().unwrap_or_default();
        let hint = match did_you_mean(name, fields.iter().copied()) {
            Some(meant) => format!("; did you mean \"{meant}\"?"),
            None => format!("; there are {}", fields.join(", ")),
        };
        state
            .path
            .borrow_mut()
            .push(Step::Key(name.to_owned().into()));
        state.fault(key.mark, format!("unknown field \"{name}\"{hint}"));
        state.path.borrow_mut().pop();
    }
}

impl<'a> MapAccess<'a> for Entries<'a, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        while let Some(((key, value), rest)) = self.entries.split_first() {
            self.entries = rest;
            let name = key.key().unwrap_or_default();
            match self.fields {
                Some(fields) if !fields.contains(&name) => self.unknown(key, fields),
                // A field that holds nothing is as good as absent.
                Some(_) if value.is_null() => {}
                _ => {
                    self.value = Some((name, value));
                    return seed
                        .deserialize(BorrowedStrDeserializer::new(name))
                        .map(Some);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some((name, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let Reader { state, secret, .. } = self.parent;
        state.path.borrow_mut().push(Step::Key(name.into()));
        let result = seed.deserialize(Reader {
            node,
            state,
            secret: secret || is_secret(name),
        });
        let result = result.map_err(|error| error.at(node.mark, state));
        state.path.borrow_mut().pop();
        result
    }
}

/// Whether the value of this key must never be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    key.eq_ignore_ascii_case("password")
}
