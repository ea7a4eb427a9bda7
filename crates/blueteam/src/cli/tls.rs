//! `blueteam tls`: a certificate for the HTTP server, by an authority of one's own.

use std::process::ExitCode;

use anyhow::Context as _;
use app::private_ca::{self, DAYS, Issued, ServerName};
use clap::{Args as _, Subcommand};
use model::{Clock as _, SystemClock};

use super::out;
use super::session::Globals;
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "tls",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Certificates by an authority of your own, for a server that nobody outside knows.
///
/// The authority is made once and kept in the state directory. It can issue for the names that it
/// was made for and for no others, so that a browser which trusts it trusts nothing else by that.
/// The daemon renews the certificate when a third of its time is left, and presents the new one
/// without a restart.
///
/// Whoever has certificates of another authority needs none of this: name their files in
/// `ingest.tls_cert_file` and `ingest.tls_key_file`.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Issue a certificate, and say how to use and to trust it
    #[command(
        after_help = "Examples:\n  blueteam tls issue --name blueteam.example.internal\n  blueteam \
            tls issue --name blueteam --name blueteam.example.internal --name 10.0.0.5"
    )]
    Issue {
        /// A name or an address that browsers and applications ask for
        #[arg(long = "name", value_name = "NAME", required = true)]
        names: Vec<ServerName>,
        /// How long it is valid, up to 397 days
        #[arg(long, value_name = "N", default_value_t = DAYS)]
        days: u16,
        /// Make another authority, which everybody must come to trust again
        #[arg(long)]
        replace_authority: bool,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what was issued
    #[command(after_help = "Examples:\n  blueteam tls show\n  blueteam tls show --json")]
    Show {
        /// As a JSON object; null where nothing was issued
        #[arg(long)]
        json: bool,
    },
    /// Print the authority's certificate, for those who shall trust it
    #[command(
        after_help = "Examples:\n  blueteam tls authority > blueteam.crt\n  blueteam tls authority | \
            openssl x509 -noout -text"
    )]
    Authority,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    match &args.action {
        Action::Issue {
            names,
            days,
            replace_authority,
            json,
        } => {
            let now = SystemClock.now();
            let issued = private_ca::issue(&state, names, *days, *replace_authority, now)?;
            if *json {
                out::json(&issued)?;
            } else {
                show(&issued)?;
                explain(&issued)?;
            }
        }
        Action::Show { json } => {
            let issued = private_ca::issued(&state)?;
            match issued {
                _ if *json => out::json(&issued)?,
                Some(issued) => show(&issued)?,
                None => out::line("no certificate was issued: blueteam tls issue --name NAME")?,
            }
        }
        Action::Authority => {
            let pem = private_ca::authority_pem(&state)
                .context("there is no authority yet: blueteam tls issue --name NAME")?;
            out::line(pem.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(issued: &Issued) -> anyhow::Result<()> {
    out::line(format_args!("For:          {}", issued.names.join(", ")))?;
    out::line(format_args!("Valid until:  {}", out::time(issued.until)))?;
    out::line(format_args!("Certificate:  {}", issued.cert.display()))?;
    out::line(format_args!("Key:          {}", issued.key.display()))?;
    out::line(format_args!("Authority:    {}", issued.authority.display()))?;
    out::line(format_args!("Its SHA-256:  {}", issued.authority_sha256))
}

/// What is left to do.
fn explain(issued: &Issued) -> anyhow::Result<()> {
    out::line(format_args!(
        "\nUse it, in the configuration:\n\n    [ingest]\n    listen = \"0.0.0.0:8514\"\n    \
         tls_cert_file = \"{}\"\n    tls_key_file = \"{}\"\n\n\
         The daemon renews it and presents the new one without a restart.",
        issued.cert.display(),
        issued.key.display()
    ))?;
    if !issued.is_new_authority {
        return Ok(());
    }
    out::line(
        "\nTrust it, once on each machine that asks (compare the SHA-256 first):\n\n    \
         blueteam tls authority > blueteam.crt       # here; bring the file to the others\n\n    \
         Debian, Ubuntu  sudo cp blueteam.crt /usr/local/share/ca-certificates/\n                    \
         sudo update-ca-certificates\n    \
         Windows         certutil -addstore -f Root blueteam.crt\n    \
         macOS           sudo security add-trusted-cert -d -r trustRoot \\\n                    \
         -k /Library/Keychains/System.keychain blueteam.crt\n    \
         Firefox         Settings, Certificates, Authorities, Import\n    \
         curl            curl --cacert blueteam.crt https://…",
    )
}
