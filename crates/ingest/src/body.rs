//! From the bytes of a request to its text: decompression within bounds of size and memory.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest window of a zstd stream that is accepted, as a binary logarithm: 8 MiB, as RFC 9659
/// asks for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Decompressed at a time; memory is charged before it is used.
const CHUNK: usize = 64 * 1024;

/// Why a body is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// More events than allowed.
    #[error("the body holds too many events")]
    TooMany,
    /// No memory for it now.
    #[error("too much waits already")]
    Busy,
    /// Not what it says it is.
    #[error("{0}")]
    Unreadable(&'static str),
}

/// Memory that a request takes of the common budget; given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// Creates an empty charge to a budget in bytes.
    pub fn new(budget: Arc<Semaphore>) -> Self {
        Self { budget, held: None }
    }

    /// How much it holds.
    pub fn bytes(&self) -> usize {
        self.held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Takes more bytes. Fails if the budget does not have them now.
    pub fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge)?;
        let more = Arc::clone(&self.budget)
            .try_acquire_many_owned(bytes)
            .map_err(|_| BodyError::Busy)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }

        Ok(())
    }
}

/// `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// None.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// Decompresses a body; fails if the result has more than `most` bytes.
    pub fn decode(self, body: Bytes, most: usize, charge: &mut Charge) -> Result<Bytes, BodyError> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => {
                inflate_bounded(flate2::bufread::MultiGzDecoder::new(&*body), most, charge)
            }
            Self::Zstd => {
                let unreadable = |_| BodyError::Unreadable("the body cannot be decompressed");
                let mut decoder = zstd::Decoder::with_buffer(&*body).map_err(unreadable)?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG)
                    .map_err(unreadable)?;
                inflate_bounded(decoder, most, charge)
            }
        }
    }
}

fn inflate_bounded(
    mut from: impl Read,
    most: usize,
    charge: &mut Charge,
) -> Result<Bytes, BodyError> {
    let mut out = Vec::new();
    loop {
        charge.grow(CHUNK)?;
        let before = out.len();
        let read = from.by_ref().take(CHUNK as u64).read_to_end(&mut out);
        read.map_err(|_| BodyError::Unreadable("the body cannot be decompressed"))?;
        if out.len() > most {
            return Err(BodyError::TooLarge);
        }

        if out.len() - before < CHUNK {
            return Ok(out.into());
        }
    }
}
