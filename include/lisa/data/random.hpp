#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <numbers>
#include <utility>

namespace lisa {

/// Random numbers that are the same on every platform and compiler, which the standard library's distributions are not.
/// A stream is named by a few numbers, say (seed, epoch, index), and independent of every other one, so that sample i
/// of an epoch can be drawn without drawing those before it. The generator is SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  /// The stream of this name.
  explicit Random(std::initializer_list<std::uint64_t> name) {
    for (const std::uint64_t part : name) state_ = mixed(state_ + increment + mixed(part + increment));
  }

  /// 64 random bits.
  std::uint64_t bits() {
    state_ += increment;
    return mixed(state_);
  }

  /// A whole number in [0, count), each with the same chance; `count` is at least 1.
  std::uint64_t below(std::uint64_t count) {
    // Rejects the part of the range that would favour small numbers.
    const std::uint64_t excess = (0 - count) % count;
    for (;;) {
      const std::uint64_t drawn = bits();
      if (drawn >= excess) return drawn % count;
    }
  }

  /// [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  /// [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// A whole number from `low` to `high`, both possible.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  [[nodiscard]] bool chance(double probability) { return uniform() < probability; }

  /// Standard normal (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

  /// A member of a non-empty random-access range.
  template <class Range>
  [[nodiscard]] auto& pick(Range& range) {
    return range[static_cast<std::size_t>(below(range.size()))];
  }

  /// Puts a random-access range into random order (Fisher and Yates).
  template <class Range>
  void shuffle(Range& range) {
    for (std::size_t left = range.size(); left > 1; --left) {
      using std::swap;
      swap(range[left - 1], range[static_cast<std::size_t>(below(left))]);
    }
  }

 private:
  static constexpr std::uint64_t increment = 0x9E3779B97F4A7C15;

  static std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  std::uint64_t state_ = 0;
};

}  // namespace lisa
