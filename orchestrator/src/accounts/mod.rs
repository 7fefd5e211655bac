//! Who may do what: users with a role, their passwords, and the tokens that stand for them.

mod identity;
mod password;
mod role;
mod sight;
mod token;

pub use identity::Identity;
pub use password::{MalformedHash, Password, PasswordHash};
pub use role::{BadRole, Role};
pub use sight::Sight;
pub use token::{TOKEN_PREFIX, Token};
