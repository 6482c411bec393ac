//! The checksum of a whole object or of a part, as S3 writes it: base64 of its big-endian bytes.

use crc_fast::CrcAlgorithm;

/// Which checksum goes with every object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-64/NVME: the fastest, and S3's own default.
    #[default]
    Crc64Nvme,
    /// CRC-32: for servers that do not know the first.
    Crc32,
    /// None but where S3 requires one: for servers that refuse checksum headers.
    RequiredOnly,
}

/// A checksum over the bytes so far. Without one on the wire it is kept all the same, to compare
/// an object that is there already.
#[derive(Clone, Copy)]
pub(super) struct Running {
    digest: crc_fast::Digest,
    bytes: usize,
}

impl Checksum {
    pub(super) fn start(self) -> Running {
        let (algorithm, bytes) = match self {
            Self::Crc64Nvme | Self::RequiredOnly => (CrcAlgorithm::Crc64Nvme, 8),
            Self::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
        };
        Running {
            digest: crc_fast::Digest::new(algorithm),
            bytes,
        }
    }

    pub(super) fn of(self, data: &[u8]) -> String {
        let mut running = self.start();
        running.update(data);
        running.to_base64()
    }
}

impl Running {
    pub(super) fn update(&mut self, data: &[u8]) {
        self.digest.update(data);
    }

    pub(super) fn to_base64(self) -> String {
        let value = self.digest.finalize().to_be_bytes();
        base64_simd::STANDARD.encode_to_string(&value[value.len() - self.bytes..])
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn check_values_of_both_algorithms() {
        // The check values of the CRC catalogue for "123456789".
        let base64 = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
        let crc64 = base64(&0xae8b_1486_0a79_9888_u64.to_be_bytes());
        assert_eq!(Checksum::Crc64Nvme.of(b"123456789"), crc64);
        assert_eq!(Checksum::RequiredOnly.of(b"123456789"), crc64);
        assert_eq!(
            Checksum::Crc32.of(b"123456789"),
            base64(&0xcbf4_3926_u32.to_be_bytes())
        );
    }
}
