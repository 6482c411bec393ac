//! MD5 of many short texts at once: eight side by side, a step of each before the next step of any,
//! which the compiler turns into vector instructions. One by one MD5 waits for its own results.

use md5::{Digest as _, Md5};

/// Texts side by side.
const LANES: usize = 8;
/// Longest text that fits one block with its padding.
const SHORT: usize = 55;
/// Words of a block.
const WORDS: usize = 16;

/// One word of each text.
type Words = [u32; LANES];

/// RFC 1321, section 3.4: how far each step of a round rotates.
const ROTATES: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];
/// Which word each step of a round takes: factor and start.
const TAKES: [(usize, usize); 4] = [(1, 0), (5, 1), (3, 5), (7, 0)];
/// RFC 1321, section 3.3.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// RFC 1321, section 3.4: floor(2^32 x abs(sin(i + 1))).
const SINES: [[u32; WORDS]; 4] = [
    [
        0xd76a_a478,
        0xe8c7_b756,
        0x2420_70db,
        0xc1bd_ceee,
        0xf57c_0faf,
        0x4787_c62a,
        0xa830_4613,
        0xfd46_9501,
        0x6980_98d8,
        0x8b44_f7af,
        0xffff_5bb1,
        0x895c_d7be,
        0x6b90_1122,
        0xfd98_7193,
        0xa679_438e,
        0x49b4_0821,
    ],
    [
        0xf61e_2562,
        0xc040_b340,
        0x265e_5a51,
        0xe9b6_c7aa,
        0xd62f_105d,
        0x0244_1453,
        0xd8a1_e681,
        0xe7d3_fbc8,
        0x21e1_cde6,
        0xc337_07d6,
        0xf4d5_0d87,
        0x455a_14ed,
        0xa9e3_e905,
        0xfcef_a3f8,
        0x676f_02d9,
        0x8d2a_4c8a,
    ],
    [
        0xfffa_3942,
        0x8771_f681,
        0x6d9d_6122,
        0xfde5_380c,
        0xa4be_ea44,
        0x4bde_cfa9,
        0xf6bb_4b60,
        0xbebf_bc70,
        0x289b_7ec6,
        0xeaa1_27fa,
        0xd4ef_3085,
        0x0488_1d05,
        0xd9d4_d039,
        0xe6db_99e5,
        0x1fa2_7cf8,
        0xc4ac_5665,
    ],
    [
        0xf429_2244,
        0x432a_ff97,
        0xab94_23a7,
        0xfc93_a039,
        0x655b_59c3,
        0x8f0c_cc92,
        0xffef_f47d,
        0x8584_5dd1,
        0x6fa8_7e4f,
        0xfe2c_e6e0,
        0xa301_4314,
        0x4e08_11a1,
        0xf753_7e82,
        0xbd3a_f235,
        0x2ad7_d2bb,
        0xeb86_d391,
    ],
];

/// The MD5 of each text, as a big-endian number.
pub(super) fn of_all<'a>(texts: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u128> {
    let mut digests = vec![0; texts.len()];
    let (mut block, mut places) = ([[0; LANES]; WORDS], [0; LANES]);
    let mut filled = 0;
    for (i, text) in texts.enumerate() {
        if text.len() > SHORT {
            digests[i] = u128::from_be_bytes(Md5::digest(text).into());
            continue;
        }
        put(&mut block, filled, text);
        places[filled] = i;
        filled += 1;
        if filled == LANES {
            for (place, digest) in places.iter().zip(side_by_side(&block)) {
                digests[*place] = digest;
            }
            filled = 0;
        }
    }
    for (place, digest) in places[..filled].iter().zip(side_by_side(&block)) {
        digests[*place] = digest;
    }
    digests
}

/// Lays a short text into its lane of the block, padded, with its length in bits.
fn put(block: &mut [Words; WORDS], lane: usize, text: &[u8]) {
    let mut padded = [0; 4 * WORDS];
    padded[..text.len()].copy_from_slice(text);
    padded[text.len()] = 0x80;
    let bits = 8 * text.len() as u64;
    padded[SHORT + 1..].copy_from_slice(&bits.to_le_bytes());
    for (word, bytes) in block.iter_mut().zip(padded.as_chunks().0) {
        word[lane] = u32::from_le_bytes(*bytes);
    }
}

fn side_by_side(block: &[Words; WORDS]) -> [u128; LANES] {
    let mut state = START.map(|word| [word; LANES]);
    round(0, &mut state, block, |b, c, d| (b & c) | (!b & d));
    round(1, &mut state, block, |b, c, d| (d & b) | (!d & c));
    round(2, &mut state, block, |b, c, d| b ^ c ^ d);
    round(3, &mut state, block, |b, c, d| c ^ (b | !d));
    std::array::from_fn(|lane| {
        let mut digest = [0; 16];
        for (bytes, (word, start)) in digest
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(state.iter().zip(START))
        {
            *bytes = word[lane].wrapping_add(start).to_le_bytes();
        }
        u128::from_be_bytes(digest)
    })
}

/// Sixteen steps, of all lanes.
#[expect(
    clippy::inline_always,
    reason = "the constants of a round must be known in it"
)]
#[inline(always)]
fn round(
    number: usize,
    state: &mut [Words; 4],
    block: &[Words; WORDS],
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let (factor, start) = TAKES[number];
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..WORDS {
        let word = &block[(factor * step + start) % WORDS];
        let (sine, rotate) = (SINES[number][step], ROTATES[number][step % 4]);
        let next = std::array::from_fn(|lane| {
            let sum = a[lane]
                .wrapping_add(mix(b[lane], c[lane], d[lane]))
                .wrapping_add(sine)
                .wrapping_add(word[lane]);
            b[lane].wrapping_add(sum.rotate_left(rotate))
        });
        (a, b, c, d) = (d, next, b, c);
    }
    *state = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};

    use super::of_all;

    #[test]
    fn it_is_md5_for_every_length_and_number_of_texts() {
        let texts: Vec<Vec<u8>> = (0..150_usize)
            .map(|length| {
                (0..length)
                    .map(|i| ((i * 31 + length * 7) % 251).to_le_bytes()[0])
                    .collect()
            })
            .collect();
        for count in 0..texts.len() {
            // Long ones in between, too.
            let some = texts.iter().cycle().skip(count * 3).step_by(7).take(count);
            let some: Vec<&[u8]> = some.map(Vec::as_slice).collect();
            let expected: Vec<u128> = some
                .iter()
                .map(|text| u128::from_be_bytes(Md5::digest(text).into()))
                .collect();
            assert_eq!(of_all(some.into_iter()), expected, "{count} texts");
        }
    }
}
