//! Numbers from JSON text, exactly as `str::parse` reads them.
//!
//! Most numbers of a request are short decimals. Those are read in one go over their digits; `str::parse` would need to be told first
//! where they end, and reads everything else.

use half::{bf16, f16};

/// An element that is a JSON number or word. Integers are exact, floats the nearest; what JSON can say and the type can't is refused.
pub(super) trait Element: Sized {
    fn read(token: &str) -> Option<Self>;

    /// The plain decimal that begins here, and how many bytes it takes; nothing where [`Element::read`] has to look at it. The text is
    /// JSON, so a number ends where its digits do.
    #[inline]
    fn read_plain(_text: &[u8]) -> Option<(Self, usize)> {
        None
    }
}

/// A number as its text has it: `digits` · 10^-`scale`.
struct Decimal {
    negative: bool,
    digits: u64,
    scale: usize,
    length: usize,
}

/// As many digits always fit 64 bits.
const MOST_DIGITS: usize = 19;

impl Decimal {
    /// Reads one without an exponent.
    #[inline]
    fn read(text: &[u8]) -> Option<Self> {
        let negative = text.first() == Some(&b'-');
        let begin = usize::from(negative);
        let mut at = begin;
        let mut digits = 0_u64;
        let mut next_digit = |at: &mut usize| {
            let digit = text.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)?;
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
            *at += 1;
            Some(())
        };
        while next_digit(&mut at).is_some() {}
        let (mut count, mut scale) = (at - begin, 0);
        if text.get(at) == Some(&b'.') {
            at += 1;
            let point = at;
            while next_digit(&mut at).is_some() {}
            scale = at - point;
            count += scale;
        }
        let plain = (1..=MOST_DIGITS).contains(&count) && !matches!(text.get(at), Some(b'e' | b'E'));
        plain.then_some(Self { negative, digits, scale, length: at })
    }

    /// The nearest f64: the digits and the power of ten are both exact, so that the one division rounds right.
    #[inline]
    fn nearest(&self) -> Option<f64> {
        const MOST_EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let power = POWERS.get(self.scale)?;
        #[allow(clippy::cast_precision_loss)] // none up to here
        let number = (self.digits <= MOST_EXACT).then_some(self.digits as f64)? / power;
        Some(if self.negative { -number } else { number })
    }

    /// The integer, if it is one.
    #[inline]
    fn whole(&self) -> Option<i128> {
        let number = i128::from(self.digits);
        (self.scale == 0).then_some(if self.negative { -number } else { number })
    }
}

/// Powers of ten, as far as an f64 holds them exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl Element for bool {
    fn read(token: &str) -> Option<Self> {
        token.parse().ok()
    }
}

macro_rules! integers {
    ($($element:ty)*) => {
        $(impl Element for $element {
            fn read(token: &str) -> Option<Self> {
                token.parse().ok()
            }

            #[inline]
            fn read_plain(text: &[u8]) -> Option<(Self, usize)> {
                let decimal = Decimal::read(text)?;
                // `-0` is no unsigned number to `parse`.
                let number = decimal.whole().filter(|&number| number != 0 || !decimal.negative)?;
                Some((Self::try_from(number).ok()?, decimal.length))
            }
        })*
    };
}

integers!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Element for f64 {
    fn read(token: &str) -> Option<Self> {
        token.parse().ok().filter(|number: &Self| number.is_finite())
    }

    #[inline]
    fn read_plain(text: &[u8]) -> Option<(Self, usize)> {
        let decimal = Decimal::read(text)?;
        Some((decimal.nearest()?, decimal.length))
    }
}

impl Element for f32 {
    fn read(token: &str) -> Option<Self> {
        token.parse().ok().filter(|number: &Self| number.is_finite())
    }

    /// Rounds twice, to f64 and then to f32. That is as good as once unless the f64 lies just between two f32, so that the first rounding
    /// may have moved the number there from either side.
    #[inline]
    fn read_plain(text: &[u8]) -> Option<(Self, usize)> {
        const DROPPED: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS;
        let decimal = Decimal::read(text)?;
        let nearest = decimal.nearest()?;
        let between = nearest.to_bits() & ((1 << DROPPED) - 1) == 1 << (DROPPED - 1);
        #[allow(clippy::cast_possible_truncation)] // at most 2^53, at least 10^-22: no overflow, no subnormal
        (!between).then_some((nearest as Self, decimal.length))
    }
}

impl Element for f16 {
    fn read(token: &str) -> Option<Self> {
        f64::read(token).map(Self::from_f64).filter(|number| number.is_finite())
    }
}

impl Element for bf16 {
    fn read(token: &str) -> Option<Self> {
        f64::read(token).map(Self::from_f64).filter(|number| number.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    /// What is read at once is what `parse` reads, to the last bit, and ends where the number does.
    fn check(text: &str) {
        macro_rules! compare {
            ($($element:ty: $bits:expr;)*) => {
                $(for behind in ["", ",1", "]", " "] {
                    if let Some((element, length)) = <$element>::read_plain(format!("{text}{behind}").as_bytes()) {
                        let (bits, parsed) = ($bits, text.parse::<$element>());
                        assert_eq!(length, text.len(), "{text}");
                        assert_eq!(parsed.map(bits).ok(), Some(bits(element)), "{text} as {}", stringify!($element));
                    }
                })*
            };
        }
        compare!(
            f32: f32::to_bits; f64: f64::to_bits;
            u8: u64::from; u16: u64::from; u32: u64::from; u64: u64::from;
            i8: i64::from; i16: i64::from; i32: i64::from; i64: i64::from;
        );
    }

    #[test]
    fn numbers_at_the_edges_are_read_as_parse_reads_them() {
        // Two neighbours of f32 near one, what lies between them, and a little to either side.
        let between = ["1.00000005960464477539", "1.000000059604644775", "1.00000005960464478", "16777217", "16777219"];
        let wide =
            ["9007199254740992", "9007199254740993", "9999999999999999999", "10000000000000000000", "0.1", "123e4"];
        let integers =
            ["255", "256", "-128", "-129", "65536", "4294967296", "18446744073709551615", "9223372036854775808"];
        let odd = ["0", "-0", "0.0", "-0.0", "1.0", "-1", "1E2", "0.0000000000000000000001", "-9223372036854775808"];
        let small = ["0.00000000000000000000001", "340282346638528859811704183484516925440", "1e39", "1e-46", "1e400"];
        between.iter().chain(&wide).chain(&integers).chain(&odd).chain(&small).for_each(|text| check(text));
    }

    #[test]
    fn random_numbers_are_read_as_parse_reads_them() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let (float, double) = (f32::from_bits(random.u32(..)), f64::from_bits(random.u64(..)));
            let halfway = f64::from(float.abs().min(1e15)) + f64::from(f32::EPSILON) / 2.0;
            let whole = random.u64(..) >> random.u32(0..64);
            let places = random.usize(0..20);
            let common = (random.f64() - 0.5) * 10_f64.powi(random.i32(-6..9));
            check(&format!("{whole}"));
            check(&format!("-{whole}"));
            check(&format!("{}.{:0places$}", random.u32(..) >> random.u32(0..32), whole % 10_u64.pow(places as u32)));
            check(&format!("{common:.places$}"));
            check(&format!("{}", common as f32));
            if double.is_finite() && float.is_finite() {
                check(&format!("{float}"));
                check(&format!("{double:e}"));
                check(&format!("{halfway}"));
            }
        }
    }

    #[test]
    fn what_is_plain_is_read_at_once() {
        assert_eq!(f32::read_plain(b"-0.25,"), Some((-0.25, 5)));
        assert_eq!(i64::read_plain(b"-12]"), Some((-12, 3)));
        assert_eq!((u8::read_plain(b"256"), u8::read_plain(b"-0"), i8::read_plain(b"1.0")), (None, None, None));
        assert_eq!((f64::read_plain(b"null"), f64::read_plain(b"\"1\""), f64::read_plain(b"")), (None, None, None));
    }
}
