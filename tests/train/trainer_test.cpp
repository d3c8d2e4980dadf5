#include "lisa/train/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lisa/sam/image_encoder.hpp"
#include "lisa/train/initialise.hpp"
#include "lisa/train/trainable.hpp"
#include "lisa/vision/clip_tower.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/train/mini_batch.hpp"
#include "tests/train/mini_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;
using test::dialogue;
using test::seg;
using test::some_image;

namespace {

/// Counts the images that pass a module.
template <class Encoder>
struct Counted : Encoder {
  static inline std::int64_t images = 0;

  [[nodiscard]] at::Tensor forward(const at::Tensor& input) const {
    images += input.size(0);
    return Encoder::forward(input);
  }
};

/// What adapters drop depends on how a step is split, so they drop nothing here.
struct CountedSpec : test::MiniSpec {
  static constexpr LoraConfig lora{.rank = 2, .alpha = 4, .dropout = 0};
  template <class S>
  using VisionTower = Counted<ClipTower<S::vision>>;
  template <class S>
  using ImageEncoder = Counted<SamImageEncoder<S::sam>>;
};

using Model = Lisa<CountedSpec>;

Model some_model() { return test::some_model<CountedSpec>(); }

/// Twelve labelled tokens and four masks; two and one; two and none.
std::vector<TrainingBatch> unequal_micro_batches() {
  const TrainingBatch batch = test::some_batch();
  return {{batch[0], batch[1]}, {some_image(4, {dialogue({5}, {seg, 3})})}, {batch[2]}};
}

/// The largest relative difference between tensors of one name, those that are nothing but rounding left out.
double difference(const NamedTensors& found, const NamedTensors& expected) {
  std::map<std::string, at::Tensor> by_name(found.begin(), found.end());
  double worst = 0;
  for (const auto& [name, tensor] : expected)
    if (tensor.norm().item<double>() > 1e-9) worst = std::max(worst, test::relative_l2(by_name.at(name), tensor));
  return worst;
}

}  // namespace

TEST_CASE("averaging by micro-batch is the original's: the means of each micro-batch, then the mean of these") {
  const std::vector<TrainingBatch> micro_batches = unequal_micro_batches();
  // LISA model/LISA.py, model_forward, averages a micro-batch over its own labelled tokens and masks, and has 0 where
  // there are none; DeepSpeed divides each loss by the number of micro-batches.
  const std::vector<double> tokens{12, 2, 2}, masks{4, 1, 0};
  Model model = some_model();
  const std::vector<TrainedParameter> parameters = set_trainable(model, lisa_recipe);
  double ce = 0, bce = 0, dice = 0;
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    const LossParts sums = training_forward(model, micro_batches[i], {.counts = LossCounts{1, 1}}).losses;
    const LossParts means{.ce = sums.ce.div(3 * tokens[i]),
                          .bce = sums.bce.div(3 * (masks[i] + 1e-8)),
                          .dice = sums.dice.div(3 * (masks[i] + 1e-8))};
    means.total().backward();
    ce += means.ce.item<double>();
    bce += means.bce.item<double>();
    dice += means.dice.item<double>();
  }
  NamedTensors gradients;
  double square = 0;
  for (const TrainedParameter& parameter : parameters) {
    const at::Tensor& gradient = parameter.value.grad();
    if (!gradient.defined()) continue;
    square += std::pow(gradient.norm().item<double>(), 2);
    gradients.emplace_back(parameter.name, gradient);
  }

  const auto step = [&](LossAveraging averaging, NamedTensors& moments) {
    Model trained = some_model();
    SingleProcess group;
    Trainer<CountedSpec> trainer(trained, {.averaging = averaging, .max_gradient_norm = 1e9}, group);
    const StepReport report = trainer.step(micro_batches);
    // After one step the first moment is a tenth of the gradient.
    const std::map<std::string, NamedTensors> state = trainer.tensors();
    for (const auto& [name, moment] : state.at("first_moment")) moments.emplace_back(name, moment.mul(10));
    return report;
  };
  NamedTensors found, of_step;
  const StepReport report = step(LossAveraging::micro_batch, found);
  CHECK(report.ce == doctest::Approx(ce).epsilon(1e-6));
  CHECK(report.bce == doctest::Approx(bce).epsilon(1e-6));
  CHECK(report.dice == doctest::Approx(dice).epsilon(1e-6));
  CHECK(report.gradient_norm == doctest::Approx(std::sqrt(square)).epsilon(1e-6));
  CHECK(difference(found, gradients) < 1e-5);
  // The default is another average of the same batches.
  const StepReport whole = step(LossAveraging::step, of_step);
  CHECK(whole.ce != doctest::Approx(ce).epsilon(1e-3));
  CHECK(whole.bce != doctest::Approx(bce).epsilon(1e-3));
  CHECK(difference(of_step, gradients) > 1e-2);
}

TEST_CASE("two micro-batches of two images take the steps of one of four") {
  TrainingBatch four = test::some_batch();
  four.push_back(some_image(4, {dialogue({5}, {seg, 3})}));
  const TrainingBatch first(four.begin(), four.begin() + 2), second(four.begin() + 2, four.end());
  Model one = some_model(), other = some_model();
  SingleProcess group;
  const TrainerOptions options{.schedule = {.peak = 1e-2, .warmup = 1, .total = 10}};
  Trainer<CountedSpec> together(one, options, group), split(other, options, group);
  for (int step = 0; step < 3; ++step) {
    CAPTURE(step);
    const StepReport expected = together.step({four}), found = split.step({first, second});
    CHECK(found.samples == 4);
    CHECK(found.ce == doctest::Approx(expected.ce).epsilon(1e-6));
    CHECK(found.bce == doctest::Approx(expected.bce).epsilon(1e-6));
    CHECK(found.dice == doctest::Approx(expected.dice).epsilon(1e-6));
    CHECK(found.gradient_norm == doctest::Approx(expected.gradient_norm).epsilon(1e-6));
  }
  for (const char* const kind : {"weights", "master", "first_moment"}) {
    CAPTURE(kind);
    CHECK(difference(split.tensors().at(kind), together.tensors().at(kind)) < 1e-5);
  }
}

TEST_CASE("a step runs the towers once for each image, however many conversations are about it") {
  const TrainingImage asked =
      some_image(1, {dialogue({5, 6}, {7, seg, 3}), dialogue({5, 8, 9, 4}, {seg, 3}), dialogue({11}, {12, 13})});
  const TrainingImage described = some_image(2, {dialogue({5}, {6, 3}), dialogue({11}, {12})});
  Model model = some_model();
  SingleProcess group;
  Trainer<CountedSpec> trainer(model, {}, group);
  Model::VisionTower::images = Model::ImageEncoder::images = 0;
  (void)trainer.step({{asked}, {described, asked}});
  CHECK(Model::VisionTower::images == 3);
  CHECK(Model::ImageEncoder::images == 2);  // without masks an image needs no embedding
}

TEST_CASE("a bf16 model learns a batch through weights that are kept in fp32") {
  Model model;
  (void)initialise_missing(model, 1, at::kBFloat16);
  (void)initialise_adapters(model, 1);
  const at::Tensor frozen = model.image_encoder.patch_weight.clone();
  SingleProcess group;
  constexpr std::int64_t steps = 40;
  Trainer<CountedSpec> trainer(model, {.schedule = {.peak = 1e-2, .warmup = 5, .total = steps}}, group);
  double first = 0, last = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    const StepReport report = trainer.step({test::some_batch()});
    last = report.ce + report.bce + report.dice;
    if (step == 0) first = last;
  }
  MESSAGE("loss " << first << ", after " << steps << " steps " << last);
  CHECK(last < 0.6 * first);
  const std::map<std::string, NamedTensors> state = trainer.tensors();
  const NamedTensors &weights = state.at("weights"), &masters = state.at("master");
  REQUIRE(masters.size() == weights.size());
  bool finer = false;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    CAPTURE(weights[i].first);
    REQUIRE(masters[i].first == weights[i].first);
    CHECK((weights[i].second.scalar_type() == at::kBFloat16));
    CHECK((masters[i].second.scalar_type() == at::kFloat));
    CHECK((state.at("first_moment")[i].second.scalar_type() == at::kFloat));
    CHECK((state.at("second_moment")[i].second.scalar_type() == at::kFloat));
    CHECK(weights[i].second.equal(masters[i].second.to(at::kBFloat16)));
    finer = finer || !masters[i].second.equal(weights[i].second.to(at::kFloat));
  }
  CHECK(finer);  // they hold what bf16 cannot
  CHECK(model.image_encoder.patch_weight.equal(frozen));
}
