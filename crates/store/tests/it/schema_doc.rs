//! `docs/schema.md` against the database that the migrations make.

use std::collections::{BTreeMap, BTreeSet};

use testkit::TestDb;

const DOC: &str = include_str!("../../../../docs/schema.md");

/// Columns of a table: name and type, `not null` where it is.
type Columns = BTreeSet<String>;

/// The tables of the document: sections named `schema.table` with a table of columns.
fn documented() -> BTreeMap<String, Columns> {
    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    let mut section = None;
    for line in DOC.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.contains('.').then(|| title.trim().to_owned());
            if let Some(name) = &section {
                tables.entry(name.clone()).or_default();
            }
        } else if let (Some(name), Some(row)) = (&section, line.strip_prefix("| `")) {
            let mut cells = row.split(" | ");
            let (Some(column), Some(kind)) = (cells.next(), cells.next()) else {
                continue;
            };
            let column = column.trim_matches('`');
            if let Some(columns) = tables.get_mut(name) {
                columns.insert(format!("{column} {kind}"));
            }
        }
    }

    tables
}

/// The same of the database, views included. Partitions are their table's.
async fn real() -> BTreeMap<String, Columns> {
    let db = TestDb::new().await;
    let mut conn = db.connect().await;
    let sql = "SELECT
                   format('%s.%s', n.nspname, c.relname),
                   format(
                       '%s %s%s',
                       a.attname,
                       format_type(a.atttypid, a.atttypmod),
                       CASE WHEN a.attnotnull THEN ' not null' END
                   )
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               WHERE n.nspname IN ('public', 'blueteam', 'users', 'audit')
                 AND c.relkind IN ('r', 'p', 'v')
                 AND NOT c.relispartition";
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap();

    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    for (table, column) in rows {
        let column = column
            .replace("timestamp with time zone", "timestamptz")
            .replace("character varying", "varchar");
        tables.entry(table).or_default().insert(column);
    }

    tables
}

#[tokio::test]
async fn the_schema_is_documented_as_it_is() {
    let (documented, real) = (documented(), real().await);
    assert!(real.len() > 30, "{real:#?}");

    let mut faults = Vec::new();
    for table in real
        .keys()
        .chain(documented.keys())
        .collect::<BTreeSet<_>>()
    {
        match (real.get(table), documented.get(table)) {
            (Some(_), None) => faults.push(format!("{table} has no section")),
            (None, Some(_)) => faults.push(format!("{table} does not exist")),
            (Some(real), Some(documented)) => {
                faults.extend(
                    real.difference(documented)
                        .map(|column| format!("{table}: missing: {column}")),
                );
                faults.extend(
                    documented
                        .difference(real)
                        .map(|column| format!("{table}: there is no {column}")),
                );
            }
            (None, None) => {}
        }
    }

    assert!(
        faults.is_empty(),
        "docs/schema.md differs from the schema:\n{}",
        faults.join("\n")
    );
}
