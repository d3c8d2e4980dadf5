// torch-free
#include "lisa/eval/metrics.hpp"

#include <rapidcheck.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "lisa/eval/bootstrap.hpp"
#include "tests/support/random_mask.hpp"
#include "tests/support/recorded_arrays.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// Masks of one image as recorded: logits and labels [N, H, W].
ImageOverlaps recorded_overlaps(const std::map<std::string, test::RecordedArray>& arrays, std::size_t image) {
  const test::RecordedArray& target = arrays.at(std::to_string(image) + ".gt");
  const std::vector<float> logits = arrays.at(std::to_string(image) + ".pred_logits").as<float>();
  const ImageSize size{static_cast<int>(target.shape.at(1)), static_cast<int>(target.shape.at(2))};
  const std::size_t pixels = static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
  ImageOverlaps overlaps;
  for (std::size_t i = 0; i < static_cast<std::size_t>(target.shape.at(0)); ++i) {
    const auto labels = target.bytes.begin() + static_cast<std::ptrdiff_t>(i * pixels);
    overlaps.push_back(measure_overlap(mask_from_logits(logits.data() + i * pixels, size),
                                       {size, {labels, labels + static_cast<std::ptrdiff_t>(pixels)}}));
  }
  return overlaps;
}

std::vector<ImageOverlaps> random_overlaps(Random& random, std::size_t images) {
  std::vector<ImageOverlaps> drawn(images);
  for (ImageOverlaps& image : drawn)
    for (std::int64_t i = random.between(1, 3); i > 0; --i) {
      const std::int64_t intersection = random.between(0, 50);
      image.push_back({intersection + random.between(0, 50), intersection + random.between(0, 50), intersection});
    }
  return drawn;
}

}  // namespace

TEST_CASE("areas and scores are those of the original's validation, to the last digit") {
  const auto arrays = test::recorded_arrays(LISA_TEST_DATA "/golden/units/metrics.safetensors");
  const auto text = test::file_bytes(LISA_TEST_DATA "/golden/units/metrics.json");
  const auto recorded = nlohmann::json::parse(text.begin(), text.end());
  std::vector<ImageOverlaps> images;
  for (std::size_t image = 0; image < recorded.at("samples").size(); ++image) {
    images.push_back(recorded_overlaps(arrays, image));
    REQUIRE(images.back().size() == recorded.at("samples")[image].size());
    for (std::size_t i = 0; i < images.back().size(); ++i) {
      const auto& expected = recorded.at("samples")[image][i];
      const MaskOverlap& overlap = images.back()[i];
      CAPTURE(expected.at("kind").get<std::string>());
      CHECK(overlap.intersection == expected.at("intersection")[1].get<std::int64_t>());
      CHECK(overlap.union_area() == expected.at("union")[1].get<std::int64_t>());
      CHECK(overlap.target == expected.at("target")[1].get<std::int64_t>());
      CHECK(std::abs(overlap_iou(overlap) - expected.at("iou")[1].get<double>()) < 1e-6);
    }
  }
  const SegmentationScore original = original_score(images);
  CHECK(original.giou == recorded.at("giou").get<double>());
  CHECK(original.ciou == recorded.at("ciou").get<double>());
  const SegmentationScore exact = exact_score(images);
  CHECK(std::abs(exact.giou - original.giou) < 1e-6);
  CHECK(std::abs(exact.ciou - original.ciou) < 1e-6);
}

TEST_CASE("counting by words equals counting by pixels") {
  CHECK(rc::check([] {
    const BitMask predicted = test::random_mask(150);
    Random random({*rc::gen::arbitrary<std::uint64_t>()});
    LabelMask target{predicted.size(), {}};
    MaskOverlap expected;
    constexpr std::uint8_t labels[] = {0, 1, 1, 2, LabelMask::ignored};
    for (int y = 0; y < predicted.height(); ++y)
      for (int x = 0; x < predicted.width(); ++x) {
        const std::uint8_t label = labels[random.below(5)];
        target.labels.push_back(label);
        if (label == LabelMask::ignored) continue;
        expected.predicted += predicted.at(x, y);
        expected.target += label == 1;
        expected.intersection += predicted.at(x, y) && label == 1;
      }
    RC_ASSERT(measure_overlap(predicted, target) == expected);
  }));
}

TEST_CASE("masks of different sizes are not compared") {
  CHECK_THROWS_AS(static_cast<void>(measure_overlap(BitMask({2, 3}), {{3, 2}, std::vector<std::uint8_t>(6)})),
                  InputError);
  CHECK_THROWS_AS(static_cast<void>(measure_overlap(BitMask({2, 3}), {{2, 3}, std::vector<std::uint8_t>(5)})),
                  InputError);
}

TEST_CASE("empty and ignored targets have a defined score") {
  const std::vector<ImageOverlaps> nothing{{{}}};
  CHECK(exact_score(nothing) == SegmentationScore{1.0, 1.0});
  CHECK(original_score(nothing).giou == doctest::Approx(1.0).epsilon(2e-5));
  CHECK(original_score(nothing).ciou == 0.0);
  const std::vector<ImageOverlaps> imagined{{{.predicted = 5}}};
  CHECK(exact_score(imagined) == SegmentationScore{0.0, 0.0});
  CHECK_THROWS_AS(static_cast<void>(exact_score({})), InputError);
  CHECK_THROWS_AS(static_cast<void>(original_score(std::vector<ImageOverlaps>(2))), InputError);
}

TEST_CASE("exact pixel sums do not round where the original's float32 sums do") {
  // 2^24 + 1 has no float32: the original loses the single pixels that follow a large mask.
  std::vector<ImageOverlaps> images{{{1 << 24, 1 << 24, 1 << 24}}};
  for (int i = 0; i < 1000; ++i) images.push_back({{1, 0, 0}});
  CHECK(exact_score(images).ciou == 16777216.0 / 16778216.0);
  CHECK(original_score(images).ciou == 1.0);
}

TEST_CASE("gRefCOCO: absent targets count by whether nothing was predicted") {
  const std::vector<MaskOverlap> expressions{
      {.predicted = 0, .target = 0, .intersection = 0},        // absent, and said so
      {.predicted = 100, .target = 0, .intersection = 0},      // absent, but imagined
      {.predicted = 100, .target = 100, .intersection = 100},  // found
      {.predicted = 100, .target = 100, .intersection = 50},   // found in part
      {.predicted = 0, .target = 100, .intersection = 0},      // missed
      {.predicted = 30, .target = 100, .intersection = 30},
  };
  const GeneralizedScore score = generalized_score(expressions);
  CHECK(score.giou == doctest::Approx((1 + 0 + 1 + 50.0 / 150 + 0 + 0.3) / 6));
  CHECK(score.ciou == doctest::Approx(180.0 / 550));
  CHECK(score.no_target_accuracy == doctest::Approx(0.5));
  CHECK(score.target_accuracy == doctest::Approx(0.75));

  const GeneralizedScore cleared = generalized_score(expressions, 50);
  CHECK(cleared.giou == doctest::Approx((1 + 0 + 1 + 50.0 / 150 + 0 + 0) / 6));
  CHECK(cleared.target_accuracy == doctest::Approx(0.5));

  CHECK(generalized_score(expressions, 30).target_accuracy == doctest::Approx(0.75));

  const GeneralizedScore present = generalized_score(std::span(expressions).subspan(2, 1));
  CHECK(!present.no_target_accuracy);
  CHECK(present.target_accuracy == doctest::Approx(1.0));
  CHECK_THROWS_AS(static_cast<void>(generalized_score({})), InputError);
}

TEST_CASE("a bootstrap interval holds the score, narrows with more images and repeats") {
  Random random({7});
  const std::vector<ImageOverlaps> many = random_overlaps(random, 1600);
  const std::span few = std::span(many).first(100);
  const auto width = [](const Interval& interval) { return interval.high - interval.low; };
  const ScoreIntervals wide = score_intervals(few, Random({1}));
  const ScoreIntervals narrow = score_intervals(many, Random({1}));
  for (const auto& [score, intervals] : {std::pair(exact_score(few), wide), std::pair(exact_score(many), narrow)}) {
    CHECK(intervals.giou.low < score.giou);
    CHECK(score.giou < intervals.giou.high);
    CHECK(intervals.ciou.low < score.ciou);
    CHECK(score.ciou < intervals.ciou.high);
  }
  CHECK(width(narrow.giou) < 0.5 * width(wide.giou));
  CHECK(score_intervals(few, Random({1})) == wide);
  CHECK(score_intervals(few, Random({2})) != wide);
}

TEST_CASE("a bootstrap interval of a share has the width that theory gives") {
  const auto share = [](std::span<const std::size_t> indices) {
    double below = 0;
    for (const std::size_t i : indices) below += i < 100;
    return below / static_cast<double>(indices.size());
  };
  Random random({3});
  const std::optional<Interval> interval = bootstrap_interval(400, share, random, {.resamples = 4000});
  REQUIRE(interval);
  const double error = 1.96 * std::sqrt(0.25 * 0.75 / 400);
  CHECK(std::abs(interval->low - (0.25 - error)) < 0.004);
  CHECK(std::abs(interval->high - (0.25 + error)) < 0.004);
}

TEST_CASE("a statistic that is never defined has no interval, and senseless options are refused") {
  Random random({3});
  const auto undefined = [](std::span<const std::size_t>) { return std::optional<double>(); };
  CHECK(!bootstrap_interval(5, undefined, random));
  const auto zero = [](std::span<const std::size_t>) { return 0.0; };
  CHECK_THROWS_AS(static_cast<void>(bootstrap_interval(0, zero, random)), InputError);
  CHECK_THROWS_AS(static_cast<void>(bootstrap_interval(1, zero, random, {.resamples = 0})), InputError);
  CHECK_THROWS_AS(static_cast<void>(bootstrap_interval(1, zero, random, {.confidence = 1})), InputError);
}
