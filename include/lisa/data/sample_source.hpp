#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/permutation.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"

namespace lisa {

/// A place in the order of training or evaluation.
struct SamplePlace {
  std::uint64_t epoch = 0;
  std::uint64_t index = 0;  ///< within the epoch
  auto operator<=>(const SamplePlace&) const = default;
};

/// Samples in a fixed order, epoch after epoch. What stands at a place depends on the place and the source's seed
/// alone, never on what was read before, so that runs repeat, resume and split over processes.
struct SampleSource {
  std::string name;
  std::uint64_t size = 0;      ///< samples of an epoch
  std::uint64_t attempts = 1;  ///< how many samples a place offers before it is given up
  /// The sample at a place. `attempt` 0 is the sample itself; the others, below `attempts`, are what is taken instead
  /// when it, and each replacement before, cannot be read. May be called from several threads at once.
  /// @throws Error naming the file at fault
  std::function<Sample(const SamplePlace& place, std::uint64_t attempt)> read;
};

/// Attempts of a source that can replace its samples: when this many in a row are broken, the data are.
inline constexpr std::uint64_t usual_attempts = 10;

/// Every sample of `set` once an epoch, in the set's order: evaluation. What the set leaves to chance is the same in
/// every epoch, so that results compare. A broken sample has no replacement, which would count twice.
[[nodiscard]] inline SampleSource in_order(DataSet set, std::uint64_t seed) {
  SampleSource source{.name = set.name, .size = set.size, .attempts = 1, .read = {}};
  source.read = [set = std::move(set), seed](const SamplePlace& place, std::uint64_t) {
    Random random({seed, place.index});
    return set.read(static_cast<std::size_t>(place.index), random);
  };
  return source;
}

/// Every sample of `set` once an epoch, in an order of its own in every epoch: training without replacement. A broken
/// sample is replaced by any of the set.
/// @throws InputError for an empty set
[[nodiscard]] inline SampleSource shuffled(DataSet set, std::uint64_t seed) {
  if (set.size == 0) throw InputError(set.name, found_expected("no samples", "at least one"));
  SampleSource source{.name = set.name, .size = set.size, .attempts = usual_attempts, .read = {}};
  source.read = [set = std::move(set), seed](const SamplePlace& place, std::uint64_t attempt) {
    Random random({seed, place.epoch, place.index, attempt});
    const std::uint64_t index =
        attempt == 0 ? permuted(place.index, set.size, Random({seed, place.epoch})) : random.below(set.size);
    return set.read(static_cast<std::size_t>(index), random);
  };
  return source;
}

/// One process' share: of `ranks` processes, number `rank` takes the places index * ranks + rank. Together they read
/// every place exactly once; where the size is no multiple of `ranks`, the first of them have one place more.
/// @throws InputError unless rank < ranks
[[nodiscard]] inline SampleSource shard(SampleSource source, std::uint64_t rank, std::uint64_t ranks) {
  if (rank >= ranks)
    throw InputError("shard", found_expected("rank " + std::to_string(rank) + " of " + std::to_string(ranks),
                                             "a rank below the number of processes"));
  SampleSource share = source;
  share.size = source.size / ranks + (rank < source.size % ranks ? 1 : 0);
  share.read = [read = std::move(source.read), rank, ranks](const SamplePlace& place, std::uint64_t attempt) {
    return read({place.epoch, place.index * ranks + rank}, attempt);
  };
  return share;
}

/// What happens at a sample that cannot be read.
enum class BrokenSamples {
  stop,  ///< the error is thrown
  skip,  ///< another sample takes its place and the message is kept
};

/// A sample and what was broken at its place.
struct DrawnSample {
  Sample sample;
  std::vector<std::string> skipped;  ///< one message for each sample that could not be read, in the order of attempts
};

/// Uses the sample at a place, or, with `BrokenSamples::skip`, the first of its replacements that can be read and used.
/// @param use  called with the sample; an `Error` of it means that the sample cannot be used
/// @return a message for each sample that could not be used, in the order of attempts
/// @throws Error naming the place, the source and the file at fault; with `skip`, when no attempt is left
template <class Use>
[[nodiscard]] std::vector<std::string> draw_usable(const SampleSource& source, const SamplePlace& place,
                                                   BrokenSamples policy, const Use& use) {
  const std::string where = "sample " + std::to_string(place.index) + " of epoch " + std::to_string(place.epoch) +
                            " of " + printable(source.name);
  std::vector<std::string> skipped;
  for (std::uint64_t attempt = 0;; ++attempt) {
    try {
      use(source.read(place, attempt));
      return skipped;
    } catch (const Error& error) {
      if (policy == BrokenSamples::stop || attempt + 1 >= source.attempts) {
        const std::size_t broken = skipped.size() + 1;
        const std::string row = broken > 1 ? std::to_string(broken) + " broken in a row, the last: " : "";
        throw Error(error.kind(), {}, where, row + error.what());
      }
      skipped.push_back(where + ": " + error.what());
    }
  }
}

/// The sample at a place, or one of its replacements. @throws as `draw_usable`
[[nodiscard]] inline DrawnSample draw_sample(const SampleSource& source, const SamplePlace& place,
                                             BrokenSamples policy) {
  DrawnSample drawn;
  drawn.skipped = draw_usable(source, place, policy, [&](Sample sample) { drawn.sample = std::move(sample); });
  return drawn;
}

}  // namespace lisa
