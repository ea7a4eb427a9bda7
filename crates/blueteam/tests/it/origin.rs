//! The audit log says of every change who made it, from where, and by which program.

use serde_json::Value;
use sqlx::PgConnection;

use crate::cli::account;
use crate::compliance::Office;

/// Who the commands act for.
const DANA: &str = "Dana";

/// A row of the audit log.
#[derive(Debug, sqlx::FromRow)]
struct Change {
    actor: String,
    table: String,
    operation: String,
    complete: bool,
    account: Option<String>,
    on_behalf_of: Option<String>,
}

/// The rows after the first `seen`, the oldest first.
async fn changes_since(conn: &mut PgConnection, seen: usize) -> Vec<Change> {
    sqlx::query_as(
        "SELECT actor, metadata ->> 'table' AS table, metadata ->> 'operation' AS operation,
                ip_address IS NOT NULL AND user_agent IS NOT NULL AND metadata ->> 'host' IS NOT \
            NULL
                    AND metadata ->> 'via' = 'command line' AS complete,
                metadata ->> 'account' AS account, metadata ->> 'on_behalf_of' AS on_behalf_of
           FROM audit.audit_log ORDER BY created_at, id OFFSET $1",
    )
    .bind(i64::try_from(seen).unwrap())
    .fetch_all(conn)
    .await
    .unwrap()
}

/// Commands that write, and looks at what the audit log says of each.
struct Witness {
    office: Office,
    conn: PgConnection,
    seen: usize,
}

impl Witness {
    async fn new() -> Self {
        let office = Office::new().await;
        let mut conn = office.db.connect().await;
        let seen = changes_since(&mut conn, 0).await.len();
        Self { office, conn, seen }
    }

    /// Runs a command for Dana. It must change these tables, and each change must say everything.
    async fn as_dana(&mut self, args: &[&str], changed: &[(&str, &str)]) -> Value {
        let args = [args, &["--on-behalf-of", DANA, "--json"]].concat();
        let said = self.office.run(&args).json();
        self.check(&args, Some(DANA), changed).await;
        said
    }

    async fn check(&mut self, args: &[&str], person: Option<&str>, changed: &[(&str, &str)]) {
        let changes = changes_since(&mut self.conn, self.seen).await;
        self.seen += changes.len();
        for change in &changes {
            assert_eq!(change.actor, account(), "{args:?}: {change:?}");
            assert_eq!(
                change.on_behalf_of.as_deref(),
                person,
                "{args:?}: {change:?}"
            );
            assert!(change.complete, "{args:?}: {change:?}");
            assert_eq!(change.account, Some(account()), "{args:?}");
        }

        for (table, operation) in changed {
            let of_it = |c: &Change| {
                c.table.strip_prefix("blueteam.") == Some(table) && c.operation == *operation
            };
            assert!(
                changes.iter().any(of_it),
                "{args:?} has no {operation} of {table}: {changes:?}"
            );
        }
    }
}

fn id(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_change_says_who_where_and_how() {
    let mut witness = Witness::new().await;
    decisions(&mut witness).await;
    let approved = evidence(&mut witness).await;
    plans(&mut witness, &approved).await;
    assets(&mut witness).await;
}

async fn decisions(witness: &mut Witness) {
    let set = [
        "set",
        "3.3.1",
        "--finding",
        "not_met",
        "--reason",
        "the door has no log",
        "--owner",
        "bob",
    ];
    let changed = [
        ("compliance_objectives", "UPDATE"),
        ("compliance_controls", "UPDATE"),
        ("posture_scores", "INSERT"),
    ];
    witness.as_dana(&set, &changed).await;

    let sheet =
        "objective_id,finding,reason,owner\r\n3.3.2[a],met,every event has a user,carol\r\n";
    let file = witness.office.program.write("findings.csv", sheet);
    witness.as_dana(&["import", &file], &changed[..2]).await;

    let review = [
        "review",
        "--sign",
        "--conclusion",
        "nothing follows from it",
    ];
    witness
        .as_dana(&review, &[("compliance_evidence", "INSERT")])
        .await;
}

/// Returns the id of a piece that was approved.
async fn evidence(witness: &mut Witness) -> String {
    let add = [
        "evidence",
        "add",
        "--text",
        "the camera above the door",
        "--supports",
        "3.3.1",
        "--kind",
        "config_screenshot",
        "--shows",
        "the door has a log",
    ];
    let taken = [
        ("compliance_evidence", "INSERT"),
        ("evidence_objectives", "INSERT"),
    ];
    let piece = id(&witness.as_dana(&add, &taken).await, "evidence_id");

    let approved = [("compliance_evidence", "UPDATE")];
    witness
        .as_dana(&["evidence", "approve", &piece], &approved)
        .await;

    // Nobody else can have the checks run than who runs the command.
    let run = ["evidence", "--control", "3.4.1", "--json"];
    let ran = witness.office.run(&run);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    witness.check(&run, None, &taken[..1]).await;

    let result = id(&found[0], "evidence_id");
    witness
        .as_dana(&["evidence", "baseline", &result], &approved)
        .await;

    piece
}

async fn plans(witness: &mut Witness, evidence: &str) {
    let written = [("poam_items", "INSERT")];
    let items = witness.as_dana(&["poam", "generate"], &written).await;
    let add = [
        "poam",
        "add",
        "3.5.3",
        "--kind",
        "operational",
        "--weakness",
        "no second factor",
        "--remediation",
        "hardware keys",
    ];
    let added = id(&witness.as_dana(&add, &written).await, "poam_id");

    let changed = [("poam_items", "UPDATE")];
    let update = ["poam", "update", &added, "--owner", "bob"];
    witness.as_dana(&update, &changed).await;

    let generated = id(&items[0], "poam_id");
    let close = ["poam", "close", &generated, "--evidence", evidence];
    witness.as_dana(&close, &changed).await;
}

async fn assets(witness: &mut Witness) {
    let set = ["assets", "set", "fileserver", "--category", "cui"];
    witness.as_dana(&set, &[("assets", "INSERT")]).await;
    witness
        .as_dana(&["assets", "remove", "fileserver"], &[("assets", "DELETE")])
        .await;
}
