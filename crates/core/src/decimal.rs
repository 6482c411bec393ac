//! Sequence numbers in decimal, as Kinesis prints them. Numbers of one block lie a stride apart, so
//! all but the first are a sum in base 10^9, of which few digits change.

use crate::Position;

/// 192 bits are at most 58 digits: seven groups of nine.
const GROUPS: usize = 7;
const GROUP_DIGITS: usize = 9;
const BASE: u64 = 1_000_000_000;

/// Groups of nine digits, the lowest first.
type Groups = [u32; GROUPS];

/// Writes numbers; fast where each is one stride above the one before. A stride that comes twice is
/// taken for the one of those that follow.
pub struct Decimals {
    /// How far the last two numbers lay apart, where that was not the stride.
    apart: Option<u128>,
    stride: u128,
    stride_groups: Groups,
    last: Position,
    groups: Groups,
    /// All digits of `groups`, zeros in front.
    text: [u8; GROUPS * GROUP_DIGITS],
}

impl Decimals {
    /// For numbers that lie so far apart.
    pub fn new(stride: u128) -> Self {
        let stride_groups = groups(&Position::START.advance(stride, 1));
        Self {
            apart: None,
            stride,
            stride_groups,
            last: Position::START,
            groups: [0; GROUPS],
            text: [b'0'; GROUPS * GROUP_DIGITS],
        }
    }

    /// Appends the sequence number of a position. Its sub-sequence is left out.
    pub fn push(&mut self, position: Position, out: &mut Vec<u8>) {
        if position.same_sequence(&self.last.advance(self.stride, 1)) {
            self.add_stride();
        } else if !position.same_sequence(&self.last) {
            self.learn(position.sequence_above(&self.last));
            self.groups = groups(&position);
            for at in 0..GROUPS {
                self.render(at);
            }
        }
        self.last = position;
        let last = self.text.len() - 1;
        let start = self.text.iter().position(|digit| *digit != b'0');
        out.extend_from_slice(&self.text[start.unwrap_or(last)..]);
    }

    fn learn(&mut self, apart: Option<u128>) {
        if let Some(stride) = apart.filter(|_| apart == self.apart) {
            self.stride = stride;
            self.stride_groups = groups(&Position::START.advance(stride, 1));
        }
        self.apart = apart;
    }

    fn add_stride(&mut self) {
        let mut carry = 0;
        for at in 0..GROUPS {
            let more = self.stride_groups[at] + carry;
            if more == 0 {
                continue;
            }
            let sum = self.groups[at] + more;
            carry = u32::from(u64::from(sum) >= BASE);
            self.groups[at] = if carry == 1 { sum - 1_000_000_000 } else { sum };
            self.render(at);
        }
    }

    /// Writes the digits of a group, two at a time.
    fn render(&mut self, at: usize) {
        let start = (GROUPS - 1 - at) * GROUP_DIGITS;
        let digits = &mut self.text[start..start + GROUP_DIGITS];
        let digit = |value: u32| b'0' + u8::try_from(value).unwrap_or(0);
        let mut rest = self.groups[at];
        for pair in digits[1..].chunks_exact_mut(2).rev() {
            let two = rest % 100;
            rest /= 100;
            pair[0] = digit(two / 10);
            pair[1] = digit(two % 10);
        }
        digits[0] = digit(rest);
    }
}

fn groups(position: &Position) -> Groups {
    let mut limbs = [0_u64; 6];
    for (limb, bytes) in limbs.iter_mut().zip(position.sequence().chunks(4)) {
        *limb = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    let (mut groups, mut first) = ([0; GROUPS], 0);
    for group in &mut groups {
        let mut rest = 0;
        for limb in &mut limbs[first..] {
            let value = rest << 32 | *limb;
            *limb = value / BASE;
            rest = value % BASE;
        }
        *group = u32::try_from(rest).expect("a rest is below 10^9");
        while first < limbs.len() && limbs[first] == 0 {
            first += 1;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::Decimals;
    use crate::Position;

    #[test]
    fn a_stride_is_learned_and_forgotten() {
        let first = "49571904859951697672938815047093113543517771024281110226";
        let first = Position::from_decimal(first).expect("a number");
        let steps = [
            0_u64,
            7,
            14,
            21,
            28,
            29,
            29,
            30,
            31,
            32,
            5,
            6,
            1_000_000_007,
        ];
        for scale in [1_u128, 1 << 80, 1 << 127] {
            let mut decimals = Decimals::new(0);
            for (sub, steps) in (0..).zip(steps) {
                let position = first.advance(scale, steps).with_sub(sub % 3);
                let mut out = Vec::new();
                decimals.push(position, &mut out);
                let text = String::from_utf8(out).expect("digits");
                assert_eq!(
                    Position::from_decimal(&text),
                    Some(position.with_sub(0)),
                    "{text}"
                );
            }
        }
        assert_eq!(first.sequence_above(&first.advance(1 << 90, 3)), None);
        assert_eq!(
            first.advance(1 << 90, 3).sequence_above(&first),
            Some(3 << 90)
        );
        assert_eq!(first.advance(1 << 127, 3).sequence_above(&first), None);
    }

    #[test]
    fn every_number_of_a_run_is_as_it_is_alone() {
        for (first, stride) in [
            ("0", 1),
            ("999999998", 1),
            (
                "49571904859951697672938815047093113543517771024281110226",
                1 << 80,
            ),
            (
                "999999999999999999999999999999999999999999999999999999",
                u128::MAX,
            ),
        ] {
            let mut decimals = Decimals::new(stride);
            let first = Position::from_decimal(first).expect("a number");
            for steps in [0, 1, 2, 3, 7, 8, 1_000_000, 1_000_001] {
                let position = first.advance(stride, steps);
                let mut out = Vec::new();
                decimals.push(position, &mut out);
                let text = String::from_utf8(out).expect("digits");
                assert_eq!(Position::from_decimal(&text), Some(position), "{text}");
                assert_eq!(text, position.to_decimal());
            }
        }
    }
}
