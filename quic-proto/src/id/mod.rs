//! Identifiers with their meaning in the type.

mod cid;
mod packet_number;
mod stream;

pub use cid::{Cid, CidTooLong, MAX_CID_LEN, ResetToken};
pub use packet_number::{Level, PacketNumber, SpaceId};
pub use stream::{Dir, Side, StreamId};
