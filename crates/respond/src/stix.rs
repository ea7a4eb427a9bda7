//! What an attack can be recognized by, as STIX 2.1 (OASIS Standard, 10 June 2021), for programs
//! and partners that take it in.

use model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The namespace from which the ids of observables are made (STIX 2.1, section 2.9).
const NAMESPACE: Uuid = Uuid::from_u128(0x00ab_edb4_aa42_466c_9c01_fed2_3315_a9b7);
/// The program in whose name objects are made; the same in every bundle.
const MAKER: Uuid = Uuid::from_u128(0x3a1c_6f0e_5c5b_5f0e_9d3e_7b0f_6e10_4f21);

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndicatedKind {
    /// An address.
    Ip,
    /// An account.
    User,
    /// A name of a machine.
    Domain,
    /// A URL.
    Url,
    /// The SHA-256 of a file.
    Sha256,
}

/// Something that the attack can be recognized by.
#[derive(Clone, Copy, Debug)]
pub struct Indicated<'a> {
    /// What it is.
    pub kind: IndicatedKind,
    /// The address, name or hash.
    pub value: &'a str,
}

/// What a bundle is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The incident.
    pub id: Uuid,
    /// What it is called.
    pub name: &'a str,
    /// What happened.
    pub description: &'a str,
    /// When it was noticed.
    pub created: Timestamp,
    /// The present.
    pub now: Timestamp,
    /// What it can be recognized by.
    pub indicated: &'a [Indicated<'a>],
}

/// A STIX 2.1 bundle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bundle {
    /// `bundle`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// Its objects.
    pub objects: Vec<Value>,
}

/// Makes a bundle: the incident, what it can be recognized by, and a grouping of both. The same
/// case gives the same ids.
pub fn bundle(about: &About<'_>) -> Bundle {
    let (created, now) = (time(about.created), time(about.now));
    let maker = format!("identity--{MAKER}");
    let incident = format!("incident--{}", about.id);
    let mut objects = vec![
        json!({
            "type": "identity", "spec_version": "2.1", "id": maker,
            "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
            "name": "blueteam", "identity_class": "system",
        }),
        json!({
            "type": "incident", "spec_version": "2.1", "id": incident, "created_by_ref": maker,
            "created": created, "modified": now, "name": about.name,
            "description": about.description,
        }),
    ];
    let mut refs = vec![incident];
    for one in about.indicated {
        let object = observable(*one);
        if let Some(id) = object.get("id").and_then(Value::as_str)
            && !refs.iter().any(|known| known == id)
        {
            refs.push(id.to_owned());
            objects.push(object);
        }
    }
    objects.push(json!({
        "type": "grouping", "spec_version": "2.1",
        "id": format!("grouping--{}", Uuid::new_v5(&MAKER, about.id.as_bytes())),
        "created_by_ref": maker, "created": created, "modified": now, "name": about.name,
        "context": "suspicious-activity", "object_refs": refs,
    }));
    Bundle {
        kind: "bundle",
        id: format!(
            "bundle--{}",
            Uuid::new_v5(&MAKER, format!("{} {now}", about.id).as_bytes())
        ),
        objects,
    }
}

fn time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An observable object. Its id is made of what the standard says contributes to it, so that
/// whoever else saw the same has the same id.
fn observable(one: Indicated<'_>) -> Value {
    let (kind, key, value) = match one.kind {
        IndicatedKind::Ip if one.value.contains(':') => ("ipv6-addr", "value", json!(one.value)),
        IndicatedKind::Ip => ("ipv4-addr", "value", json!(one.value)),
        IndicatedKind::User => ("user-account", "account_login", json!(one.value)),
        IndicatedKind::Domain => ("domain-name", "value", json!(one.value)),
        IndicatedKind::Url => ("url", "value", json!(one.value)),
        IndicatedKind::Sha256 => ("file", "hashes", json!({ "SHA-256": one.value })),
    };
    // One key, so that this is its canonical form (RFC 8785).
    let contributes = json!({ key: value }).to_string();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(kind));
    object.insert("spec_version".to_owned(), json!("2.1"));
    let id = Uuid::new_v5(&NAMESPACE, contributes.as_bytes());
    object.insert("id".to_owned(), json!(format!("{kind}--{id}")));
    object.insert(key.to_owned(), value);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about<'a>(indicated: &'a [Indicated<'a>]) -> About<'a> {
        About {
            id: Uuid::from_u128(7),
            name: "Guessing",
            description: "",
            created: Timestamp::from_secs(1_790_000_000),
            now: Timestamp::from_secs(1_790_000_100),
            indicated,
        }
    }

    /// The id was made with another implementation of UUIDv5, of the same namespace and name: what
    /// others see of the same address is the same object.
    #[test]
    fn the_same_thing_has_the_same_id_everywhere() {
        let one = observable(Indicated {
            kind: IndicatedKind::Ip,
            value: "198.51.100.3",
        });
        assert_eq!(
            one["id"], "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4",
            "{one}"
        );
    }

    #[test]
    fn each_thing_is_there_once_and_everything_is_referred_to() {
        let ip = |value| Indicated {
            kind: IndicatedKind::Ip,
            value,
        };
        let given = [
            ip("203.0.113.7"),
            ip("203.0.113.7"),
            ip("2001:db8::1"),
            Indicated {
                kind: IndicatedKind::User,
                value: "\"}\u{202e}",
            },
            Indicated {
                kind: IndicatedKind::Sha256,
                value: "ab",
            },
        ];
        let made = bundle(&about(&given));
        assert_eq!(made, bundle(&about(&given)));
        let kinds: Vec<&str> = made
            .objects
            .iter()
            .filter_map(|object| object["type"].as_str())
            .collect();
        assert_eq!(
            kinds,
            [
                "identity",
                "incident",
                "ipv4-addr",
                "ipv6-addr",
                "user-account",
                "file",
                "grouping"
            ]
        );
        let grouping = &made.objects[6];
        let refs: Vec<&Value> = made.objects[1..6]
            .iter()
            .map(|object| &object["id"])
            .collect();
        let grouped: Vec<&Value> = grouping["object_refs"].as_array().unwrap().iter().collect();
        assert_eq!(grouped, refs);
    }
}
