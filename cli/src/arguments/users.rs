//! `users`: who may come in, and what they may do.

use clap::{Args, Subcommand};
use orchestrator::{accounts::Role, ids::DagId};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Lists users.
    List,
    /// Makes a user.
    Create {
        /// What they sign in with.
        username: String,
        /// What they may do: public (nothing but what is granted), viewer, user, op or admin.
        #[arg(long, default_value = "viewer")]
        role: Role,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// Gives a user another password; all of their sessions and tokens end.
    ResetPassword {
        /// Whose.
        username: String,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// Changes what a user may do.
    SetRole {
        /// Who.
        username: String,
        /// public, viewer, user, op or admin.
        role: Role,
    },
    /// Lets a user look at one DAG (viewer) or work on it (user), whatever their role.
    Grant {
        /// Who.
        username: String,
        /// Which DAG.
        dag_id: DagId,
        /// viewer or user.
        #[arg(default_value = "viewer")]
        role: Role,
    },
    /// Takes back what a user might do with one DAG.
    Revoke {
        /// Who.
        username: String,
        /// Which DAG.
        dag_id: DagId,
    },
    /// Deletes a user.
    Delete {
        /// Who.
        username: String,
    },
    /// Makes a token that a program uses as a user, and shows it this one time.
    Token {
        /// As whom.
        username: String,
        /// What it is called in lists.
        name: String,
        /// How long it is good.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: u32,
    },
    /// Lists the tokens of a user.
    Tokens {
        /// Whose.
        username: String,
    },
    /// Takes a token of a user away: whoever has it gets in no more.
    RevokeToken {
        /// Whose.
        username: String,
        /// Its id in the list.
        id: i64,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PasswordOptions {
    /// Read the password from standard input; else one is made and shown.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}
