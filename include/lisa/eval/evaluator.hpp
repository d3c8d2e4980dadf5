#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/eval/evaluated_model.hpp"
#include "lisa/eval/evaluation_record.hpp"
#include "lisa/eval/metrics.hpp"
#include "lisa/eval/record_file.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/rle.hpp"

namespace lisa {

/// The objects of a sample's image, each a mask of its size. Baselines give an empty mask where there are none.
/// @param index of the sample in its data set
using ObjectSource = std::function<std::vector<BitMask>(const Sample& sample, std::size_t index)>;

/// What an evaluation consists of.
struct EvaluationOptions {
  bool teacher_forced = true;
  bool free_running = true;
  std::size_t batch = 8;   ///< dialogues of an image that run together, >= 1
  std::uint64_t seed = 0;  ///< of what the data set and the random baseline leave to chance
  /// For the baselines `largest_object` and `random_object`; without it the whole image is the only baseline.
  ObjectSource objects{};
};

namespace evaluator_detail {

/// Streams of random numbers of an evaluation, so that none depends on how much another draws.
enum class Purpose : std::uint64_t { data, baseline };

inline Random stream(const EvaluationOptions& options, Purpose purpose, std::size_t index) {
  return Random{options.seed, static_cast<std::uint64_t>(purpose), index};
}

/// @throws InputError where a dialogue's masks are not as many as its `[SEG]`, or of another size than the image
inline void validate(const Sample& sample) {
  Defects defects;
  for (std::size_t d = 0; d < sample.dialogues.size(); ++d) {
    const Dialogue& dialogue = sample.dialogues[d];
    const std::string place = "dialogue " + std::to_string(d) + ": ";
    std::size_t segs = 0;
    for (const Exchange& exchange : dialogue.exchanges) segs += expected_masks(exchange);
    if (segs != dialogue.masks.size())
      defects.add(place + found_expected(std::to_string(dialogue.masks.size()) + " masks",
                                         std::to_string(segs) + ", as many as [SEG]"));
    for (const LabelMask& mask : dialogue.masks)
      if (mask.size != sample.image.size())
        defects.add(place + found_expected("a mask of " + std::to_string(mask.size.width) + "x" +
                                               std::to_string(mask.size.height) + " pixels",
                                           std::to_string(sample.image.width) + "x" +
                                               std::to_string(sample.image.height) + ", the image's size"));
  }
  if (!defects.empty()) throw InputError(printable(sample.id), defects.report("unusable dialogues"));
}

/// Adds what the masks of one exchange overlap with, in order; a missing mask counts as empty, a surplus one as a wrong
/// mask of its own unless it is empty.
inline void match(std::span<const LabelMask> targets, const std::vector<BitMask>& found, MethodResult& result) {
  for (std::size_t i = 0; i < targets.size(); ++i)
    result.overlaps.push_back(measure_overlap(i < found.size() ? found[i] : BitMask(targets[i].size), targets[i]));
  for (std::size_t i = targets.size(); i < found.size(); ++i)
    if (const std::int64_t pixels = area(found[i]); pixels > 0) result.surplus.push_back({.predicted = pixels});
  for (const BitMask& mask : found) result.masks.push_back(encode_rle(mask));
}

inline MethodResult match_spoken(const Dialogue& dialogue, const std::vector<SpokenAnswer>& answers) {
  MethodResult result{.method = Method::free_running};
  std::span<const LabelMask> targets = dialogue.masks;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::size_t wanted = expected_masks(dialogue.exchanges[i]);
    match(targets.first(wanted), answers[i].masks, result);
    targets = targets.subspan(wanted);
    result.answers.push_back(answers[i].text);
    result.mask_counts.push_back(answers[i].masks.size());
  }
  return result;
}

/// The same mask for every target of a dialogue.
inline MethodResult match_baseline(Method method, const Dialogue& dialogue, const BitMask& mask) {
  MethodResult result{.method = method};
  for (const LabelMask& target : dialogue.masks) result.overlaps.push_back(measure_overlap(mask, target));
  return result;
}

inline BitMask whole_image(ImageSize size) {
  BitMask mask(size);
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) mask.set(x, y);
  return mask;
}

/// Evaluates one sample; its record grows method by method.
class SampleEvaluation {
 public:
  SampleEvaluation(const EvaluatedModel& model, const Sample& sample, std::size_t index,
                   const EvaluationOptions& options)
      : model_(model), sample_(sample), options_(options), record_{.index = index, .id = sample.id} {
    for (const Dialogue& dialogue : sample.dialogues)
      record_.dialogues.push_back({.group = dialogue.group, .exchanges = dialogue.exchanges});
  }

  SampleRecord run() {
    if (options_.teacher_forced || options_.free_running) model_.set_image(sample_.image);
    if (options_.teacher_forced) run_teacher_forced();
    if (options_.free_running) run_free();
    run_baselines();
    return std::move(record_);
  }

 private:
  void run_teacher_forced() {
    const std::span<const Dialogue> dialogues = sample_.dialogues;
    for (std::size_t begin = 0; begin < dialogues.size(); begin += options_.batch) {
      const auto batch = dialogues.subspan(begin, std::min(options_.batch, dialogues.size() - begin));
      const std::vector<std::vector<BitMask>> masks = model_.teacher_forced(batch);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        MethodResult result{.method = Method::teacher_forced};
        match(batch[i].masks, masks[i], result);
        add(begin + i, std::move(result));
      }
    }
  }

  /// Single questions are asked together, longer dialogues one after another.
  void run_free() {
    std::vector<std::size_t> single;
    for (std::size_t d = 0; d < sample_.dialogues.size(); ++d) {
      if (sample_.dialogues[d].exchanges.size() == 1)
        single.push_back(d);
      else
        add(d, match_spoken(sample_.dialogues[d], converse(sample_.dialogues[d])));
    }
    for (std::size_t begin = 0; begin < single.size(); begin += options_.batch) {
      const auto batch = std::span(single).subspan(begin, std::min(options_.batch, single.size() - begin));
      std::vector<std::string> questions;
      for (const std::size_t d : batch) questions.push_back(sample_.dialogues[d].exchanges.front().question);
      std::vector<SpokenAnswer> answers = model_.ask_each(questions);
      for (std::size_t i = 0; i < batch.size(); ++i)
        add(batch[i], match_spoken(sample_.dialogues[batch[i]], {std::move(answers[i])}));
    }
  }

  /// The model hears its own answers. What no longer fits its context gets an empty answer.
  std::vector<SpokenAnswer> converse(const Dialogue& dialogue) {
    model_.reset();
    std::vector<SpokenAnswer> answers;
    for (const Exchange& exchange : dialogue.exchanges) {
      try {
        answers.push_back(model_.ask(exchange.question));
      } catch (const InputError&) {
        if (answers.empty()) throw;
        break;
      }
    }
    answers.resize(dialogue.exchanges.size());
    model_.reset();
    return answers;
  }

  void run_baselines() {
    const ImageSize size = sample_.image.size();
    add_baseline(Method::whole_image, [mask = whole_image(size)] { return mask; });
    if (!options_.objects) return;
    const std::vector<BitMask> objects = options_.objects(sample_, record_.index);
    if (objects.empty()) {
      for (const Method method : {Method::largest_object, Method::random_object})
        add_baseline(method, [&] { return BitMask(size); });
      return;
    }
    const auto largest = std::ranges::max_element(objects, {}, [](const BitMask& mask) { return area(mask); });
    add_baseline(Method::largest_object, [&] { return *largest; });
    Random random = stream(options_, Purpose::baseline, record_.index);
    add_baseline(Method::random_object, [&] { return random.pick(objects); });
  }

  /// `mask` is called once for each dialogue.
  template <class Mask>
  void add_baseline(Method method, Mask&& mask) {
    for (std::size_t d = 0; d < sample_.dialogues.size(); ++d)
      add(d, match_baseline(method, sample_.dialogues[d], mask()));
  }

  void add(std::size_t dialogue, MethodResult result) {
    record_.dialogues[dialogue].results.push_back(std::move(result));
  }

  const EvaluatedModel& model_;
  const Sample& sample_;
  const EvaluationOptions& options_;
  SampleRecord record_;
};

}  // namespace evaluator_detail

/// Measures a model on one sample, in every way that `options` asks for.
///
/// Free-running masks are matched with the targets of their exchange in order. A target without a mask is measured
/// against an empty mask, so that an absent target is found by saying nothing; a mask beyond the targets counts, unless
/// it is empty, as a wrong mask of its own: IoU 0, its area in the union.
/// @param index of the sample in its data set, the name of its random streams
/// @throws InputError for a sample whose masks do not fit its dialogues, and what the model throws
[[nodiscard]] inline SampleRecord evaluate_sample(const EvaluatedModel& model, const Sample& sample, std::size_t index,
                                                  const EvaluationOptions& options = {}) {
  if (options.batch < 1) throw InputError("batch", found_expected("0", "at least 1"));
  evaluator_detail::validate(sample);
  return evaluator_detail::SampleEvaluation(model, sample, index, options).run();
}

/// What is called while an evaluation runs; each may be empty.
struct EvaluationObserver {
  /// A sample is about to be read: its index and how many of the share are done.
  std::function<void(std::size_t index, std::size_t done)> on_start{};
  std::function<void(const SampleRecord& record)> on_record{};
  /// A sample that cannot be read or answered; the evaluation goes on with the next.
  std::function<void(std::size_t index, const Error& error)> on_failure{};
};

/// The samples of a share that `is_done` does not know, in order.
template <class IsDone>
[[nodiscard]] std::vector<std::size_t> open_samples(std::size_t size, const SampleShare& share, const IsDone& is_done) {
  lisa::validate(share);
  std::vector<std::size_t> open;
  for (std::size_t i = share.rank; i < size; i += share.count)
    if (!is_done(i)) open.push_back(i);
  return open;
}

/// A sample as `evaluate` sees it. @throws what the data set throws
[[nodiscard]] inline Sample read_for_evaluation(const DataSet& data, std::size_t index,
                                                const EvaluationOptions& options) {
  Random random = evaluator_detail::stream(options, evaluator_detail::Purpose::data, index);
  return data.read(index, random);
}

/// Measures a model on the given samples of a data set, one after another.
/// @throws whatever the observer throws, and errors that are not of the `Error` family
inline void evaluate(const EvaluatedModel& model, const DataSet& data, std::span<const std::size_t> indices,
                     const EvaluationOptions& options, const EvaluationObserver& observer) {
  for (std::size_t done = 0; done < indices.size(); ++done) {
    const std::size_t index = indices[done];
    if (observer.on_start) observer.on_start(index, done);
    SampleRecord record;
    try {
      record = evaluate_sample(model, read_for_evaluation(data, index, options), index, options);
    } catch (const Error& error) {
      if (observer.on_failure) observer.on_failure(index, error);
      continue;
    }
    if (observer.on_record) observer.on_record(record);
  }
}

}  // namespace lisa
