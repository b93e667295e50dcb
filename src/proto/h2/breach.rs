//! How a peer broke HTTP/2, or asked for more than we take: one variant per cause.
//!
//! A breach ends a connection with GOAWAY, or one stream with `RST_STREAM`; the place where it is found says
//! which. A message that is not sound HTTP is a [`Violation`](crate::violation::Violation) instead.

use std::fmt;

/// An error code, RFC 9113 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// No error.
    NoError = 0,
    /// A breach of the protocol that has no code of its own.
    Protocol = 1,
    /// The sender has failed.
    Internal = 2,
    /// A breach of flow control.
    FlowControl = 3,
    /// A frame on a stream that has ended.
    StreamClosed = 5,
    /// A frame of a wrong size.
    FrameSize = 6,
    /// A stream that was not looked at.
    RefusedStream = 7,
    /// A stream that is not wanted any more.
    Cancel = 8,
    /// Field compression that cannot be read.
    Compression = 9,
    /// More work than a peer may ask for.
    EnhanceYourCalm = 11,
}

macro_rules! breaches {
    ($($(#[doc = $doc:literal])* $variant:ident $code:ident $text:literal,)*) => {
        /// A cause that ends a connection or a stream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Breach {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Breach {
            /// The code that the peer gets.
            #[must_use]
            pub const fn code(self) -> ErrorCode {
                match self { $(Self::$variant => ErrorCode::$code,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

breaches! {
    /// The connection does not begin with the preface, RFC 9113 3.4.
    Preface Protocol "malformed connection preface",
    /// A frame that is longer than `SETTINGS_MAX_FRAME_SIZE`, or of another length than its kind has, RFC
    /// 9113 4.2.
    FrameLength FrameSize "frame of a wrong length",
    /// A frame on stream 0 that needs a stream, or the reverse, or a stream of the wrong side, RFC 9113 5.1.1.
    StreamId Protocol "frame on a wrong stream",
    /// Padding that is longer than the frame, RFC 9113 6.1.
    Padding Protocol "padding is longer than its frame",
    /// A frame on a stream that nobody has opened, RFC 9113 5.1.
    IdleStream Protocol "frame on a stream that is not open",
    /// A frame on a stream that has ended, RFC 9113 5.1.
    ClosedStream StreamClosed "frame on a stream that has ended",
    /// A frame between the parts of a header block, or a CONTINUATION without one, RFC 9113 6.10.
    BlockInterrupted Protocol "header block is interrupted",
    /// A header block that cannot be decoded, RFC 9113 4.3.
    BlockMalformed Compression "malformed header block",
    /// A header block with more bytes or more frames than we take: a CONTINUATION flood.
    BlockTooLarge EnhanceYourCalm "header block is too large",
    /// A stream that depends on itself, RFC 7540 5.3.1.
    SelfDependency Protocol "stream depends on itself",
    /// A setting with a value that it cannot have, RFC 9113 6.5.2.
    SettingValue Protocol "setting with an illegal value",
    /// An initial window beyond 2^31 - 1, RFC 9113 6.5.2.
    SettingWindow FlowControl "initial window is too large",
    /// A client that pushes, RFC 9113 8.4.
    Push Protocol "client sent a push promise",
    /// `WINDOW_UPDATE` of 0, RFC 9113 6.9.
    WindowZero Protocol "window update of zero",
    /// A window beyond 2^31 - 1, RFC 9113 6.9.1.
    WindowOverflow FlowControl "window is too large",
    /// More data than the window allows, RFC 9113 6.9.1.
    WindowExceeded FlowControl "more data than the window allows",
    /// A header block that opens no stream and ends none, RFC 9113 8.1.
    TrailersOpen Protocol "trailers that do not end the stream",
    /// A message that is no sound HTTP where it cannot be answered, RFC 9113 8.1.1.
    Message Protocol "malformed message",
    /// More streams at once than `SETTINGS_MAX_CONCURRENT_STREAMS`, RFC 9113 5.1.2.
    TooManyStreams RefusedStream "more streams than allowed",
    /// Streams that the client opens and resets, faster than a browser ever does (CVE-2023-44487).
    ResetFlood EnhanceYourCalm "too many resets",
    /// Streams that the client makes us reset (CVE-2025-8671).
    MadeResetFlood EnhanceYourCalm "too many stream errors",
    /// SETTINGS without end: each must be acknowledged.
    SettingsFlood EnhanceYourCalm "too many settings",
    /// PING without end: each must be answered.
    PingFlood EnhanceYourCalm "too many pings",
    /// PRIORITY without end.
    PriorityFlood EnhanceYourCalm "too many priority frames",
    /// `WINDOW_UPDATE` without end, far more than data goes out.
    WindowFlood EnhanceYourCalm "too many window updates",
    /// DATA without data.
    EmptyDataFlood EnhanceYourCalm "too many empty data frames",
    /// Frames of unknown kinds without end.
    UnknownFlood EnhanceYourCalm "too many unknown frames",
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Breach {}
