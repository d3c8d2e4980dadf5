#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "lisa/base/duration.hpp"
#include "lisa/files/json.hpp"
#include "lisa/train/tensorboard_events.hpp"

namespace lisa {

/// What one optimiser step gave, over all its micro-batches and processes.
struct StepReport {
  std::int64_t step = 0;  ///< counted from 1
  double ce = 0;          ///< parts of the loss, weighted as they are added: cross entropy of the answers,
  double bce = 0;         ///< binary cross entropy and
  double dice = 0;        ///< DICE of the masks
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  std::int64_t samples = 0;  ///< on all processes
  double seconds = 0;        ///< of the step, waiting included
  double data_seconds = 0;   ///< of which it waited for data

  [[nodiscard]] double mask() const { return bce + dice; }
  [[nodiscard]] double loss() const { return ce + mask(); }
};

/// A step as an object of the log.
[[nodiscard]] inline Json to_json(const StepReport& report) {
  return {{"step", report.step},
          {"loss", report.loss()},
          {"ce_loss", report.ce},
          {"mask_bce_loss", report.bce},
          {"mask_dice_loss", report.dice},
          {"lr", report.learning_rate},
          {"gradient_norm", report.gradient_norm},
          {"samples", report.samples},
          {"seconds", report.seconds},
          {"data_seconds", report.data_seconds}};
}

/// Writes a step's curves under the tags of the original (LISA train_ds.py). @param now seconds since 1970
inline void write_events(TensorBoardEvents& events, const StepReport& report, double now) {
  const auto scalar = [&](const char* tag, double value) { events.scalar(tag, report.step, now, value); };
  scalar("train/loss", report.loss());
  scalar("train/ce_loss", report.ce);
  scalar("train/mask_bce_loss", report.bce);
  scalar("train/mask_dice_loss", report.dice);
  scalar("train/mask_loss", report.mask());
  scalar("train/lr", report.learning_rate);
  scalar("metrics/total_secs_per_batch", report.seconds);
  scalar("metrics/data_secs_per_batch", report.data_seconds);
}

/// Writes an epoch's validation under the original's tags.
inline void write_validation_events(TensorBoardEvents& events, std::int64_t epoch, double now, double giou,
                                    double ciou) {
  events.scalar("val/giou", epoch, now, giou);
  events.scalar("val/ciou", epoch, now, ciou);
}

/// The progress of a run in one line, from means over the last steps.
class ProgressLine {
 public:
  /// @param steps of the whole run
  explicit ProgressLine(std::int64_t steps) : steps_(steps) {}

  void add(const StepReport& report) {
    // A mean over all steps at first, later over about the last fifty.
    const double share = std::max(1.0 / static_cast<double>(++added_), 0.02);
    const auto follow = [&](double& mean, double value) { mean += share * (value - mean); };
    follow(mean_.ce, report.ce);
    follow(mean_.bce, report.bce);
    follow(mean_.dice, report.dice);
    follow(mean_.seconds, report.seconds);
    follow(mean_.data_seconds, report.data_seconds);
    follow(samples_, static_cast<double>(report.samples));
    mean_.step = report.step;
    mean_.learning_rate = report.learning_rate;
  }

  [[nodiscard]] double samples_per_second() const { return mean_.seconds > 0 ? samples_ / mean_.seconds : 0; }
  /// The part of the time in which training waited for data, from 0 to 1.
  [[nodiscard]] double data_share() const { return mean_.seconds > 0 ? mean_.data_seconds / mean_.seconds : 0; }
  [[nodiscard]] double seconds_left() const {
    return mean_.seconds * static_cast<double>(std::max<std::int64_t>(steps_ - mean_.step, 0));
  }

  /// "120/5000, loss 0.812 (ce 0.310, bce 0.110, dice 0.392), lr 3.0e-04, 41.2 samples/s, data wait 3 %, 12 min 05 s
  /// left"; empty before the first step.
  [[nodiscard]] std::string text() const {
    if (added_ == 0) return {};
    const auto number = [](const char* pattern, double value) {
      std::array<char, 64> buffer{};
      std::snprintf(buffer.data(), buffer.size(), pattern, value);
      return std::string(buffer.data());
    };
    return std::to_string(mean_.step) + "/" + std::to_string(steps_) + ", loss " + number("%.3f", mean_.loss()) +
           " (ce " + number("%.3f", mean_.ce) + ", bce " + number("%.3f", mean_.bce) + ", dice " +
           number("%.3f", mean_.dice) + "), lr " + number("%.1e", mean_.learning_rate) + ", " +
           number("%.1f", samples_per_second()) + " samples/s, data wait " + number("%.0f", 100 * data_share()) +
           " %, " + duration(seconds_left()) + " left";
  }

 private:
  std::int64_t steps_;
  std::int64_t added_ = 0;
  StepReport mean_;
  double samples_ = 0;
};

}  // namespace lisa
