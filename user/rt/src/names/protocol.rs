//! The messages between the name service and its clients.
//!
//! A request is a *call* over a session, or a message, which is done likewise and not answered; a watch whose
//! number nobody was told is not kept. It begins with its number and the length of the name, a byte each, and six
//! bytes of 0; then come, for Watch and Unwatch, words of eight bytes, least significant byte first; then the name,
//! which ends the message. The answer is a message of four words: 0 or the number of a [`Refusal`], a value, and two
//! of 0. Nothing else is well-formed.
//!
//! | request | number | words | name | capability | value |
//! |---|---|---|---|---|---|
//! | Register | 1 | | yes | the end that connections are sent to | |
//! | LookUp | 2 | | yes | one end of a fresh channel | |
//! | Withdraw | 3 | | yes | | |
//! | Watch | 4 | bits to set when the name appears, and when it goes | yes | a notification | the watch |
//! | Unwatch | 5 | the watch | | | |
//! | Attach | 6 | | | one end of a fresh channel: a session of its own | |
//!
//! Ends have to allow DUPLICATE, GRANT and INSPECT, notifications SIGNAL.
//!
//! Whoever registered a name receives, over that end, an [`introduction`](encode_introduction) for each
//! client: the number 7, the name as above, and the client's end as the one capability.

use core::fmt;

use abi::{Error, ObjectKind};

/// Bytes of a name at most.
pub const MAX_NAME: usize = 32;
/// Bytes of a request at most.
pub const MAX_REQUEST: usize = HEAD + 2 * WORD + MAX_NAME;

const HEAD: usize = 8;
const WORD: usize = 8;
const INTRODUCTION: u8 = 7;

/// What a service is found by: 1 to 32 characters of ASCII that can be seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Behind the name are zeros.
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl Name {
    /// A name; `None` for what is none.
    pub fn new(text: &str) -> Option<Name> {
        Name::from_bytes(text.as_bytes())
    }

    fn from_bytes(text: &[u8]) -> Option<Name> {
        if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut bytes = [0; MAX_NAME];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Name {
            bytes,
            len: text.len() as u8,
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.as_str())
    }
}

/// What a client asks for. The capability that some come with is beside it in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Have the end be found under the name. `Exists`: another end is.
    Register(Name),
    /// Pass the end on to whoever registered the name. `Older`: its channel is older than theirs, and
    /// can't be sent over it; a fresh one can. `Busy`: their queue is full.
    LookUp(Name),
    /// Have the name be found no more; `NotFound` when this session did not register it.
    Withdraw(Name),
    /// Set bits of the notification at once if the name is there and whenever it appears; and others
    /// whenever it goes. The value of the answer is the number of the watch.
    Watch {
        /// The name, whether it is there or not.
        name: Name,
        /// Bits to set when it appears.
        appeared: u64,
        /// Bits to set when it goes.
        gone: u64,
    },
    /// Take a watch of this session back.
    Unwatch(u64),
    /// Take the end as a session of its own, for somebody else: it ends by itself, but shares the
    /// limits of this one. Sessions attached by the first one have limits of their own.
    Attach,
}

impl Request {
    /// The kind of the capability that it has to come with.
    pub const fn capability(&self) -> Option<ObjectKind> {
        match self {
            Request::Register(_) | Request::LookUp(_) | Request::Attach => {
                Some(ObjectKind::ChannelEnd)
            }
            Request::Watch { .. } => Some(ObjectKind::Notification),
            Request::Withdraw(_) | Request::Unwatch(_) => None,
        }
    }

    /// As the bytes of a message.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; MAX_REQUEST]) -> &'a [u8] {
        match *self {
            Request::Register(name) => encode(buffer, 1, &[], Some(name)),
            Request::LookUp(name) => encode(buffer, 2, &[], Some(name)),
            Request::Withdraw(name) => encode(buffer, 3, &[], Some(name)),
            Request::Watch {
                name,
                appeared,
                gone,
            } => encode(buffer, 4, &[appeared, gone], Some(name)),
            Request::Unwatch(watch) => encode(buffer, 5, &[watch], None),
            Request::Attach => encode(buffer, 6, &[], None),
        }
    }

    /// From the bytes of a message, whoever wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Request, Refusal> {
        let (number, name_len, rest) = split(bytes)?;
        let words = match number {
            4 => 2,
            5 => 1,
            _ => 0,
        };
        let (words, name) = rest
            .split_at_checked(words * WORD)
            .ok_or(Refusal::Malformed)?;
        let word = |index: usize| {
            let (words, _) = words.as_chunks::<WORD>();
            words.get(index).map_or(0, |word| u64::from_le_bytes(*word))
        };
        if name.len() != name_len {
            return Err(Refusal::Malformed);
        }
        let is_nameless = name.is_empty();
        let name = Name::from_bytes(name).ok_or(Refusal::Malformed);
        match number {
            1 => Ok(Request::Register(name?)),
            2 => Ok(Request::LookUp(name?)),
            3 => Ok(Request::Withdraw(name?)),
            4 => Ok(Request::Watch {
                name: name?,
                appeared: word(0),
                gone: word(1),
            }),
            5 if is_nameless => Ok(Request::Unwatch(word(0))),
            6 if is_nameless => Ok(Request::Attach),
            _ => Err(Refusal::Malformed),
        }
    }
}

fn encode<'a>(
    buffer: &'a mut [u8; MAX_REQUEST],
    number: u8,
    words: &[u64],
    name: Option<Name>,
) -> &'a [u8] {
    let name = name.as_ref().map_or(&[][..], Name::as_bytes);
    let from = HEAD + words.len() * WORD;
    let len = from + name.len();
    buffer[..HEAD].copy_from_slice(&[number, name.len() as u8, 0, 0, 0, 0, 0, 0]);
    for (place, word) in buffer[HEAD..from].chunks_exact_mut(WORD).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    buffer[from..len].copy_from_slice(name);
    &buffer[..len]
}

/// The number, the length of the name, and what is behind the head.
fn split(bytes: &[u8]) -> Result<(u8, usize, &[u8]), Refusal> {
    match bytes {
        [number, name_len, 0, 0, 0, 0, 0, 0, rest @ ..] => {
            Ok((*number, usize::from(*name_len), rest))
        }
        _ => Err(Refusal::Malformed),
    }
}

/// What whoever registered a name is sent with the end of a client.
pub fn encode_introduction(name: Name, buffer: &mut [u8; MAX_REQUEST]) -> &[u8] {
    encode(buffer, INTRODUCTION, &[], Some(name))
}

/// The name by which a client was looking; `None` when it is no introduction.
pub fn decode_introduction(bytes: &[u8]) -> Option<Name> {
    let (number, len, name) = split(bytes).ok()?;
    (number == INTRODUCTION && name.len() == len)
        .then(|| Name::from_bytes(name))
        .flatten()
}

/// Why a request was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// The message is no request, or has not the capability that belongs to it and no other.
    Malformed = 1,
    /// There is no such name, or watch.
    NotFound = 2,
    /// The name is taken.
    Exists = 3,
    /// The session, or the service, has as much as it may have.
    Limit = 4,
    /// Whoever registered the name has more clients waiting than it takes.
    Busy = 5,
    /// The end is older than the channel that it would have to go over.
    Older = 6,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 6] = [
        Refusal::Malformed,
        Refusal::NotFound,
        Refusal::Exists,
        Refusal::Limit,
        Refusal::Busy,
        Refusal::Older,
    ];
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Malformed => Error::Invalid,
            Refusal::NotFound => Error::NotFound,
            Refusal::Exists => Error::Exists,
            Refusal::Limit => Error::Limit,
            Refusal::Busy | Refusal::Older => Error::Busy,
        }
    }
}

/// The answer to a request.
pub type Answer = Result<u64, Refusal>;

/// As the words of a message.
pub fn encode_answer(answer: Answer) -> [u64; 4] {
    match answer {
        Ok(value) => [0, value, 0, 0],
        Err(refusal) => [refusal as u64, 0, 0, 0],
    }
}

/// From the words of a message; `None` for what is no answer.
pub fn decode_answer(words: [u64; 4]) -> Option<Answer> {
    match words {
        [0, value, 0, 0] => Some(Ok(value)),
        [number, 0, 0, 0] => Refusal::ALL
            .into_iter()
            .find(|refusal| *refusal as u64 == number)
            .map(Err),
        _ => None,
    }
}
