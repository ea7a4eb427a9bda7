//! What counts as code and what does not, and figures over real logs.

use super::*;

#[test]
#[ignore]
fn dev_eval() {
    use std::collections::BTreeMap;
    for kind in ["sqli", "xss", "traversal", "rce", "fp"] {
        let text = std::fs::read_to_string(format!("/tmp/inj/attacks/{kind}.tsv")).unwrap();
        let mut by: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        let mut misses = String::new();
        let mut gaps = 0;
        for line in text.lines() {
            let (src, target) = line.split_once('\t').unwrap();
            let code = code_in_target(target);
            let e = by.entry(src).or_default();
            e.1 += 1;
            if code.is_some() {
                e.0 += 1;
                if !prefilter::is_suspicious_target(target.as_bytes()) {
                    gaps += 1;
                    println!("GAP {target}");
                }
            }
            if code.is_some() == (kind == "fp") {
                misses.push_str(&format!("{src}\t{target}\t{code:?}\n"));
            }
        }
        std::fs::write(format!("/tmp/inj/miss-{kind}.txt"), misses).unwrap();
        let (a, b) = by.values().fold((0, 0), |s, v| (s.0 + v.0, s.1 + v.1));
        println!("{kind}: {a}/{b} gaps {gaps}");
        for (s, (x, y)) in by {
            println!("   {s}: {x}/{y}");
        }
    }
    let mut n = 0;
    for file in std::fs::read_dir("/tmp/inj/ordinary").unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let (mut lines, mut susp) = (0, 0);
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut parts = line.split('"');
            let request = parts.nth(1).unwrap_or_default();
            let _ = parts.next();
            let referer = parts.next().unwrap_or_default();
            let _ = parts.next();
            let agent = parts.next().unwrap_or_default();
            let target = request.split_once(' ').map_or(request, |x| x.1);
            let target = target.rsplit_once(" HTTP").map_or(target, |x| x.0);
            lines += 1;
            if prefilter::is_suspicious_target(target.as_bytes()) {
                susp += 1;
            }
            for (f, c) in [
                ("t", code_in_target(target)),
                ("r", code_in_target(behind_host(referer))),
                ("a", code_in_agent(agent)),
            ] {
                if let Some(c) = c {
                    n += 1;
                    if n < 60 {
                        println!("FP {f} {c:?} {target} | {referer} | {agent}");
                    }
                }
            }
        }
        println!("{}: {lines} lines {susp} suspicious", path.display());
    }
    println!("fp {n}");
}
