#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/data/loader.hpp"
#include "lisa/data/sample_source.hpp"
#include "lisa/train/training_batch.hpp"

namespace lisa {

/// A sample as a training step takes it, and what was broken at its place.
struct TrainingItem {
  TrainingImage image;
  std::vector<std::string> skipped;  ///< one message for each sample that could not be used
};

/// How samples reach a process of a run.
struct TrainingSourceOptions {
  std::uint64_t rank = 0;
  std::uint64_t ranks = 1;
  BrokenSamples broken = BrokenSamples::stop;
  LoaderOptions loader{};
  /// Called with every image in a worker thread: fills in features that are known already.
  std::function<void(const Sample& sample, TrainingImage& image)> complete{};
};

/// A process' share of the samples of a run, without end. The samples of all epochs stand in one row; the processes
/// take its places in turn. So the same samples make a step, whatever the number of processes that share it, and none
/// repeats within an epoch.
/// @param position  of the first sample in this process' share; a run that resumes after n samples of each process
///                  begins at n
[[nodiscard]] inline Loader<TrainingItem> training_loader(SampleSource source, const Tokenizer& tokenizer,
                                                          const TrainingFormat& format, std::uint64_t position,
                                                          const TrainingSourceOptions& options) {
  if (source.size == 0) throw InputError(source.name, found_expected("no samples", "at least one"));
  const auto make = [source = std::move(source), &tokenizer, format, options](const SamplePlace& share) {
    const std::uint64_t number = share.index * options.ranks + options.rank;
    const SamplePlace place{number / source.size, number % source.size};
    TrainingItem item;
    item.skipped = draw_usable(source, place, options.broken, [&](const Sample& sample) {
      item.image = prepare_training_image(sample, tokenizer, format);
      if (options.complete) options.complete(sample, item.image);
    });
    return item;
  };
  // Places of a share are counted from the beginning of the run: its epochs are those of the whole row.
  constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();
  return {no_end, make, SamplePlace{0, position}, options.loader};
}

}  // namespace lisa
