//! The framing of a chunked body, byte by byte (RFC 9112 § 7.1).

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// The size read so far, and whether it has a digit.
    Size(u64, bool),
    /// After the size, which is kept.
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// A trailer line; whether it has a byte.
    Trailer(bool),
    TrailerLf(bool),
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPart {
    /// To the body still.
    In(Chunk),
    /// The body has ended.
    End,
    /// This byte may not stand where it does.
    Refused,
}

impl Chunk {
    /// Before the first byte of the body.
    pub const FIRST: Self = Self::Size(0, false);

    /// Behind `byte`, without leniency.
    pub fn behind(self, byte: u8) -> NextPart {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        NextPart::In(match (self, byte, digit) {
            (Self::Size(size, _), _, Some(digit)) if size < 1 << 58 => Self::Size(size * 16 + digit, true),
            (Self::Size(size, true) | Self::Extension(size), b'\r', _) => Self::SizeLf(size),
            (Self::Size(size, true), b';' | b' ' | b'\t', _) => Self::Extension(size),
            (Self::Extension(size), _, _) if !byte.is_ascii_control() || byte == b'\t' => {
                Self::Extension(size)
            }
            (Self::SizeLf(0) | Self::TrailerLf(true), b'\n', _) => Self::Trailer(false),
            (Self::SizeLf(size), b'\n', _) => Self::Data(size),
            (Self::DataCr, b'\r', _) => Self::DataLf,
            (Self::DataLf, b'\n', _) => Self::Size(0, false),
            (Self::Trailer(begun), b'\r', _) => Self::TrailerLf(begun),
            (Self::Trailer(_), _, _) if byte != b'\n' => Self::Trailer(true),
            (Self::TrailerLf(false), b'\n', _) => return NextPart::End,
            _ => return NextPart::Refused,
        })
    }
}
