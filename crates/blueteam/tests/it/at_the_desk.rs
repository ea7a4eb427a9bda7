//! `blueteam compliance` at the desk: on narrow terminals, with ids that people type, and for
//! scripts.

use std::process::Command;

use serde_json::Value;

use crate::compliance::Office;

/// Runs the program on a terminal of a width, and returns what it drew.
fn on_a_terminal(office: &Office, columns: u16, args: &[&str]) -> String {
    const PTY: &str = "
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 50, int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
out = b''
while True:
    try: piece = os.read(fd, 65536)
    except OSError: break
    if not piece: break
    out += piece
os.waitpid(pid, 0)
sys.stdout.buffer.write(out)";

    let given = office.program.command(&[&["compliance"], args].concat());
    let mut command = Command::new("python3");
    command
        .args(["-c", PTY, &columns.to_string()])
        .arg(given.get_program())
        .args(given.get_args())
        .env_clear();
    command
        .envs(given.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env("PATH", "/usr/bin:/bin");

    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );

    String::from_utf8(out.stdout).unwrap().replace('\r', "")
}

#[tokio::test]
async fn no_word_breaks_on_a_narrow_terminal_and_what_matters_stays() {
    let office = Office::new().await;
    office.run(&["evidence"]);
    office.piece("3.1.1", "who grants access to the information system");
    office
        .run(&[
            "set",
            "3.1.1a",
            "--finding",
            "not_met",
            "--reason",
            "nobody keeps the list of authorized users up to date",
            "--on-behalf-of",
            "bartholomew",
        ])
        .good();

    office
        .run(&["set", "3.1.2a", "--finding", "met", "--reason", "by role"])
        .good();
    office.run(&["poam", "generate"]).good();

    let plain_words = |args: &[&str]| {
        let ran = office.run(args);
        format!("{}\n{}", ran.out, ran.err)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };

    for (args, needs) in [
        (
            &["status"][..],
            &[
                "3.14.7",
                "not assessed",
                "partially implemented",
                "Authorized Access Control",
            ][..],
        ),
        (&["gaps"], &["3.14.7", "not assessed"]),
        (
            &["evidence", "list"],
            &["valid", "3.1.1[a-f]", "who grants access"],
        ),
        (
            &["poam", "list"],
            &["3.1.1", "open", "nobody keeps the list"],
        ),
        (&["history"], &["3.1.1[a]", "not met", "bartholomew"]),
        (&["show", "3.1.1"], &["3.1.1[f]", "NOT MET", "can't tell"]),
    ] {
        let words = plain_words(args);
        for columns in [60, 80, 100] {
            let drawn = on_a_terminal(&office, columns, args);
            let flat = drawn.split_whitespace().collect::<Vec<_>>().join(" ");
            for need in needs {
                // A cell may have wrapped between its words, beside other cells.
                assert!(
                    need.split(' ').all(|word| flat.contains(word)),
                    "{columns}: {args:?} lost {need}\n{drawn}"
                );
            }

            for line in drawn.lines() {
                // What goes to standard error is prose.
                let prose = line.contains("NIST SP 800-171 Rev. 2: ")
                    || line.contains(';')
                    || line.starts_with("due")
                    || line.starts_with("LATE");
                assert!(
                    prose || line.chars().count() <= usize::from(columns),
                    "{columns}: {args:?}: {line}"
                );

                for word in line.split_whitespace().filter(|_| !prose) {
                    let id = word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit());
                    let hash = word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit());
                    let header = word.chars().all(|c| !c.is_lowercase());
                    let label = args[0] == "evidence" || args[0] == "poam" || args[0] == "history";
                    assert!(
                        id || hash || header || label || words.contains(word),
                        "{columns}: {args:?}: `{word}` of {line}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn ids_are_told_apart_by_their_ends() {
    let office = Office::new().await;
    let (a, b) = (office.piece("3.1.1", "one"), office.piece("3.1.1", "two"));
    let (a, b) = (
        a["evidence_id"].as_str().unwrap(),
        b["evidence_id"].as_str().unwrap(),
    );
    let shown = |id: &str| office.run(&["evidence", "show", id, "--json"]);
    assert_eq!(
        shown(a.rsplit('-').next().unwrap()).json()["description"],
        "one"
    );

    assert_eq!(shown(&b.to_uppercase()).json()["description"], "two");
    let several = shown(&a[..8]);
    assert!(
        several.code == 2
            && several.err.contains("fits several")
            && several.err.contains(a)
            && several.err.contains(b),
        "{}",
        several.err
    );

    assert!(shown("zz").err.contains("invalid ID"));
    assert!(shown("deadbeefdead").err.contains("evidence list --all"));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn gaps_and_plans_count_the_same_and_3_12_4_wants_its_plan() {
    let office = Office::new().await;
    let refused = office.run(&[
        "set",
        "3.12.4",
        "--finding",
        "met",
        "--reason",
        "we have one",
    ]);
    assert!(
        refused.code == 1
            && refused
                .err
                .contains("no approved one is among the evidence")
            && refused.err.contains("evidence add ssp.pdf"),
        "{}",
        refused.err
    );

    office
        .run(&[
            "set",
            "3.12.4a",
            "--finding",
            "not_met",
            "--reason",
            "not written yet",
        ])
        .good();

    let sheet = "objective_id,finding,reason\n3.12.4[b],met,the boundary is drawn\n";
    let imported = office.run(&["import", &office.program.write("f.csv", sheet)]);
    assert!(
        imported.code == 1
            && imported
                .err
                .contains("no approved one is among the evidence"),
        "{}",
        imported.err
    );

    office.piece("3.12.4", "the plan");
    let met = [
        "set",
        "3.12.4",
        "--finding",
        "met",
        "--reason",
        "it is there",
    ];

    // A plan of this program's own that has gaps is none yet; one that was written elsewhere has no
    // description here.
    office.program.write("system.toml", "name = \"Enclave\"\n");
    let refused = office.run(&met);
    assert!(
        refused.code == 1 && refused.err.contains("lacks:") && refused.err.contains("boundary"),
        "{}",
        refused.err
    );

    let imported = office.run(&[
        "import",
        &office.program.write(
            "f.csv",
            "objective_id,finding,reason\n3.12.4[c],met,it is described\n",
        ),
    ]);
    assert!(
        imported.code == 1 && imported.err.contains("lacks:"),
        "{}",
        imported.err
    );

    // A description that cannot be read keeps nobody from the score.
    let broken = office.program.write("system.toml", "name = \n");
    let score = office.run(&["score"]);
    assert!(
        score.out.contains("no score") && score.err.contains("system.toml is not a description"),
        "{}",
        score.err
    );
    assert_eq!(
        office.run(&["score", "--system", &broken]).code,
        1,
        "a file that is asked for must be right"
    );

    std::fs::remove_file(&broken).unwrap();
    office.run(&met).good();

    // A line that is wrong is named as an editor numbers it.
    let sheet = "objective_id,finding,reason\n3.1.1[a],met,a list\n\n\n3.1.1[b],perhaps,a guess\n";
    let refused = office.run(&["import", &office.program.write("g.csv", sheet)]);
    assert!(
        refused.code == 1 && refused.err.contains("line 5:"),
        "{}",
        refused.err
    );

    office
        .run(&[
            "set",
            "3.1.9",
            "--finding",
            "not_met",
            "--reason",
            "no notice",
        ])
        .good();

    let gaps = office.run(&["gaps"]);
    assert!(
        gaps.err.contains("109 gaps: 1 not met (0 on an open plan")
            && gaps.err.contains("108 not decided"),
        "{}",
        gaps.err
    );

    let written = office.run(&["poam", "generate"]);
    assert!(
        written.out.starts_with("1 item written")
            && written.err.contains("108 requirements are not decided"),
        "{}{}",
        written.out,
        written.err
    );

    assert!(
        office
            .run(&["gaps"])
            .err
            .contains("1 not met (1 on an open plan")
    );

    let head = office.run(&["show", "3.1.2"]).good();
    assert!(
        head.contains("not assessed\n") && !head.contains("not assessed (not assessed)"),
        "{head}"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn everything_that_lists_or_changes_has_json() {
    let office = Office::new().await;
    let id = office.piece("3.1.9", "the notice")["evidence_id"]
        .as_str()
        .unwrap()
        .to_owned();

    office.run(&["evidence", "--control", "3.4.1"]);
    let result = office
        .run(&["evidence", "list", "--control", "3.4.1", "--json"])
        .json()[0]["evidence_id"]
        .as_str()
        .unwrap()
        .to_owned();

    let draft = office
        .run(&[
            "evidence",
            "add",
            "--text",
            "x",
            "--supports",
            "3.1.1",
            "--kind",
            "test_result",
            "--shows",
            "the draft",
            "--json",
        ])
        .json();

    let draft = draft["evidence_id"].as_str().unwrap().to_owned();
    let add = [
        "poam",
        "add",
        "3.1.9",
        "--weakness",
        "none yet",
        "--remediation",
        "print one",
        "--due",
        "2027-01-31",
        "--json",
    ];

    let plan = office.run(&add).json();
    assert_eq!(plan["due"], "2027-01-31T23:59:59Z");
    let plan = plan["poam_id"].as_str().unwrap().to_owned();
    let sheet = office.program.write(
        "f.csv",
        "objective_id,finding,reason\n3.1.2[a],not_met,no list\n",
    );
    let folder = office.program.path("oscal");

    for args in [
        &[
            "set",
            "3.1.9",
            "--finding",
            "not_met",
            "--reason",
            "no notice",
            "--json",
        ][..],
        &["poam", "generate", "--json"],
        &["poam", "--json"],
        &["poam", "update", &plan, "--owner", "bob", "--json"],
        &[
            "poam",
            "close",
            &plan,
            "--evidence",
            &id[id.len() - 12..],
            "--json",
        ],
        &["evidence", "approve", &draft, "--json"],
        &["evidence", "baseline", &result, "--json"],
        &["evidence", "hash-list", "--json"],
        &["evidence", "verify", "--json"],
        &["review", "--json"],
        &["assets", "set", "server", "--category", "cui", "--json"],
        &["assets", "list", "--json"],
        &["assets", "remove", "server", "--json"],
        &["import", &sheet, "--json"],
        &["export", "--oscal", folder.to_str().unwrap(), "--json"],
        &["history", "--json"],
        &["gaps", "--json"],
        &["score", "--history", "--json"],
    ] {
        let ran = office.run(args);
        assert!(
            ran.code == 0 && serde_json::from_str::<Value>(&ran.out).is_ok(),
            "{args:?}: {}{}",
            ran.out,
            ran.err
        );
    }

    let wrong = office.run(&["poam", "update", &plan, "--due", "tomorrow"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("2027-01-31") && wrong.err.contains("30d"),
        "{}",
        wrong.err
    );

    assert!(
        office
            .run(&["set", "3.1.1", "--owner", "x", "--on-behalf-of", "  "])
            .err
            .contains("--on-behalf-of: a name")
    );
}
