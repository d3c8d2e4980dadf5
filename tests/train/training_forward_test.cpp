#include "lisa/train/training_forward.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lisa/model/save_model.hpp"
#include "lisa/train/adamw.hpp"
#include "lisa/train/gradient_checkpoint.hpp"
#include "lisa/train/gradients.hpp"
#include "lisa/train/initialise.hpp"
#include "lisa/train/schedule.hpp"
#include "lisa/train/trainable.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/tensor_compare.hpp"
#include "tests/train/mini_batch.hpp"
#include "tests/train/mini_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

using namespace lisa;
using test::dialogue;
using test::MiniSpec;
using test::seg;
using test::some_batch;
using test::some_image;
using test::some_model;

namespace {

struct Outcome {
  double ce, bce, dice;
  std::map<std::string, at::Tensor> gradients;
};

template <ModelSpec S>
Outcome outcome(Lisa<S>& model, const TrainingBatch& batch, const TrainingForwardOptions& options = {},
                TrainableParts parts = everything) {
  parts.lora = true;
  const std::vector<TrainedParameter> parameters = set_trainable(model, parts);
  const TrainingOutput output = training_forward(model, batch, options);
  output.loss.backward();
  Outcome found{
      output.losses.ce.item<double>(), output.losses.bce.item<double>(), output.losses.dice.item<double>(), {}};
  for (const TrainedParameter& parameter : parameters) found.gradients[parameter.name] = parameter.value.grad();
  return found;
}

/// Largest relative difference between two sets of gradients that are defined for the same parameters.
double gradient_difference(const Outcome& a, const Outcome& b) {
  double worst = 0;
  for (const auto& [name, gradient] : b.gradients) {
    const at::Tensor& other = a.gradients.at(name);
    if (gradient.defined() != other.defined()) return std::numeric_limits<double>::infinity();
    if (gradient.defined() && gradient.norm().item<double>() > 1e-9)
      worst = std::max(worst, test::relative_l2(other, gradient));
  }
  return worst;
}

void check_same(const Outcome& found, const Outcome& expected, double tolerance = 1e-9) {
  CHECK(found.ce == doctest::Approx(expected.ce).epsilon(tolerance));
  CHECK(found.bce == doctest::Approx(expected.bce).epsilon(tolerance));
  CHECK(found.dice == doctest::Approx(expected.dice).epsilon(tolerance));
  CHECK(gradient_difference(found, expected) < tolerance);
}

struct OwnState : MiniSpec {
  template <class S>
  using SegPolicy = OwnHiddenState;
};

template <class Run>
std::string message(const Run& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a batch's loss and gradients are the sums of its dialogues', each alone") {
  Lisa<MiniSpec> model = some_model();
  const TrainingBatch batch = some_batch();
  const Outcome together = outcome(model, batch);
  // The denominators of the whole batch make the parts add up.
  const TrainingForwardOptions options{.counts = loss_counts(batch)};
  CHECK(options.counts->tokens == 3 + 2 + 3 + 4 + 2);
  CHECK(options.counts->masks == 4);
  Outcome sum{0, 0, 0, {}};
  for (const TrainingImage& image : batch) {
    std::int64_t mask = 0;
    for (const DialogueTokens& tokens : image.dialogues) {
      TrainingImage alone = image;
      const auto masks = static_cast<std::int64_t>(tokens.segs.size());
      alone.dialogues = {tokens};
      alone.masks = image.masks.narrow(0, mask, masks);
      mask += masks;
      Outcome part = outcome(model, {alone}, options);
      sum.ce += part.ce;
      sum.bce += part.bce;
      sum.dice += part.dice;
      for (auto& [name, gradient] : part.gradients) {
        if (!gradient.defined()) continue;
        at::Tensor& total = sum.gradients[name];
        total = total.defined() ? total.add(gradient) : gradient;
      }
    }
  }
  for (const auto& [name, gradient] : together.gradients) sum.gradients.try_emplace(name);
  check_same(together, sum);
}

TEST_CASE("gradients of a whole step are those of its loss") {
  Lisa<MiniSpec> model = some_model();
  TrainableParts parts = everything;
  parts.lora = true;
  std::vector<at::Tensor> leaves;
  for (const TrainedParameter& parameter : set_trainable(model, parts)) leaves.push_back(parameter.value);
  const TrainingBatch batch = some_batch();
  CHECK(test::gradient_error([&] { return training_forward(model, batch).loss; }, leaves, 1) < 1e-5);
}

TEST_CASE("dialogues that are alike, or begin another, count each for itself") {
  Lisa<MiniSpec> model = some_model();
  const DialogueTokens answered = dialogue({5, 6}, {7, seg, 3}), longer = dialogue({5, 6}, {7, seg, 3, 8, 8});
  const auto losses = [&](std::vector<DialogueTokens> dialogues) {
    TrainingImage image = some_image(1, std::move(dialogues));
    image.masks.fill_(0).narrow(1, 2, 5).fill_(1);
    const TrainingOutput output = training_forward(model, {image}, {.counts = LossCounts{1, 1}});
    return std::pair{output.losses.ce.item<double>(), output.losses.bce.item<double>()};
  };
  const auto [ce, bce] = losses({answered});
  const auto [longer_ce, longer_bce] = losses({longer});
  const auto [together_ce, together_bce] = losses({answered, answered, longer});
  CHECK(together_ce == doctest::Approx(2 * ce + longer_ce));
  CHECK(together_bce == doctest::Approx(2 * bce + longer_bce));
  CHECK(longer_bce == doctest::Approx(bce));
}

TEST_CASE("weights scale the parts, a batch without masks has the text's alone") {
  Lisa<MiniSpec> model = some_model();
  const TrainingBatch batch = some_batch();
  const TrainingOutput plain = training_forward(model, batch, {.weights = {1, 1, 1}});
  const TrainingOutput weighted = training_forward(model, batch, {.weights = {3, 5, 7}});
  CHECK(weighted.losses.ce.item<double>() == doctest::Approx(3 * plain.losses.ce.item<double>()));
  CHECK(weighted.losses.bce.item<double>() == doctest::Approx(5 * plain.losses.bce.item<double>()));
  CHECK(weighted.losses.dice.item<double>() == doctest::Approx(7 * plain.losses.dice.item<double>()));
  CHECK(weighted.loss.item<double>() == doctest::Approx(weighted.losses.total().item<double>()));

  const TrainingOutput text = training_forward(model, {batch[2]});
  CHECK(text.losses.bce.item<double>() == 0);
  CHECK(text.losses.dice.item<double>() == 0);
  CHECK_FALSE(text.low_res_masks.defined());
}

TEST_CASE("ignored pixels count as background") {
  Lisa<MiniSpec> model = some_model();
  TrainingBatch batch = {some_image(1, {dialogue({5, 6}, {7, seg, 3})})};
  const auto bce = [&] { return training_forward(model, batch).losses.bce.item<double>(); };
  batch[0].masks.fill_(0).narrow(1, 0, 4).fill_(1);
  const double background = bce();
  batch[0].masks.narrow(1, 6, 3).fill_(LabelMask::ignored);
  CHECK(bce() == doctest::Approx(background).epsilon(1e-12));
  batch[0].masks.narrow(1, 6, 3).fill_(1);
  const double foreground = bce();
  CHECK(foreground != doctest::Approx(background).epsilon(1e-3));
  // A pixel that two polygons count twice is twice as far from background, under the original's rules.
  batch[0].masks.narrow(1, 6, 3).fill_(2);
  CHECK(bce() - background == doctest::Approx(2 * (foreground - background)).epsilon(1e-9));
}

TEST_CASE("features that are known already stand for the pixels they come from") {
  Lisa<MiniSpec> model = some_model();
  const TrainingBatch batch = some_batch();
  const double expected = training_forward(model, batch).loss.item<double>();
  for (const std::size_t known : {1, 3}) {  // the others are computed
    TrainingBatch cached = batch;
    const at::NoGradGuard no_gradients;
    for (std::size_t i = 0; i < known; ++i) {
      cached[i].visual_features = model.encode_visual(cached[i].pixel_values.unsqueeze(0)).features[0];
      cached[i].image_embedding = model.encode_image(cached[i].sam_image.unsqueeze(0))[0];
      cached[i].pixel_values = cached[i].sam_image = at::Tensor();
    }
    CHECK(training_forward(model, cached).loss.item<double>() == doctest::Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("recomputing blocks in the backward pass changes nothing") {
  Lisa<MiniSpec> model = some_model();
  const TrainingBatch batch = some_batch();
  const Outcome plain = outcome(model, batch);
  check_same(outcome(model, batch, {.run = gradient_checkpoint()}), plain, 1e-12);

  SUBCASE("with dropout the same inputs are dropped again") {
    const auto seeded = [&](const FunctionRunner& run, at::Generator generator) {
      set_adapter_dropout(model, generator);
      Outcome found = outcome(model, batch, {.run = run});
      set_adapter_dropout(model, at::Generator());
      return found;
    };
    const Outcome dropped = seeded({}, at::detail::createCPUGenerator(3));
    CHECK(gradient_difference(dropped, plain) > 1e-3);
    at::Generator generator = at::detail::createCPUGenerator(3);
    check_same(seeded(gradient_checkpoint(generator), generator), dropped, 1e-12);
    // The backward pass leaves the stream where the forward pass left it.
    at::Generator forward_only = at::detail::createCPUGenerator(3);
    set_adapter_dropout(model, forward_only);
    (void)training_forward(model, batch);
    set_adapter_dropout(model, at::Generator());
    CHECK(at::empty({4}).normal_(0, 1, generator).equal(at::empty({4}).normal_(0, 1, forward_only)));
  }
  SUBCASE("when only adapters train, the first block's get their gradients as well") {
    const auto adapters_only = [&](const FunctionRunner& run) {
      const std::vector<TrainedParameter> parameters = set_trainable(model, {.lora = true});
      training_forward(model, batch, {.run = run}).loss.backward();
      Outcome found{0, 0, 0, {}};
      for (const TrainedParameter& parameter : parameters) found.gradients[parameter.name] = parameter.value.grad();
      return found;
    };
    const Outcome expected = adapters_only({}), found = adapters_only(gradient_checkpoint());
    CHECK(expected.gradients.at("model.layers.0.self_attn.q_proj.lora_A.weight").defined());
    CHECK(gradient_difference(found, expected) < 1e-12);
  }
}

TEST_CASE("the state behind a [SEG] is the policy's") {
  Lisa<OwnState> model = some_model<OwnState>();
  const TrainingBatch batch = {some_image(1, {dialogue({5, 6}, {7, seg, 3})})};
  const auto seg_row = [](const auto& output) { return output.rows.seg_rows[0].template item<std::int64_t>(); };
  // ids 1, 2, four visual rows, 5, 6, 7, [SEG]
  CHECK(seg_row(training_forward(model, batch)) == 9);
  CHECK(seg_row(training_forward(some_model(), batch)) == 8);
}

TEST_CASE("parameters out of reach of the loss have no gradient, all others have one") {
  Lisa<MiniSpec> model = some_model();
  const Outcome found = outcome(model, some_batch());
  for (const auto& [name, gradient] : found.gradients) {
    CAPTURE(name);
    const bool unused = name.find("iou_prediction_head") != std::string::npos ||
                        name.find("output_hypernetworks_mlps.1") != std::string::npos;
    CHECK(gradient.defined() == !unused);
  }
}

TEST_CASE("bf16 models train with losses in fp32") {
  Lisa<MiniSpec> model = some_model(at::kBFloat16);
  const Outcome found = outcome(model, some_batch());
  Lisa<MiniSpec> exact = some_model();
  const Outcome expected = outcome(exact, some_batch());
  CHECK(found.ce == doctest::Approx(expected.ce).epsilon(0.05));
  CHECK(found.bce == doctest::Approx(expected.bce).epsilon(0.1));
  const at::Tensor& head = found.gradients.at("lm_head.weight");
  CHECK((head.scalar_type() == at::kBFloat16));
  CHECK(test::relative_l2(head, expected.gradients.at("lm_head.weight")) < 0.1);
  CHECK((training_forward(model, some_batch()).loss.scalar_type() == at::kFloat));
}

TEST_CASE("a model learns a batch by heart") {
  Lisa<MiniSpec> model;
  (void)initialise_missing(model, 1);
  const std::vector<TrainedParameter> parameters = set_trainable(model, everything);
  const TrainingBatch batch = some_batch();
  AdamW optimiser(parameters);
  double first = 0, last = 0;
  for (std::int64_t step = 0; step < 150; ++step) {
    const TrainingOutput output = training_forward(model, batch);
    last = output.loss.item<double>();
    if (step == 0) first = last;
    output.loss.backward();
    GradientSum gradients;
    gradients.take(parameters);
    clip_gradient_norm(gradients.tensors(), 1.0);
    optimiser.step(gradients.tensors(), learning_rate({.peak = 1e-2, .warmup = 10, .total = 150}, step));
  }
  CHECK(last < 0.3 * first);
}

TEST_CASE("adapters train beside weights in 8 bits as beside the values that these stand for") {
  Lisa<MiniSpec> model = some_model(), restored = some_model();
  model.llm.for_each_projection([](const std::string&, auto& projection) {
    projection.base.weight = quantised(projection.base.weight, WeightFormat::int8_row);
  });
  restored.llm.for_each_projection([](const std::string&, auto& projection) {
    at::Tensor& weight = projection.base.weight;
    weight = lisa::detail::restored_weight(quantised(weight, WeightFormat::int8_row), projection.base.in_features,
                                           at::kDouble);
  });
  const TrainingBatch batch = some_batch();
  const Outcome found = outcome(model, batch, {}, lisa_recipe), expected = outcome(restored, batch, {}, lisa_recipe);
  check_same(found, expected);
  std::size_t adapters = 0;
  for (const auto& [name, gradient] : found.gradients)
    if (name.find("lora_") != std::string::npos && gradient.norm().item<double>() > 0) ++adapters;
  CHECK(adapters == 2 * 7 * 2);  // A and B of seven projections in two blocks
  CHECK_THROWS_WITH_AS((void)set_trainable(model, everything),
                       doctest::Contains("q_proj.weight: quantised, beside which only adapters train"), InputError);
}

TEST_CASE("batches that cannot be trained on are refused by the sample's name") {
  const Lisa<MiniSpec> model = some_model();
  const auto refused = [&](TrainingBatch batch) { return message([&] { (void)training_forward(model, batch); }); };
  CHECK(refused({}) == "batch: found no image, expected at least one");
  CHECK(refused({some_image(1, {})}) == "image 1: sample: found no dialogue, expected at least one");
  CHECK(refused({some_image(1, {dialogue({5}, {})})}) ==
        "batch: found neither a labelled token nor a mask, expected one of them at least");
  TrainingImage no_image = some_image(4, {dialogue({5}, {6})});
  no_image.dialogues[0].ids[2] = 7;
  CHECK(refused({no_image}) == "image 4: dialogues: found no image in what they begin with, expected one");
  CHECK(refused({some_image(1, {dialogue(std::vector<std::int64_t>(60, 5), {6})})}).find("at most 40") !=
        std::string::npos);
}
