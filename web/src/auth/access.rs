//! Who may come in at all.

use std::net::SocketAddr;

/// Who may come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Users who sign in.
    Users,
    /// Everybody on this machine, as an admin; a request that names another host is refused.
    Loopback,
    /// Everybody, as an admin: somebody said so.
    Everybody,
}

/// The setting makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessError {
    /// It is none of the words.
    #[error("STREAMCOMMERCE_UNAUTHENTICATED is {0:?}: it may be loopback, accept, or nothing (people sign in)")]
    Unknown(String),
    /// It would let in more than it says.
    #[error("STREAMCOMMERCE_UNAUTHENTICATED is loopback, and {0} is not: bind to 127.0.0.1, or have people sign in")]
    NotLoopback(SocketAddr),
}

impl Access {
    /// As `STREAMCOMMERCE_UNAUTHENTICATED` says.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn from_env(bind: SocketAddr) -> Result<Self, AccessError> {
        Self::parse(&std::env::var("STREAMCOMMERCE_UNAUTHENTICATED").unwrap_or_default(), bind)
    }

    fn parse(setting: &str, bind: SocketAddr) -> Result<Self, AccessError> {
        match setting {
            "" => Ok(Self::Users),
            "accept" => Ok(Self::Everybody),
            "loopback" if bind.ip().is_loopback() => Ok(Self::Loopback),
            "loopback" => Err(AccessError::NotLoopback(bind)),
            other => Err(AccessError::Unknown(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_sign_in_unless_somebody_says_otherwise() {
        let (here, there): (SocketAddr, SocketAddr) = ("127.0.0.1:80".parse().unwrap(), "0.0.0.0:80".parse().unwrap());
        assert_eq!(Access::parse("", there), Ok(Access::Users));
        assert_eq!(Access::parse("loopback", here), Ok(Access::Loopback));
        assert_eq!(Access::parse("loopback", there), Err(AccessError::NotLoopback(there)));
        assert_eq!(Access::parse("accept", there), Ok(Access::Everybody));
        assert_eq!(Access::parse("yes", here), Err(AccessError::Unknown("yes".to_owned())));
    }
}
