//! The system under assessment, as its owner describes it in `system.toml`: boundary, people,
//! connections. The system security plan (3.12.4) is built from it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::diagram::{Diagram, KINDS};

/// A commented sample of `system.toml`.
pub const SAMPLE: &str = include_str!("../data/system.sample.toml");

/// The description of a system. Everything may be missing; the plan lists what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct System {
    /// Name of the system.
    pub name: String,
    /// Unique identifier.
    pub identifier: String,
    /// Version of the plan.
    pub version: String,
    /// Purpose of the system.
    pub purpose: String,
    /// Description of the boundary.
    pub boundary: String,
    /// Environment of operation.
    pub environment: String,
    /// How CUI enters, moves through and leaves the system.
    pub data_flow: String,
    /// Whether the organization owns and maintains all hardware and software; if not, the
    /// exceptions.
    pub ownership: String,
    /// How often the plan is updated.
    pub update_frequency: String,
    /// The marking on every page.
    pub marking: String,
    /// One of [`STATES`], or empty.
    #[serde(deserialize_with = "known_state")]
    pub state: String,
    /// The CUI designation indicator.
    pub designation: Designation,
    /// The organization that runs the system. Its key was spelled `organisation` once.
    #[serde(alias = "organisation")]
    pub organization: Organization,
    /// Fields of SPRS that nothing else states.
    pub assessment: Assessment,
    /// Named people by role.
    pub people: Vec<Person>,
    /// Number of users by role.
    pub users: Vec<Users>,
    /// CUI by the category of the CUI Registry.
    pub information: Vec<Information>,
    /// Hardware and software, or references to the inventory.
    pub components: Vec<Component>,
    /// Connections to other systems.
    pub connections: Vec<Connection>,
    /// External service providers (32 CFR 170.19(c)(2)).
    pub providers: Vec<Provider>,
    /// Assets by CMMC category.
    pub assets: Vec<Asset>,
    /// Diagrams of the network and of the flow of CUI.
    pub diagrams: Vec<Diagram>,
    /// Changes to the plan.
    pub changes: Vec<PlanChange>,
    /// What the reader should know of old names that the file uses.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The states that OSCAL knows of a system.
pub const STATES: [&str; 5] = [
    "operational",
    "under-development",
    "under-major-modification",
    "disposition",
    "other",
];

fn known_state<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let state = String::deserialize(from)?;
    if state.is_empty() || STATES.contains(&state.as_str()) {
        return Ok(state);
    }

    Err(D::Error::custom(format!(
        "state: `{state}` is not one of {}",
        STATES.join(", ")
    )))
}

/// The organization that runs the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Organization {
    pub name: String,
    pub address: String,
    pub phone: String,
    /// CAGE codes in scope.
    pub cage_codes: Vec<String>,
}

/// The CUI designation indicator on the first page of a document (DoDI 5200.48, section 3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Designation {
    /// The organization that controls the information.
    pub controlled_by: String,
    /// Its office.
    pub office: String,
    /// Categories of the CUI Registry, such as `CTI`.
    pub categories: Vec<String>,
    /// A distribution statement, or limited dissemination controls of the CUI Registry.
    #[serde(deserialize_with = "known_dissemination")]
    pub dissemination: String,
    /// Point of contact: a telephone number or an e-mail address, with a name if there is one.
    #[serde(deserialize_with = "reachable_contact")]
    pub contact: String,
}

/// The limited dissemination controls of the CUI Registry, in the order of the registry.
pub const DISSEMINATION: [&str; 9] = [
    "NOFORN",
    "FED ONLY",
    "FEDCON",
    "NOCON",
    "DL ONLY",
    "REL TO",
    "DISPLAY ONLY",
    "ATTORNEY-CLIENT",
    "ATTORNEY-WP",
];

/// Accepts `FEDCON`, `FED ONLY, NOFORN`, `REL TO USA, GBR`, `Distribution Statement D: …`.
fn known_dissemination<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let upper = text.trim().to_uppercase();
    let statement = [
        "DISTRIBUTION STATEMENT ",
        "DISTRIBUTION ",
        "DIST STATEMENT ",
        "DIST ",
    ]
    .iter()
    .find_map(|start| upper.strip_prefix(start))
    .is_some_and(|rest| {
        rest.starts_with(|c| ('A'..='F').contains(&c))
            && !rest[1..].starts_with(|c: char| c.is_alphanumeric())
    });
    let is_control = |part: &str| {
        DISSEMINATION.iter().any(|known| {
            part == *known
                || part
                    .strip_prefix(known)
                    .is_some_and(|countries| countries.starts_with(' '))
        })
    };
    // Countries follow `REL TO`, in three letters.
    let is_country = |part: &str| part.len() == 3 && part.bytes().all(|b| b.is_ascii_uppercase());
    let mut parts = upper.split([',', ';', '/']).map(str::trim);
    let controls = parts.next().is_some_and(is_control)
        && parts.all(|part| is_control(part) || is_country(part));

    if upper.is_empty() || statement || controls {
        return Ok(text);
    }

    Err(D::Error::custom(format!(
        "designation.dissemination: `{text}` is neither a distribution statement (`Distribution \
            Statement D`) nor one of {}",
        DISSEMINATION.join(", ")
    )))
}

fn reachable_contact<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let has_mail = text
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if text.trim().is_empty() || digits >= 7 || has_mail {
        return Ok(text);
    }

    Err(D::Error::custom(format!(
        "designation.contact: `{text}` has neither a telephone number nor an e-mail address"
    )))
}

/// The scopes that SPRS knows.
pub const SCOPES: [&str; 3] = ["Enterprise", "Enclave", "Contract"];
/// The levels of the DoD Assessment Methodology. A self-assessment is a basic one.
pub const LEVELS: [&str; 3] = ["Basic", "Medium", "High"];

/// Fields of SPRS about an assessment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assessment {
    /// One of [`SCOPES`].
    pub scope: String,
    /// One of [`LEVELS`].
    pub level: String,
    /// The assessor; the organization itself if empty.
    pub assessor: String,
    /// Date of the plan; that of its last change if empty.
    pub plan_date: String,
    /// The day on which everything will be met; the last due date of the plans of action if empty.
    pub completion: String,
}

/// A named person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Person {
    /// `information owner`, `system owner`, `system security officer`, `affirming official`, …
    pub role: String,
    pub name: String,
    pub title: String,
    pub address: String,
    pub phone: String,
    pub email: String,
}

/// Users of one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Users {
    pub role: String,
    pub count: u32,
    pub privileged: bool,
}

/// A kind of CUI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Information {
    pub category: String,
    pub description: String,
}

/// Hardware or software.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Component {
    pub name: String,
    /// `hardware`, `software`, `service`, `network`, …
    pub kind: String,
    pub version: String,
    pub responsible: String,
    pub description: String,
}

/// A connection to another system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Connection {
    pub system: String,
    pub owner: String,
    pub direction: String,
    pub data: String,
    pub protection: String,
}

/// An external service provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Provider {
    pub name: String,
    pub services: String,
    pub relationship: String,
    /// FedRAMP Moderate or equivalent, for a cloud provider with CUI.
    pub authorization: String,
    /// Where to find its customer responsibility matrix.
    pub responsibility_matrix: String,
}

/// The asset categories of 32 CFR 170.19(c).
pub const CATEGORIES: [&str; 5] = [
    "cui",
    "security_protection",
    "contractor_risk_managed",
    "specialized",
    "out_of_scope",
];

/// Returns the words for an asset category.
pub fn category_words(category: &str) -> String {
    match category {
        "cui" => "CUI".to_owned(),
        "security_protection" => "Security protection".to_owned(),
        "contractor_risk_managed" => "Contractor risk managed".to_owned(),
        "specialized" => "Specialized".to_owned(),
        "out_of_scope" => "Out of scope".to_owned(),
        other => other.replace('_', " "),
    }
}

/// An asset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Asset {
    pub name: String,
    /// One of [`CATEGORIES`].
    pub category: String,
    pub owner: String,
    pub description: String,
    /// How it is treated; for an asset out of scope, why it is.
    pub treatment: String,
}

/// A change to the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PlanChange {
    pub date: String,
    pub description: String,
    pub by: String,
}

impl System {
    /// Returns the date of the plan: from the assessment, otherwise of the last change.
    pub fn plan_date(&self) -> Option<String> {
        let said = Some(self.assessment.plan_date.trim()).filter(|date| !date.is_empty());
        let last_change = self
            .changes
            .iter()
            .map(|c| c.date.trim())
            .filter(|date| !date.is_empty())
            .max();
        said.or(last_change).map(str::to_owned)
    }

    /// Returns the name of the person in a role.
    pub fn person(&self, role: &str) -> Option<&Person> {
        self.people
            .iter()
            .find(|p| p.role.eq_ignore_ascii_case(role) && !p.name.trim().is_empty())
    }

    /// Whether its documents are CUI: a banner begins with the control marking.
    pub fn is_cui(&self) -> bool {
        let marking = self.marking.trim_start().to_uppercase();
        marking.starts_with("CUI") || marking.starts_with("CONTROLLED")
    }

    /// Lists what the CUI designation indicator lacks, by the key to set.
    fn missing_designation(&self) -> Vec<String> {
        let d = &self.designation;
        let given = |text: &String| !text.trim().is_empty();
        let fields = [
            (given(&d.controlled_by), "controlled_by: whose CUI it is"),
            (
                d.categories.iter().any(given),
                "categories: by the CUI Registry",
            ),
            (
                given(&d.dissemination),
                "dissemination: a distribution statement or limited dissemination control",
            ),
            (
                given(&d.contact),
                "contact: a telephone number or e-mail address",
            ),
        ];

        let missing = fields.iter().filter(|(given, _)| !given && self.is_cui());
        missing
            .map(|(_, what)| format!("designation.{what} (DoDI 5200.48)"))
            .collect()
    }

    /// Lists the kinds of diagrams that an assessor asks for and that are not named.
    fn missing_diagrams(&self) -> Vec<String> {
        KINDS
            .iter()
            .filter(|kind| {
                !self
                    .diagrams
                    .iter()
                    .any(|d| d.kind.eq_ignore_ascii_case(kind))
            })
            .map(|kind| format!("diagrams: a picture of the {kind}"))
            .collect()
    }

    /// Lists what an assessor will ask for and the description lacks, by the key to set.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut need = |given: bool, what: &str| {
            if !given {
                missing.push(what.to_owned());
            }
        };
        let said = |text: &str| !text.trim().is_empty();

        for (text, what) in [
            (&self.name, "name: the system's name"),
            (&self.identifier, "identifier: its unique identifier"),
            (&self.version, "version: the plan's version"),
            (&self.purpose, "purpose: what the system is for"),
            (&self.boundary, "boundary: where it runs (3.12.4[b])"),
            (
                &self.environment,
                "environment: where and how it is run (3.12.4[c])",
            ),
            (
                &self.data_flow,
                "data_flow: how CUI comes in, moves and leaves",
            ),
            (
                &self.update_frequency,
                "update_frequency: how often the plan is updated (3.12.4[g])",
            ),
            (&self.organization.name, "organization.name"),
            (&self.organization.address, "organization.address"),
        ] {
            need(said(text), what);
        }

        for role in [
            "information owner",
            "system owner",
            "system security officer",
            "affirming official",
        ] {
            need(
                self.person(role).is_some(),
                &format!("people: the {role} by name"),
            );
        }

        need(
            !self.organization.cage_codes.is_empty(),
            "organization.cage_codes",
        );
        need(!self.users.is_empty(), "users: how many, by role");
        need(
            !self.information.is_empty(),
            "information: CUI by the category of the CUI Registry",
        );
        need(
            !self.components.is_empty(),
            "components: hardware and software, or where the inventory is",
        );
        need(
            !self.connections.is_empty(),
            "connections: other systems (3.12.4[f]); write one that says `none` when there is none",
        );

        for p in self
            .providers
            .iter()
            .filter(|p| !said(&p.responsibility_matrix))
        {
            need(
                false,
                &format!("providers: the responsibility matrix of {}", p.name),
            );
        }

        let uncategorized = |a: &&Asset| !CATEGORIES.contains(&a.category.as_str());
        for a in self.assets.iter().filter(uncategorized) {
            need(
                false,
                &format!(
                    "assets: {} has the category `{}`; there are {}",
                    a.name,
                    a.category,
                    CATEGORIES.join(", ")
                ),
            );
        }

        need(
            !self.assets.is_empty(),
            "assets: each with its CMMC category (32 CFR 170.19(c))",
        );

        missing.extend(self.missing_designation());
        missing.extend(self.missing_diagrams());
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<System, String> {
        let text = format!("marking = \"CUI\"\n[designation]\n{key} = \"{value}\"\n");
        toml::from_str(&text).map_err(|e| e.to_string())
    }

    #[test]
    fn the_designation_indicator_is_checked() {
        for good in [
            "",
            "FEDCON",
            "FED ONLY, NOFORN",
            "rel to USA, GBR",
            "Distribution Statement D: DoD and its contractors",
            "DIST A",
        ] {
            assert!(read("dissemination", good).is_ok(), "{good}");
        }
        for bad in [
            "everybody",
            "Distribution Statement X",
            "FEDCON, nobody",
            "USA",
        ] {
            let error = read("dissemination", bad).unwrap_err();
            assert!(
                error.contains("designation.dissemination"),
                "{bad}: {error}"
            );
        }

        for good in ["", "+1 555 0100", "Alice, alice@example.com"] {
            assert!(read("contact", good).is_ok(), "{good}");
        }
        for bad in ["Alice", "alice@", "555"] {
            let error = read("contact", bad).unwrap_err();
            assert!(error.contains("neither a telephone number"), "{error}");
        }
    }

    #[test]
    fn a_missing_designation_is_a_gap_of_cui_documents_alone() {
        let lacks = |marking: &str| {
            let system = System {
                marking: marking.to_owned(),
                ..System::default()
            };
            let missing = system.missing();
            missing
                .iter()
                .filter(|m| m.starts_with("designation."))
                .count()
        };
        assert_eq!(
            ["CUI", "CUI//SP-CTI", "", "not CUI"].map(lacks),
            [4, 4, 0, 0]
        );
    }
}
