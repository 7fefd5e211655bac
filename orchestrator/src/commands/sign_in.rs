//! Signing in: with a password, or by what a provider says.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Semaphore;

use super::{
    By, Refused,
    users::{check_name, keep_an_admin, write_down},
};
use crate::{
    accounts::{Identity, Password, PasswordHash, Role},
    store::{
        self,
        sign_ins::{self, Failures},
        users::{self, UserRow},
    },
};

/// So many passwords are compared at once: each takes a core and 19 MiB.
static HASHES: Semaphore = Semaphore::const_new(2);

/// So many sign in at once: each has a connection while it waits for those who try the same name.
static TRIES: Semaphore = Semaphore::const_new(4);

/// So many are in there, with those who stand in line; who comes then is sent away at once.
static LINE: Semaphore = Semaphore::const_new(1_000);

/// When one of those may try again.
const CROWD_WAIT: Duration = Duration::from_secs(5);

/// How long whoever guesses must wait.
#[derive(Clone, Copy, Debug)]
struct Brake {
    /// So many wrong passwords cost nothing.
    free: i32,
    /// The longest wait after one.
    longest: Duration,
}

/// Of one name, from one address.
const OF_NAME: Brake = Brake { free: 5, longest: Duration::from_secs(900) };

/// Of all names, from one address. Many may sit behind one, so it is free for longer, and the waits are short; while one of
/// them guesses, the others wait, too.
const OF_ADDRESS: Brake = Brake { free: 50, longest: Duration::from_secs(16) };

impl Brake {
    /// How long somebody who has failed so often must still wait.
    fn wait(self, failures: Failures, now: DateTime<Utc>) -> Option<Duration> {
        let beyond = u32::try_from(failures.failures - self.free).ok()?;
        let wait = Duration::from_secs(1 << beyond.min(10)).min(self.longest);
        let over = failures.last_at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        (over - now).to_std().ok().filter(|left| !left.is_zero())
    }
}

/// Whom the tries from an address are counted for: in IPv6 everybody has as many addresses as they like in their network.
fn source(from: Option<IpAddr>) -> String {
    match from {
        None => String::new(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
    }
}

/// Why somebody may not come in.
#[derive(Debug, thiserror::Error)]
pub enum NotSignedIn {
    /// The name or the password is wrong: which of them is not told.
    #[error("Invalid credentials")]
    Wrong,
    /// It was wrong too often.
    #[error("too many wrong passwords: try again in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    /// Too many others are at it.
    #[error("too many sign in at this moment: try again in {} s", CROWD_WAIT.as_secs())]
    Crowd,
    /// The database, or what it holds, failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl NotSignedIn {
    /// When another try may be let in, if it is no use before.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::TooOften(left) => Some(*left + Duration::from_secs(1)),
            Self::Crowd => Some(CROWD_WAIT),
            Self::Wrong | Self::Failed(_) => None,
        }
    }
}

impl From<sqlx::Error> for NotSignedIn {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Who has that name and that password. Whoever guesses waits, longer each time: a try is counted before it is looked at,
/// so that many at once are as many.
///
/// # Errors
/// [`NotSignedIn`].
pub async fn sign_in(pool: &PgPool, name: &str, password: Password, by: &By) -> Result<UserRow, NotSignedIn> {
    let from = source(by.from);
    if check_name(name).is_err() {
        return Err(NotSignedIn::Wrong); // as nobody can be called; it may be a password, or what Postgres has no text for
    }
    let _place = LINE.try_acquire().map_err(|_| NotSignedIn::Crowd)?;
    let _turn = TRIES.acquire().await.map_err(anyhow::Error::from)?;
    let kept = begin_try(pool, name, &from).await?;
    let is_known = kept.is_some();
    // Without a connection: it takes a core for a while, and others may stand in line for one.
    let is_right = {
        let _turn = HASHES.acquire().await.map_err(anyhow::Error::from)?;
        let compared = tokio::task::spawn_blocking(move || password.is_of(kept.as_ref()));
        compared.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?
    };
    let mut tx = pool.begin().await?;
    let user = users::list(&mut tx, Some(name)).await?.pop().filter(|_| is_right);
    let Some(user) = user else {
        // A name that nobody has may be a password in the wrong field.
        let extra = if is_known { json!({ "username": name }) } else { json!({}) };
        write_down(&mut tx, "sign_in_failed", by, extra).await?;
        tx.commit().await?;
        return Err(NotSignedIn::Wrong);
    };
    sign_ins::succeeded(&mut tx, user.user_id, name, &from).await?;
    let by = By { user: Some(user.username.clone()), ..by.clone() };
    write_down(&mut tx, "sign_in", &by, json!({})).await?;
    tx.commit().await?;
    Ok(user)
}

/// The user who a provider says it is, made if it is new: `public` until somebody says more. A role that the provider says
/// counts from the next time somebody signs in; the last admin stays one.
///
/// # Errors
/// [`Refused`]; a user of that name who has a password is somebody else.
pub async fn sign_in_as(conn: &mut PgConnection, identity: &Identity, by: &By) -> Result<UserRow, Refused> {
    let mut tx = conn.begin().await?;
    let name = match users::name_of_identity(&mut tx, &identity.id).await? {
        Some(name) => name,
        None => {
            let role = identity.role.unwrap_or(Role::Public);
            let fit = identity.names.iter().find(|name| check_name(name).is_ok());
            let name = fit.ok_or_else(|| {
                Refused::Invalid(format!(
                    "none of {:?} can be the name of a user: letters, digits and _.-@+",
                    identity.names
                ))
            })?;
            if !users::insert_identity(&mut tx, name, &identity.id, role).await? {
                return Err(Refused::UserExists(name.clone()));
            }
            write_down(&mut tx, "create_user", by, json!({ "username": name, "role": role })).await?;
            name.clone()
        }
    };
    let gone = || Refused::NoUser(name.clone());
    let mut user = users::list(&mut tx, Some(&name)).await?.pop().ok_or_else(gone)?;
    if let Some(role) = identity.role.filter(|role| *role != user.role)
        && (role == Role::Admin || keep_an_admin(&mut tx, &name).await.is_ok())
    {
        users::set_role(&mut tx, &name, role).await?;
        write_down(&mut tx, "set_role", by, json!({ "username": name, "role": role })).await?;
        user.role = role;
    }
    let from = source(by.from);
    sign_ins::succeeded(&mut tx, user.user_id, &name, &from).await?;
    let by = By { user: Some(name), ..by.clone() };
    write_down(&mut tx, "sign_in", &by, json!({})).await?;
    tx.commit().await?;
    Ok(user)
}

async fn begin_try(pool: &PgPool, name: &str, from: &str) -> Result<Option<PasswordHash>, NotSignedIn> {
    let mut tx = pool.begin().await?;
    let now = store::now(&mut tx).await?;
    let of_name = OF_NAME.wait(sign_ins::lock_of_name(&mut tx, name, from).await?, now);
    let of_address = OF_ADDRESS.wait(sign_ins::lock_of_address(&mut tx, from).await?, now);
    if let Some(left) = of_name.max(of_address) {
        return Err(NotSignedIn::TooOften(left));
    }
    sign_ins::count_try(&mut tx, name, from).await?;
    let kept = users::password_hash(&mut tx, name).await?;
    tx.commit().await?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_waits_longer_each_time() {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        let wait = |failures| OF_NAME.wait(Failures { failures, last_at: at }, at).map(|wait| wait.as_secs());
        assert_eq!(
            [0, 4, 5, 6, 8, 20, i32::MAX].map(wait),
            [None, None, Some(1), Some(2), Some(8), Some(900), Some(900)]
        );
        let later = at + TimeDelta::seconds(1);
        assert_eq!(OF_NAME.wait(Failures { failures: 5, last_at: at }, later), None);
    }

    /// The line is one for all tests of this process.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[sqlx::test(migrations = "../migrations")]
    async fn who_comes_when_the_line_is_full_is_sent_away_at_once(pool: PgPool) {
        let try_in = async || sign_in(&pool, "nobody", Password::from("at all".to_owned()), &By::test()).await;
        let _alone = ONE_AT_A_TIME.lock().await;
        let full = LINE.acquire_many(LINE.available_permits() as u32).await.unwrap();
        let refused = try_in().await.unwrap_err();
        assert!(matches!(refused, NotSignedIn::Crowd), "{refused:?}");
        assert_eq!(refused.wait(), Some(CROWD_WAIT));
        drop(full);
        assert!(matches!(try_in().await, Err(NotSignedIn::Wrong)), "and comes in when there is room");
    }

    #[test]
    fn a_network_is_one_source() {
        let of = |address: &str| source(Some(address.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!((of("::ffff:192.0.2.7"), of("192.0.2.8").as_str()), (of("192.0.2.7"), "192.0.2.8"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn whoever_tries_many_names_waits_too(pool: PgPool) {
        let tried = "insert into sign_in_failure (username, from_address, failures)
                     select 'user' || n, '192.0.2.1', 2 from generate_series(1, 50) as n";
        let _alone = ONE_AT_A_TIME.lock().await;
        sqlx::query(tried).execute(&pool).await.unwrap();
        let from = |address: &str| By { from: Some(address.parse().unwrap()), ..By::test() };
        let try_in = async |by: By| sign_in(&pool, "another", Password::from("guess".to_owned()), &by).await;
        let refused = try_in(from("192.0.2.1")).await.unwrap_err();
        assert!(matches!(refused, NotSignedIn::TooOften(left) if left <= OF_ADDRESS.longest), "{refused:?}");
        assert!(matches!(try_in(from("192.0.2.2")).await, Err(NotSignedIn::Wrong)), "nobody else does");
        sqlx::query("update sign_in_failure set last_at = now() - interval '17 seconds'").execute(&pool).await.unwrap();
        assert!(matches!(try_in(from("192.0.2.1")).await, Err(NotSignedIn::Wrong)), "and not for ever");
        let again = try_in(from("192.0.2.1")).await.unwrap_err();
        assert!(matches!(again, NotSignedIn::TooOften(_)), "{again:?}");
    }
}
