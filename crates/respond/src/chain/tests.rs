use model::{CustodyEntry, EvidenceItem, EvidenceWitness, IncidentId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A chain of items, and a custody record after each.
fn chain(texts: &[String]) -> Vec<EvidenceRecord> {
    let mut records = Vec::new();
    let mut previous = GENESIS.to_owned();
    let mut add = |what| {
        let sequence = records.len() as i64 + 1;
        let record = sealed(EvidenceRecord {
            tenant: id(1),
            incident: IncidentId(id(2)),
            sequence,
            previous: previous.clone(),
            hash: String::new(),
            id: id(100 + sequence as u128),
            by: "dana".to_owned(),
            login: Some("blueteam".to_owned()),
            at: Timestamp::from_micros(1_700_000_000_000_000 + sequence),
            what,
        });
        previous.clone_from(&record.hash);
        records.push(record.clone());
        record.id
    };
    for text in texts {
        let item = add(EvidenceEntry::Item(Box::new(EvidenceItem {
            kind: "note".to_owned(),
            description: text.clone(),
            content: Some(text.clone()),
            size: Some(text.len() as i64),
            ..EvidenceItem::default()
        })));
        add(EvidenceEntry::Custody(CustodyEntry {
            evidence: Some(item),
            event: "collected".to_owned(),
            party: None,
            remark: None,
        }));
    }
    records
}

fn witnesses(records: &[EvidenceRecord]) -> Vec<EvidenceWitness> {
    records
        .iter()
        .map(|record| EvidenceWitness {
            incident: record.incident,
            sequence: record.sequence,
            id: record.id,
            hash: record.hash.clone(),
            changed: Vec::new(),
        })
        .collect()
}

/// Ways to change one field of any record.
const CHANGES: &[fn(&mut EvidenceRecord)] = &[
    |r| r.tenant = id(77),
    |r| r.incident = IncidentId(id(78)),
    |r| r.previous.replace_range(0..1, "f"),
    |r| r.hash.push('0'),
    |r| r.id = id(79),
    |r| r.by.push(' '),
    |r| r.login = None,
    |r| r.at = Timestamp::from_micros(r.at.as_micros() - 1),
];

/// The same of an item.
const ITEM_CHANGES: &[fn(&mut EvidenceItem)] = &[
    |i| i.kind.push('x'),
    |i| i.description.push('x'),
    |i| i.content = None,
    |i| i.file_path = Some(String::new()),
    |i| i.sha256 = Some(String::new()),
    |i| i.size = None,
    |i| i.media_type = Some(String::new()),
    |i| i.file_name = Some(String::new()),
    |i| i.original_name = Some(String::new()),
    |i| i.query = Some(String::new()),
    |i| i.sealed_to = Some(String::new()),
    |i| i.sample_sha256 = Some(String::new()),
    |i| i.sample_size = Some(0),
];

/// The same of what happened to one.
const CUSTODY_CHANGES: &[fn(&mut CustodyEntry)] = &[
    |c| c.evidence = Some(Uuid::from_u128(0)),
    |c| c.event.push('x'),
    |c| c.party = Some(String::new()),
    |c| c.remark = Some(String::new()),
];

fn change(record: &mut EvidenceRecord, which: usize) {
    let Some(rest) = which.checked_sub(CHANGES.len()) else {
        return CHANGES[which](record);
    };
    match &mut record.what {
        EvidenceEntry::Item(item) => ITEM_CHANGES[rest % ITEM_CHANGES.len()](item),
        EvidenceEntry::Custody(entry) => CUSTODY_CHANGES[rest % CUSTODY_CHANGES.len()](entry),
    }
}

fn faults(records: &[EvidenceRecord], known: Option<&[EvidenceWitness]>) -> Vec<String> {
    let verdict = verify(records, known);
    verdict.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_chain_holds() {
    let verdict = verify(&[], Some(&[]));
    assert!(verdict.faults.is_empty());
    assert_eq!(verdict.head, GENESIS);
}

#[test]
fn the_form_of_a_record_stays() {
    let records = chain(&["a,1:b".to_owned()]);
    let bytes = canonical(&fields(&records[0]));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("4:form,19:blueteam-evidence-1,6:record,4:item,9:tenant_id,36:"));
    assert!(text.contains("11:recorded_at,27:2023-11-14T22:13:20.000001Z,"));
    assert!(text.contains("7:content,5:a,1:b,9:file_path,-11:hash_sha256,-10:size_bytes,1:5,"));
    // Whoever changes this breaks every chain that is kept.
    assert_eq!(
        records[1].hash,
        "e3adc00349980ff6f4cb063fd376756a366595877e5e65642a5af8d0712ec2dc"
    );
}

#[test]
fn a_line_is_the_fields_and_the_hash() {
    let records = chain(&["say \"x\"\n".to_owned()]);
    let parsed: serde_json::Value = serde_json::from_str(&line(&records[0])).unwrap();
    assert_eq!(parsed["content"], "say \"x\"\n");
    assert_eq!(parsed["file_path"], serde_json::Value::Null);
    assert_eq!(parsed["record_hash"], records[0].hash.as_str());
}

#[test]
fn what_was_replaced_together_with_its_hash_is_noticed() {
    let mut records = chain(&["a".to_owned(), "b".to_owned()]);
    let known = witnesses(&records);
    change(&mut records[2], CHANGES.len() + 1);
    records[2].hash = hash(&records[2]);

    assert_eq!(
        faults(&records, None),
        [format!(
            "record 4 ({}) does not follow the one before it: one of the two was replaced together \
             with its hash",
            id(104)
        )]
    );
    assert_eq!(
        faults(&records, Some(&known)),
        [format!("record 3 ({}) was changed", id(103))]
    );
}

#[test]
fn a_chain_that_was_rewritten_is_noticed_by_the_audit_log() {
    let records = chain(&["a".to_owned(), "b".to_owned()]);
    let rewritten = chain(&["a".to_owned(), "c".to_owned()]);
    assert_eq!(faults(&rewritten, None), [""; 0]);
    assert_eq!(
        faults(&rewritten, Some(&witnesses(&records))),
        [
            format!("record 3 ({}) was changed", id(103)),
            format!("record 4 ({}) was changed", id(104)),
        ]
    );
}

#[test]
fn two_records_at_one_place_are_noticed() {
    let mut records = chain(&["a".to_owned()]);
    let mut second = records[1].clone();
    second.id = id(999);
    records.push(sealed(second));
    assert_eq!(
        faults(&records, None),
        [format!(
            "record 2 ({}) was added outside of blueteam",
            id(999)
        )]
    );
}

proptest! {
    /// Whatever is in the records, a chain that nobody touched holds, in whatever order it is read.
    #[test]
    fn a_whole_chain_holds(texts in prop::collection::vec(any::<String>(), 0..8), turn in 0usize..16) {
        let mut records = chain(&texts);
        let known = witnesses(&records);
        if !records.is_empty() {
            let turn = turn % records.len();
            records.rotate_left(turn);
        }
        prop_assert_eq!(verify(&records, Some(&known)).faults, []);
        prop_assert_eq!(verify(&records, None).faults, []);
    }

    /// Two records that differ anywhere have different bytes under the hash.
    #[test]
    fn records_are_told_apart(a in any::<[Option<String>; 3]>(), b in any::<[Option<String>; 3]>()) {
        let fields = |values: &[Option<String>; 3]| -> Vec<Field> {
            ["a", "b", "c"]
                .into_iter()
                .zip(values.clone())
                .map(|(name, value)| Field { name, value })
                .collect()
        };
        prop_assert_eq!(a == b, canonical(&fields(&a)) == canonical(&fields(&b)));
    }

    /// A change of any field of any record names that record first, with and without the audit log.
    #[test]
    fn a_change_is_named(
        texts in prop::collection::vec("[a-z]{0,5}", 1..6),
        which in any::<prop::sample::Index>(),
        how in 0..CHANGES.len() + ITEM_CHANGES.len(),
    ) {
        let mut records = chain(&texts);
        let known = witnesses(&records);
        let which = which.index(records.len());
        let was = records[which].clone();
        change(&mut records[which], how);
        prop_assume!(was != records[which]);

        let found = verify(&records, None).faults;
        prop_assert_eq!(found.first().map(Fault::sequence), Some(was.sequence), "{:?}", found);
        let found = verify(&records, Some(&known)).faults;
        prop_assert_eq!(found.first().map(Fault::sequence), Some(was.sequence), "{:?}", found);
    }

    /// What is taken away is named as missing; where it was the end, by the audit log.
    #[test]
    fn what_is_gone_is_named(
        texts in prop::collection::vec("[a-z]{0,5}", 1..6),
        from in any::<prop::sample::Index>(),
        count in 1usize..4,
    ) {
        let mut records = chain(&texts);
        let known = witnesses(&records);
        let from = from.index(records.len());
        let to = (from + count).min(records.len());
        let is_end = to == records.len();
        records.drain(from..to);

        let found = verify(&records, Some(&known)).faults;
        let named = found.iter().all(|fault| matches!(fault, Fault::Missing { id: Some(_), .. }));
        prop_assert!(named, "{:?}", found);
        prop_assert_eq!(found.len(), to - from);
        let alone = verify(&records, None).faults;
        if is_end {
            prop_assert_eq!(alone, []);
        } else {
            let gap = Fault::Missing { sequence: from as i64 + 1, last: to as i64, id: None };
            prop_assert_eq!(alone, [gap]);
        }
    }

    /// Records that change their places are named as out of order.
    #[test]
    fn what_is_out_of_order_is_named(
        texts in prop::collection::vec("[a-z]{0,5}", 2..6),
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
    ) {
        let mut records = chain(&texts);
        let known = witnesses(&records);
        let (a, b) = (a.index(records.len()), b.index(records.len()));
        prop_assume!(a != b);
        let place = records[a].sequence;
        records[a].sequence = records[b].sequence;
        records[b].sequence = place;
        for found in [verify(&records, None).faults, verify(&records, Some(&known)).faults] {
            prop_assert_eq!(found.len(), 2, "{:?}", found);
            let out = found.iter().all(|fault| matches!(fault, Fault::OutOfOrder { .. }));
            prop_assert!(out, "{:?}", found);
        }
    }

    /// What someone puts into the table is named as added, however well it is hashed.
    #[test]
    fn what_was_added_outside_is_named(texts in prop::collection::vec("[a-z]{0,5}", 0..6)) {
        let mut records = chain(&texts);
        let known = witnesses(&records);
        let mut more = texts.clone();
        more.push("planted".to_owned());
        let planted = chain(&more)[records.len()].clone();
        records.push(planted.clone());
        let added = Fault::Added { sequence: planted.sequence, id: planted.id };
        prop_assert_eq!(verify(&records, Some(&known)).faults, [added]);
    }
}
