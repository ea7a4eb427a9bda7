//! Where the rules library departs from the Sigma specification, rules are rewritten into what it
//! evaluates rightly. Each function names the departure; tests of this module and of the rules show
//! it. Seen in `rsigma` 0.23.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rsigma_parser::{
    ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, Detection,
    DetectionItem, Modifier, SigmaRule, SigmaString, SigmaValue,
};

/// Ticks of the clock by which correlations are evaluated, in a second.
pub(super) const TICKS: u64 = 1_000_000;

/// Mends a correlation rule.
///
/// - `temporal` without a condition means that all its rules match; the library is content with
///   one.
/// - The library's times are whole seconds, so that events of one second have no order. It does not
///   look at the unit: it is given microseconds, and spans to match.
pub(super) fn correlation(rule: &mut CorrelationRule) {
    if rule.correlation_type == CorrelationType::Temporal
        && let CorrelationCondition::Threshold { predicates, .. } = &mut rule.condition
        && let [(ConditionOperator::Gte, count @ 1)] = predicates.as_mut_slice()
    {
        let mut names = rule.rules.clone();
        names.sort();
        names.dedup();
        *count = names.len() as u64;
    }

    rule.timespan.seconds = rule.timespan.seconds.saturating_mul(TICKS);
    if let Some(gap) = &mut rule.gap {
        gap.seconds = gap.seconds.saturating_mul(TICKS);
    }
}

/// Mends a detection rule: `base64offset` is replaced by the texts that it stands for. The library
/// keeps a last character that depends on what follows, and so finds a value in the middle of a
/// text at one of three offsets only.
pub(super) fn detection(rule: &mut SigmaRule) {
    for part in rule.detection.named.values_mut() {
        expand_offsets(part);
    }
}

fn expand_offsets(part: &mut Detection) {
    match part {
        Detection::AllOf(items) => {
            *items = std::mem::take(items)
                .into_iter()
                .flat_map(expand_item)
                .collect();
        }
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter_mut().for_each(expand_offsets);
        }
        Detection::ArrayMatch { body, .. } => expand_offsets(body),
        Detection::Conditional { named, .. } => named.values_mut().for_each(expand_offsets),
        Detection::Keywords(_) => {}
    }
}

/// Returns the items that stand for one: one, or with `all` one for each value.
fn expand_item(item: DetectionItem) -> Vec<DetectionItem> {
    if !item.field.has_modifier(Modifier::Base64Offset) {
        return vec![item];
    }
    let Some(patterns) = item
        .values
        .iter()
        .map(|value| offset_patterns(value, &item.field.modifiers))
        .collect::<Option<Vec<_>>>()
    else {
        return vec![item];
    };

    let all = item.field.has_modifier(Modifier::All);
    let mut field = item.field;
    field.modifiers.retain(|modifier| {
        !matches!(
            modifier,
            Modifier::Base64Offset
                | Modifier::All
                | Modifier::Wide
                | Modifier::Utf16
                | Modifier::Utf16be
        )
    });
    if !field.has_modifier(Modifier::Contains) {
        field.modifiers.push(Modifier::Contains);
    }

    let as_item = |values: Vec<String>| DetectionItem {
        field: field.clone(),
        values: values
            .iter()
            .map(|text| SigmaValue::String(SigmaString::from_raw(text)))
            .collect(),
    };
    if all {
        patterns.into_iter().map(as_item).collect()
    } else {
        vec![as_item(patterns.concat())]
    }
}

/// What a value looks like within a Base64 text, at each of three offsets: the characters that
/// depend on the value alone. `None` for what is no plain text.
fn offset_patterns(value: &SigmaValue, modifiers: &[Modifier]) -> Option<Vec<String>> {
    let text = match value {
        SigmaValue::String(text) => text.as_plain()?,
        SigmaValue::Integer(number) => number.to_string(),
        _ => return None,
    };
    let bytes: Vec<u8> = if modifiers.contains(&Modifier::Utf16be) {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    } else if modifiers.contains(&Modifier::Wide) || modifiers.contains(&Modifier::Utf16) {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else {
        text.into_bytes()
    };

    let at_offset = |offset: usize| {
        let padded = [&vec![0; offset][..], &bytes].concat();
        let encoded = STANDARD_NO_PAD.encode(&padded);
        // A character holds six bits: those before the first whole one of the value, and those
        // after its last, are the neighbors' too.
        let (from, to) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
        encoded.get(from..to).unwrap_or_default().to_owned()
    };

    Some((0..3).map(at_offset).filter(|p| !p.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_found_at_every_offset(
            before in prop::collection::vec(any::<u8>(), 0..7),
            value in "[ -~]{2,20}",
            after in prop::collection::vec(any::<u8>(), 0..7),
        ) {
            let text = STANDARD.encode([&before, value.as_bytes(), &after].concat());
            let value = SigmaValue::String(SigmaString::from_raw(&value));
            let patterns = offset_patterns(&value, &[]).unwrap();
            let expected = &patterns[before.len() % 3];
            prop_assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
