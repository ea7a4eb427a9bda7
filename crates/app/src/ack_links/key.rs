//! Links by which the reader of a mail acknowledges its alert: signed, and valid for a limited
//! time.
//!
//! Anyone who holds the link may use it, for that one alert only. The name in it is that of the
//! mail's recipient, not of whoever clicks.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::{AlertId, Timestamp};
use sha2::Sha256;
use uuid::Uuid;

/// The longest name in a link, in bytes.
const WHO_MAX: usize = 150;

/// The secret that links are signed with.
#[derive(Clone)]
pub struct LinkKey([u8; 32]);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey")
    }
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The alert that it acknowledges.
    pub alert_id: AlertId,
    /// When it expires; whole seconds.
    pub expires: Timestamp,
    /// Whom the mail went to.
    pub who: String,
}

impl LinkKey {
    /// A key of 256 random bits.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The path of a link below the public base URL.
    pub fn path(&self, link: &Link) -> String {
        let who = BASE64_URL_SAFE_NO_PAD.encode(&link.who[..link.who.floor_char_boundary(WHO_MAX)]);
        let body = format!("{}/{}/{who}", link.alert_id, link.expires.as_secs());
        let tag = self
            .mac(&body)
            .map(|mac| BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        format!("/ack/{body}/{}", tag.unwrap_or_default())
    }

    /// Returns the link that the parts of a path name, if its signature is valid and it has not
    /// expired.
    pub fn read(
        &self,
        alert: &str,
        expires: &str,
        who: &str,
        tag: &str,
        now: Timestamp,
    ) -> Option<Link> {
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
        // Compares in constant time.
        self.mac(&format!("{alert}/{expires}/{who}"))?
            .verify_slice(&tag)
            .ok()?;
        let expires = Timestamp::from_secs(expires.parse().ok()?);
        let who = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(who).ok()?).ok()?;

        (now < expires).then_some(Link {
            alert_id: AlertId(Uuid::try_parse(alert).ok()?),
            expires,
            who,
        })
    }

    fn mac(&self, body: &str) -> Option<Hmac<Sha256>> {
        // HMAC takes a key of any length, so this does not fail.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(b"blueteam acknowledge v1\n");
        mac.update(body.as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> (&str, &str, &str, &str) {
        let parts: Vec<_> = path.strip_prefix("/ack/").unwrap().split('/').collect();
        (parts[0], parts[1], parts[2], parts[3])
    }

    #[test]
    fn a_link_is_good_until_it_ends_and_for_what_it_says() {
        let (key, at) = (LinkKey::new([7; 32]), Timestamp::from_secs);
        let link = Link {
            alert_id: AlertId(Uuid::from_u128(5)),
            expires: at(1000),
            who: "Ann Ö".to_owned(),
        };

        let path = key.path(&link);
        let (alert, expires, who, tag) = parts(&path);
        assert_eq!(
            key.read(alert, expires, who, tag, at(999)),
            Some(link.clone())
        );
        assert_eq!(
            key.read(alert, expires, who, tag, at(1000)),
            None,
            "its time is over"
        );

        assert_eq!(
            LinkKey::new([8; 32]).read(alert, expires, who, tag, at(1)),
            None,
            "another installation's"
        );

        let other = key.path(&Link {
            alert_id: AlertId(Uuid::from_u128(6)),
            ..link
        });

        for wrong in [
            (parts(&other).0, expires, who, tag),
            (alert, "2000", who, tag),
            (alert, expires, "RXZl", tag),
            (alert, expires, who, ""),
        ] {
            assert_eq!(
                key.read(wrong.0, wrong.1, wrong.2, wrong.3, at(1)),
                None,
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let key = LinkKey::new([7; 32]);
        let link = Link {
            alert_id: AlertId(Uuid::nil()),
            expires: Timestamp::from_secs(9),
            who: "Ö".repeat(200),
        };

        assert_eq!(
            key.read(
                parts(&key.path(&link)).0,
                parts(&key.path(&link)).1,
                parts(&key.path(&link)).2,
                parts(&key.path(&link)).3,
                Timestamp::from_secs(1)
            )
            .unwrap()
            .who,
            "Ö".repeat(75)
        );
    }
}
