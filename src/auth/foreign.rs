//! Passwords as Django stored them. Each stays as it is until its user logs in, and is then replaced by one of ours.
//!
//! The answer to a wrong password is the same whatever is stored. The time is not: 600 000 rounds of PBKDF2 take longer
//! than one of our hashes, so whoever measures can tell an imported account that has not logged in since from one that
//! does not exist. It could be hidden only by making every refused login cost as much as the dearest imported one, which
//! would let anybody keep all hashing threads busy; the limits on failed logins bound what can be measured. What has no
//! password, or one that cannot be read, takes the path and the time of a name that nobody has.

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Most rounds of PBKDF2: a few seconds of a core. An import could hold any number.
const ROUNDS_MAX: u32 = 10_000_000;
/// Most memory for one password, in KiB.
const MEMORY_MAX_KIB: u64 = 256 * 1024;
/// Most passes or lanes of argon2, and most lanes of scrypt; Django's are 2 and 8, and 5.
const PASSES_MAX: u32 = 64;
/// Highest cost of bcrypt, each step doubling the time; Django's is 12.
const BCRYPT_MAX: u32 = 16;

/// What a stored password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Our own form.
    Ours,
    /// One of Django's forms.
    Foreign,
    /// None that anybody could type.
    Unusable,
    /// Something that cannot be verified.
    Unknown,
}

/// Tells what a stored password is.
pub fn kept(stored: &str) -> Kept {
    match stored {
        "" => Kept::Unusable,
        _ if stored.starts_with('!') => Kept::Unusable,
        _ if stored.starts_with("$argon2") => Kept::Ours,
        _ if Foreign::parse(stored).is_some() => Kept::Foreign,
        _ => Kept::Unknown,
    }
}

/// A password of one of Django's forms, taken apart.
#[derive(Debug)]
pub(super) enum Foreign<'a> {
    /// `pbkdf2_sha256$rounds$salt$hash`, and with SHA-1.
    Pbkdf2 { with_sha1: bool, rounds: u32, salt: &'a str, hash: Vec<u8> },
    /// `argon2$argon2id$...`: the standard form behind the first word.
    Argon2(String),
    /// `bcrypt_sha256$$2b$12$...`: the standard form behind the first `$`, over the digits of a SHA-256.
    Bcrypt(&'a str),
    /// `scrypt$N$salt$r$p$hash`.
    Scrypt { params: scrypt::Params, salt: &'a str, hash: Vec<u8> },
}

impl<'a> Foreign<'a> {
    /// `None` where it is no such form, or one that would cost too much.
    pub(super) fn parse(stored: &'a str) -> Option<Foreign<'a>> {
        let (form, rest) = stored.split_once('$')?;
        let parts: Vec<&str> = rest.split('$').collect();
        match (form, parts.as_slice()) {
            ("pbkdf2_sha256" | "pbkdf2_sha1", [rounds, salt, hash]) => {
                let rounds = rounds.parse().ok().filter(|rounds| (1..=ROUNDS_MAX).contains(rounds))?;
                let (with_sha1, hash) = (form == "pbkdf2_sha1", BASE64.decode(hash.as_bytes()).ok()?);
                (hash.len() == if with_sha1 { 20 } else { 32 }).then_some(Foreign::Pbkdf2 {
                    with_sha1,
                    rounds,
                    salt,
                    hash,
                })
            }
            ("argon2", _) => {
                let phc = format!("${rest}");
                let affordable = argon2::PasswordHash::new(&phc).ok().is_some_and(|hash| is_affordable(&hash));
                affordable.then_some(Foreign::Argon2(phc))
            }
            ("bcrypt_sha256", ["", _, cost, _]) => {
                cost.parse().ok().filter(|cost: &u32| *cost <= BCRYPT_MAX)?;
                Some(Foreign::Bcrypt(rest))
            }
            ("scrypt", [n, salt, r, p, hash]) => {
                let (n, r, p): (u64, u32, u32) = (n.parse().ok()?, r.parse().ok()?, p.parse().ok()?);
                let affordable = n.is_power_of_two()
                    && p <= PASSES_MAX
                    && n.checked_mul(u64::from(r)).is_some_and(|blocks| blocks / 8 <= MEMORY_MAX_KIB);
                let params = scrypt::Params::new(n.trailing_zeros() as u8, r, p).ok().filter(|_| affordable)?;
                let hash = BASE64.decode(hash.as_bytes()).ok().filter(|hash| hash.len() == 64)?;
                Some(Foreign::Scrypt { params, salt, hash })
            }
            _ => None,
        }
    }

    /// Whether this is the password. Takes as long as whoever stored it wanted.
    pub(super) fn verify(&self, password: &str) -> bool {
        // Django's forms take the white space around a password away, whenever it is set or shown.
        let password = trimmed(password).as_bytes();
        match self {
            Foreign::Pbkdf2 { with_sha1: true, rounds, salt, hash } => {
                let mut made = [0; 20];
                pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt.as_bytes(), *rounds, &mut made);
                made.ct_eq(hash).into()
            }
            Foreign::Pbkdf2 { rounds, salt, hash, .. } => {
                let mut made = [0; 32];
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt.as_bytes(), *rounds, &mut made);
                made.ct_eq(hash).into()
            }
            Foreign::Argon2(phc) => {
                use argon2::password_hash::PasswordVerifier;
                // What it costs stands in the form itself.
                argon2::Argon2::default().verify_password(password, phc.as_str()).is_ok()
            }
            Foreign::Bcrypt(form) => bcrypt::verify(HEXLOWER.encode(&Sha256::digest(password)), form).unwrap_or(false),
            Foreign::Scrypt { params, salt, hash } => {
                let mut made = [0; 64];
                let done = scrypt::scrypt(password, salt.as_bytes(), params, &mut made);
                done.is_ok() && bool::from(made.ct_eq(hash))
            }
        }
    }
}

fn is_affordable(hash: &argon2::PasswordHash) -> bool {
    let params = argon2::Params::try_from(hash).ok();
    params.is_some_and(|params| {
        u64::from(params.m_cost()) <= MEMORY_MAX_KIB && params.t_cost() <= PASSES_MAX && params.p_cost() <= PASSES_MAX
    })
}

/// The password that an imported hash stands for, as Django's forms made it: without the white space at its ends, which
/// Python's `strip` takes away together with four separators more.
pub fn trimmed(password: &str) -> &str {
    password.trim_matches(|char: char| char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Django 4.2 itself.
    const KNOWN: &[(&str, &str)] = &[
        ("TestPass123!", "pbkdf2_sha256$1000$saltsaltsaltsaltsaltsa$Nv3D5oFjYITg3cVy6NKUKQzhKTx3O6BfKxflVSvtyjI="),
        ("pässwörd", "pbkdf2_sha256$1000$aZ09aZ09aZ09aZ09aZ09aZ$XWYgVXX+TKlerLIsHd3lDJLducLxdCJqTsfhpQ7gLOA="),
        ("TestPass123!", "pbkdf2_sha256$600000$saltsaltsaltsaltsaltsa$mBJ3fSgdQK5EjVH0fYf9fhnVBtU+MBgTcDQR6iO+q7Y="),
        ("TestPass123!", "pbkdf2_sha1$1000$saltsaltsaltsaltsaltsa$sTYyDbvA1hxKeX3xZ9sknZNZ7Gg="),
        (
            "TestPass123!",
            "argon2$argon2id$v=19$m=256,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYQ$5iI/NMqsPRvKQvs63V1G29qIeXFIxyMJJKGWTokOrr0",
        ),
        ("pässwörd", "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuqXYpzrHdq/GQDRDZpcNTxdbndpFhZlW"),
        (
            "TestPass123!",
            "scrypt$1024$saltsaltsaltsaltsaltsa$8$1$4Bwik0Bl7xRS0Dnni0aoBf/4U6Y/2MSvgFDF0Y7V7/o+Dy0o58J7ysG0+xRlMi6/crP/VAysLKfVFkMRz/4nig==",
        ),
        (
            "pässwörd",
            "scrypt$1024$saltsaltsaltsaltsaltsa$8$5$eG8qyJLuaiobRuBWkApeJlSbjnKBDtDSiU0o4EFtsrOy8mHPCrvk38+Lw4PsDsc7IvEiMSS1c+BgGhFPQBpTXg==",
        ),
    ];

    #[test]
    fn the_known_answers_of_every_form() {
        for (password, stored) in KNOWN {
            let foreign = Foreign::parse(stored).unwrap_or_else(|| panic!("read {stored}"));
            assert!(foreign.verify(&format!(" {password}\n")), "{stored}");
            assert_eq!(trimmed(&format!(" \t{password}\u{1f}\n")), *password);
            // The dearest is tried once more only.
            let cheap = !stored.contains("600000");
            for wrong in ["", "testPass123!", "TestPass123!!", "pässwörd!"].iter().take(if cheap { 4 } else { 1 }) {
                assert!(!foreign.verify(wrong), "{stored} is not {wrong:?}");
            }
            assert_eq!(kept(stored), Kept::Foreign);
        }
    }

    #[test]
    fn what_is_no_password_or_costs_too_much_is_none() {
        let hash = "Nv3D5oFjYITg3cVy6NKUKQzhKTx3O6BfKxflVSvtyjI=";
        let argon2 = |costs: &str| format!("argon2$argon2id$v=19${costs}$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHQ");
        let long = "A".repeat(86) + "==";
        let scrypt = |costs: &str| format!("scrypt${costs}${long}");
        assert_eq!(kept(&argon2("m=102400,t=2,p=8")), Kept::Foreign);
        assert_eq!(kept(&scrypt("16384$salt$8$5")), Kept::Foreign);
        for unknown in [
            "plain".to_owned(),
            "md5$salt$0cc175b9c0f1b6a831c399e269772661".to_owned(),
            format!("pbkdf2_sha256$10000001$salt${hash}"),
            format!("pbkdf2_sha256$0$salt${hash}"),
            format!("pbkdf2_sha256$-1$salt${hash}"),
            format!("pbkdf2_sha256$1000$salt${hash}$more"),
            "pbkdf2_sha256$1000$salt$c2hvcnQ=".to_owned(),
            format!("pbkdf2_sha1$1000$salt${hash}"),
            argon2("m=4194304,t=2,p=8"),
            argon2("m=102400,t=1000000,p=8"),
            "argon2$".to_owned(),
            "bcrypt_sha256$$2b$31$abcdefghijklmnopqrstuuu5Lo5MUZGMoCWCWw1Lt8EJFLbNfPrZm".to_owned(),
            scrypt("1073741824$salt$8$1"),
            scrypt("16384$salt$8$1000000"),
            scrypt("16383$salt$8$1"),
            scrypt("18446744073709551615$salt$8$1"),
        ] {
            assert_eq!(kept(&unknown), Kept::Unknown, "{unknown}");
        }
        for unusable in ["", "!", "!kq3b5v8w9x7y6z5a4b3c2d1e0f9g8h7i6j5k4l3m"] {
            assert_eq!(kept(unusable), Kept::Unusable);
        }
        assert_eq!(kept("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA"), Kept::Ours);
    }
}
