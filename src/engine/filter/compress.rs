//! `compress`: bodies of responses in a coding that the client takes (RFC 9110 sections 8.4 and 12.5.3).
//!
//! A response that has a coding already stays as it is. A body of known length is compressed as a
//! whole; of a body whose end is not known, each piece goes out as soon as it has come, so that a
//! stream of events is not delayed.
//!
//! The encoders of gzip and zstd are used again for other bodies of the core; those of brotli cannot be.
//!
//! Invariant: `Accept-Encoding` is read in one pass, whatever a client writes there.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::rc::Rc;

use flate2::{Compress as Deflate, Compression, Crc, FlushCompress, Status};
use proto::head::{BodySize, HeaderId, Headers, Method};

use super::{
    BodyFilter, BodyVerdict, Filter, FilterKeys, FilterResponse, FilterShare, Hooks,
    ResponseVerdict,
};
use crate::keys::{ByteSize, KeyRule, section, words};
use crate::reason::Reason;

section! {
    /// Compresses the bodies of responses for clients that take it. A response that is compressed already,
    /// a part of one (206), and one with `Cache-Control: no-transform` stay as they are.
    #[derive(Eq)]
    pub settings Compress {
        /// The codings, the preferred one first. The client's own preference goes before.
        encodings: Vec<Coding> => KeyRule::default(vec![Coding::Zstd, Coding::Brotli, Coding::Gzip]);
        /// Shorter bodies stay as they are.
        bytes_min: ByteSize => KeyRule::default(ByteSize(1024)).within(ByteSize(0)..=ByteSize(1 << 30));
        /// The types of bodies; "text/*" stands for all that begin so.
        types: Vec<String> => KeyRule::default(default_types());
        /// How hard gzip tries: 1 is fast, 9 is small.
        gzip_level: u32 => KeyRule::default(4).within(1..=9);
        /// How hard brotli tries: 0 is fast, 11 is small and very slow.
        brotli_level: u32 => KeyRule::default(4).within(0..=11);
        /// How hard zstd tries: 1 is fast, 19 is small.
        zstd_level: u32 => KeyRule::default(3).within(1..=19);
    }
}

fn default_types() -> Vec<String> {
    let types = [
        "text/*",
        "application/json",
        "application/*+json",
        "application/javascript",
        "application/xml",
        "application/*+xml",
        "application/wasm",
        "image/svg+xml",
    ];
    types.map(str::to_owned).to_vec()
}

/// A coding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

words! {
    Coding {
        Zstd = "zstd",
        Brotli = "br",
        Gzip = "gzip",
    }
}

/// The filter as it runs.
#[derive(Debug)]
pub struct Compressor {
    keys: Compress,
    idle: Rc<IdleEncoders>,
}

/// Encoders that no response uses now.
#[derive(Debug, Default)]
struct IdleEncoders(RefCell<Vec<Encoder>>);

/// More encoders are dropped: each holds up to a megabyte.
const IDLE_MAX: usize = 16;

impl FilterKeys for Compress {
    type Running = Compressor;

    fn start(&self, _: FilterShare, _: Option<&Compressor>) -> Compressor {
        Compressor { keys: self.clone(), idle: Rc::default() }
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let cure = "write \"gzip\", \"br\" or \"zstd\"";
        self.encodings.is_empty().then(|| ("there is no coding".to_owned(), cure))
    }
}

impl Filter for Compressor {
    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn on_response(&self, response: &mut FilterResponse<'_>) -> ResponseVerdict {
        let headers = &response.head.headers;
        if matches!(response.size, BodySize::None) && response.request.method != Method::Head
            || matches!(response.head.status, 204 | 206 | 304)
            || headers.contains(HeaderId::ContentEncoding)
            || headers.all(HeaderId::CacheControl).any(|it| has_word(it, b"no-transform"))
            || matches!(response.size, BodySize::Known(bytes) if bytes < self.keys.bytes_min.0)
            || !self.is_of_type(headers)
        {
            return ResponseVerdict::Continue;
        }
        // Another client may get another coding, so a cache must tell them apart.
        response.head.headers.push_named(b"vary", b"accept-encoding");
        let Some(coding) = chosen(&self.keys.encodings, &response.request.headers) else {
            return ResponseVerdict::Continue;
        };
        if response.request.method == Method::Head {
            // The length of the compressed body is not known.
            return ResponseVerdict::Continue;
        }
        let headers = &mut response.head.headers;
        headers.push(HeaderId::ContentEncoding, coding.token());
        headers.remove_named(b"accept-ranges");
        headers.remove_named(b"content-digest");
        // RFC 9110 section 8.8.3: the bytes differ, so a strong validator would lie.
        let etag = headers.find(b"etag").filter(|it| !it.starts_with(b"W/")).map(<[u8]>::to_vec);
        if let Some(etag) = etag {
            headers.remove_named(b"etag");
            headers.push_named(b"etag", &[&b"W/"[..], &etag].concat());
        }
        let flush = response.size == BodySize::Unknown;
        let encoder = self.idle.take(coding, &self.keys);
        let idle = Rc::clone(&self.idle);
        ResponseVerdict::Transform(Box::new(Compressing { encoder, idle, flush }))
    }
}

impl Compressor {
    fn is_of_type(&self, headers: &Headers) -> bool {
        let Some(value) = headers.get(HeaderId::ContentType) else { return false };
        let media = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.keys.types.iter().any(|pattern| match pattern.split_once('*') {
            None => media.eq_ignore_ascii_case(pattern.as_bytes()),
            Some((front, back)) => {
                media.len() >= front.len() + back.len()
                    && starts_with(media, front)
                    && ends_with(media, back)
            }
        })
    }
}

fn starts_with(text: &[u8], front: &str) -> bool {
    text.get(..front.len()).is_some_and(|it| it.eq_ignore_ascii_case(front.as_bytes()))
}

fn ends_with(text: &[u8], back: &str) -> bool {
    let from = text.len().saturating_sub(back.len());
    text.get(from..).is_some_and(|it| it.eq_ignore_ascii_case(back.as_bytes()))
}

/// Whether a list names this word.
fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(word))
}

/// The coding that the client prefers, and among equals the first of `offered`. `None` where it takes
/// none of them, or prefers the body as it is.
fn chosen(offered: &[Coding], request: &Headers) -> Option<Coding> {
    let (mut named, mut any, mut plain) = ([None; Coding::ALL.len()], None, None);
    for field in request.all(HeaderId::AcceptEncoding) {
        for member in field.split(|byte| *byte == b',') {
            let (token, weight) = weighted(member);
            let is = |name: &[u8]| token.eq_ignore_ascii_case(name);
            let known = Coding::ALL.iter().position(|coding| is(coding.token()));
            let place = match known.and_then(|at| named.get_mut(at)) {
                Some(place) => place,
                None if is(b"*") => &mut any,
                // "identity" counts only where the client names it.
                None if is(b"identity") => &mut plain,
                None => continue,
            };
            place.get_or_insert(weight);
        }
    }
    let mut best: Option<(Coding, u32)> = None;
    for coding in offered {
        let place = Coding::ALL.iter().position(|it| it == coding);
        let weight = place.and_then(|at| *named.get(at)?).or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((*coding, weight));
        }
    }
    let (coding, weight) = best?;
    plain.is_none_or(|plain| plain <= weight).then_some(coding)
}

/// A member of Accept-Encoding and its weight in thousandths (RFC 9110 section 12.4.2).
fn weighted(member: &[u8]) -> (&[u8], u32) {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let token = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    (token, quality.map_or(1000, |quality| thousandths(quality).unwrap_or(0)))
}

/// A number from 0 to 1 with at most three decimals, in thousandths.
fn thousandths(text: &[u8]) -> Option<u32> {
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let mut weight = digit(whole)?;
    for place in 0..3 {
        weight = weight * 10 + decimals.get(place).map_or(Some(0), digit)?;
    }
    (weight <= 1000).then_some(weight)
}

impl Coding {
    /// All there are.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The word on the wire.
    const fn token(self) -> &'static [u8] {
        match self {
            Self::Zstd => b"zstd",
            Self::Brotli => b"br",
            Self::Gzip => b"gzip",
        }
    }
}

/// A body on its way through an encoder.
#[derive(Debug)]
struct Compressing {
    encoder: Option<Encoder>,
    idle: Rc<IdleEncoders>,
    /// Each piece goes out at once.
    flush: bool,
}

impl BodyFilter for Compressing {
    fn push(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) -> BodyVerdict {
        let Some(encoder) = &mut self.encoder else { return BodyVerdict::Replace };
        if encoder.push(piece, last, self.flush, out).is_err() {
            return BodyVerdict::Refuse(Reason::FilterFailed);
        }
        if last && let Some(encoder) = self.encoder.take() {
            self.idle.give_back(encoder);
        }
        BodyVerdict::Replace
    }
}

impl IdleEncoders {
    /// An encoder at the beginning of a body.
    fn take(&self, coding: Coding, keys: &Compress) -> Option<Encoder> {
        let mut idle = self.0.borrow_mut();
        match idle.iter().position(|it| it.coding() == coding) {
            Some(at) => Some(idle.swap_remove(at)),
            None => Encoder::new(coding, keys),
        }
    }

    /// Keeps an encoder for another body.
    fn give_back(&self, encoder: Encoder) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < IDLE_MAX
            && let Some(encoder) = encoder.reset()
        {
            idle.push(encoder);
        }
    }
}

/// An encoder, at the beginning of a body or within one.
enum Encoder {
    Gzip(Box<Gzip>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::raw::Encoder<'static>>),
}

/// Deflate with the frame of gzip round it.
struct Gzip {
    deflate: Deflate,
    crc: Crc,
    begun: bool,
}

/// No name, no time, any system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The window of brotli and zstd, as a power of two: 256 KiB hold what a page repeats, and keep the
/// memory of an encoder below a megabyte.
const WINDOW_BITS: u32 = 18;

/// Brotli collects so many bytes before it works on them.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Room that an output grows by at once.
const ROOM_BYTES: usize = 16 * 1024;

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoder").field(&self.coding()).finish()
    }
}

impl Encoder {
    fn new(coding: Coding, keys: &Compress) -> Option<Self> {
        Some(match coding {
            Coding::Gzip => Self::Gzip(Box::new(Gzip {
                deflate: Deflate::new(Compression::new(keys.gzip_level), false),
                crc: Crc::new(),
                begun: false,
            })),
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                keys.brotli_level,
                WINDOW_BITS,
            ))),
            Coding::Zstd => {
                let level = i32::try_from(keys.zstd_level).ok()?;
                let mut encoder = zstd::stream::raw::Encoder::new(level).ok()?;
                let window = zstd::stream::raw::CParameter::WindowLog(WINDOW_BITS);
                encoder.set_parameter(window).ok()?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    const fn coding(&self) -> Coding {
        match self {
            Self::Gzip(_) => Coding::Gzip,
            Self::Brotli(_) => Coding::Brotli,
            Self::Zstd(_) => Coding::Zstd,
        }
    }

    /// The same at the beginning of another body; `None` where it cannot be used again.
    fn reset(mut self) -> Option<Self> {
        match &mut self {
            Self::Gzip(gzip) => {
                gzip.deflate.reset();
                gzip.crc.reset();
                gzip.begun = false;
            }
            Self::Zstd(zstd) => zstd::stream::raw::Operation::reinit(&mut **zstd).ok()?,
            Self::Brotli(_) => return None,
        }
        Some(self)
    }

    fn push(
        &mut self,
        piece: &[u8],
        last: bool,
        flush: bool,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.push(piece, last, flush, out),
            Self::Brotli(writer) => {
                writer.write_all(piece)?;
                if last {
                    let finished = std::mem::replace(
                        &mut **writer,
                        brotli::CompressorWriter::new(Vec::new(), 1, 0, WINDOW_BITS),
                    );
                    out.append(&mut finished.into_inner());
                    return Ok(());
                }
                if flush {
                    writer.flush()?;
                }
                out.append(writer.get_mut());
                Ok(())
            }
            Self::Zstd(encoder) => zstd_push(encoder, piece, last, flush, out),
        }
    }
}

impl Gzip {
    fn push(
        &mut self,
        mut piece: &[u8],
        last: bool,
        flush: bool,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&GZIP_HEADER);
        }
        self.crc.update(piece);
        let how = match (last, flush) {
            (true, _) => FlushCompress::Finish,
            (false, true) => FlushCompress::Sync,
            (false, false) => FlushCompress::None,
        };
        loop {
            out.reserve(ROOM_BYTES.min(piece.len() / 2 + 256));
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(piece, out, how)?;
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            piece = piece.get(taken..).unwrap_or_default();
            // Room that is left says that there is no more to write.
            let is_done = match status {
                Status::StreamEnd => true,
                _ => piece.is_empty() && !last && out.len() < out.capacity(),
            };
            if is_done {
                break;
            }
        }
        if last {
            out.extend_from_slice(&self.crc.sum().to_le_bytes());
            out.extend_from_slice(&self.crc.amount().to_le_bytes());
        }
        Ok(())
    }
}

fn zstd_push(
    encoder: &mut zstd::stream::raw::Encoder<'static>,
    mut piece: &[u8],
    last: bool,
    flush: bool,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    use zstd::stream::raw::{Operation, OutBuffer};
    while !piece.is_empty() {
        out.reserve(ROOM_BYTES);
        let from = out.len();
        let mut buffer = OutBuffer::around_pos(out, from);
        let mut input = zstd::stream::raw::InBuffer::around(piece);
        encoder.run(&mut input, &mut buffer)?;
        let taken = input.pos();
        piece = piece.get(taken..).unwrap_or_default();
    }
    if !last && !flush {
        return Ok(());
    }
    loop {
        out.reserve(ROOM_BYTES);
        let from = out.len();
        let mut buffer = OutBuffer::around_pos(out, from);
        let left =
            if last { encoder.finish(&mut buffer, true)? } else { encoder.flush(&mut buffer)? };
        if left == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::ResponseOrigin;
    use super::super::testing::{SHARE, TestRequest, response};
    use super::*;

    fn prefers(accepted: &str) -> Option<Coding> {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accepted}\r\n");
        chosen(&Coding::ALL, &TestRequest::new(&text).head.headers)
    }

    #[test]
    fn the_client_chooses_and_the_order_decides_among_equals() {
        for (accepted, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, br", Some(Coding::Brotli)),
            ("GZIP", Some(Coding::Gzip)),
            ("gzip;q=0.9, br;q=0.1", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Coding::Brotli)),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.500", Some(Coding::Gzip)),
            ("gzip;q=1.000, br;q=0.999", Some(Coding::Gzip)),
            ("gzip;q=1.001, br;q=nan, zstd;q=0.0001", None),
            ("gzip;q=0, gzip", None),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(prefers(accepted), coding, "{accepted}");
        }
    }

    fn plain(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
            Coding::Zstd => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut plain),
        }
        .unwrap();
        plain
    }

    fn compress(fields: &str, coding: &str, filter: &Compressor) -> Option<Box<dyn BodyFilter>> {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n");
        let mut head = response(fields);
        match TestRequest::new(&text).respond(filter, &mut head, ResponseOrigin::Endpoint) {
            ResponseVerdict::Transform(body) => {
                assert_eq!(head.headers.get(HeaderId::ContentEncoding), Some(coding.as_bytes()));
                assert_eq!(head.headers.find(b"vary"), Some(&b"accept-encoding"[..]));
                Some(body)
            }
            _ => None,
        }
    }

    #[test]
    fn a_body_comes_out_as_it_went_in_whatever_its_pieces() {
        let filter = Compress::default().start(SHARE, None);
        let body: Vec<u8> =
            (0..200_000u32).flat_map(|n| (n / 7).to_string().into_bytes()).collect();
        for (coding, token) in Coding::ALL.into_iter().zip(["zstd", "br", "gzip"]) {
            for (fields, piece) in [
                ("Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n", 1000),
                ("Content-Type: text/plain\r\nContent-Length: 999999\r\n", 65_536),
                ("Content-Type: text/plain\r\nContent-Length: 999999\r\n", usize::MAX),
            ] {
                let mut through = compress(fields, token, &filter).unwrap();
                let (mut sent, mut out) = (Vec::new(), Vec::new());
                let mut pieces = body.chunks(piece).peekable();
                while let Some(piece) = pieces.next() {
                    out.clear();
                    let last = pieces.peek().is_none();
                    assert_eq!(through.push(piece, last, &mut out), BodyVerdict::Replace);
                    sent.extend_from_slice(&out);
                }
                assert!(sent.len() * 2 < body.len(), "{token}: {}", sent.len());
                assert!(plain(coding, &sent) == body, "{token} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_piece_of_a_stream_goes_out_at_once() {
        let filter = Compress::default().start(SHARE, None);
        let fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
        let mut through = compress(fields, "gzip", &filter).unwrap();
        let mut sent = Vec::new();
        let _ = through.push(b"data: one\n\n", false, &mut sent);
        let mut plain = [0; 11];
        flate2::read::GzDecoder::new(&*sent).read_exact(&mut plain).unwrap();
        assert_eq!(&plain, b"data: one\n\n");
    }

    #[test]
    fn some_responses_stay_as_they_are() {
        let filter = Compress::default().start(SHARE, None);
        for fields in [
            "Content-Type: text/plain\r\nContent-Length: 1023\r\n",
            "Content-Type: image/png\r\nContent-Length: 9999\r\n",
            "Content-Length: 9999\r\n",
            "Content-Type: text/plain\r\nContent-Encoding: br\r\nContent-Length: 9999\r\n",
            "Content-Type: text/plain\r\nCache-Control: public, no-transform\r\nContent-Length: 9999\r\n",
        ] {
            assert!(compress(fields, "gzip", &filter).is_none(), "{fields}");
        }
        let json =
            "Content-Type: Application/problem+JSON; charset=utf-8\r\nContent-Length: 9999\r\n";
        assert!(compress(json, "gzip", &filter).is_some());
    }
}
