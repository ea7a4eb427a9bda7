//! PNG (ISO/IEC 15948): every chunk with its checksum, and the pixels up to the last, so that no
//! reader later finds it broken or needs more memory than its size says.

use std::sync::Arc;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Image, ImageForm};

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The longest side, in pixels.
const SIDE_MAX: u32 = 8_192;
/// The largest picture, in pixels.
const PIXELS_MAX: u64 = 16 << 20;

struct Header {
    width: u32,
    height: u32,
    /// Bits per pixel.
    depth: u32,
    color: u8,
}

/// Checks a file and returns its picture without the chunks that no pixel needs.
pub(super) fn read(data: &[u8]) -> Result<Image, &'static str> {
    let mut rest = &data[SIGNATURE.len()..];
    let mut kept = SIGNATURE.to_vec();
    let mut header = None;
    let mut palette = 0;
    let mut pixels: Vec<&[u8]> = Vec::new();
    let mut last = *b"    ";

    loop {
        let chunk = Chunk::take(&mut rest)?;
        match (&chunk.name, &header) {
            (b"IHDR", None) => header = Some(read_header(chunk.data)?),
            (_, None) | (b"IHDR", _) => return Err("does not begin with one header"),
            (b"PLTE", Some(h)) => palette = palette_entries(h, palette, &chunk, &pixels)?,
            (b"tRNS", Some(h)) => check_transparency(h, palette, &chunk, &pixels)?,
            (b"IDAT", _) if pixels.is_empty() || last == *b"IDAT" => pixels.push(chunk.data),
            (b"IDAT", _) => return Err("has its pixels in several places"),
            (b"IEND", _) => {}
            (name, _) if name[0].is_ascii_uppercase() => return Err("has an unknown part"),
            _ => {}
        }

        if [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"].contains(&&chunk.name) {
            kept.extend_from_slice(chunk.whole);
        }

        last = chunk.name;
        if last == *b"IEND" {
            break;
        }
    }

    let header = header.ok_or("has no header")?;
    if header.color == 3 && palette == 0 {
        return Err("has no palette");
    }

    check_pixels(&header, &pixels)?;
    Ok(Image {
        form: ImageForm::Png,
        width: header.width,
        height: header.height,
        bytes: Arc::from(kept),
    })
}

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
    /// With its length and checksum.
    whole: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn take(rest: &mut &'a [u8]) -> Result<Self, &'static str> {
        const CUT: &str = "is cut off";
        let (length, _) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let length = u32::from_be_bytes(*length) as usize;
        let whole = rest.get(..length.saturating_add(12)).ok_or(CUT)?;
        let (named, sum) = whole[4..].split_last_chunk::<4>().ok_or(CUT)?;
        let (name, data) = named.split_first_chunk::<4>().ok_or(CUT)?;

        let mut crc = Crc::new();
        crc.update(named);
        if crc.sum() != u32::from_be_bytes(*sum) {
            return Err("is damaged: a checksum does not match");
        }

        *rest = &rest[whole.len()..];
        Ok(Self {
            name: *name,
            data,
            whole,
        })
    }
}

fn read_header(data: &[u8]) -> Result<Header, &'static str> {
    let [w0, w1, w2, w3, h0, h1, h2, h3, bits, color, 0, 0, interlace] = *data else {
        return Err("has an unknown header");
    };
    if interlace != 0 {
        return Err("is interlaced");
    }

    let width = u32::from_be_bytes([w0, w1, w2, w3]);
    let height = u32::from_be_bytes([h0, h1, h2, h3]);
    if width == 0 || height == 0 {
        return Err("is empty");
    }

    let pixels = u64::from(width) * u64::from(height);
    if width > SIDE_MAX || height > SIDE_MAX || pixels > PIXELS_MAX {
        return Err("is too large");
    }

    let channels = match (color, bits) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (2, 8 | 16) => 3,
        (4, 8 | 16) => 2,
        (6, 8 | 16) => 4,
        _ => return Err("has an unknown kind of color"),
    };
    Ok(Header {
        width,
        height,
        depth: channels * u32::from(bits),
        color,
    })
}

/// Returns how many colors the palette has.
fn palette_entries(
    header: &Header,
    before: usize,
    chunk: &Chunk<'_>,
    pixels: &[&[u8]],
) -> Result<usize, &'static str> {
    let entries = chunk.data.len() / 3;
    let fits = chunk.data.len().is_multiple_of(3) && (1..=256).contains(&entries);
    if !fits || before > 0 || !pixels.is_empty() || matches!(header.color, 0 | 4) {
        return Err("has a wrong palette");
    }

    if header.color == 3 && entries > 1 << header.depth {
        return Err("has a wrong palette");
    }

    Ok(entries)
}

fn check_transparency(
    header: &Header,
    palette: usize,
    chunk: &Chunk<'_>,
    pixels: &[&[u8]],
) -> Result<(), &'static str> {
    let length = chunk.data.len();
    let fits = match header.color {
        0 => length == 2,
        2 => length == 6,
        3 => (1..=palette).contains(&length),
        _ => false,
    };

    if fits && pixels.is_empty() {
        Ok(())
    } else {
        Err("has wrong transparency")
    }
}

/// Decompresses every row: as many as the header says, each with a filter that there is.
fn check_pixels(header: &Header, parts: &[&[u8]]) -> Result<(), &'static str> {
    const CUT: &str = "is damaged: its pixels end too early";
    let bits = u64::from(header.width) * u64::from(header.depth);
    let row = 1 + bits.div_ceil(8);
    let expected = row * u64::from(header.height);

    let all = parts.concat();
    let mut rest = &all[..];
    let mut stream = Decompress::new(true);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (read, written) = (stream.total_in(), stream.total_out());
        let status = stream
            .decompress(rest, &mut buffer, FlushDecompress::None)
            .map_err(|_| "is damaged: its pixels cannot be decompressed")?;
        rest = &rest[(stream.total_in() - read) as usize..];
        if stream.total_out() > expected {
            return Err("has more pixels than its size says");
        }

        // The filter of a row is its first byte.
        let made = &buffer[..(stream.total_out() - written) as usize];
        let first = (row - written % row) % row;
        if made
            .iter()
            .skip(first as usize)
            .step_by(row as usize)
            .any(|filter| *filter > 4)
        {
            return Err("is damaged: it has an unknown filter");
        }

        let stuck = made.is_empty() && stream.total_in() == read;
        match status {
            Status::StreamEnd if stream.total_out() == expected => return Ok(()),
            Status::StreamEnd => return Err(CUT),
            _ if stuck => return Err(CUT),
            _ => {}
        }
    }
}
