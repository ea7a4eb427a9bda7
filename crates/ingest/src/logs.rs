//! From an OTLP request to rows.

use collect::otlp::{self, Encoding, Meaning, OtlpError};
use model::{AuditRecord, Timestamp};
use sha2::{Digest as _, Sha256};
use uuid::Builder;

use crate::Settings;
use crate::preparation::{Prepared, finish};
use crate::sender::Sender;

/// Reads and checks the log records of a request. A retry sends the same bytes, and gets the same
/// ids by them: it is a no-op.
pub(super) fn prepare(
    body: &[u8],
    encoding: Encoding,
    settings: &Settings,
    sender: &Sender,
    now: Timestamp,
) -> Result<Prepared, OtlpError> {
    let request = Sha256::digest(body);
    let mut done = Prepared::default();
    let mut index = 0;
    otlp::read_request(
        body,
        encoding,
        settings.max_batch_events,
        |entry, meaning| {
            match meaning {
                Meaning::Event {
                    mut record,
                    service,
                } => {
                    derive_identity(&mut record, &request, index, now);
                    let record = match service {
                        Some(claimed) => sender.claim(record, &claimed),
                        None => record,
                    };

                    match finish(record, settings, sender, now) {
                        Ok(row) => {
                            done.rows.push(row);
                            done.places.push(index);
                        }
                        Err(error) => done.reject(index, error, entry),
                    }
                }
                Meaning::Nothing => done.ignored += 1,
                Meaning::Rejected(error) => done.reject(index, error, entry),
            }

            index += 1;
        },
    )?;

    Ok(done)
}

/// Derives the record's id from its time, the request and its position there. A retry of a record
/// without a time is not recognized, because its time is that of its arrival.
fn derive_identity(record: &mut AuditRecord<'_>, request: &[u8], index: usize, now: Timestamp) {
    let digest = Sha256::new()
        .chain_update(request)
        .chain_update((index as u64).to_be_bytes())
        .finalize();
    let mut random = [0; 10];
    for (to, from) in random.iter_mut().zip(digest) {
        *to = from;
    }

    let millis = u64::try_from(record.timestamp.unwrap_or(now).as_micros() / 1000).unwrap_or(0);
    record.event_id = Some(Builder::from_unix_timestamp_millis(millis, &random).into_uuid());
}
