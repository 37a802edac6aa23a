//! A compressed stream on the connection: frames, each a length (32 bits, little-endian) and that many bytes.
//! With the highest bit of the length set, the bytes are the stream's own; without it, a frame of zstd of at
//! most [`MOST`] of them.
//!
//! Each frame stands for itself, so whatever was written can be expanded as soon as it is here: nothing is
//! held back for the next one, not the last page of a suspended guest and not xl's GO.

use std::fmt;

use zstd::bulk::{Compressor, Decompressor};

/// The most of the stream that one frame holds.
pub const MOST: usize = 1 << 20;
/// zstd's fastest ordinary level: a network is to be saved, not a processor used up.
const LEVEL: i32 = 1;
const HEADER: usize = 4;
const STORED: u32 = 1 << 31;

/// Puts a stream into frames.
pub struct Packer(Compressor<'static>);

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// A new one.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Compressor::new(LEVEL).map(Self)
    }

    /// `bytes`, at most [`MOST`], as one frame.
    ///
    /// # Errors
    /// If zstd fails.
    pub fn pack(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let packed = self.0.compress(bytes)?;
        let (body, stored) = if packed.len() < bytes.len() { (&packed[..], 0) } else { (bytes, STORED) };
        let length = u32::try_from(body.len()).map_err(std::io::Error::other)?;
        let mut frame = Vec::with_capacity(HEADER + body.len());
        frame.extend_from_slice(&(length | stored).to_le_bytes());
        frame.extend_from_slice(body);
        Ok(frame)
    }
}

/// Takes frames apart, however the bytes are cut.
pub struct Unpacker {
    zstd: Decompressor<'static>,
    seen: Vec<u8>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unpacker({} bytes wait)", self.seen.len())
    }
}

impl Unpacker {
    /// A new one.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()?, seen: Vec::new() })
    }

    /// Takes in what has come over the connection. Whoever does not take the frames out with [`Self::frame`]
    /// before more comes has to hold it all.
    pub fn push(&mut self, bytes: &[u8]) {
        self.seen.extend_from_slice(bytes);
    }

    /// The stream's bytes in the next frame, at most [`MOST`], if it is here as a whole. One at a time: a few
    /// bytes of zstd can stand for a MiB.
    ///
    /// # Errors
    /// If this is no frame.
    pub fn frame(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let Some((header, rest)) = self.seen.split_first_chunk::<HEADER>() else { return Ok(None) };
        let word = u32::from_le_bytes(*header);
        let length = (word & !STORED) as usize;
        if length > MOST {
            return Err(std::io::Error::other(format!("a frame of {length} bytes")));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let stream = if word & STORED == 0 { self.zstd.decompress(body, MOST)? } else { body.to_vec() };
        self.seen.drain(..HEADER + length);
        Ok(Some(stream))
    }
}

#[cfg(test)]
pub(super) fn all_of(unpacker: &mut Unpacker, bytes: &[u8]) -> Vec<u8> {
    unpacker.push(bytes);
    std::iter::from_fn(|| unpacker.frame().ok().flatten()).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_the_same_however_it_is_cut() {
        let noise: Vec<u8> =
            (0_u32..90_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let parts: [&[u8]; 4] = [&[0; MOST], b"domain is yours\0", &noise, b"x"];
        let mut packer = Packer::new().unwrap();
        let frames: Vec<Vec<u8>> = parts.iter().map(|part| packer.pack(part).unwrap()).collect();
        assert!(frames[0].len() < 1000, "zeros cost {} bytes", frames[0].len());
        assert!(frames[2].len() <= noise.len() + HEADER, "what cannot be made smaller is left as it is");
        let wire = frames.concat();
        for cut in [1, 3, 4096, wire.len()] {
            let mut unpacker = Unpacker::new().unwrap();
            let out: Vec<u8> = wire.chunks(cut).flat_map(|part| all_of(&mut unpacker, part)).collect();
            assert!(out == parts.concat(), "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_frame_can_be_used_as_soon_as_its_last_byte_is_here() {
        let frame = Packer::new().unwrap().pack(&[7; 5000]).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        assert!(all_of(&mut unpacker, &frame[..frame.len() - 1]).is_empty());
        assert_eq!(all_of(&mut unpacker, &frame[frame.len() - 1..]), [7; 5000]);
    }

    #[test]
    fn what_is_no_frame_is_an_error_and_costs_no_memory() {
        let mut unpacker = Unpacker::new().unwrap();
        unpacker.push(b"Xen saved domain, xl format");
        assert!(unpacker.frame().is_err());
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        let frame = [&u32::try_from(bomb.len()).unwrap().to_le_bytes()[..], &bomb].concat();
        let mut unpacker = Unpacker::new().unwrap();
        unpacker.push(&frame);
        assert!(unpacker.frame().is_err());
    }

    #[test]
    fn many_small_frames_that_stand_for_much_are_expanded_one_at_a_time() {
        let frame = Packer::new().unwrap().pack(&[0; MOST]).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        unpacker.push(&frame.repeat(40));
        for _ in 0..40 {
            assert_eq!(unpacker.frame().unwrap().map(|stream| stream.len()), Some(MOST));
        }
        assert_eq!(unpacker.frame().unwrap(), None);
    }
}
