//! Writes the benchmark's workload to standard output.
fn main() -> std::io::Result<()> {
    let n = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    blueteam::scenario::workload(&mut out, n, 20_000, 7)
}
