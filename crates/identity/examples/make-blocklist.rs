//! Packs lists of common passwords, most common first, into the list that comes with blueteam.
//! Run by `scripts/make-blocklist`.

#![expect(clippy::print_stdout, reason = "a tool")]

use std::error::Error;
use std::fs;
use std::io::BufWriter;

use identity::blocklist::Packer;

/// As many entries as fit into 800 kB, less those of some rounds between counts.
const ENOUGH: usize = 99_000;
/// Lines of each list between counts.
const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: make-blocklist OUT LIST…")?;
    let lists = arguments
        .map(fs::read)
        .collect::<Result<Vec<Vec<u8>>, _>>()?;

    // In turn, so that the most common ones of each list come first.
    let mut lines: Vec<_> = lists
        .iter()
        .map(|list| list.split(|b| *b == b'\n'))
        .collect();
    let mut packer = Packer::default();
    for round in 1.. {
        let row: Vec<&[u8]> = lines.iter_mut().filter_map(Iterator::next).collect();
        if row.is_empty() || (round % ROUNDS == 0 && packer.count() >= ENOUGH) {
            break;
        }

        for line in row {
            // Replacement characters are what an encoding lost, not what people type.
            let text = std::str::from_utf8(line).unwrap_or_default();
            if !text.contains('\u{fffd}') {
                packer.add(text.trim_end_matches('\r'));
            }
        }
    }

    let count = packer.write(&mut BufWriter::new(fs::File::create(&out)?))?;
    println!("{count} entries in {out}");
    Ok(())
}
