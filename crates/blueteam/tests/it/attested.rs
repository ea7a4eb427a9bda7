//! What `blueteam compliance` does when somebody or something is against it: tampering, wrong
//! clocks, full disks, garbage.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::cli::account;
use crate::compliance::Office;

/// Follows the chain of the confirmations as the package's README tells it.
const FOLLOW: &str = "
import csv, hashlib, sys, datetime
before = sys.argv[2]
for row in csv.DictReader(open(sys.argv[1], newline='')):
    at = datetime.datetime.fromisoformat(row['Confirmed'].replace('Z', '+00:00'))
    micros = (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // \
    datetime.timedelta(microseconds=1)
    text = ''.join(part + '\\n' for part in (before, row['Evidence'], row['Number'], str(micros), \
    row['By']))
    before = hashlib.sha256(text.encode()).hexdigest()
    assert before == row['SHA-256 of the chain'], row";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_a_check_sees_again_is_confirmed_and_the_chain_shows_tampering() {
    let office = Office::new().await;
    let run = || {
        serde_json::from_str::<Value>(
            &office
                .run(&["evidence", "--control", "3.1.1", "--json"])
                .out,
        )
        .unwrap()
    };

    let (first, second, third) = (run(), run(), run());
    assert_eq!(
        (
            &first[0]["confirmed"],
            &second[0]["confirmed"],
            &third[0]["confirmed"]
        ),
        (&false.into(), &true.into(), &true.into())
    );

    assert_eq!(first[0]["evidence_id"], third[0]["evidence_id"]);
    let listed = office.run(&["evidence", "list", "--all", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(
        listed[0]["confirmed_at"].as_str().unwrap() > listed[0]["collected_at"].as_str().unwrap()
    );
    assert!(
        listed[0]["valid_until"].as_str().unwrap() > listed[0]["collected_at"].as_str().unwrap()
    );

    assert_eq!(office.run(&["evidence", "verify"]).code, 0);
    let hashes = office.run(&["evidence", "hash-list", "--json"]).json();
    let list = hashes
        .as_array()
        .unwrap()
        .iter()
        .find(|h| h["name"] == "confirmations.csv")
        .unwrap()["sha256"]
        .clone();

    // In the package, under the hash that the list gave; and its chain can be followed without us.
    let zip = office.program.path("p.zip");
    office
        .program
        .run(&["report", "assessor", "--output", zip.to_str().unwrap()])
        .good();
    assert_eq!(
        std::fs::metadata(&zip).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let out = office.program.path("unpacked");
    zip::ZipArchive::new(std::fs::File::open(&zip).unwrap())
        .unwrap()
        .extract(&out)
        .unwrap();

    let sum = Command::new("sha256sum")
        .arg(out.join("evidence/confirmations.csv"))
        .output()
        .unwrap();
    assert!(
        String::from_utf8(sum.stdout)
            .unwrap()
            .starts_with(list.as_str().unwrap())
    );

    let checked = Command::new("sha256sum")
        .args(["-c", "--quiet", "SHA256SUMS"])
        .current_dir(&out)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );

    let follow = Command::new("python3")
        .args(["-c", FOLLOW])
        .arg(out.join("evidence/confirmations.csv"))
        .arg(listed[0]["sha256"].as_str().unwrap())
        .output()
        .unwrap();
    assert!(
        follow.status.success(),
        "{}",
        String::from_utf8_lossy(&follow.stderr)
    );

    // Nobody may rewrite it; who switches the guard off is noticed.
    let mut conn = office.db.connect().await;
    let rewrite = "UPDATE blueteam.evidence_confirmations SET confirmed_by = 'mallory' WHERE n = 1";
    for refused in [
        rewrite,
        "DELETE FROM blueteam.evidence_confirmations",
        "TRUNCATE blueteam.evidence_confirmations",
    ] {
        assert!(
            sqlx::query(refused).execute(&mut conn).await.is_err(),
            "{refused}"
        );
    }

    let off = "ALTER TABLE blueteam.evidence_confirmations DISABLE TRIGGER ALL";
    for sql in [off, rewrite] {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
    }

    let tampered = office.run(&["evidence", "verify"]);
    assert_eq!(
        (
            tampered.code,
            tampered.out.contains("confirmation 1 does not follow")
        ),
        (3, true),
        "{}",
        tampered.out
    );
}

#[tokio::test]
async fn a_result_of_a_wrong_clock_is_neither_confirmed_nor_the_newest() {
    let office = Office::new().await;
    office.run(&["evidence", "--control", "3.1.1"]);
    let mut conn = office.db.connect().await;
    let future = "INSERT INTO blueteam.compliance_evidence (control_id, evidence_type, \
        description, content, sha256, collected_at, automated, valid_until, state,
                         approved_by, approved_at, facts, check_id, facts_sha256)
                  SELECT control_id, evidence_type, 'of the future', content, sha256, now() + \
                  interval '2 years', true, valid_until, state, approved_by,
                         approved_at, facts, check_id, facts_sha256 FROM \
                         blueteam.compliance_evidence";

    sqlx::query(future).execute(&mut conn).await.unwrap();
    let ran: Value = serde_json::from_str(
        &office
            .run(&["evidence", "--control", "3.1.1", "--json"])
            .out,
    )
    .unwrap();
    assert_eq!(
        ran[0]["confirmed"], false,
        "a clock that was wrong confirms nothing"
    );

    let newest = office.run(&["evidence", "list", "--json"]).json();
    assert_eq!(
        (newest.as_array().unwrap().len(), &newest[0]["evidence_id"]),
        (1, &ran[0]["evidence_id"]),
        "by the order of their coming"
    );
}

#[tokio::test]
async fn a_review_is_what_the_program_prepared_and_somebody_signed() {
    let office = Office::new().await;
    let verdict = || {
        let found: Value = serde_json::from_str(
            &office
                .run(&["evidence", "--control", "3.3.3", "--json"])
                .out,
        )
        .unwrap();
        found[0]["says"][1]["verdict"].as_str().unwrap().to_owned()
    };

    office.piece("3.3.3", "Review of logged events");
    assert_eq!(
        verdict(),
        "not_met",
        "minutes that call themselves so are no review"
    );
    assert!(
        office.run(&["status"]).err.contains("was never reviewed")
            || office.run(&["history"]).out.contains("nobody")
    );

    let signed = office
        .run(&[
            "review",
            "--sign",
            "--conclusion",
            "as it should be",
            "--on-behalf-of",
            "alice",
            "--json",
        ])
        .json();

    assert!(signed["evidence_id"].is_string() && signed["review"]["new"].is_array());
    // A signature, an hour old or scripted, proves no process.
    assert_eq!(verdict(), "cant_tell");

    // What a check can't tell is shown, too.
    let shown = office.run(&["show", "3.3.3"]).good();
    assert!(
        shown.contains("can't tell, ")
            && shown.contains("needs the policy that defines the process"),
        "{shown}"
    );
    assert_eq!(
        office.run(&["show", "3.3.3", "--json"]).json()["check"]["check_id"],
        "au_3_3_3"
    );
}

#[tokio::test]
async fn garbage_is_refused_whole() {
    let office = Office::new().await;
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(office.program.path(name), bytes).unwrap();
        office.program.path(name).display().to_string()
    };

    let mut random = scenario::Random::new(5);
    let noise: Vec<u8> = (0..20_000).map(|_| random.range(1, 256) as u8).collect();
    let deep = format!(
        "{{\"system-security-plan\":{}1{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let item = r#"{"uuid":"7c2f2a3e-54a5-4b6a-9a4f-000000000001","title":"3.1.9: x","description":"d\u0000"}"#;
    let twice = item.replace("\\u0000", "");

    for (name, bytes, says) in [
        ("noise.csv", noise, "was not imported"),
        (
            "nul.csv",
            b"objective_id,finding,reason\n3.1.1[a],met,\0\0\0\n".to_vec(),
            "holds NUL",
        ),
        (
            "ragged.csv",
            b"objective_id,finding,reason\n3.1.1[a],met\n".to_vec(),
            "line 2: 2 fields",
        ),
        ("deep.json", deep.into_bytes(), "not JSON"),
        (
            "half.json",
            b"{\"plan-of-action-and-milestones\":{\"poam-items\":[{\"title\":".to_vec(),
            "not JSON",
        ),
        (
            "type.json",
            b"{\"plan-of-action-and-milestones\":7}".to_vec(),
            "is missing",
        ),
        (
            "nul.json",
            format!("{{\"plan-of-action-and-milestones\":{{\"poam-items\":[{item}]}}}}")
                .into_bytes(),
            "holds a NUL",
        ),
        (
            "twice.json",
            format!("{{\"plan-of-action-and-milestones\":{{\"poam-items\":[{twice},{twice}]}}}}")
                .into_bytes(),
            "appears twice",
        ),
    ] {
        let ran = office.run(&["import", &write(name, &bytes)]);
        assert!(
            ran.code == 1 && ran.err.contains(says) && !ran.err.contains('\u{1b}'),
            "{name}: {}",
            ran.err
        );
    }

    let huge = std::fs::File::create(office.program.path("huge.csv")).unwrap();
    huge.set_len(1 << 34).unwrap();
    assert!(
        office
            .run(&["import", office.program.path("huge.csv").to_str().unwrap()])
            .err
            .contains("larger than 16 MiB")
    );

    assert!(
        office
            .run(&["history"])
            .good()
            .contains("nobody has decided anything yet")
    );
}

#[tokio::test]
async fn nothing_but_files_is_taken_in_and_what_replaces_one_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let office = Office::new().await;
    let add = |path: &Path| {
        let mut command = office.program.command(&["compliance", "evidence", "add"]);
        command.arg(path).args([
            "--supports",
            "3.1.1",
            "--kind",
            "policy_doc",
            "--shows",
            "a policy",
            "--final",
            "--json",
        ]);

        let out = command.stdin(Stdio::null()).output().unwrap();
        (
            out.status.code().unwrap(),
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        )
    };

    let pipe = office.program.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );

    for path in [
        pipe.as_path(),
        Path::new("/dev/zero"),
        Path::new("/usr"),
        Path::new("/nowhere"),
    ] {
        let (code, _, err) = add(path);
        assert!(
            code == 1 && err.contains("cannot open"),
            "{}: {err}",
            path.display()
        );
    }

    let odd = office
        .program
        .path("x")
        .with_file_name(std::ffi::OsStr::from_bytes(b"caf\xe9.txt"));
    std::fs::write(&odd, "x").unwrap();

    let (code, _, err) = add(&odd);
    assert!(code == 2 && err.contains("must be UTF-8"), "{err}");
    let named = office.program.path("confirmations.csv");
    std::fs::write(&named, "not ours").unwrap();
    assert_eq!(add(&named).0, 0);

    let listed = office.run(&["evidence", "hash-list", "--sha256sum"]).good();
    assert!(
        listed.contains("-confirmations-20") && !listed.contains("  confirmations.csv"),
        "the list of confirmations keeps its name: {listed}"
    );

    let policy = office.program.write("policy.txt", "Access is granted.\n");
    let taken: Value = serde_json::from_str(&add(Path::new(&policy)).1).unwrap();
    let kept = office.program.path(taken["file_path"].as_str().unwrap());
    for target in ["/dev/zero", policy.as_str()] {
        std::fs::remove_file(&kept).unwrap();
        std::os::unix::fs::symlink(target, &kept).unwrap();
        let found = office.run(&["evidence", "verify"]);
        assert!(
            found.code == 3 && found.out.contains("it is a link") && found.out.contains("policy"),
            "{}{}",
            found.out,
            found.err
        );

        let zip = office.program.path("l.zip");
        let report = office
            .program
            .run(&["report", "assessor", "--output", zip.to_str().unwrap()]);
        assert!(
            report.code == 1 && report.err.contains("-policy-") && !zip.exists(),
            "{}",
            report.err
        );
    }

    // Taking the same file in again puts it back.
    assert_eq!(add(Path::new(&policy)).0, 0);
    assert_eq!(office.run(&["evidence", "verify"]).code, 0);
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Has a large file among the evidence, which takes a while to pack because it does not compress;
/// and a folder for the package.
async fn with_a_large_file() -> (Office, std::path::PathBuf) {
    let office = Office::new().await;
    let big = office.program.path("big.bin");
    let fill = format!("head -c 150000000 /dev/urandom > {}", big.display());
    assert!(
        Command::new("sh")
            .args(["-c", &fill])
            .status()
            .unwrap()
            .success()
    );

    let add = [
        "evidence",
        "add",
        big.to_str().unwrap(),
        "--supports",
        "3.1.1",
        "--kind",
        "log_sample",
        "--shows",
        "a log",
        "--final",
    ];

    office.run(&add).good();
    let folder = office.program.path("out");
    std::fs::create_dir(&folder).unwrap();

    (office, folder)
}

/// Packs by a shell script, which gets the program and its arguments.
fn pack(office: &Office, folder: &Path, script: &str) -> Command {
    let given = office.program.command(&[
        "report",
        "assessor",
        "--output",
        folder.join("package.zip").to_str().unwrap(),
    ]);
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh"])
        .arg(given.get_program())
        .args(given.get_args())
        .env_clear()
        .env("PATH", "/usr/bin:/bin");

    command.envs(given.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());

    command
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_package() {
    let (office, folder) = with_a_large_file().await;
    // A limit on the size of files is a full disk to the program.
    let full = pack(
        &office,
        &folder,
        "trap '' XFSZ; ulimit -f 2000; exec \"$@\"",
    )
    .output()
    .unwrap();
    let err = String::from_utf8_lossy(&full.stderr);
    assert!(
        full.status.code() == Some(1) && err.contains("cannot write the package"),
        "{err}"
    );

    assert_eq!(names(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn a_signal_leaves_no_half_package() {
    let (office, folder) = with_a_large_file().await;
    for (signal, expected) in [("-TERM", 143), ("-INT", 130), ("-HUP", 129)] {
        let mut child = pack(&office, &folder, "exec \"$@\"").spawn().unwrap();
        let size = |name: &String| std::fs::metadata(folder.join(name)).map_or(0, |m| m.len());
        let mut waited = 0;
        while names(&folder)
            .first()
            .is_none_or(|name| size(name) < 1 << 20)
        {
            std::thread::sleep(Duration::from_millis(5));
            waited += 1;
            assert!(waited < 12_000, "nothing is written");
        }
        let mode = std::fs::metadata(folder.join(&names(&folder)[0]))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(expected), "{signal}");
        assert_eq!(names(&folder), Vec::<String>::new(), "{signal}");
    }
}

#[tokio::test]
async fn many_decide_at_once_and_nothing_is_lost() {
    let office = Office::new().await;
    let sheet = |order: &mut dyn Iterator<Item = u32>| {
        order.fold("objective_id,finding,reason\n".to_owned(), |text, n| {
            format!("{text}3.1.{n}[a],met,by sheet {n}\n")
        })
    };

    let up = office.program.write("up.csv", &sheet(&mut (1..=22)));
    let down = office
        .program
        .write("down.csv", &sheet(&mut (1..=22).rev()));

    let spawn = |args: &[&str]| {
        let mut command = office.program.command(&[&["compliance"], args].concat());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };

    let mut children = Vec::new();
    for n in 0..4 {
        let who = format!("person {n}");
        children.push(spawn(&[
            "import",
            if n % 2 == 0 { &up } else { &down },
            "--on-behalf-of",
            &who,
        ]));

        children.push(spawn(&[
            "set",
            "3.1.1",
            "--finding",
            "not_met",
            "--reason",
            &format!("said by {n}"),
            "--on-behalf-of",
            &who,
        ]));

        children.push(spawn(&[
            "set",
            "3.1.22",
            "--finding",
            "met",
            "--reason",
            &format!("said by {n}"),
            "--on-behalf-of",
            &who,
        ]));
    }

    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    let history = office.run(&["history", "3.1.1", "--json"]).json();
    let history = history.as_array().unwrap();
    for n in 0..4 {
        let of = |h: &&Value| {
            h["reason"] == format!("said by {n}")
                && h["by"] == format!("{}, on behalf of person {n}", account())
        };
        assert_eq!(
            history.iter().filter(of).count(),
            6,
            "each of the six objectives"
        );
    }

    // The chain of each objective has no hole: what one decision found is what the next one
    // replaced.
    let a: Vec<_> = history
        .iter()
        .filter(|h| h["objective_id"] == "3.1.1[a]")
        .collect();
    assert!(
        a.windows(2).all(|w| w[0]["finding"] == w[1]["previous"]),
        "{a:?}"
    );
}
