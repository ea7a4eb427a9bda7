//! Versions of Maven artifacts, as `ComparableVersion` of Maven 3.8 compares them.

use std::cmp::Ordering;

use super::digits::compare_digits;

/// Compares two versions; every text is one.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    compare_lists(&parse(a), &parse(b))
}

#[derive(Debug)]
enum Item {
    Number(String),
    Word(String),
    /// What follows a `-`, or a change between digits and letters.
    List(Vec<Item>),
}

impl Item {
    /// Returns whether the item at the end of a list says nothing: `1.0` is `1`.
    fn is_null(&self) -> bool {
        match self {
            Self::Number(digits) => digits.bytes().all(|b| b == b'0'),
            Self::Word(word) => word.is_empty(),
            Self::List(items) => items.is_empty(),
        }
    }
}

/// Splits a version into nested lists, each the last item of the one before.
fn parse(text: &str) -> Vec<Item> {
    let text = text.trim().to_lowercase();
    let mut lists: Vec<Vec<Item>> = vec![Vec::new()];
    let mut token = String::new();
    let push = |lists: &mut Vec<Vec<Item>>, token: &mut String, before_digit: bool| {
        let item = parse_item(&std::mem::take(token), before_digit);
        if let Some(list) = lists.last_mut() {
            list.push(item);
        }
    };

    for c in text.chars() {
        let was_digit = token.ends_with(|c: char| c.is_ascii_digit());
        match c {
            '.' => push(&mut lists, &mut token, false),
            '-' => {
                push(&mut lists, &mut token, false);
                lists.push(Vec::new());
            }
            c => {
                if !token.is_empty() && was_digit != c.is_ascii_digit() {
                    push(&mut lists, &mut token, !was_digit);
                    lists.push(Vec::new());
                }
                token.push(c);
            }
        }
    }
    if !token.is_empty() {
        push(&mut lists, &mut token, false);
    }

    let mut inner: Option<Vec<Item>> = None;
    while let Some(mut list) = lists.pop() {
        list.extend(inner.take().map(Item::List));
        remove_nulls(&mut list);
        inner = Some(list);
    }

    inner.unwrap_or_default()
}

fn parse_item(token: &str, before_digit: bool) -> Item {
    if token.is_empty() {
        return Item::Number("0".to_owned());
    }
    if token.starts_with(|c: char| c.is_ascii_digit()) {
        return Item::Number(token.to_owned());
    }

    let word = match token {
        "a" if before_digit => "alpha",
        "b" if before_digit => "beta",
        "m" if before_digit => "milestone",
        "ga" | "final" | "release" => "",
        "cr" => "rc",
        other => other,
    };
    Item::Word(word.to_owned())
}

/// Removes null items from the end, also before lists.
fn remove_nulls(list: &mut Vec<Item>) {
    for i in (0..list.len()).rev() {
        match &list[i] {
            item if item.is_null() => {
                list.remove(i);
            }
            Item::List(_) => {}
            _ => break,
        }
    }
}

fn compare_lists(a: &[Item], b: &[Item]) -> Ordering {
    for i in 0..a.len().max(b.len()) {
        let order = match (a.get(i), b.get(i)) {
            (Some(a), Some(b)) => compare_items(a, b),
            (Some(a), None) => compare_to_nothing(a),
            (None, Some(b)) => compare_to_nothing(b).reverse(),
            (None, None) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }

    Ordering::Equal
}

fn compare_items(a: &Item, b: &Item) -> Ordering {
    use Item::{List, Number, Word};
    match (a, b) {
        (Number(a), Number(b)) => compare_digits(a, b),
        (Word(a), Word(b)) => rank(a).cmp(&rank(b)),
        (List(a), List(b)) => compare_lists(a, b),
        // A number is newer than a list, and that than a word: 1.1 > 1-1 > 1-sp.
        (Number(_), _) | (List(_), Word(_)) => Ordering::Greater,
        (_, Number(_)) | (Word(_), List(_)) => Ordering::Less,
    }
}

fn compare_to_nothing(item: &Item) -> Ordering {
    match item {
        Item::Number(_) if item.is_null() => Ordering::Equal,
        Item::Number(_) => Ordering::Greater,
        Item::Word(word) => rank(word).cmp(&rank("")),
        Item::List(items) => items
            .iter()
            .map(compare_to_nothing)
            .fold(Ordering::Equal, Ordering::then),
    }
}

/// Returns the place of a word; words without meaning follow in their own order.
fn rank(word: &str) -> (usize, &str) {
    const KNOWN: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
    match KNOWN.iter().position(|known| *known == word) {
        Some(place) => (place, ""),
        None => (KNOWN.len(), word),
    }
}
