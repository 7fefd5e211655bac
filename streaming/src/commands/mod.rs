//! What people ask of the streaming side: how far it is, whether the bucket is whole, what could not be read.

pub mod dead_letters;
pub mod log;
pub mod status;
pub mod verify;
