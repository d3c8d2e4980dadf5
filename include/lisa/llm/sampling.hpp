#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/config/dim.hpp"

namespace lisa {

/// How the next token is chosen. A temperature of 0 is greedy: the largest logit, the lowest id among equals.
struct SamplingOptions {
  double temperature = 0;  ///< divides the logits
  double top_p = 1;        ///< keeps the most probable tokens whose probabilities reach this sum
  dim top_k = 0;           ///< keeps this many most probable tokens; 0 keeps all
  std::uint64_t seed = 0;  ///< of the random numbers; equal seeds give equal answers
};

/// Throws InputError when an option lies outside its range; every wrong option is named.
inline void validate(const SamplingOptions& options) {
  Defects defects;
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    defects.add("temperature: " + found_expected(std::to_string(options.temperature), "a finite number >= 0"));
  if (!(options.top_p > 0 && options.top_p <= 1))
    defects.add("top_p: " + found_expected(std::to_string(options.top_p), "a number in (0, 1]"));
  if (options.top_k < 0) defects.add("top_k: " + found_expected(std::to_string(options.top_k), "a count >= 0"));
  if (!defects.empty()) throw InputError("sampling", defects.report("wrong options"));
}

/// Says that logits choose nothing. @param found the largest of them
[[noreturn]] inline void refuse_logits(const std::string& found) {
  throw InputError("logits", found_expected(found,
                                            "a finite largest value; the weights or the input hold NaN or "
                                            "infinity"));
}

/// Chooses tokens from rows of logits. Holds the random state of one sequence.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) { validate(options); }

  /// logits [vocab], any floating dtype -> token id. NaN is never chosen. Throws InputError when the
  /// largest logit is not a finite number.
  [[nodiscard]] std::int64_t sample(const at::Tensor& logits) {
    const at::Tensor row = logits.to(at::kCPU, at::kFloat).contiguous();
    const std::span<const float> values(row.const_data_ptr<float>(), static_cast<std::size_t>(row.numel()));
    const auto largest = std::max_element(values.begin(), values.end(), [](float a, float b) {
      return a < b || (std::isnan(a) && !std::isnan(b));  // NaN never wins
    });
    if (largest == values.end()) refuse_logits("no value");
    if (!std::isfinite(*largest)) refuse_logits(std::to_string(*largest));
    if (options_.temperature == 0) return largest - values.begin();
    return draw(values, *largest);
  }

 private:
  std::int64_t draw(std::span<const float> logits, float largest) {
    struct Candidate {
      std::int64_t id;
      double weight;
    };
    std::vector<Candidate> candidates;
    candidates.reserve(logits.size());
    for (std::size_t id = 0; id < logits.size(); ++id) {
      const double weight = std::exp((static_cast<double>(logits[id]) - largest) / options_.temperature);
      if (weight > 0) candidates.push_back({static_cast<std::int64_t>(id), weight});
    }
    // The lower id stands first among equals, so that the choice never depends on the sorting algorithm.
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
    });
    if (options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < candidates.size())
      candidates.resize(static_cast<std::size_t>(options_.top_k));
    const auto total_of = [&] {
      return std::accumulate(candidates.begin(), candidates.end(), 0.0,
                             [](double sum, const Candidate& c) { return sum + c.weight; });
    };
    double kept = 0;
    const double wanted = options_.top_p * total_of();
    std::size_t count = 0;
    while (count < candidates.size() && (count == 0 || kept < wanted)) kept += candidates[count++].weight;
    candidates.resize(count);
    double remaining = uniform() * kept;
    for (const Candidate& candidate : candidates) {
      remaining -= candidate.weight;
      if (remaining < 0) return candidate.id;
    }
    return candidates.back().id;
  }

  /// [0, 1) from 53 random bits: the same on every standard library, unlike std::uniform_real_distribution.
  double uniform() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }

  SamplingOptions options_;
  std::mt19937_64 random_;
};

}  // namespace lisa
