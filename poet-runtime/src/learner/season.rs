//! What hours of the day, or days of the week, do to failures: estimated from counts, with the whole day, or week, as
//! the unit of evidence.
//!
//! Failures cluster: an outage fails every call that meets it, so an hour with a thousand failures is one observation
//! and not a thousand. Each block (a day of 24 slots, a week of 7) gives one difference for each of its slots: its share
//! of failures less that of the other slots of the same block, so that a block that was bad as a whole says nothing. The
//! mean of these differences over blocks is the effect of the slot, their spread over blocks its error. An outage that
//! began at noon on one day adds as much to the error as to the mean, and so is no pattern, however long it was.
//!
//! * **Shrinkage** is by the method of moments: how far slots truly differ is what their means differ by beyond their
//!   errors; where that is not credibly more than nothing, every slot is predicted the common rate (Efron and Morris).
//! * **The bound** for saying that a slot is worse is 2.6 standard errors, 0.5 % one-sided, widened by Student's correction while blocks are few, above a tenth more than the other slots fail.
//! * **Forgetting** is by a half-life in blocks, applied when reading.

/// Attempts that could have succeeded, and those of them that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
}

impl Tally {
    /// The share that failed; 0 where there were none.
    #[must_use]
    pub fn rate(self) -> f64 {
        if self.attempts == 0 { 0.0 } else { self.failures.min(self.attempts) as f64 / self.attempts as f64 }
    }

    /// How much its rate says beside those of other slots: a slot with four attempts half as much as one with many.
    fn says(self) -> f64 {
        self.attempts as f64 / (self.attempts as f64 + 4.0)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.failures += other.failures;
    }
}

/// What was counted in one block, and how many blocks ago.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block<const N: usize> {
    /// 0 for the newest.
    pub age: f64,
    /// By slot.
    pub slots: [Tally; N],
}

/// What one slot does to failures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effect {
    /// Blocks in which it was seen beside others.
    pub blocks: u64,
    /// Those of them in which something failed in it.
    pub failing: u64,
    /// How many equal blocks what is remembered of them is worth.
    pub worth: f64,
    /// The share of failures in it, every block alike.
    pub inside: f64,
    /// The share of failures in the other slots of the same blocks.
    pub outside: f64,
    /// The standard error of the difference of the two.
    pub error: f64,
    /// How far the difference is believed: 0 not at all, 1 as it was seen.
    pub shrunk: f64,
}

/// The fewest blocks that an effect rests on.
pub const MIN_BLOCKS: u64 = 5;

/// The fewest blocks in which it must have failed: what happened three times may be three accidents.
const MIN_FAILING: u64 = 4;

/// Standard errors between what is seen and what is claimed.
const BOUND: f64 = 2.6;

/// A slot is worse if it fails more than the others by more than this share of what they fail.
const WORSE: f64 = 0.1;

/// Others that never fail would make any failure infinitely worse.
const LEAST_RATE: f64 = 0.002;

impl Effect {
    /// By how much more fails in it.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.inside - self.outside
    }

    /// How many times as much fails in it, as far as it is believed.
    #[must_use]
    pub fn factor(&self) -> f64 {
        let outside = self.outside.max(LEAST_RATE);
        (outside + self.shrunk * self.difference()).max(0.0) / outside
    }

    /// The difference less so many standard errors, widened as Student's distribution is where blocks are few.
    #[must_use]
    pub fn at_least(&self, errors: f64) -> f64 {
        let freedom = (self.worth - 1.0).max(0.5);
        let widened = errors * (1.0 + (errors * errors + 1.0) / (4.0 * freedom));
        self.difference() - widened * self.error
    }

    /// Whether it surely is worse than the others.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.blocks >= MIN_BLOCKS
            && self.failing >= MIN_FAILING
            && self.at_least(BOUND) > WORSE * self.outside.max(LEAST_RATE)
    }

    /// The probability that it is worse than the others.
    #[must_use]
    pub fn confidence(&self) -> f64 {
        let beyond = self.difference() - WORSE * self.outside.max(LEAST_RATE);
        below(beyond, self.error)
    }

    /// The probability that it is less than half as bad as was believed.
    #[must_use]
    pub fn is_over(&self, believed: f64) -> f64 {
        if self.blocks < MIN_BLOCKS { 0.0 } else { below(believed / 2.0 - self.difference(), self.error) }
    }

    /// 90 % of the belief about the share that fails in it.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        let reach = 1.645 * self.error;
        ((self.inside - reach).max(0.0), (self.inside + reach).min(1.0))
    }
}

/// P(a normal deviate of this standard deviation is below `x`).
fn below(x: f64, deviation: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    match Normal::new(0.0, deviation.max(1e-9)) {
        Ok(normal) if x.is_finite() => normal.cdf(x),
        _ => 0.0,
    }
}

/// What each slot does to failures; `half_life` is in blocks.
#[must_use]
pub fn effects<const N: usize>(blocks: &[Block<N>], half_life: f64) -> [Effect; N] {
    let mut sums = [Sums::default(); N];
    for block in blocks {
        let forgotten = 0.5_f64.powf(block.age.max(0.0) / half_life);
        for (slot, sum) in sums.iter_mut().enumerate() {
            if let Some(outside) = others(block, slot) {
                sum.add(block.slots[slot], outside, forgotten);
            }
        }
    }
    let (spread, weight) = sums.iter().fold((0.0, 0.0), |(spread, weight), sum| {
        (spread + sum.weight * sum.variance().unwrap_or(0.0), weight + sum.weight)
    });
    let pooled = if weight > 0.0 { spread / weight } else { 0.0 };
    let mut effects = sums.map(|sum| sum.effect(pooled));
    shrink(&mut effects);
    effects
}

/// The share that failed in the other slots of the block; `None` where too few of them were seen.
fn others<const N: usize>(block: &Block<N>, slot: usize) -> Option<f64> {
    if block.slots[slot].attempts == 0 {
        return None;
    }
    let others = || block.slots.iter().enumerate().filter(|(other, tally)| *other != slot && tally.attempts > 0);
    let says: f64 = others().map(|(_, tally)| tally.says()).sum();
    (others().count() >= 3).then(|| others().map(|(_, tally)| tally.says() * tally.rate()).sum::<f64>() / says)
}

/// Sums over the blocks of one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    blocks: u64,
    failing: u64,
    weight: f64,
    squares: f64,
    inside: f64,
    outside: f64,
    differences: f64,
    squared: f64,
    /// Sum of squared weights over attempts: what chance alone makes of a rate.
    chance: f64,
}

impl Sums {
    fn add(&mut self, tally: Tally, outside: f64, forgotten: f64) {
        let (weight, inside) = (forgotten * tally.says(), tally.rate());
        let difference = inside - outside;
        self.blocks += 1;
        self.failing += u64::from(tally.failures > 0);
        self.weight += weight;
        self.squares += weight * weight;
        self.inside += weight * inside;
        self.outside += weight * outside;
        self.differences += weight * difference;
        self.squared += weight * difference * difference;
        self.chance += weight * weight / tally.attempts as f64;
    }

    /// How many equal blocks they are worth.
    fn worth(&self) -> f64 {
        if self.squares > 0.0 { self.weight * self.weight / self.squares } else { 0.0 }
    }

    /// Of the differences, from block to block.
    fn variance(&self) -> Option<f64> {
        let worth = self.worth();
        let mean = self.differences / self.weight;
        let spread = (self.squared / self.weight - mean * mean).max(0.0);
        (worth > 1.5).then(|| spread * worth / (worth - 1.0))
    }

    fn effect(&self, pooled: f64) -> Effect {
        if self.weight <= 0.0 {
            return Effect::default();
        }
        let (worth, inside, outside) = (self.worth(), self.inside / self.weight, self.outside / self.weight);
        let rate = inside.max(outside);
        let chance = rate * (1.0 - rate) * self.chance / (self.weight * self.weight);
        // An even run of days is luck while they are few, so a slot is taken to vary at least as all do.
        let varied = self.variance().unwrap_or(0.0).max(pooled) / worth.max(1.0);
        Effect {
            blocks: self.blocks,
            failing: self.failing,
            worth,
            inside,
            outside,
            error: varied.max(chance).sqrt(),
            shrunk: 0.0,
        }
    }
}

fn shrink(effects: &mut [Effect]) {
    let seen: Vec<_> = effects.iter().filter(|effect| effect.blocks >= MIN_BLOCKS).collect();
    if seen.len() < 4 {
        return;
    }
    let n = seen.len() as f64;
    let noise = seen.iter().map(|effect| effect.error * effect.error).sum::<f64>() / n;
    let differ = seen.iter().map(|effect| effect.difference().powi(2)).sum::<f64>() / n;
    // Less than what noise alone makes of that mean square one time in twenty is no difference.
    let between = differ - noise - 1.645 * (2.0 / n).sqrt() * noise;
    for effect in effects.iter_mut().filter(|effect| effect.blocks >= MIN_BLOCKS) {
        let error = effect.error * effect.error;
        effect.shrunk = if between > 0.0 && error > 0.0 { between / (between + error) } else { 0.0 };
    }
}

/// Half as much is believed of an hour of the day after this many days.
pub const DAYS_HALF_LIFE: f64 = 20.0;

/// The chance that an attempt fails, for each slot: the common rate, and what is believed of how slots differ from it.
///
/// The common rate is that of all attempts of all blocks, none forgotten: whether slots differ is one question, whether
/// the service has become better or worse another, and this one answers only the first. Slots of which too little is
/// known, and all of them where they do not credibly differ, are predicted the common rate.
///
/// # Examples
///
/// ```
/// use poet_runtime::season::{Block, Tally, predict};
///
/// let day = |age| {
///     let mut slots = [Tally { attempts: 100, failures: 2 }; 24];
///     slots[3] = Tally { attempts: 100, failures: 20 + age as u64 % 3 };
///     Block { age, slots }
/// };
/// let days: Vec<Block<24>> = (0..20).map(|age| day(f64::from(age))).collect();
/// let chances = predict(&days, 20.0);
/// assert!(chances[3] > 0.15 && chances[4] < 0.05);
/// ```
#[must_use]
pub fn predict<const N: usize>(blocks: &[Block<N>], half_life: f64) -> [f64; N] {
    let mut all = Tally::default();
    blocks.iter().flat_map(|block| block.slots).for_each(|tally| all.add(tally));
    let common = (all.failures.min(all.attempts) as f64 + 0.5) / (all.attempts as f64 + 1.0);
    let effects = effects(blocks, half_life);
    // A difference from the others is more than one from all, the slot itself among them.
    let share = (N as f64 - 1.0) / N as f64;
    let offsets = effects.map(|effect| effect.shrunk * effect.difference() * share);
    let weights: [f64; N] = std::array::from_fn(|slot| {
        blocks.iter().map(|block| block.slots[slot].attempts as f64).sum::<f64>() / (all.attempts as f64).max(1.0)
    });
    // So that the mean over attempts stays the common rate.
    let excess: f64 = offsets.iter().zip(weights).map(|(offset, weight)| offset * weight).sum();
    offsets.map(|offset| {
        if offset == 0.0 && excess == 0.0 {
            return common;
        }
        (common + offset - excess).clamp(common / 10.0, 0.999)
    })
}

/// The newest blocks alone, all alike, from which a change is seen sooner: those younger than so many blocks.
#[must_use]
pub fn newest<const N: usize>(blocks: &[Block<N>], younger: f64) -> Vec<Block<N>> {
    blocks.iter().filter(|block| block.age < younger).copied().collect()
}

/// The slots that are worse than the others: by all that is remembered, or by the newest blocks.
///
/// `before` are those that were: a slot stays until the newest blocks contradict it, or nothing is known of it any more,
/// so that what is in doubt does not come and go. Bit 0 is the first slot.
#[must_use]
pub fn worse<const N: usize>(blocks: &[Block<N>], half_life: f64, younger: f64, before: u32) -> u32 {
    Views::of(blocks, half_life, younger).worse(before)
}

/// The effects of slots by all that is remembered, and by the newest blocks alone.
pub(crate) struct Views<const N: usize> {
    pub(crate) all: [Effect; N],
    pub(crate) new: [Effect; N],
}

impl<const N: usize> Views<N> {
    pub(crate) fn of(blocks: &[Block<N>], half_life: f64, younger: f64) -> Self {
        Self { all: effects(blocks, half_life), new: effects(&newest(blocks, younger), f64::INFINITY) }
    }

    /// [`worse`], by what was estimated already.
    pub(crate) fn worse(&self, before: u32) -> u32 {
        let stays = |slot: usize| stands(&self.all[slot], &self.new[slot], before & (1 << slot) != 0);
        (0..N).filter(|&slot| stays(slot)).fold(0, |mask, slot| mask | 1 << slot)
    }

    /// The view in which a window is clearer: the newest blocks where it has just begun.
    pub(crate) fn clearer(&self, slot: usize) -> Effect {
        let (all, new) = (self.all[slot], self.new[slot]);
        if new.is_worse() && !all.is_worse() { new } else { all }
    }
}

fn stands(all: &Effect, new: &Effect, before: bool) -> bool {
    if before { over(all, new) < CREDIBLE } else { new.is_worse() || (all.is_worse() && over(all, new) < CREDIBLE) }
}

/// What is credible enough to move by.
const CREDIBLE: f64 = 0.95;

/// The probability that a slot that was worse is so no more.
///
/// A slot of which nothing is known any more is worse only as likely as any one is: one in twenty-four.
pub(crate) fn over(all: &Effect, new: &Effect) -> f64 {
    if all.blocks < MIN_BLOCKS {
        return 1.0 - 1.0 / 24.0;
    }
    new.is_over(all.difference()).max(1.0 - all.confidence())
}

#[cfg(test)]
mod tests;
