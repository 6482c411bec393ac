//! The hash space of a stream: 0 to 2^128 - 1, MD5 of the partition key read as a big-endian number.

use md5::{Digest as _, Md5};

/// The hash key of a partition key: its MD5 as an unsigned big-endian number.
pub fn hash_key(partition_key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// Reads an explicit hash key: `0`, or up to 39 decimal digits that do not begin with 0. `None`
/// where it is not one, or not below 2^128.
pub fn parse_hash_key(text: &str) -> Option<u128> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// A part of the hash space, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// The first key in it.
    pub first: u128,
    /// The last key in it.
    pub last: u128,
}

impl HashRange {
    /// Splits the whole space into `count` parts of floor(2^128 / count) keys; the last takes the
    /// rest. No part for a count of 0.
    pub fn split(count: u32) -> Vec<Self> {
        let width = match count {
            0 => return Vec::new(),
            1 => {
                return vec![Self {
                    first: 0,
                    last: u128::MAX,
                }];
            }
            // floor(2^128 / n) from 2^128 - 1: they differ where n divides 2^128.
            _ if u128::MAX % u128::from(count) == u128::from(count) - 1 => {
                u128::MAX / u128::from(count) + 1
            }
            _ => u128::MAX / u128::from(count),
        };
        (0..u128::from(count))
            .map(|i| Self {
                first: i * width,
                last: if i + 1 == u128::from(count) {
                    u128::MAX
                } else {
                    (i + 1) * width - 1
                },
            })
            .collect()
    }

    /// Whether a key lies in it.
    pub fn contains(&self, key: u128) -> bool {
        (self.first..=self.last).contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::{HashRange, hash_key, parse_hash_key};

    #[test]
    fn md5_test_vectors() {
        // kinesis.md section 1
        for (key, hash) in [
            ("a", 16_955_237_001_963_240_173_058_271_559_858_726_497),
            ("b", 195_289_424_170_611_159_128_911_017_612_795_795_343),
            ("e", 299_611_584_147_932_843_547_128_611_849_858_313_266),
            (
                "f",
                190_917_122_200_326_810_055_233_066_464_581_373_159_u128,
            ),
        ] {
            assert_eq!(hash_key(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn the_split_covers_the_space_without_gap() {
        for count in [1, 2, 3, 7, 8, 1000] {
            let parts = HashRange::split(count);
            assert_eq!(parts.len(), count as usize);
            assert_eq!(
                (parts[0].first, parts[parts.len() - 1].last),
                (0, u128::MAX)
            );
            for pair in parts.windows(2) {
                assert_eq!(pair[0].last + 1, pair[1].first);
                assert_eq!(pair[0].last - pair[0].first, parts[0].last);
            }
        }
        assert_eq!(HashRange::split(2)[1].first, 1 << 127);
        assert_eq!(HashRange::split(3)[1].first, u128::MAX / 3);
        assert!(HashRange::split(0).is_empty());
    }

    #[test]
    fn explicit_hash_keys() {
        assert_eq!(parse_hash_key("0"), Some(0));
        assert_eq!(parse_hash_key(&u128::MAX.to_string()), Some(u128::MAX));
        let above = "340282366920938463463374607431768211456";
        for bad in [
            "",
            "00",
            "01",
            "-1",
            "+1",
            "1a",
            above,
            "9999999999999999999999999999999999999999",
        ] {
            assert_eq!(parse_hash_key(bad), None, "{bad}");
        }
    }
}
