//! Temporary entry.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    use blueteam::replay::*;
    use std::io::Write;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let format = collect::Format::named(&args[0]).unwrap();
    let now = model::Clock::now(&model::SystemClock);
    let parser = (format.parser)(collect::Reference { latest: now });
    let threads = args[1].parse()?;
    let only = if args[2] == "all" { vec![] } else { args[2].split(',').map(str::to_owned).collect() };
    let mut engine = detect::Engine::new(detect::Settings { only, ..detect::Settings::default() })?;
    let inputs: Vec<_> = args[3..].iter().map(|f| Input::File(f.into())).collect();
    let inputs = in_order_of_time(inputs, parser.as_ref())?;
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let t = std::time::Instant::now();
    let report = run(
        &inputs,
        &Options { parser: parser.as_ref(), threads, now, max_clock_ahead: model::Span::mins(5) },
        &mut engine,
        |c| {
            let _ = serde_json::to_writer(&mut out, &c.detection);
            let _ = out.write_all(b"\n");
        },
    )?;
    eprintln!("{:?} {report:?} {:.0} ev/s", t.elapsed(), report.events as f64 / t.elapsed().as_secs_f64());
    for s in engine.status() {
        eprintln!("{s:?}");
    }
    Ok(())
}
