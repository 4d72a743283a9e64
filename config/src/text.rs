//! YAML (and so JSON) text to a tree in which everything knows its line and column.
//!
//! The only file that knows the YAML parser. It reads events, not values: a value's type depends on the field it
//! is for (`no` is a boolean or a word), so scalars stay text until [`decode`](crate::decode) asks.

use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::path::{Step, join};
use crate::tree::{Fault, Mark, Node, Style, Value};

/// One YAML document: its tree, and what is wrong with it as text.
pub(crate) struct Document {
    /// The tree; of a key that is there twice, the first.
    pub(crate) root: Node,
    /// Keys that are there twice and the like, by path.
    pub(crate) faults: Vec<Fault>,
}

/// The documents of a source. A document that is no YAML is an `Err`, and those after it still count.
pub(crate) fn documents(text: &str) -> Vec<Result<Document, Fault>> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the file has {} bytes; at most {MAX_BYTES} are read",
            text.len()
        );
        return vec![Err(Fault::new(Mark::START, String::new(), message))];
    }
    let mut reader = Reader::new(text);
    let mut documents = Vec::new();
    while let Some(document) = reader.next_document() {
        documents.push(document);
    }
    documents
}

/// `value` as YAML.
pub(crate) fn yaml<T: serde::Serialize>(value: &T) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(value)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    faults: Vec<Fault>,
    path: Vec<Step<'a>>,
    nodes: usize,
    over: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut options = Options::default();
        options.set_emit_comments(false);
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            faults: Vec::new(),
            path: Vec::new(),
            nodes: 0,
            over: false,
        }
    }

    fn next_document(&mut self) -> Option<Result<Document, Fault>> {
        if self.over {
            return None;
        }
        self.anchors.clear();
        self.faults.clear();
        self.path.clear();
        let result = self.document();
        if result.is_err() {
            self.over = !matches!(self.parser.proceed_next_document(), Ok(true));
        }
        result.transpose()
    }

    fn document(&mut self) -> Result<Option<Document>, Fault> {
        loop {
            let (event, span) = self.event()?;
            match event {
                Event::StreamEnd => {
                    self.over = true;
                    return Ok(None);
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => {
                    let root = self.node(event, span)?;
                    let faults = std::mem::take(&mut self.faults);
                    return Ok(Some(Document { root, faults }));
                }
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_fault(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Fault> {
        let mark = mark(&span);
        self.count(1, mark)?;
        if self.path.len() > MAX_DEPTH {
            return Err(Fault::new(mark, String::new(), too_deep()));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let style = match style {
                    ScalarStyle::Plain if !is_text => Style::Plain,
                    ScalarStyle::Literal => Style::Literal,
                    _ => Style::Quoted,
                };
                let text = text.into();
                (Value::Scalar { text, style }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Value::Sequence(self.sequence()?), anchor),
            Event::MappingStart(_, anchor, _) => (Value::Mapping(self.mapping()?), anchor),
            Event::Alias(anchor) => return self.alias(anchor, mark),
            _ => return Err(Fault::new(mark, String::new(), "not a value".to_owned())),
        };
        let node = Node { mark, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            let message = "an alias inside the value that it names".to_owned();
            return Err(Fault::new(mark, String::new(), message));
        };
        let node = node.clone();
        self.count(node.size(), mark)?;
        Ok(node)
    }

    fn sequence(&mut self) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => {
                    self.path.push(Step::Index(items.len()));
                    items.push(self.node(event, span)?);
                    self.path.pop();
                }
            }
        }
    }

    fn mapping(&mut self) -> Result<Vec<(Node, Node)>, Fault> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut merges = Vec::new();
        loop {
            let key = match self.event()? {
                (Event::MappingEnd, _) => break,
                (event, span) => self.node(event, span)?,
            };
            let name = key.key().unwrap_or_default().to_owned();
            self.path.push(Step::Key(name.clone().into()));
            let (event, span) = self.event()?;
            let value = self.node(event, span)?;
            if key.key().is_none() {
                let message = "a key must be text, not a list or a map".to_owned();
                self.faults
                    .push(Fault::new(key.mark, join(&self.path), message));
            } else if name == "<<" && key.is_plain() {
                merges.push(value);
            } else {
                entries.push((key, value));
            }
            self.path.pop();
        }
        self.drop_duplicates(&mut entries);
        merges
            .into_iter()
            .for_each(|value| merge(&mut entries, value));
        Ok(entries)
    }

    /// Reports keys that are there twice; the first one stays.
    fn drop_duplicates(&mut self, entries: &mut Vec<(Node, Node)>) {
        let mut duplicates = Vec::new();
        if entries.len() <= FEW {
            for (index, (key, _)) in entries.iter().enumerate() {
                let earlier = entries.iter().take(index);
                if earlier
                    .map(|(key, _)| key.key())
                    .any(|name| name == key.key())
                {
                    duplicates.push(index);
                }
            }
        } else {
            let mut seen = HashSet::new();
            duplicates.extend(
                (0..)
                    .zip(entries.iter())
                    .filter_map(|(index, (key, _))| (!seen.insert(key.key())).then_some(index)),
            );
        }
        for index in duplicates.into_iter().rev() {
            let (key, _) = entries.remove(index);
            let name = key.key().unwrap_or_default();
            let first = entries.iter().find(|(other, _)| other.key() == Some(name));
            let line = first.map_or(0, |(first, _)| first.mark.line);
            let message = format!("\"{name}\" is there twice; the first is on line {line}");
            self.path.push(Step::Key(name.to_owned().into()));
            self.faults
                .push(Fault::new(key.mark, join(&self.path), message));
            self.path.pop();
        }
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values, aliases counted, which is the limit");
        Err(Fault::new(mark, String::new(), message))
    }
}

/// The place of a node; one of several lines is marked by its first character.
fn mark(span: &Span) -> Mark {
    let (start, end) = (span.start, span.end);
    let width = match end.line() == start.line() {
        true => end.col().saturating_sub(start.col()),
        false => 1,
    };
    Mark {
        line: number(start.line()),
        column: number(start.col()).saturating_add(1),
        width: number(width).max(1),
    }
}

/// Adds what `value` (a map or a list of maps, YAML's `<<`) has and `entries` has not.
fn merge(entries: &mut Vec<(Node, Node)>, value: Node) {
    match value.value {
        Value::Mapping(more) => {
            for (key, value) in more {
                if !entries.iter().any(|(other, _)| other.key() == key.key()) {
                    entries.push((key, value));
                }
            }
        }
        Value::Sequence(items) => items.into_iter().for_each(|item| merge(entries, item)),
        Value::Scalar { .. } => {}
    }
}

fn scan_fault(error: &ScanError) -> Fault {
    let marker = error.marker();
    let mark = Mark {
        line: number(marker.line()).max(1),
        column: number(marker.col()).saturating_add(1),
        width: 1,
    };
    let message = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        _ => format!("not YAML: {}", error.info()),
    };
    Fault::new(mark, String::new(), message)
}

fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels, which is the limit")
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The largest source that is read: 64 MiB. A ConfigMap has at most 1 MiB, a directory of files has many.
const MAX_BYTES: usize = 64 << 20;

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// How many values a source may have once its aliases are written out.
const MAX_NODES: usize = 8_000_000;

/// Up to so many keys, comparing each with each is quicker than a hash set.
const FEW: usize = 16;
